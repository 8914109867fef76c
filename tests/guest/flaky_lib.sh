# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A pool on devices that fail when they are told to (dm-flakey). Sourced after lib.sh.
# vm: smp=2

# flaky_pool [DATA_MIB]: as `pool`, with metadata and data on the flakey devices fmeta and fdata, which work until `breaks`.
# DATA_ATTRS=cache_size=8 gives the data device a volatile cache: only then are flushes sent to it.
flaky_pool() {
    load_side "$TARGETS"
    modprobe dm-flakey
    META=$(disk 8)
    # shellcheck disable=SC2086 # several attributes
    DATA=$(disk "${1:-64}" discard=1 ${DATA_ATTRS:-})
    # shellcheck disable=SC2034 # for lib.sh
    POOL=pool
    dmsetup create fmeta --table "0 $(sectors "$META") flakey $META 0 1 0"
    dmsetup create fdata --table "0 $(sectors "$DATA") flakey $DATA 0 1 0"
    flaky_load
    # The teardown checks what is below: the flakey devices are gone by then.
    echo "pool $META" >>"$W/pools"
}

flaky_load() {
    dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/fmeta /dev/mapper/fdata 128 0"
}

# breaks fmeta|fdata FEATURE…: error_writes, error_reads, drop_writes; without a feature everything fails. Under running I/O.
breaks() {
    b_name=$1
    shift
    flaky_table "$b_name" 0 1 $# "$@"
}

# works fmeta|fdata
works() {
    flaky_table "$1" 1 0
}

# flaky_table NAME UP DOWN [features]
flaky_table() {
    b_dev=$DATA
    if [ "$1" = fmeta ]; then
        b_dev=$META
    fi
    b_name=$1
    shift
    dmsetup suspend --noflush --nolockfs "$b_name"
    dmsetup load "$b_name" --table "0 $(sectors "$b_dev") flakey $b_dev 0 $*"
    dmsetup resume "$b_name"
}

events() {
    dmsetup info -c --noheadings -o events pool
}

# writes NAME OFFSET LENGTH: noise, directly and with an fsync; nothing is kept of it.
writes() {
    noise "$W/noise" "$3"
    dd if="$W/noise" of="/dev/mapper/$1" bs="$3" seek="$2" count=1 oflag=seek_bytes,direct conv=notrunc,fsync status=none
}

# rolled_back EVENTS_BEFORE: the pool has aborted its transaction, and says so.
rolled_back() {
    equals mode "$(pool_field 5)" ro
    equals "the check flag" "$(pool_field 8)" needs_check
    if ! [ "$(events)" -gt "$1" ]; then
        fail "no event was sent: $(events), before $1"
    fi
    fails 'not supported' message create_thin 77
}

# repaired: with the devices working and the thins removed, the pool stays read-only until its metadata has been checked.
repaired() {
    dmsetup remove pool
    flaky_load
    equals "mode after loading it again" "$(pool_field 5) $(pool_field 8)" 'ro needs_check'
    dmsetup remove pool
    check_metadata /dev/mapper/fmeta
    thin_check --clear-needs-check-flag /dev/mapper/fmeta >"$W/thin_check" 2>&1 || {
        cat "$W/thin_check"
        fail "thin_check cannot clear the flag"
    }
    flaky_load
    equals "mode after the check" "$(pool_field 5) $(pool_field 8)" 'rw -'
}

# fails_under_io DEVICE [FEATURE…]: six writers on four thins, siblings among them, while DEVICE begins to fail. All of them end,
# everything can be taken down, module included; afterwards whatever was fsynced is there. The pool's state is left for the caller to
# look at: `failed_state` is called before the thins are removed, `mended` once the device works and only the pool is left.
fails_under_io() {
    y_device=$1
    shift
    flaky_pool 160
    thin_new a 0 48
    mkfs.ext4 -q -b 4096 /dev/mapper/a
    y_dir=$(mounted a)
    noise "$y_dir/common" 4000000
    umount "$y_dir"
    thin_new c 2 16
    # Blocks that are mapped, shared and zero, which is what the writers take them for.
    dd if=/dev/zero of=/dev/mapper/c bs=1M count=8 oflag=direct conv=notrunc,fsync status=none
    snap b 1 a 0
    snap d 3 c 2
    y_a=$(mounted a) y_b=$(mounted b)
    y_seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    echo "seed $y_seed"
    in_background python3 "$TESTS/writers.py" write "$W/history" "$W/running" "$y_seed" "$y_a=w1" "$y_a=w2" "$y_b=w3" \
        "$y_b=w4" "/dev/mapper/c=w5:4096" "/dev/mapper/d=w6:4096"
    y_job=$!
    # shellcheck disable=SC2317 # called by wait_for
    running() {
        [ -e "$W/running" ] || ! kill -0 "$y_job" 2>/dev/null
    }
    wait_for 300 running
    breaks "$y_device" "$@"
    wait "$y_job" || fail "the writers found something else than an I/O error"
    failed_state
    umount "$y_a" || :
    umount "$y_b" || :
    works "$y_device"
    remove a b c d
    mended
    thin a 0 48
    thin b 1 48
    thin c 2 16
    thin d 3 16
    y_a=$(mounted a) y_b=$(mounted b)
    cmp "$y_a/common" "$y_b/common"
    python3 "$TESTS/writers.py" check "$W/history" "$y_a=w1" "$y_a=w2" "$y_b=w3" "$y_b=w4" "/dev/mapper/c=w5:4096" \
        "/dev/mapper/d=w6:4096"
    umount "$y_a"
    umount "$y_b"
    for y_name in a b; do
        # ext4 leaves removed but open inodes alone on a file system that is marked with an error: only without the mark a mount frees
        # them, and the whole must be sound.
        debugfs -w -R "ssv state 1" "/dev/mapper/$y_name" 2>/dev/null
        umount "$(mounted "$y_name")"
        e2fsck -fn "/dev/mapper/$y_name" >"$W/e2fsck" 2>&1 || fail "e2fsck of $y_name: $(cat "$W/e2fsck")"
    done
    equals "mode" "$(pool_field 5) $(pool_field 8)" 'rw -'
    remove a b c d
    dmsetup remove pool
}

# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What every guest test shares: which target names are under test, small memory-backed disks, pools and thins, data that is checked
# against a model, expected failures, and a teardown that itself is a check.
#
# A test sources this file and then runs top to bottom under `set -eu`: the first command that fails ends it. On the way out the
# teardown unmounts, removes every dm device, runs thin_check on the metadata of every pool that the test made, removes the disks
# and unloads the module. Whatever cannot be taken down fails the test, for it is a leak.
#
# TARGETS=drr (default)  own names of dm-drr
# TARGETS=dropin         dm-drr under dm-thin's names
# TARGETS=stock          the kernel's dm-thin: shows that the test itself is right
#
# State that a `$(...)` subshell must leave behind is kept in files under $W, not in variables.

set -eu

TARGETS=${TARGETS:-drr}
# Whether recording pays on these disks depends on the machine; a test whose figures must not has everything recorded.
SAMPLING=${SAMPLING:-0}
TEST_NAME=$(basename "$0" .sh)
# No udevd in the small guest, and none is needed: dmsetup makes the nodes itself.
export DM_DISABLE_UDEV=1
export LC_ALL=C

W=$(mktemp -d "${SCRATCH:?}/$TEST_NAME.XXXXXX")
MNT=$W/mnt
mkdir "$MNT"
: >"$W/disks"
: >"$W/pools"
: >"$W/pids"
NULLB=/sys/kernel/config/nullb

# --- which module ----------------------------------------------------------------------------------------------------------------

# load_side stock|drr|dropin: load that implementation and point POOL_T, THIN_T, MODULE at it. The names thin-pool and thin belong
# to one module at a time, so the other one goes first.
load_side() {
    case $1 in
    stock)
        POOL_T=thin-pool THIN_T=thin MODULE=dm_thin_pool
        unload dm_drr
        modprobe dm-thin-pool
        ;;
    drr)
        POOL_T=drr-pool THIN_T=drr MODULE=dm_drr
        modprobe dm-drr sampling="$SAMPLING"
        ;;
    dropin)
        POOL_T=thin-pool THIN_T=thin MODULE=dm_drr
        unload dm_thin_pool
        modprobe dm-drr thin_names=2 sampling="$SAMPLING"
        ;;
    *)
        echo "TARGETS=$1: want drr, dropin or stock"
        exit 1
        ;;
    esac
    SIDE=$1
}

# unload MODULE: nothing to do when it is not there; an error when something still holds it.
unload() {
    if [ -d "/sys/module/$1" ]; then
        rmmod "$1"
    fi
}

# only SIDE…: the test has a meaning on these alone.
only() {
    for o_side in "$@"; do
        if [ "$o_side" = "$TARGETS" ]; then
            return 0
        fi
    done
    skip "needs TARGETS=$*"
}

skip() {
    echo "skip: $*"
    exit 77
}

# To stderr, or a `$(...)` around it would swallow the reason.
fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# --- expectations ----------------------------------------------------------------------------------------------------------------

# fails TEXT CMD…: CMD must fail, and say TEXT (an extended regular expression, strerror's words mostly).
fails() {
    f_text=$1
    shift
    if f_out=$("$@" 2>&1); then
        fail "succeeded, expected '$f_text': $*"
    fi
    if ! printf '%s\n' "$f_out" | grep -qE -e "$f_text"; then
        fail "expected '$f_text' from: $*; got: $f_out"
    fi
}

# equals WHAT GOT WANTED
equals() {
    if [ "$2" != "$3" ]; then
        fail "$1 is '$2', expected '$3'"
    fi
}

# at_least WHAT GOT MINIMUM / at_most WHAT GOT MAXIMUM, integers
at_least() {
    if ! [ "$2" -ge "$3" ]; then
        fail "$1 is $2, expected at least $3"
    fi
}

at_most() {
    if ! [ "$2" -le "$3" ]; then
        fail "$1 is $2, expected at most $3"
    fi
}

# wait_for SECONDS CMD…: until CMD succeeds. The seconds are a stock kernel's; a slower one gets PACE times as many.
wait_for() {
    w_left=$(($1 * 5 * ${PACE:-1}))
    shift
    until "$@"; do
        w_left=$((w_left - 1))
        if [ "$w_left" -le 0 ]; then
            fail "did not come true in time: $*"
        fi
        sleep 0.2
    done
}

# log_since prints the kernel log from here on. The marker is unique, because many tests share one boot.
log_mark() {
    LOG_MARK="test-mark $TEST_NAME $(cut -d' ' -f1 /proc/uptime) $$"
    echo "$LOG_MARK" >/dev/kmsg
}

log_since() {
    dmesg | awk -v m="${1:-$LOG_MARK}" 'index($0, m) { on = 1; out = ""; next } on { out = out $0 "\n" } END { printf "%s", out }'
}

log_mark
LOG_START=$LOG_MARK

# log_names REGEX: a line logged since log_mark matches, whatever its case.
log_names() {
    if ! log_since | grep -qiE -e "$1"; then
        echo "kernel log since the mark:"
        log_since
        fail "the kernel log does not say '$1'"
    fi
}

# --- disks -----------------------------------------------------------------------------------------------------------------------

# disk MIB [attribute=value…]: a memory-backed null_blk that reads back what was written; prints its path.
disk() {
    if ! [ -d "$NULLB" ]; then
        modprobe null_blk nr_devices=0
    fi
    d_name=drrt$(($(wc -l <"$W/disks") + 1))
    d_dir=$NULLB/$d_name
    mkdir "$d_dir"
    echo "$d_name" >>"$W/disks"
    d_size=$1
    shift
    echo "$d_size" >"$d_dir/size"
    echo 1 >"$d_dir/memory_backed"
    echo 512 >"$d_dir/blocksize"
    for d_set in "$@"; do
        echo "${d_set#*=}" >"$d_dir/${d_set%%=*}"
    done
    echo 1 >"$d_dir/power"
    wait_for 5 test -b "/dev/$d_name"
    echo "/dev/$d_name"
}

# media_attributes hdd|ssd|nvme|none: attributes that give a disk the time and the rate of a medium; the memory behind it is the guest's.
# A real medium's figures times three, because an emulated processor is slower than a real one as well.
media_attributes() {
    case $1 in
    hdd) echo "irqmode=2 completion_nsec=24000000 mbps=40" ;;
    ssd) echo "irqmode=2 completion_nsec=300000 mbps=167" ;;
    nvme) echo "irqmode=2 completion_nsec=60000 mbps=1000" ;;
    none) ;;
    *) fail "'$1': want hdd, ssd, nvme or none" ;;
    esac
}

# disk_remove PATH
disk_remove() {
    echo 0 >"$NULLB/${1##*/}/power"
    rmdir "$NULLB/${1##*/}"
}

sectors() {
    # What `disk` made has its own name in sysfs, and that is no process.
    if [ -r "/sys/class/block/${1#/dev/}/size" ]; then
        read -r c_sectors <"/sys/class/block/${1#/dev/}/size"
        echo "$c_sectors"
    else
        blockdev --getsz "$1"
    fi
}

# sectors_read DEV: read from the device so far, in sectors of 512 bytes.
sectors_read() {
    awk '{ print $3 }' "/sys/class/block/${1##*/}/stat"
}

sectors_written() {
    awk '{ print $7 }' "/sys/class/block/${1##*/}/stat"
}

drop_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

# --- pools and thins -------------------------------------------------------------------------------------------------------------

# pool_load NAME META DATA CHUNK_SECTORS [LOW_WATER [FEATURE…]]: a pool over devices that exist. Its metadata is checked when it
# goes.
pool_load() {
    p_name=$1 p_meta=$2 p_data=$3 p_bs=$4 p_low=${5:-0}
    if [ $# -gt 5 ]; then shift 5; else shift $#; fi
    dmsetup create "$p_name" --table "0 $(sectors "$p_data") $POOL_T $p_meta $p_data $p_bs $p_low $# $*"
    echo "$p_name $p_meta" >>"$W/pools"
}

# pool [CHUNK_SECTORS [DATA_MIB [LOW_WATER [FEATURE…]]]]: module, fresh disks $META and $DATA, and the pool $POOL on them.
pool() {
    load_side "$TARGETS"
    META=$(disk 8)
    # shellcheck disable=SC2086 # several attributes
    DATA=$(disk "${2:-128}" ${DATA_ATTRS:-})
    POOL=pool
    n_bs=${1:-128} n_low=${3:-0}
    if [ $# -gt 3 ]; then shift 3; else shift $#; fi
    pool_load "$POOL" "$META" "$DATA" "$n_bs" "$n_low" "$@"
}

message() {
    dmsetup message "$POOL" 0 "$*"
}

# restored_pool CHUNKS FREE: a pool whose device 0 maps CHUNKS chunks in an order that makes no runs, and device 1 (4 MiB)
# 64 more; FREE are free. Nothing that is written to it is kept.
restored_pool() {
    META=$(disk 64)
    DATA=$(disk $((($1 + $2 + 64) / 16 + 1)) memory_backed=0)
    POOL=pool
    awk -v n="$1" -v all=$(($1 + $2 + 64)) 'BEGIN {
        printf "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"%d\">\n", all
        printf "<device dev_id=\"0\" mapped_blocks=\"%d\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", n
        for (i = 0; i < n; i++)
            printf "<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"0\"/>\n", i, (i * 7919) % n
        print "</device>"
        print "<device dev_id=\"1\" mapped_blocks=\"64\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">"
        printf "<range_mapping origin_begin=\"0\" data_begin=\"%d\" length=\"64\" time=\"0\"/>\n</device>\n</superblock>\n", n
    }' >"$W/pool.xml"
    thin_restore -q -i "$W/pool.xml" -o "$META"
    rm "$W/pool.xml"
    pool_load pool "$META" "$DATA" 128
    equals "chunks used" "$(chunks_used)" $(($1 + 64))
}

# thin NAME ID MIB: activate a thin that exists. thin_new also creates it.
thin() {
    dmsetup create "$1" --table "0 $(($3 * 2048)) $THIN_T /dev/mapper/$POOL $2"
}

thin_new() {
    message create_thin "$2"
    thin "$@"
}

# snap NAME ID ORIGIN_NAME ORIGIN_ID: as dm-thin's documentation asks, with the origin suspended; the snapshot is activated with
# the origin's size.
snap() {
    dmsetup suspend "$3"
    message create_snap "$2" "$4"
    dmsetup resume "$3"
    dmsetup create "$1" --table "0 $(sectors "/dev/mapper/$3") $THIN_T /dev/mapper/$POOL $2"
}

remove() {
    for r_name in "$@"; do
        dmsetup remove "$r_name"
    done
}

# pool_remove NAME: removes it and checks its metadata.
pool_remove() {
    dmsetup remove "$1"
    q_meta=$(awk -v n="$1" '$1 == n { print $2 }' "$W/pools")
    pool_forget "$1"
    check_metadata "$q_meta"
}

# pool_forget NAME: the teardown shall not check this pool's metadata (it was broken on purpose, or has gone elsewhere).
pool_forget() {
    awk -v n="$1" '$1 != n' "$W/pools" >"$W/pools.new"
    mv "$W/pools.new" "$W/pools"
}

# metadata_is_sound DEV: thin_check passes; what it does not like is in $W/thin_check. Its progress display, which -q spares us, takes
# half a second.
metadata_is_sound() {
    thin_check -q "$1" 2>/dev/null || {
        thin_check "$1" >"$W/thin_check" 2>&1 || :
        return 1
    }
}

check_metadata() {
    if ! metadata_is_sound "$1"; then
        cat "$W/thin_check"
        fail "thin_check rejects the metadata on $1"
    fi
}

# pool_field N: field N of the pool's status: 1 transaction, 2 used/total metadata blocks, 3 used/total chunks, 4 held root, 5 mode,
# 6 discard, 7 no space, 8 needs_check, 9 threshold.
pool_field() {
    word $(($1 + 3)) "$(dmsetup status "$POOL")"
}

# word N TEXT: word N of a line, from 1. Without a process: on an emulated processor these take most of a test's time.
word() {
    o_n=$1
    # shellcheck disable=SC2086 # that is what it is for
    set -- $2
    if [ $# -ge "$o_n" ]; then
        shift $((o_n - 1))
        echo "$1"
    fi
}

chunks_used() {
    c_field=$(pool_field 3)
    echo "${c_field%%/*}"
}

# fills_no_more LEAST, for wait_for: LEAST chunks at least were allocated, and none for four questions, because whoever writes may not have had
# the processor for a moment. On dm-thin, which fills as many as are asked for or one, more than 40 will do.
FILLED=0
UNFILLED=0
fills_no_more() {
    f_before=$FILLED f_least=$1
    has_drr || f_least=40
    FILLED=$(chunks_used)
    if [ "$FILLED" -ge "$f_least" ] && [ "$FILLED" = "$f_before" ]; then
        UNFILLED=$((UNFILLED + 1))
    else
        UNFILLED=0
    fi
    [ "$UNFILLED" -ge 4 ]
}

# pool_word N: field N again, as it was at the last commit: a full pool would hold up the one that a plain status asks for.
pool_word() {
    word $(($1 + 3)) "$(dmsetup status --noflush "$POOL")"
}

# mode_is MODE
mode_is() {
    [ "$(pool_word 5)" = "$1" ]
}

# events NAME: how many events the device has had.
events() {
    dmsetup info -c --noheadings -o events "$1"
}

# reload NAME TABLE: as LVM changes a live table: loaded, suspended without flushing, resumed.
reload() {
    dmsetup reload "$1" --table "$2"
    dmsetup suspend --noflush --nolockfs "$1"
    dmsetup resume "$1"
}

# thin_mapped NAME: sectors mapped.
thin_mapped() {
    word 4 "$(dmsetup status "$1")"
}

# --- data and its model ----------------------------------------------------------------------------------------------------------
# A model is a file in memory that holds what a device has to read back. `put` writes the same random bytes to both.

# model FILE MIB: all zeroes.
model() {
    truncate -s "$2M" "$1"
}

# noise FILE BYTES: bytes that nobody can guess.
noise() {
    head -c "$2" /dev/urandom >"$1"
}

# put NAME MODEL OFFSET LENGTH [direct]: bytes; for direct both are multiples of 512.
put() {
    u_flags=seek_bytes
    if [ "${5:-}" = direct ]; then
        u_flags=$u_flags,direct
    fi
    noise "$W/noise" "$4"
    dd if="$W/noise" of="/dev/mapper/$1" bs="$4" seek="$3" count=1 oflag="$u_flags" conv=notrunc,fsync status=none
    dd if="$W/noise" of="$2" bs="$4" seek="$3" count=1 oflag=seek_bytes conv=notrunc status=none
}

# same NAME MODEL: every byte of the device, read past the cache, is the model's.
same() {
    blockdev --flushbufs "/dev/mapper/$1"
    dd if="/dev/mapper/$1" bs=1M iflag=direct status=none | cmp - "$2" || fail "/dev/mapper/$1 differs from its model"
    # And again the buffered way, because the two take different paths through the target.
    cmp "/dev/mapper/$1" "$2" || fail "/dev/mapper/$1 differs from its model when read through the page cache"
}

# random_puts NAME MODEL MIB COUNT MAX_SECTORS: writes of 512 bytes to MAX_SECTORS sectors at random places, the first half direct,
# the others through the page cache. One xfs_io does many: starting processes is what costs on an emulated machine.
random_puts() {
    noise "$W/noise" $((2 * $5 * 512))
    read -r r_seed </proc/sys/kernel/random/uuid
    awk -v mib="$3" -v n="$4" -v max="$5" -v noise="$W/noise" -v seed=$((0x${r_seed%%-*})) 'BEGIN {
        srand(seed)
        for (i = 0; i < n; i++) {
            len = 1 + int(rand() * max)
            off = int(rand() * (mib * 2048 - len + 1))
            printf "%s pwrite -q -i %s -s %d -b %d %d %d\n", i < n / 2 ? "direct" : "cached", noise,
                int(rand() * max) * 512, len * 512, off * 512, len * 512
        }
    }' >"$W/puts"
    puts_of direct "/dev/mapper/$1" -d
    puts_of cached "/dev/mapper/$1"
    puts_of all "$2"
}

# puts_of direct|cached|all FILE [xfs_io option]: that part of $W/puts, and an fsync.
puts_of() {
    v_how=$1 v_file=$2 v_flag=${3:-}
    set --
    while read -r u_how u_command; do
        if [ "$v_how" = all ] || [ "$u_how" = "$v_how" ]; then
            set -- "$@" -c "$u_command"
        fi
    done <"$W/puts"
    xfs_io ${v_flag:+"$v_flag"} "$@" -c fsync "$v_file" >"$W/xfs_io" 2>&1
    # xfs_io exits with 0 after some failures, but then it has something to say.
    if [ -s "$W/xfs_io" ]; then
        cat "$W/xfs_io"
        fail "writing to $v_file"
    fi
}

# check_read_after_write CHUNK_SECTORS: the same journey for every chunk size.
check_read_after_write() {
    pool "$1" 192
    c_bytes=$(($1 * 512))
    # The size is no multiple of the chunk, as a rule: the last chunk is cut off by the device's end.
    thin_new t 0 20
    model "$W/t" 20
    put t "$W/t" 512 512 direct
    put t "$W/t" $((c_bytes - 4096)) 8192 direct
    put t "$W/t" $((3 * c_bytes)) "$c_bytes" direct
    put t "$W/t" $((5 * c_bytes + 512)) $((2 * c_bytes)) direct
    put t "$W/t" $((20 * 1048576 - 2048)) 2048 direct
    put t "$W/t" 777 4321
    same t "$W/t"
    random_puts t "$W/t" 20 40 $(($1 * 2))
    same t "$W/t"
    snap s 1 t 0
    cp "$W/t" "$W/s"
    random_puts t "$W/t" 20 20 $(($1 * 2))
    random_puts s "$W/s" 20 20 $(($1 * 2))
    same t "$W/t"
    same s "$W/s"
    fio --name=v --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bsrange=512-128k --blockalign=512 \
        --size=20m --verify=crc32c --verify_fatal=1 --serialize_overlap=1 --fsync=64 >"$W/fio" 2>&1 || {
        cat "$W/fio"
        fail "fio found wrong data on $1 sectors a chunk"
    }
    same s "$W/s"
}

# mounted DEV [options]: mounts /dev/mapper/DEV, prints the place.
mounted() {
    m_dir=$MNT/$1
    mkdir -p "$m_dir"
    mount -o "${2:-rw}" "/dev/mapper/$1" "$m_dir"
    echo "$m_dir"
}

# sums DIR: checksums of every file below it, from the device and not from the cache.
sums() {
    drop_caches
    (cd "$1" && find . -type f -exec sha256sum {} + | sort -k2)
}

# exchange MAKER OTHER: a pool made by one implementation goes to the other and back, and each finds, changes and adds to what the
# other left: ext4 in an origin, snapshots, contents by checksum, metadata by thin_check at every hand-over.
exchange() {
    e_maker=$1 e_other=$2
    load_side "$e_maker"
    META=$(disk 8)
    DATA=$(disk 192 discard=1)
    POOL=pool
    # Hands the pool over: everything off, module out, the other one in.
    e_to() {
        e_tid=$(pool_field 1)
        e_used=$(chunks_used)
        pool_remove pool
        unload "$MODULE"
        load_side "$1"
        pool_load pool "$META" "$DATA" 128
        equals "transaction after the hand-over" "$(pool_field 1)" "$e_tid"
        equals "chunks used after the hand-over" "$(chunks_used)" "$e_used"
    }
    e_noise() {
        for e_i in 1 2 3 4; do
            noise "$1/$2$e_i" $((e_i * 120001))
        done
    }

    pool_load pool "$META" "$DATA" 128
    thin_new t 0 64
    mkfs.ext4 -q -b 4096 /dev/mapper/t
    e_dir=$(mounted t)
    e_noise "$e_dir" first
    sync
    snap s 1 t 0
    e_noise "$e_dir" second
    umount "$e_dir"
    e_dir=$(mounted t)
    sums "$e_dir" >"$W/t.sums"
    umount "$e_dir"
    e_dir=$(mounted s)
    sums "$e_dir" >"$W/s.sums"
    umount "$e_dir"
    message set_transaction_id 0 9
    remove t s

    for e_round in "$e_other" "$e_maker"; do
        e_to "$e_round"
        thin t 0 64
        thin s 1 64
        for e_name in t s; do
            e_dir=$(mounted "$e_name")
            sums "$e_dir" | cmp - "$W/$e_name.sums" || fail "$e_name differs on $e_round"
            # Overwritten in place on one side of the sharing, removed, added.
            dd if=/dev/urandom of="$e_dir/first3" bs=4k count=20 seek=7 conv=notrunc status=none
            rm -f "$e_dir/first1"
            e_noise "$e_dir" "$e_round"
            fstrim "$e_dir"
            sums "$e_dir" >"$W/$e_name.sums"
            umount "$e_dir"
        done
        # A snapshot of what the other one wrote replaces s: it is equal to t now.
        remove s
        message delete 1
        message create_snap 1 0
        cp "$W/t.sums" "$W/s.sums"
        # And t moves on.
        e_dir=$(mounted t)
        e_noise "$e_dir" after
        sums "$e_dir" >"$W/t.sums"
        umount "$e_dir"
        e2fsck -fn /dev/mapper/t >"$W/e2fsck" 2>&1 || {
            cat "$W/e2fsck"
            fail "e2fsck finds faults"
        }
        remove t
    done
}

# --- external origins ------------------------------------------------------------------------------------------------------------

# external_disk MIB: a disk of noise for external origins, $EXT; $W/ext is what it holds.
external_disk() {
    EXT=$(disk "$1")
    noise "$W/ext" $(($1 * 1048576))
    dd if="$W/ext" of="$EXT" bs=1M oflag=direct status=none
}

# external NAME SECTORS: the first sectors of $EXT as a device of their own.
external() {
    dmsetup create "$1" --table "0 $2 linear $EXT 0"
}

# external_thin NAME ID SECTORS ORIGIN: activates a thin that exists, over /dev/mapper/ORIGIN.
external_thin() {
    dmsetup create "$1" --table "0 $3 $THIN_T /dev/mapper/$POOL $2 /dev/mapper/$4"
}

# external_model FILE SECTORS ORIGIN_SECTORS: what such a thin reads back as long as nothing was written to it.
external_model() {
    truncate -s 0 "$1"
    head -c $(($3 * 512)) "$W/ext" >"$1"
    truncate -s $(($2 * 512)) "$1"
}

# external_unharmed: nobody has written to $EXT.
external_unharmed() {
    dd if="$EXT" bs=1M iflag=direct status=none | cmp - "$W/ext" || fail "the external origin was written to"
}

# --- I/O beside something else ----------------------------------------------------------------------------------------------------

# io_goes_on WHAT SHARE KIND=NAME[…] -- CMD…: while CMD runs, I/O on the thins is answered, and never pauses for more than one part
# in SHARE of its time. KIND is as in io_beside.py. On dm-thin it waits for the whole of it: there the pauses are only told.
io_goes_on() {
    g_what=$1 g_share=$2
    shift 2
    g_loads=
    while [ "$1" != -- ]; do
        g_loads="$g_loads ${1%%=*}=/dev/mapper/${1#*=}"
        shift
    done
    shift
    # shellcheck disable=SC2086 # several words
    python3 "$TESTS/io_beside.py" $g_loads "$@" >"$W/io"
    while read -r g_kind g_count g_longest g_whole; do
        echo "$g_what in $g_whole ms; $g_count $g_kind meanwhile, the longest pause $g_longest ms"
        if has_drr; then
            at_least "$g_kind during the $g_what" "$g_count" $((g_share * 2))
            at_most "the longest pause of $g_kind, ms" "$g_longest" $((g_whole / g_share))
        fi
    done <"$W/io"
}

# --- DRR -------------------------------------------------------------------------------------------------------------------------

# The data checks of these tests hold for dm-thin as well, so that they can be shown to be right on it; the figures are dm-drr's own.

has_drr() {
    [ "$SIDE" != stock ]
}

# stat_of NAME: a figure out of the pool's `stats` answer; 0 on a dm-thin.
stat_of() {
    if ! has_drr; then
        echo 0
        return 0
    fi
    n_name=$1
    # shellcheck disable=SC2046 # pairs of words
    set -- $(dmsetup message "$POOL" 0 stats)
    while [ $# -gt 1 ]; do
        if [ "$1" = "$n_name" ]; then
            echo "$2"
            return 0
        fi
        shift 2
    done
    fail "stats does not tell $n_name"
}

# drr_at_least STAT MINIMUM / drr_is STAT VALUE
drr_at_least() {
    if has_drr; then
        at_least "$1" "$(stat_of "$1")" "$2"
    fi
}

drr_is() {
    if has_drr; then
        equals "$1" "$(stat_of "$1")" "$2"
    fi
}

drr_message() {
    if has_drr; then
        message "$@" >/dev/null
    fi
}

# no_mismatches: with `verify on`, whatever was served was what the disk has.
no_mismatches() {
    drr_is verify_mismatches 0
}

# image FS MIB [mkfs option…]: a pool, a file system on thin 0 with $IMAGE_FILES in it (default: file, 16 MiB of noise), and two
# snapshots of it, a and b, not mounted yet; $W/file is what file holds. Verification is off: what is served is what the test sees.
image() {
    i_fs=$1 i_mib=$2
    shift 2
    pool "${CHUNK:-128}" "${DATA_MIB:-256}"
    thin_new origin 0 "$i_mib"
    "mkfs.$i_fs" -q "$@" /dev/mapper/origin
    i_dir=$(mounted origin)
    noise "$W/file" $((${FILE_MIB:-16} * 1048576))
    cp "$W/file" "$i_dir/file"
    if [ -n "${TREE:-}" ]; then
        tree "$i_dir" "$TREE"
    fi
    sync
    umount "$i_dir"
    snap a 1 origin 0
    snap b 2 origin 0
    remove origin
    FS=$i_fs
}

# cached FILE…: how many pages of all these files are in the page cache.
cached() {
    python3 "$TESTS/cached.py" "$@" | awk '{ n += $1 } END { print n }'
}

# cached_at_most PAGES FILE…, for wait_for.
cached_at_most() {
    c_most=$1
    shift
    [ "$(cached "$@")" -le "$c_most" ]
}

# tree DIR WORD: 32 directories of 40 small files below DIR, with WORD in their names: metadata to read.
tree() {
    python3 - "$@" <<'END'
import os, sys
for d in range(32):
    path = os.path.join(sys.argv[1], "%s.%d" % (sys.argv[2], d))
    os.mkdir(path)
    for f in range(40):
        with open(os.path.join(path, "a-file-of-%s-%d" % (sys.argv[2], f)), "w") as out:
            out.write("x" * f)
END
}

# listing DIR: what `ls -lR` tells of all that is below it, without DIR's own name.
listing() {
    (cd "$1" && ls -lR .)
}

# mount_ab OPTIONS: both snapshots at $A and $B. XFS has to be told that the two are no accident.
mount_ab() {
    if [ "$FS" = xfs ]; then
        set -- "$1,nouuid"
    fi
    # shellcheck disable=SC2034 # for the tests
    A=$(mounted a "$1")
    # shellcheck disable=SC2034 # for the tests
    B=$(mounted b "$1")
}

# --- figures for the host -----------------------------------------------------------------------------------------------------------

milliseconds() {
    awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime
}

# figure SIDE CASE METRIC VALUE: a line for the demo's and the benchmarks' tables; VALUE null where a side has none.
figure() {
    echo "figure $*"
}

# side_name SIDE: what the tables call it.
side_name() {
    case $1 in
    stock) echo dm-thin ;;
    *) echo dm-drr ;;
    esac
}

# --- background work, teardown ---------------------------------------------------------------------------------------------------

# in_background CMD…: leaves its process id in $!, and the teardown ends it should the test not get that far.
in_background() {
    "$@" &
    echo $! >>"$W/pids"
}

# throttled LIMIT CMD…: CMD in the background, in a cgroup whose I/O on the data device is limited: `rbps=4096`. Only one at a time;
# `unthrottled` lifts the limit.
THROTTLED=/sys/fs/cgroup/throttled
throttled() {
    echo +io >/sys/fs/cgroup/cgroup.subtree_control
    mkdir "$THROTTLED"
    echo "$(cat "/sys/class/block/${DATA##*/}/dev") $1" >"$THROTTLED/io.max"
    shift
    # shellcheck disable=SC2016 # for the other shell
    in_background sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' - "$THROTTLED" "$@"
}
unthrottled() {
    echo "$(cat "/sys/class/block/${DATA##*/}/dev") rbps=max wbps=max" >"$THROTTLED/io.max"
}

# cgroup_remove DIR: whose last process has been waited for, and may still be leaving (kernel/cgroup/cgroup.c, cgroup_task_dead).
cgroup_remove() {
    wait_for 10 rmdir "$1"
}

# in_flight NAME [N], for wait_for: N bios of the dm device, one by default, have been mapped and not ended.
in_flight() {
    read -r _ _ _ _ _ _ _ _ b_under_way _ <"/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$1")/stat"
    [ "$b_under_way" -ge "${2:-1}" ]
}

# in_ioctl PID, for wait_for: it waits in an ioctl, as dmsetup does when its message is not answered yet.
in_ioctl() {
    read -r b_call _ <"/proc/$1/syscall" && [ "$b_call" = 16 ]
}

# khugepaged_off: until the test ends nobody moves the pages of a mapped file into huge ones, away from where the records lead, or empties other
# processors' batches for the LRU lists.
THP=/sys/kernel/mm/transparent_hugepage/enabled
khugepaged_off() {
    if [ -e "$THP" ] && ! [ -e "$W/thp" ]; then
        sed 's/.*\[\(.*\)\].*/\1/' "$THP" >"$W/thp"
        echo never >"$THP"
    fi
}

# still_going PID WHAT
still_going() {
    kill -0 "$1" 2>/dev/null || fail "$2 has ended"
}

# answered CMD…: it succeeds in seconds, and not when something else ends.
answered() {
    in_background "$@"
    a_job=$!
    a_left=100
    while kill -0 "$a_job" 2>/dev/null; do
        a_left=$((a_left - 1))
        [ "$a_left" -gt 0 ] || fail "hangs: $*"
        sleep 0.1
    done
    wait "$a_job" || fail "failed: $*"
}

# ended_soon PID SECONDS WHAT: that was filling far more chunks than may be filled at a time, and does not hang any more. Were the next ones only
# begun when the pool's clock ticks, once a second, it would take an eighth longer at least, even on a machine that takes no time for them.
ended_soon() {
    e_begin=$(milliseconds)
    wait "$1" || fail "$3 failed"
    e_took=$(($(milliseconds) - e_begin))
    echo "$3 has ended after $e_took ms"
    if has_drr; then
        at_most "the time that $3 took, ms" "$e_took" $(($2 * 1000 * ${PACE:-1}))
    fi
}

# dm_remove_all: thins before the pools they sit on; dm refuses what is still in use, so go round until nothing moves.
dm_remove_all() {
    # A suspended device would swallow the flush of whatever is above it for ever.
    dmsetup ls 2>/dev/null | awk '/\(/ { print $1 }' | while read -r a_name; do
        dmsetup info -c --noheadings -o suspended "$a_name" | grep -q Suspended && dmsetup resume "$a_name"
    done
    a_tries=0
    while dmsetup ls | grep -q '('; do
        a_tries=$((a_tries + 1))
        if [ "$a_tries" -gt 25 ]; then
            echo "devices that cannot be removed:"
            dmsetup info -c
            return 1
        fi
        for a_name in $(dmsetup ls | awk '{ print $1 }'); do
            dmsetup remove "$a_name" >/dev/null 2>&1 || :
        done
        if dmsetup ls | grep -q '(' && [ "$a_tries" -gt 5 ]; then
            sleep 0.2
        fi
    done
}

teardown() {
    t_bad=0
    cd /
    if [ -d "$THROTTLED" ]; then
        unthrottled
    fi
    while read -r t_pid; do
        kill "$t_pid" 2>/dev/null || :
    done <"$W/pids"
    wait 2>/dev/null || :
    if [ -d "$THROTTLED" ]; then
        (cgroup_remove "$THROTTLED") || t_bad=1
    fi
    if [ -e "$W/thp" ]; then
        cat "$W/thp" >"$THP"
        rm "$W/thp"
    fi
    # Newest first: a mount may sit on a loop file inside another one.
    awk -v m="$MNT/" 'index($2, m) == 1 { print $2 }' /proc/mounts | sort -r | while read -r t_dir; do
        umount "$t_dir" || umount -l "$t_dir"
    done
    dm_remove_all || t_bad=1
    while read -r t_name t_meta; do
        if ! metadata_is_sound "$t_meta"; then
            echo "thin_check rejects the metadata of pool $t_name:"
            cat "$W/thin_check"
            t_bad=1
        fi
    done <"$W/pools"
    if [ -e /dev/loop0 ]; then
        losetup -l -n -O NAME,BACK-FILE 2>/dev/null | awk -v w="$W/" 'index($2, w) == 1 { print $1 }' | while read -r t_loop; do
            losetup -d "$t_loop"
        done
    fi
    while read -r t_disk; do
        if [ -d "$NULLB/$t_disk" ]; then
            disk_remove "/dev/$t_disk" || t_bad=1
        fi
    done <"$W/disks"
    for t_module in dm_drr dm_thin_pool; do
        if ! unload "$t_module"; then
            echo "$t_module cannot be unloaded: a reference has leaked"
            t_bad=1
        fi
    done
    return $t_bad
}

# taken_down NAME: all that was made is gone, and the next side of a comparison can be set up.
taken_down() {
    (teardown) || fail "$1: could not be taken down"
    : >"$W/disks"
    : >"$W/pools"
}

on_exit() {
    x_rc=$?
    trap - EXIT
    set +e
    if [ "$x_rc" != 0 ] && [ "$x_rc" != 77 ]; then
        echo "--- $TEST_NAME: exit $x_rc; tables, status, the end of the kernel log:"
        dmsetup table
        # --noflush: a pool that is out of space must not hold up its own report.
        dmsetup status --noflush
        log_since "$LOG_START" | tail -n 60
    fi
    (teardown)
    x_torn=$?
    if [ "$x_torn" != 0 ] && { [ "$x_rc" = 0 ] || [ "$x_rc" = 77 ]; }; then
        echo "--- $TEST_NAME: could not be taken down; the end of the kernel log:"
        log_since "$LOG_START" | tail -n 60
        x_rc=1
    fi
    rm -rf "$W"
    exit "$x_rc"
}
trap on_exit EXIT
trap 'exit 1' INT TERM HUP

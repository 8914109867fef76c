#!/bin/sh
# Some blocks of the metadata device take no writes: the commit that needs one fails, and what is on the disk is the commit before it.
# vm: timeout=300
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 64 discard=1)
POOL=pool
all=$(sectors "$META")
whole="0 $all linear $META 0"

# with_hole BLOCK: a table in which that block fails.
with_hole() {
    h_at=$(($1 * 8))
    printf '0 %s linear %s 0\n%s 8 error\n%s %s linear %s %s\n' "$h_at" "$META" "$h_at" $((h_at + 8)) $((all - h_at - 8)) "$META" $((h_at + 8))
}

# hole TABLE: under running I/O.
hole() {
    dmsetup suspend --noflush --nolockfs meta
    dmsetup load meta --table "$1"
    dmsetup resume meta
}

failures=0
for bad in $(seq "${FIRST:-12}" "${STEP:-8}" "${LAST:-60}"); do
    dd if=/dev/zero of="$META" bs=1M count=8 oflag=direct status=none
    dmsetup create meta --table "$whole"
    dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/meta $DATA 128 0"
    message create_thin 0
    thin t 0 16
    dd if=/dev/urandom of=/dev/mapper/t bs=64k count=4 oflag=direct conv=fsync status=none
    hole "$(with_hole "$bad")"
    n=1
    while [ $n -lt 40 ] && [ "$(pool_word 5)" = rw ]; do
        message create_snap $n 0 2>/dev/null || :
        dd if=/dev/urandom of=/dev/mapper/t bs=64k count=1 seek=$((n % 8)) oflag=direct conv=fsync status=none 2>/dev/null || :
        if [ $((n % 3)) = 0 ]; then
            message reserve_metadata_snap 2>/dev/null || :
            message release_metadata_snap 2>/dev/null || :
        fi
        n=$((n + 1))
    done
    if [ "$(pool_word 5)" != rw ]; then
        failures=$((failures + 1))
    fi
    hole "$whole"
    remove t
    dmsetup remove pool
    thin_check --clear-needs-check-flag /dev/mapper/meta >"$W/thin_check" 2>&1 || {
        cat "$W/thin_check"
        fail "block $bad bad: thin_check rejects the metadata"
    }
    dmsetup remove meta
done
at_least "commits that failed" "$failures" 3

#!/bin/sh
# Full, with space again, read-only by a new table and back: who waits for a dm event hears of each change of mode.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

# leads_to MODE CMD…
leads_to() {
    l_mode=$1
    shift
    # Returns at once when the event has come before the waiting.
    in_background timeout 60 dmsetup wait --noflush pool "$(events pool)"
    l_waiter=$!
    "$@"
    wait "$l_waiter" || fail "no event on the way to $l_mode"
    wait_for 10 mode_is "$l_mode"
}

pool 128 8 0 error_if_no_space
size=$(sectors "$DATA")
thin_new t 0 16
leads_to out_of_data_space fails 'No space left' dd if=/dev/zero of=/dev/mapper/t bs=1M oflag=direct
leads_to rw blkdiscard -o 0 -l 1048576 /dev/mapper/t
leads_to ro reload pool "0 $size $POOL_T $META $DATA 128 0 1 read_only"
leads_to rw reload pool "0 $size $POOL_T $META $DATA 128 0"
now=$(events pool)
# The same table again changes nothing.
dmsetup suspend pool
dmsetup resume pool
equals events "$(events pool)" "$now"

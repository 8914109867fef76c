#!/bin/sh
# snapshot_copy_throttle bounds the share of time that copies of chunks take, as on dm-thin, and can be changed while they run.
# vm: timeout=120
. "$TESTS/lib.sh"

DATA_ATTRS="irqmode=2 completion_nsec=4000000" pool 128 16
throttle=/sys/module/$MODULE/parameters/snapshot_copy_throttle
equals "snapshot_copy_throttle" "$(cat "$throttle")" 100
thin_new t 0 8
dd if=/dev/zero of=/dev/mapper/t bs=64k count=12 oflag=direct conv=notrunc status=none
snap s 1 t 0

# broken FIRST: how long it takes to break the sharing of four chunks one after the other, in milliseconds.
broken() {
    b_begin=$(milliseconds)
    for b_i in 0 1 2 3; do
        set -- "$@" -c "pwrite -q -b 4k $((($1 + b_i) * 65536)) 4k"
    done
    shift
    xfs_io -d "$@" /dev/mapper/t
    echo $(($(milliseconds) - b_begin))
}
free=$(broken 0)
# The lesser of two: something else may have had the processor.
again=$(broken 4)
if [ "$again" -lt "$free" ]; then
    free=$again
fi
echo 1 >"$throttle"
equals "snapshot_copy_throttle" "$(cat "$throttle")" 1
held=$(broken 8)
echo 100 >"$throttle"
echo "four copies took $free ms, and $held ms in a hundredth of the time"
at_least "the time of throttled copies, ms" "$held" $((free + 300))

#!/bin/sh
# Discards and writes to neighbouring chunks of an origin and its snapshot at once: each side reads as its own model.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 16777216 direct
snap s 1 t 0
cp "$W/t" "$W/s"
# Even chunks are discarded, odd ones written, on both at the same time; the order between neighbours does not matter.
odd_and_even() {
    o_dev=$1 o_model=$2
    noise "$o_model.noise" 65536
    o_i=0
    while [ "$o_i" -lt 128 ]; do
        dd if="$o_model.noise" of="/dev/mapper/$o_dev" bs=64k seek=$((2 * o_i + 1)) count=1 oflag=direct conv=notrunc status=none
        o_i=$((o_i + 4))
    done &
    o_writer=$!
    o_i=0
    while [ "$o_i" -lt 128 ]; do
        blkdiscard -o $((2 * o_i * 65536)) -l 65536 "/dev/mapper/$o_dev"
        o_i=$((o_i + 4))
    done
    wait "$o_writer"
    o_i=0
    while [ "$o_i" -lt 128 ]; do
        dd if=/dev/zero of="$o_model" bs=64k seek=$((2 * o_i)) count=1 conv=notrunc status=none
        dd if="$o_model.noise" of="$o_model" bs=64k seek=$((2 * o_i + 1)) count=1 conv=notrunc status=none
        o_i=$((o_i + 4))
    done
}
in_background odd_and_even t "$W/t"
first=$!
odd_and_even s "$W/s"
wait "$first"
same t "$W/t"
same s "$W/s"

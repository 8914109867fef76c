#!/bin/sh
# Damaged metadata, its checksums put right, ends in an error or a change of mode: no oops, no hang, no foreign bytes.
# vm: timeout=300 hostile=yes smp=2
. "$TESTS/lib.sh"

# A fixed sample of what hostile_metadata_long does. Two runs beside each other, each with one half of the images. HOSTILE_SEED,
# HOSTILE_FIRST and HOSTILE_COUNT choose others.
load_side "$TARGETS"
kind=
[ "$TARGETS" = drr ] || kind=stock
count=$((${HOSTILE_COUNT:-100} / 2))
runs=
for part in 0 1; do
    meta=$(disk 1)
    data=$(disk 128 discard=1)
    # shellcheck disable=SC2086 # nothing, or one word
    in_background "$TESTS/bin/hostile" metadata $kind "${HOSTILE_SEED:-1}" $((${HOSTILE_FIRST:-0} + part * count)) "$count" "$meta" "$data"
    runs="$runs $!"
done
for run in $runs; do
    wait "$run"
done

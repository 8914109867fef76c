#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench mapped`: what a bio costs on data that is mapped and not shared, on a disk without latency: on
# dm-linear, dm-thin and dm-drr.
#
#   TESTS   directory with lib.sh and direct.py      SCRATCH writable directory

TARGETS=stock
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

MIB=${MIB:-128}

# cases NAME DEVICE
cases() {
    # Mapped, and with something to read.
    dd if=/dev/urandom of="$2" bs=1M count="$MIB" oflag=direct status=none
    for kind in read write; do
        figure "$1" "4k-$kind" bio.1 "$(python3 "$TESTS/direct.py" "$2" $kind 4096 4000 "$MIB" random)"
        figure "$1" "1m-$kind" bio.1 "$(python3 "$TESTS/direct.py" "$2" $kind 1048576 100 "$MIB")"
    done
    echo "$1: done"
}

on_pool() {
    load_side "$1"
    META=$(disk 16)
    DATA=$(disk $((MIB + 32)))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
    thin_new t 0 "$MIB"
    cases "$(side_name "$1")" /dev/mapper/t
    taken_down "$(side_name "$1")"
}

DATA=$(disk $((MIB + 32)))
dmsetup create lin --table "0 $((MIB * 2048)) linear $DATA 0"
cases dm-linear /dev/mapper/lin
taken_down dm-linear
on_pool stock
on_pool drr

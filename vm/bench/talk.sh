#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench talk`: the steps of the DRR talk (SDC 2016). Containers C1, C2 and C3 of one image start in turn,
# C1 is removed, C4 starts; each reads one big file and takes the md5sum of another, on dm-thin and on dm-drr.
#
#   TESTS   directory with lib.sh and read.py        MEDIA   hdd, ssd or nvme
#   SCRATCH writable directory

TARGETS=stock
SAMPLING=1
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

MIB=${MIB:-64}

# now: nanoseconds.
now() {
    python3 -c 'import time; print(time.monotonic_ns())'
}

# start CONTAINER NUMBER
start() {
    message "create_snap $2 0"
    thin "$1" "$2" $((MIB * 2 + 48))
    dir=$(mounted "$1" ro,noload)
    before=$(sectors_read "$DATA")
    read=$(python3 "$TESTS/read.py" "$dir/file" | awk '{ printf "%.2f\n", $1 / 1000000 }')
    begin=$(now)
    sum=$(md5sum <"$dir/summed")
    summed=$(awk -v ns=$(($(now) - begin)) 'BEGIN { printf "%.2f\n", ns / 1000000 }')
    equals "md5sum of the file in $1" "$sum" "$SUM"
    bytes=$(awk -v s=$(($(sectors_read "$DATA") - before)) 'BEGIN { printf "%.1f\n", s / 2048 }')
    figure "$NAME" "$1" read.1 "$read"
    figure "$NAME" "$1" md5.1 "$summed"
    figure "$NAME" "$1" bytes.1 "$bytes"
    echo "$NAME, $1: $read ms, md5sum $summed ms, $bytes MiB from the device"
}

# stop CONTAINER NUMBER: it goes, with its layer.
stop() {
    umount "$MNT/$1"
    dmsetup remove "$1"
    message "delete $2"
}

for side in stock drr; do
    load_side "$side"
    NAME=$(side_name "$side")
    META=$(disk 16)
    # shellcheck disable=SC2046 # several attributes
    DATA=$(disk $((MIB * 2 + 112)) $(media_attributes "$MEDIA"))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
    thin_new origin 0 $((MIB * 2 + 48))
    mkfs.ext4 -q -b 4096 /dev/mapper/origin
    dir=$(mounted origin)
    for file in file summed; do
        head -c $((MIB * 1048576)) /dev/urandom >"$dir/$file"
    done
    SUM=$(md5sum <"$dir/summed")
    umount "$dir"
    remove origin
    drop_caches
    start c1 1
    start c2 2
    start c3 3
    stop c1 1
    start c4 4
    stop c2 2
    stop c3 3
    stop c4 4
    taken_down "$NAME"
done

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench sibling-read`: a file is read by one snapshot from disk, by a sibling for the first time, and
# by the sibling once more, on dm-thin and on dm-drr, on each medium. Without latency dm-linear shows what the stack above costs.
#
#   TESTS   directory with lib.sh and read.py        SCRATCH writable directory

TARGETS=stock
SAMPLING=1
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

MIB=${MIB:-128}

# took FILE: milliseconds.
took() {
    python3 "$TESTS/read.py" "$1" | awk '{ printf "%.2f\n", $1 / 1000000 }'
}

# a_page MS: instructions, one a nanosecond.
a_page() {
    awk -v ms="$1" -v pages=$((MIB * 256)) 'BEGIN { printf "%.0f\n", ms * 1000000 / pages }'
}

# case_of SIDE MEDIA
case_of() {
    load_side "$1"
    NAME=$(side_name "$1")
    META=$(disk 16)
    # shellcheck disable=SC2046 # several attributes
    DATA=$(disk $((MIB + 112)) $(media_attributes "$2"))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
    if [ "$1$2" = drrnone ]; then
        # Here recording would switch itself down; what a served page costs is asked.
        message sampling off
    fi
    thin_new origin 0 $((MIB + 48))
    mkfs.ext4 -q -b 4096 /dev/mapper/origin
    dir=$(mounted origin)
    head -c $((MIB * 1048576)) /dev/urandom >"$dir/file"
    sync
    umount "$dir"
    snap c1 1 origin 0
    snap c2 2 origin 0
    remove origin
    one=$(mounted c1 ro,noload) two=$(mounted c2 ro,noload)
    drop_caches
    first=$(took "$one/file")
    sibling=$(took "$two/file")
    again=$(took "$two/file")
    figure "$NAME" "$2" first.1 "$first"
    figure "$NAME" "$2" sibling.1 "$sibling"
    figure "$NAME" "$2" again.1 "$again"
    if [ "$2" = none ]; then
        figure "$NAME" none page.1 "$(a_page "$sibling")"
    fi
    echo "$NAME, $2: first $first ms, sibling $sibling ms, again $again ms"
    taken_down "$NAME"
}

# linear: the same file, on a file system on dm-linear on a disk without latency.
linear() {
    DATA=$(disk $((MIB + 112)))
    dmsetup create lin --table "0 $(sectors "$DATA") linear $DATA 0"
    mkfs.ext4 -q -b 4096 /dev/mapper/lin
    dir=$(mounted lin)
    head -c $((MIB * 1048576)) /dev/urandom >"$dir/file"
    sync
    drop_caches
    first=$(took "$dir/file")
    figure dm-linear none first.1 "$first"
    figure dm-linear none page.1 "$(a_page "$first")"
    echo "dm-linear, none: first $first ms"
    taken_down dm-linear
}

linear
for media in hdd ssd nvme none; do
    case_of stock "$media"
    case_of drr "$media"
done

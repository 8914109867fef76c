#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench miss`: what the first reader of a file pays, nobody having it in memory: of shared data and of
# data of its own, on dm-thin and on dm-drr. There with everything recorded, with recording switched down to a sample (on media
# where that does not pay without siblings), and with drr off.
#
#   TESTS   directory with lib.sh and read.py        SCRATCH writable directory

TARGETS=stock
SAMPLING=0
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

MIB=${MIB:-64}
# What is read to find out that recording does not pay: more than the budget on the fastest of the media.
PATIENCE_MIB=${PATIENCE_MIB:-384}

# took SIDE MEDIA METRIC FILE: reads it with nothing in memory.
took() {
    drop_caches
    took_ms=$(python3 "$TESTS/read.py" "$4" | awk '{ printf "%.2f\n", $1 / 1000000 }')
    figure "$1" "$2" "$3.1" "$took_ms"
    echo "$1, $2, $3: $took_ms ms"
}

# file_of THIN MIB: a file system with a file of noise.
file_of() {
    mkfs.ext4 -q -b 4096 "/dev/mapper/$1"
    dir=$(mounted "$1")
    head -c $(($2 * 1048576)) /dev/urandom >"$dir/file"
    sync
    umount "$dir"
}

# both SIDE MEDIA: of shared data, and of data that is the device's own.
both() {
    took "$1" "$2" shared "$MNT/c1/file"
    if [ "$1" = dm-drr ]; then
        # Groups of 256 bytes.
        figure "$1" "$2" table.1 "$(awk -v n="$(stat_of groups)" -v mib="$MIB" 'BEGIN { printf "%.1f", n / mib }')"
    fi
    took "$1" "$2" own "$MNT/own/file"
}

# case_of SIDE MEDIA
case_of() {
    load_side "$1"
    NAME=$(side_name "$1")
    META=$(disk 16)
    # shellcheck disable=SC2046 # several attributes
    DATA=$(disk $((MIB * 2 + PATIENCE_MIB + 128)) $(media_attributes "$2"))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
    thin_new origin 0 $((MIB + 48))
    file_of origin "$MIB"
    snap c1 1 origin 0
    thin_new own 2 $((MIB + 48))
    file_of own "$MIB"
    for name in c1 own; do
        mounted $name ro,noload >"$W/mounted"
    done
    both "$NAME" "$2"
    if [ "$1" = drr ]; then
        message drr off
        both drr-off "$2"
        message drr on
        case $2 in
        nvme | none) sampled "$2" ;;
        esac
    fi
    taken_down "$NAME"
}

# sampled MEDIA: once recording has switched itself down.
sampled() {
    message sampling on
    thin_new patience 3 "$PATIENCE_MIB"
    dd if=/dev/zero of=/dev/mapper/patience bs=1M count="$PATIENCE_MIB" oflag=direct status=none
    snap p1 4 patience 3
    dd if=/dev/mapper/p1 of=/dev/null bs=1M status=none
    equals "recording has switched itself down" "$(stat_of sampled)" 1
    both sampled "$1"
}

for media in hdd ssd nvme none; do
    case_of stock "$media"
    case_of drr "$media"
done

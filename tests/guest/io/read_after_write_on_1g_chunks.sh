#!/bin/sh
# On chunks of 1 GiB, the largest, what is written inside, across and at the ends of chunks reads back, and a discard frees one.
# vm: timeout=200
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
# Memory below is taken by what is written alone: no zeroing.
pool 2097152 4096 0 skip_block_zeroing
thin_new t 0 3584
gib=1073741824
: >"$W/places"
# at OFFSET LENGTH
at() {
    noise "$W/part.$1" "$2"
    dd if="$W/part.$1" of=/dev/mapper/t bs="$2" seek="$1" count=1 oflag=direct,seek_bytes conv=notrunc status=none
    echo "$1 $2" >>"$W/places"
}
check() {
    while read -r p_at p_length; do
        dd if=/dev/mapper/t bs="$p_length" skip="$p_at" count=1 iflag=direct,skip_bytes status=none | cmp - "$W/part.$p_at"
    done <"$W/places"
}
at 0 65536
at $((gib - 4096)) 8192
at $((3 * gib + 536870912 - 512)) 512
at $((3 * gib)) 1048576
check
equals "status of t" "$(dmsetup status t)" "0 7340032 $THIN_T $((3 * 2097152)) $((4 * 2097152 - 1))"
equals chunks "$(pool_field 3)" 3/4
# A chunk less a sector is none; the cut-off last one can go as well.
blkdiscard -o 512 -l $((gib - 512)) /dev/mapper/t
check
blkdiscard -o $((3 * gib)) -l 536870912 /dev/mapper/t
blkdiscard -o $gib -l $gib /dev/mapper/t
equals chunks "$(pool_field 3)" "$(chunks_used)/4"
at $((2 * gib)) 4096
dd if=/dev/mapper/t bs=4k count=1 skip=$((gib + 4096)) iflag=direct,skip_bytes status=none | cmp -n 4096 - /dev/zero

#!/bin/sh
# With passdown, discarded data is gone from the data device; a chunk that a snapshot shares is not.
# vm: timeout=120
. "$TESTS/lib.sh"

# How many bytes on the data device are not zero.
left() {
    dd if="$DATA" bs=1M iflag=direct status=none | tr -d '\0' | wc -c
}

DATA_ATTRS=discard=1
pool 128 12
equals "discard mode" "$(pool_field 6)" discard_passdown
thin_new t 0 8
tr '\0' '\245' </dev/zero | dd of=/dev/mapper/t bs=1M count=8 iflag=fullblock oflag=direct status=none
equals "bytes on the data device" "$(left)" 8388608
blkdiscard -o 0 -l 1048576 /dev/mapper/t
equals "bytes on the data device" "$(left)" $((7 * 1048576))
snap s 1 t 0
# Shared with s: must stay.
blkdiscard -o 1048576 -l 2097152 /dev/mapper/t
equals "bytes on the data device" "$(left)" $((7 * 1048576))
equals "chunks used" "$(chunks_used)" $((7 * 16))
# The last owner lets go of it; a part, and then with some that t still has.
blkdiscard -o 1048576 -l 1048576 /dev/mapper/s
equals "bytes on the data device" "$(left)" $((6 * 1048576))
blkdiscard /dev/mapper/s
equals "bytes on the data device" "$(left)" $((5 * 1048576))
dd if=/dev/mapper/t bs=1M skip=3 iflag=direct status=none | tr -d '\245' | wc -c >"$W/other"
equals "bytes of t that are not as written" "$(cat "$W/other")" 0
blkdiscard /dev/mapper/t
equals "bytes on the data device" "$(left)" 0
equals "chunks used" "$(chunks_used)" 0

#!/bin/sh
# A write to a part of a new chunk leaves zeroes around it, on a data device full of old data.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 256
tr '\0' '\377' </dev/zero | dd of="$DATA" bs=1M count=128 iflag=fullblock oflag=direct status=none
thin_new t 0 16
model "$W/t" 16
# First, middle and last sector of a chunk; two chunks at once.
put t "$W/t" 0 512 direct
put t "$W/t" $((131072 + 65536)) 512 direct
put t "$W/t" $((3 * 131072 - 512)) 512 direct
put t "$W/t" $((5 * 131072 - 1024)) 2048 direct
# A chunk that ends with the device is zeroed too, and one that the device cuts off.
put t "$W/t" $((16 * 1048576 - 512)) 512 direct
same t "$W/t"
equals "chunks used" "$(chunks_used)" 6
message create_thin 1
dmsetup create odd --table "0 $((256 + 10)) $THIN_T /dev/mapper/$POOL 1"
put odd "$W/odd" $((256 * 512)) 512 direct
truncate -s $((266 * 512)) "$W/odd"
same odd "$W/odd"

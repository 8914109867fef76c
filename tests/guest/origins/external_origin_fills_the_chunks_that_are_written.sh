#!/bin/sh
# A write to an unmapped chunk keeps what the external origin has around it, zeroes past its end; whole chunks need no copy.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
tr '\0' '\377' </dev/zero | dd of="$DATA" bs=1M count=32 iflag=fullblock oflag=direct status=none
external_disk 4
# The end lies in chunk 20, in the middle of a page, on an odd sector.
end=$((20 * 128 + 67))
external o "$end"
message create_thin 0
external_thin t 0 $((40 * 128 + 10)) o
external_model "$W/t" $((40 * 128 + 10)) "$end"
# First, middle and last sector of a chunk; two chunks at once.
put t "$W/t" 0 512 direct
put t "$W/t" $((65536 + 32768)) 512 direct
put t "$W/t" $((3 * 65536 - 512)) 512 direct
put t "$W/t" $((5 * 65536 - 1024)) 2048 direct
equals "chunks used" "$(chunks_used)" 5
same t "$W/t"
# In the chunk where the origin ends: the end itself.
put t "$W/t" $(((end - 1) * 512)) 1024 direct
# Past the end, and in the last, short chunk.
put t "$W/t" $((25 * 65536 + 4096)) 4096 direct
put t "$W/t" $((40 * 65536 + 512)) 512 direct
equals "chunks used" "$(chunks_used)" 8
same t "$W/t"
# Whole chunks, the one where the origin ends in a second thin.
before=$(sectors_read "$EXT")
put t "$W/t" $((7 * 65536)) $((2 * 65536)) direct
message create_thin 1
external_thin u 1 $((40 * 128)) o
external_model "$W/u" $((40 * 128)) "$end"
put u "$W/u" $((20 * 65536)) 65536 direct
equals "sectors read from the origin for whole chunks" $(($(sectors_read "$EXT") - before)) 0
equals "chunks used" "$(chunks_used)" 11
same u "$W/u"
# The same chunk before and after its origin's end.
for at in 0 $((127 * 512)); do
    blkdiscard /dev/mapper/u
    external_model "$W/u" $((40 * 128)) "$end"
    same u "$W/u"
    put u "$W/u" $((20 * 65536 + at)) 512 direct
    same u "$W/u"
done
random_puts t "$W/t" 2 20 200
same t "$W/t"
# All of it again after a reload.
remove t u
pool_remove pool
pool_load pool "$META" "$DATA" 128
external_thin t 0 $((40 * 128 + 10)) o
external_thin u 1 $((40 * 128)) o
same t "$W/t"
same u "$W/u"
# What is mapped does not need the origin.
remove t
dmsetup create t --table "0 $((40 * 128 + 10)) $THIN_T /dev/mapper/$POOL 0"
dd if=/dev/mapper/t bs=64k skip=7 count=2 iflag=direct status=none >"$W/got"
dd if="$W/t" bs=64k skip=7 count=2 status=none | cmp - "$W/got"
external_unharmed

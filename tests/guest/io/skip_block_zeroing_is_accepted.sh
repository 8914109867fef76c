#!/bin/sh
# With skip_block_zeroing what is written reads back, and unmapped chunks are still zeroes.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 128 128 0 skip_block_zeroing
thin_new t 0 16
model "$W/t" 16
# Whole chunks only: the rest of a partly written one is undefined.
put t "$W/t" 0 65536 direct
put t "$W/t" 1048576 262144 direct
put t "$W/t" $((1048576 + 4096)) 512 direct
same t "$W/t"
equals "chunks used" "$(chunks_used)" 5
snap s 1 t 0
cp "$W/t" "$W/s"
# A copy for a shared chunk must be whole, zeroing or not.
put t "$W/t" $((1048576 + 65536 + 512)) 1024 direct
same t "$W/t"
same s "$W/s"

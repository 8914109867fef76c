#!/bin/sh
# Overwriting shared chunks whole needs no copy: nothing is read from the data device, and both sides are right.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 4194304 direct
snap s 1 t 0
cp "$W/t" "$W/s"
before=$(sectors_read "$DATA")
put t "$W/t" 0 65536 direct
put t "$W/t" 65536 65536 direct
put s "$W/s" 1048576 65536 direct
equals "sectors read for whole-chunk overwrites" $(($(sectors_read "$DATA") - before)) 0
equals "chunks used" "$(chunks_used)" $((64 + 3))
same t "$W/t"
same s "$W/s"

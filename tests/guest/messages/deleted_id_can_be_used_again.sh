#!/bin/sh
# An id that was deleted can be created again: it is empty, and its chunks had come back to the pool.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 3 16
model "$W/t" 16
put t "$W/t" 0 1048576
equals "chunks used" "$(chunks_used)" 16
remove t
message delete 3
equals "chunks used" "$(chunks_used)" 0
thin_new t 3 16
equals "mapped sectors" "$(thin_mapped t)" 0
model "$W/empty" 16
same t "$W/empty"

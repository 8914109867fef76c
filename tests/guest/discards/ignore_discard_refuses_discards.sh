#!/bin/sh
# With ignore_discard a thin supports no discard, and nothing is unmapped.
# vm: timeout=120
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 32 0 ignore_discard
equals "discard mode" "$(pool_field 6)" ignore_discard
thin_new t 0 8
model "$W/t" 8
put t "$W/t" 0 8388608 direct
fails 'not supported' blkdiscard /dev/mapper/t
equals "chunks used" "$(chunks_used)" 128
same t "$W/t"

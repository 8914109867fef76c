#!/bin/sh
# A discard smaller than a chunk succeeds and changes neither data nor mapping.
# vm: timeout=120
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
blkdiscard -o 4096 -l 4096 /dev/mapper/t
blkdiscard -o 65536 -l 61440 /dev/mapper/t
blkdiscard -o $((2 * 65536 + 4096)) -l 61440 /dev/mapper/t
# Across a boundary, with no whole chunk in it.
blkdiscard -o $((4 * 65536 - 32768)) -l 65536 /dev/mapper/t
blkdiscard -o 12582912 -l 4096 /dev/mapper/t
equals "chunks used" "$(chunks_used)" 16
same t "$W/t"

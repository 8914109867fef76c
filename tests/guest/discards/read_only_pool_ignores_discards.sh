#!/bin/sh
# In a read_only pool discards and flushes succeed and change nothing, and reads of nothing are zeroes.
# vm: timeout=200
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 16
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 8388608 direct
reload pool "0 $(sectors "$DATA") $POOL_T $META $DATA 128 0 1 read_only"
written=$(sectors_written "$META")
blkdiscard /dev/mapper/t
equals "chunks used" "$(chunks_used)" 128
same t "$W/t"
# put ends with a flush.
put t "$W/t" 65536 65536 direct
same t "$W/t"
equals "sectors written to the metadata" "$(sectors_written "$META")" "$written"
# The table's own again.
reload pool "0 $(sectors "$DATA") $POOL_T $META $DATA 128 0"
blkdiscard /dev/mapper/t
equals "chunks used" "$(chunks_used)" 0

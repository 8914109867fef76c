#!/bin/sh
# A second pool on the metadata of a live pool fails with EBUSY; the first goes on.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
meta2=$(disk 8)
data2=$(disk 64)
size=$(sectors "$DATA")
log_mark
fails 'busy' dmsetup create p2 --table "0 $size $POOL_T $META $data2 128 0"
log_names 'metadata'
fails 'busy' dmsetup create p2 --table "0 $size $POOL_T $META $DATA 128 0"
# A live pool cannot become another pool.
fails 'Invalid argument' dmsetup reload pool --table "0 $(sectors "$data2") $POOL_T $meta2 $data2 128 0"
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 65536
same t "$W/t"
# Once the first has gone, its devices are free for another.
remove t
pool_remove pool
pool_load p2 "$META" "$DATA" 128

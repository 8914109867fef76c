#!/bin/sh
# An existing pool opened with another block size is EINVAL and unharmed; a reload over the live pool loads, as clients expect.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 128
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 65536 1048576
size=$(sectors "$DATA")
# containerd's own tests load 256 over a live pool of 128.
dmsetup reload pool --table "0 $size $POOL_T $META $DATA 256 0"
dmsetup clear pool
same t "$W/t"
remove t
pool_remove pool
for bs in 256 384 2048; do
    log_mark
    fails 'Invalid argument' dmsetup create pool --table "0 $size $POOL_T $META $DATA $bs 0"
    log_names 'block size|metadata'
done
pool_load pool "$META" "$DATA" 128
thin t 0 16
same t "$W/t"

#!/bin/sh
# A larger data device is taken up on resume; a smaller one is refused.
# vm: timeout=120
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 64)
POOL=pool
dmsetup create grow --table "0 32768 linear $DATA 0"
pool_load pool "$META" /dev/mapper/grow 128
equals chunks "$(pool_field 3)" 0/256
thin_new t 0 32
model "$W/t" 32
put t "$W/t" 0 8388608
dmsetup reload grow --table "0 65536 linear $DATA 0"
dmsetup suspend grow
dmsetup resume grow
dmsetup reload pool --table "0 65536 $POOL_T $META /dev/mapper/grow 128 0"
dmsetup suspend pool
dmsetup resume pool
equals chunks "$(pool_field 3)" 128/512
put t "$W/t" 8388608 $((24 * 1048576))
same t "$W/t"
remove t
pool_remove pool
log_mark
fails 'Invalid argument' dmsetup create pool --table "0 32768 $POOL_T $META /dev/mapper/grow 128 0"
log_names 'data'
dmsetup remove pool 2>/dev/null || :
pool_load pool "$META" /dev/mapper/grow 128
thin t 0 32
same t "$W/t"
remove t
pool_remove pool

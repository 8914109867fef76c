#!/bin/sh
# A pool reloaded over a larger metadata device shows the new size and uses it.
# vm: timeout=120
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 16)
DATA=$(disk 64)
POOL=pool
dmsetup create grow --table "0 8192 linear $META 0"
pool_load pool /dev/mapper/grow "$DATA" 128
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576
equals "metadata blocks" "$(pool_field 2 | cut -d/ -f2)" 1024
dmsetup reload grow --table "0 32768 linear $META 0"
dmsetup suspend grow
dmsetup resume grow
dmsetup reload pool --table "0 131072 $POOL_T /dev/mapper/grow $DATA 128 0"
dmsetup suspend pool
dmsetup resume pool
equals "metadata blocks" "$(pool_field 2 | cut -d/ -f2)" 4096
put t "$W/t" 4194304 1048576
same t "$W/t"
remove t
pool_remove pool

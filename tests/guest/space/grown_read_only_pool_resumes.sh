#!/bin/sh
# A read_only pool over a data device that has grown resumes and serves; its first writable table takes the space up.
# vm: timeout=200
# skip-ok: dm-thin counts such growth twice
. "$TESTS/lib.sh"

only drr dropin
load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 32)
POOL=pool
dmsetup create grow --table "0 32768 linear $DATA 0"
pool_load pool "$META" /dev/mapper/grow 128
thin_new t 0 32
model "$W/t" 32
put t "$W/t" 0 1048576 direct
remove t
pool_remove pool
reload grow "0 65536 linear $DATA 0"
pool_load pool "$META" /dev/mapper/grow 128 0 read_only
thin t 0 32
same t "$W/t"
equals mode "$(pool_field 5)" ro
reload pool "0 65536 $POOL_T $META /dev/mapper/grow 128 0"
equals mode "$(pool_field 5)" rw
equals chunks "$(pool_field 3)" 16/512
put t "$W/t" 8388608 $((18 * 1048576)) direct
same t "$W/t"
remove t
pool_remove pool

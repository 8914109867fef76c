#!/bin/sh
# A live pool with a shorter table is refused on resume with EINVAL; with the old table again it goes on, its thins and waiting I/O too.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

pool 128 32
size=$(sectors "$DATA")
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
dmsetup reload pool --table "0 $((size / 2)) $POOL_T $META $DATA 128 0"
dmsetup suspend --noflush pool
log_mark
fails 'Invalid argument' dmsetup resume pool
log_names 'too small'
noise "$W/new" 65536
in_background dd if="$W/new" of=/dev/mapper/t bs=64k seek=100 oflag=direct conv=notrunc status=none
writer=$!
sleep 1
kill -0 "$writer" || fail "the write did not wait"
dmsetup reload pool --table "0 $size $POOL_T $META $DATA 128 0"
dmsetup resume pool
wait "$writer"
dd if="$W/new" of="$W/t" bs=64k seek=100 conv=notrunc status=none
equals chunks "$(pool_field 3)" 17/512
equals mode "$(pool_field 5)" rw
same t "$W/t"

#!/bin/sh
# While the copies of two broken chunks wait for a slow data device, all that is mapped, shared or not, is read at once.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 32)
POOL=pool
size=$(sectors "$DATA")
dmsetup create slow --table "0 $size linear $DATA 0"
pool_load pool "$META" /dev/mapper/slow 128
thin_new t 0 8
model "$W/t" 8
put t "$W/t" 0 2097152 direct
snap s 1 t 0
cp "$W/t" "$W/s"
# A chunk of t's own.
put t "$W/t" 1048576 65536 direct
# Writes take half a minute from here on.
reload slow "0 $size delay $DATA 0 0 $DATA 0 30000"
noise "$W/new" 4096
in_background dd if="$W/new" of=/dev/mapper/t bs=4k count=1 oflag=direct conv=notrunc status=none
first=$!
in_background dd if="$W/new" of=/dev/mapper/s bs=4k count=1 seek=16 oflag=direct conv=notrunc status=none
second=$!
sleep 1
# Shared with the writer, shared and not under way, its own, and nothing at all.
dd if=/dev/mapper/s of="$W/a" bs=64k count=1 iflag=direct status=none
dd if=/dev/mapper/t of="$W/b" bs=64k count=1 skip=8 iflag=direct status=none
dd if=/dev/mapper/t of="$W/c" bs=64k count=1 skip=16 iflag=direct status=none
dd if=/dev/mapper/t of="$W/d" bs=64k count=1 skip=100 iflag=direct status=none
kill -0 "$first" && kill -0 "$second" || fail "the copies were over before the reads"
cmp -n 65536 "$W/a" "$W/s"
cmp -n 65536 "$W/b" "$W/t" 0 524288
cmp -n 65536 "$W/c" "$W/t" 0 1048576
cmp -n 65536 "$W/d" /dev/zero
reload slow "0 $size linear $DATA 0"
wait "$first"
wait "$second"
for name in t s; do
    at=$([ "$name" = t ] || echo 16)
    dd if="$W/new" of="$W/$name" bs=4k seek="${at:-0}" conv=notrunc status=none
    same "$name" "$W/$name"
done
remove t s
pool_remove pool

#!/bin/sh
# Two thins on one external origin and a snapshot of one of them each keep their own data; without the origin a snapshot has zeroes.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
external_disk 4
external o $((20 * 128 + 67))
for id in 0 1; do
    message create_thin "$id"
    external_thin "t$id" "$id" 4096 o
    external_model "$W/t$id" 4096 $((20 * 128 + 67))
done
put t0 "$W/t0" 4096 4096 direct
put t1 "$W/t1" 8192 4096 direct
put t0 "$W/t0" $((20 * 65536 + 512)) 4096 direct
dmsetup suspend t0
message create_snap 2 0
dmsetup resume t0
external_thin s 2 4096 o
cp "$W/t0" "$W/s"
same s "$W/s"
# Shared chunks, and ones that only the origin has, on either side.
for n in t0 s; do
    put "$n" "$W/$n" 8192 512 direct
    put "$n" "$W/$n" $((20 * 65536 + 40960)) 512 direct
    put "$n" "$W/$n" $((9 * 65536 + 512)) 512 direct
    put "$n" "$W/$n" $((25 * 65536)) 65536 direct
done
for n in t0 t1 s; do
    same "$n" "$W/$n"
done
blkdiscard -o 0 -l 65536 /dev/mapper/s
dd if="$W/ext" of="$W/s" bs=64k count=1 conv=notrunc status=none
for n in t0 t1 s; do
    same "$n" "$W/$n"
done
# The snapshot without the origin: zeroes where it has nothing of its own.
remove s
dmsetup create s --table "0 4096 $THIN_T /dev/mapper/$POOL 2"
for chunk in 9 20 25; do
    dd if="$W/s" of="$W/bare" bs=64k skip="$chunk" seek="$chunk" count=1 conv=notrunc status=none
done
truncate -s $((4096 * 512)) "$W/bare"
same s "$W/bare"
external_unharmed

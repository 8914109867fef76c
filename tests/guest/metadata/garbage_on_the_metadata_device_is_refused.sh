#!/bin/sh
# Random bytes where the superblock belongs are refused with an error, not formatted over and not believed.
# vm: timeout=120
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 64)
size=$(sectors "$DATA")
for blocks in 1 2048; do
    dd if=/dev/urandom of="$META" bs=4k count="$blocks" oflag=direct status=none
    before=$(sha256sum <"$META")
    log_mark
    fails '.' dmsetup create pool --table "0 $size $POOL_T $META $DATA 128 0"
    log_names 'metadata|superblock'
    blockdev --flushbufs "$META"
    equals "the metadata device" "$(sha256sum <"$META")" "$before"
done
# A superblock that is blank but for one byte is no blank device.
dd if=/dev/zero of="$META" bs=1M count=8 oflag=direct status=none
printf 'x' | dd of="$META" bs=1 seek=2000 conv=notrunc,fsync status=none
fails '.' dmsetup create pool --table "0 $size $POOL_T $META $DATA 128 0"
dd if=/dev/zero of="$META" bs=1M count=8 oflag=direct status=none
pool_load pool "$META" "$DATA" 128

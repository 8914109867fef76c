#!/bin/sh
# A superblock with a wrong checksum, magic, version or an unknown incompat flag is refused; put right again, the pool is whole.
# vm: timeout=150
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 65536 1048576
remove t
pool_remove pool
dd if="$META" of="$W/superblock" bs=4k count=1 iflag=direct status=none
refused() {
    blockdev --flushbufs "$META"
    log_mark
    fails '.' dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T $META $DATA 128 0"
    log_names 'metadata|superblock|checksum'
    dd if="$W/superblock" of="$META" bs=4k count=1 oflag=direct status=none
}
# checksum, flags, block number, magic, version, time, the mapping root, the very last byte
for at in 0 4 8 32 40 44 320 4095; do
    old=$(od -An -tu1 -j "$at" -N 1 "$W/superblock")
    # shellcheck disable=SC2059 # the octal escape is the format
    printf "\\$(printf %o $((old ^ 255)))" | dd of="$META" bs=1 seek="$at" conv=notrunc,fsync status=none
    refused
done
# A metadata device that lost its tail: roots that point nowhere must give an error as well.
dmsetup create short --table "0 64 linear $META 0"
fails '.' dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/short $DATA 128 0"
dmsetup remove short
pool_load pool "$META" "$DATA" 128
thin t 0 16
same t "$W/t"

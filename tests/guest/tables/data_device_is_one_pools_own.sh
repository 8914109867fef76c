#!/bin/sh
# The devices of a live pool stay: another metadata device, another data device or other devices altogether are refused, EBUSY or EINVAL.
# vm: timeout=200
. "$TESTS/lib.sh"

pool 128 32
meta2=$(disk 8)
data2=$(disk 32)
size=$(sectors "$DATA")
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 65536 direct
# refused ERRNO COMMAND META DATA
refused() {
    log_mark
    fails "$1" dmsetup "$2" "$3" --table "0 $size $POOL_T $4 $5 128 0"
    log_names 'in use|replace'
}
refused busy reload pool "$META" "$data2"
refused 'Invalid argument' reload pool "$meta2" "$DATA"
refused 'Invalid argument' reload pool "$meta2" "$data2"
refused busy create other "$META" "$data2"
# A mounted or otherwise claimed device is nobody's pool.
dmsetup create plain --table "0 65536 linear $data2 0"
mkfs.ext4 -q -F /dev/mapper/plain
dir=$(mounted plain)
fails busy dmsetup create other --table "0 $size $POOL_T $meta2 /dev/mapper/plain 128 0"
umount "$dir"
put t "$W/t" 1048576 65536 direct
same t "$W/t"

#!/bin/sh
# A thin takes its external origin's length when it is resumed, and keeps to it until then.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
external_disk 4
external o 1001
message create_thin 0
external_thin t 0 4096 o
external_model "$W/t" 4096 1001
same t "$W/t"
dmsetup reload o --table "0 3003 linear $EXT 0"
dmsetup suspend o
dmsetup resume o
same t "$W/t"
put t "$W/t" $((900 * 512)) 512 direct
same t "$W/t"
dmsetup suspend t
dmsetup resume t
# What was mapped meanwhile has the zeroes that were past the end then.
cp "$W/t" "$W/old"
external_model "$W/t" 4096 3003
dd if="$W/old" of="$W/t" bs=64k skip=7 seek=7 count=1 conv=notrunc status=none
same t "$W/t"
put t "$W/t" $((3000 * 512)) 512 direct
same t "$W/t"

#!/bin/sh
# A thin reloaded with a larger size has its old data and zeroes after it, and the new part can be written.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 384
thin_new t 0 16
model "$W/t" 16
random_puts t "$W/t" 16 20 300
dmsetup reload t --table "0 $((24 * 2048)) $THIN_T /dev/mapper/pool 0"
dmsetup suspend t
dmsetup resume t
model "$W/t" 24
same t "$W/t"
random_puts t "$W/t" 24 20 300
put t "$W/t" $((24 * 1048576 - 512)) 512 direct
same t "$W/t"

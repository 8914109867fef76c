#!/bin/sh
# Thins of 2 sectors, of an odd number of sectors and larger than the pool behave; clients make them.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
message create_thin 0
message create_thin 1
message create_thin 2
dmsetup create two --table "0 2 $THIN_T /dev/mapper/pool 0"
put two "$W/two" 0 1024 direct
same two "$W/two"
blkdiscard /dev/mapper/two
dmsetup create odd --table "0 12345 $THIN_T /dev/mapper/pool 1"
truncate -s $((12345 * 512)) "$W/odd"
put odd "$W/odd" $((12300 * 512)) $((45 * 512)) direct
same odd "$W/odd"
# 1 TiB, with data at its far end.
dmsetup create big --table "0 2147483648 $THIN_T /dev/mapper/pool 2"
noise "$W/new" 65536
dd if="$W/new" of=/dev/mapper/big bs=64k seek=16777215 oflag=direct conv=notrunc status=none
dd if=/dev/mapper/big bs=64k skip=16777215 iflag=direct status=none | cmp - "$W/new"
equals "status of big" "$(dmsetup status big)" "0 2147483648 $THIN_T 128 2147483647"

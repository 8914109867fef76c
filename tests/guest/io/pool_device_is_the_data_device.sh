#!/bin/sh
# I/O to the pool device itself goes to the same sectors of the data device, discards and flushes too, as dm-thin's does.
# vm: timeout=200
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 16
noise "$W/new" 1048576
dd if="$W/new" of=/dev/mapper/pool bs=64k seek=16 oflag=direct conv=notrunc,fsync status=none
dd if="$DATA" bs=64k skip=16 count=16 iflag=direct status=none | cmp - "$W/new"
blkdiscard -o 1048576 -l 1048576 /dev/mapper/pool
equals "bytes left" "$(dd if="$DATA" bs=1M iflag=direct status=none | tr -d '\0' | wc -c)" 0
equals "chunks used" "$(chunks_used)" 0

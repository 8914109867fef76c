#!/bin/sh
# Metadata devices of a few blocks are refused with an error and a line in the log, and nothing breaks.
# vm: timeout=120
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 64)
for blocks in 1 2 3 4 5 6; do
    dmsetup create small --table "0 $((blocks * 8)) linear $META 0"
    log_mark
    fails '.' dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/small $DATA 128 0"
    log_names 'metadata'
    dmsetup remove small
    dd if=/dev/zero of="$META" bs=1M count=8 oflag=direct status=none
done
pool_load pool "$META" "$DATA" 128

#!/bin/sh
# Discarding chunks on one side of a snapshot leaves the other side's data alone, both ways.
# vm: timeout=120
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 8388608 direct
snap s 1 t 0
cp "$W/t" "$W/s"
blkdiscard -o 0 -l 2097152 /dev/mapper/t
dd if=/dev/zero of="$W/t" bs=1M count=2 conv=notrunc status=none
blkdiscard -o 4194304 -l 2097152 /dev/mapper/s
dd if=/dev/zero of="$W/s" bs=1M seek=4 count=2 conv=notrunc status=none
equals "chunks used" "$(chunks_used)" 128
same t "$W/t"
same s "$W/s"
# What was discarded is provisioned anew, and is private.
put t "$W/t" 65536 4096 direct
put s "$W/s" $((4194304 + 512)) 4096 direct
same t "$W/t"
same s "$W/s"

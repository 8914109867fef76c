#!/bin/sh
# When the data device fails a discard that was passed down, the chunks are unmapped all the same, and the discard succeeds.
# vm: timeout=200
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 8
thin_new t 0 8
dd if=/dev/zero of=/dev/mapper/t bs=1M count=8 oflag=direct status=none
bad=$NULLB/${DATA##*/}/badblocks
# Every request to its second half fails now.
range=$(($(sectors "$DATA") / 2))-$(($(sectors "$DATA") - 1))
echo "+$range" >"$bad"
fails 'Input/output error' dd if=/dev/mapper/t of=/dev/null bs=1M count=1 skip=6 iflag=direct
# Forced: without looking for a file system at the device's end.
blkdiscard -f -o 1048576 -l 7340032 /dev/mapper/t
equals "chunks used" "$(chunks_used)" 16
equals mode "$(pool_field 5)" rw
echo "-$range" >"$bad"
model "$W/t" 8
put t "$W/t" 0 8388608 direct
same t "$W/t"

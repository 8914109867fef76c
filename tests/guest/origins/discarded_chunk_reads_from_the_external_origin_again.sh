#!/bin/sh
# A discarded chunk of a thin with an external origin reads what the origin has, and is filled from it again when rewritten.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
external_disk 4
end=$((20 * 128 + 67))
external o "$end"
message create_thin 0
external_thin t 0 $((32 * 128)) o
external_model "$W/t" $((32 * 128)) "$end"
cp "$W/t" "$W/fresh"
restored() {
    dd if="$W/fresh" of="$W/t" bs="$2" skip="$1" seek="$1" count=1 iflag=skip_bytes oflag=seek_bytes conv=notrunc status=none
}
put t "$W/t" 0 $((32 * 65536)) direct
equals "chunks used" "$(chunks_used)" 32
same t "$W/t"
# One chunk, the one where the origin ends, one past it, and a discard that is no whole chunk at either end.
for at in 3 20 25; do
    blkdiscard -o $((at * 65536)) -l 65536 /dev/mapper/t
    restored $((at * 65536)) 65536
done
blkdiscard -o $((8 * 65536 + 4096)) -l $((3 * 65536)) /dev/mapper/t
restored $((9 * 65536)) 131072
equals "chunks used" "$(chunks_used)" 27
same t "$W/t"
put t "$W/t" $((3 * 65536 + 8192)) 4096 direct
put t "$W/t" $((20 * 65536)) 512 direct
put t "$W/t" $((25 * 65536 + 512)) 512 direct
put t "$W/t" $((9 * 65536)) 65536 direct
equals "chunks used" "$(chunks_used)" 31
same t "$W/t"
blkdiscard /dev/mapper/t
equals "chunks used" "$(chunks_used)" 0
same t "$W/fresh"
external_unharmed

#!/bin/sh
# Discarding whole chunks unmaps them: status counts down, they read as zeroes, and the space can be used again.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 128 16
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 $((16 * 1048576)) direct
equals "chunks used" "$(chunks_used)" 256
zero() {
    blkdiscard -o "$1" -l "$2" /dev/mapper/t
    dd if=/dev/zero of="$W/t" bs="$2" seek="$1" count=1 oflag=seek_bytes conv=notrunc status=none
}
zero 0 65536
equals "chunks used" "$(chunks_used)" 255
zero 1048576 1048576
# Neither end on a chunk boundary: only the whole chunks between go.
blkdiscard -o $((4194304 + 4096)) -l $((3 * 65536)) /dev/mapper/t
dd if=/dev/zero of="$W/t" bs=131072 seek=$((4194304 + 65536)) count=1 oflag=seek_bytes conv=notrunc status=none
used=$((255 - 16 - 2))
equals "chunks used" "$(chunks_used)" "$used"
equals "mapped sectors" "$(thin_mapped t)" $((used * 128))
same t "$W/t"
# A second thin can have exactly that space.
thin_new u 1 4
model "$W/u" 4
put u "$W/u" 0 $(((256 - used) * 65536)) direct
equals "chunks used" "$(chunks_used)" 256
same u "$W/u"
same t "$W/t"
remove u
message delete 1
# The whole device, then what is mapped already is not.
zero 0 $((16 * 1048576))
equals "chunks used" "$(chunks_used)" 0
equals "status of t" "$(dmsetup status t)" "0 32768 $THIN_T 0 -"
zero 0 $((16 * 1048576))
same t "$W/t"

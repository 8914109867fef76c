#!/bin/sh
# A thin with an external origin, and its pool, are suspended and reloaded under running I/O, and every byte is right.
# vm: timeout=300 smp=2
. "$TESTS/lib.sh"

pool
external_disk 8
end=$((100 * 128 + 67))
external o "$end"
message create_thin 0
external_thin t 0 16384 o
external_model "$W/t" 16384 "$end"
# The even chunks are written, the odd ones are the origin's.
noise "$W/noise" 65536
writes() {
    chunk=0
    while [ "$chunk" -lt 128 ]; do
        dd if="$W/noise" of="$1" bs=512 skip="$chunk" seek=$((chunk * 128 + chunk)) count=3 ${2:+"$2"} conv=notrunc status=none
        chunk=$((chunk + 2))
    done
}
writes "$W/t" ""
in_background writes /dev/mapper/t oflag=direct
writer=$!
reads() {
    for _ in 1 2 3 4; do
        dd if=/dev/mapper/t bs=4k skip=1680 count=16 iflag=direct status=none
    done >/dev/null
}
in_background reads
reader=$!
for _ in 1 2 3; do
    dmsetup suspend --noflush --nolockfs t
    dmsetup resume t
    dmsetup reload t --table "0 16384 $THIN_T /dev/mapper/$POOL 0 /dev/mapper/o"
    dmsetup suspend t
    dmsetup resume t
    dmsetup suspend pool
    dmsetup resume pool
done
wait "$writer" "$reader"
equals "chunks used" "$(chunks_used)" 64
same t "$W/t"
external_unharmed

#!/bin/sh
# One discard over 4,096 chunks whose places on the data device are all apart ends once, with everything unmapped and passed down.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 260
thin_new t 0 16
message create_thin 1
dmsetup create big --table "0 524288 $THIN_T /dev/mapper/pool 1"
# Provisioned in a random order, so that hardly two neighbours are neighbours below.
fio --name=f --filename=/dev/mapper/t --direct=1 --rw=randwrite --bs=64k --size=16m >"$W/fio" 2>&1 || fail "fio: $(cat "$W/fio")"
equals "chunks used" "$(chunks_used)" 256
# Four times the largest discard of a bio: the first and the last chunk are mapped, and some between.
for at in 0 1023 1024 2048 4095; do
    tr '\0' '\252' </dev/zero | dd of=/dev/mapper/big bs=64k count=1 seek="$at" iflag=fullblock oflag=direct conv=notrunc status=none
done
blkdiscard /dev/mapper/t
equals "status of t" "$(dmsetup status t)" "0 32768 $THIN_T 0 -"
blkdiscard /dev/mapper/big
equals "status of big" "$(dmsetup status big)" "0 524288 $THIN_T 0 -"
equals "chunks used" "$(chunks_used)" 0
equals "bytes left on the data device" "$(dd if="$DATA" bs=1M count=20 iflag=direct status=none | tr -d '\0' | wc -c)" 0

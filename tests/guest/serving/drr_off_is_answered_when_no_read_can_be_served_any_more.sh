#!/bin/sh
# `drr off` and a device's move into another domain are answered only when the reads that began before have ended.
# vm: smp=2
. "$TESTS/lib.sh"

only drr dropin
load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 16)
size=$(sectors "$DATA")
dmsetup create slow --table "0 $size linear $DATA 0"
POOL=pool
pool_load pool "$META" /dev/mapper/slow 128
thin_new t 0 8
dd if=/dev/zero of=/dev/mapper/t bs=1M count=4 oflag=direct status=none
snap s 1 t 0
dmsetup reload slow --table "0 $size delay $DATA 0 3000 $DATA 0 0"
dmsetup suspend --noflush --nolockfs slow
dmsetup resume slow

at=0
for words in 'drr off' 'domain 1 red'; do
    in_background dd if=/dev/mapper/s of="$W/read" bs=4k count=1 skip=$at iflag=direct status=none
    reader=$!
    # In flight: only the delay holds it now.
    wait_for 20 in_flight s
    # shellcheck disable=SC2086 # words
    message $words
    # A read that has ended may not be counted so yet; one that has not is held for seconds.
    if in_flight s && sleep 0.5 && in_flight s; then
        fail "'$words' was answered while a read that began before was in flight"
    fi
    wait "$reader"
    at=$((at + 1))
    message drr on
done

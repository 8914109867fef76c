#!/bin/sh
# A layer's read is half done: its pages stay locked until the other half has come. A sibling has the first half from them at once.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# From the second chunk on the data device can be made slow to read.
load_side "$TARGETS"
modprobe dm-delay
META=$(disk 8)
DATA=$(disk 64)
POOL=pool
data_sectors=$(sectors "$DATA")
half() {
    echo "0 128 linear $DATA 0"
    echo "128 $((data_sectors - 128)) delay $DATA 128 $1 $DATA 128 0"
}
dmsetup create half --table "$(half 0)"
pool_load pool "$META" /dev/mapper/half 128
thin_new origin 0 16
noise "$W/file" 131072
dd if="$W/file" of=/dev/mapper/origin bs=64k oflag=direct conv=notrunc,fsync status=none
snap a 1 origin 0
snap b 2 origin 0
remove origin
# One bio of two chunks, and none of more than what is asked for.
for d in /sys/class/block/dm-*/queue/read_ahead_kb; do echo 128 >"$d"; done
drop_caches
# For longer than the test takes.
reload half "$(half 60000)"
in_background dd if=/dev/mapper/a of="$W/a" bs=128k count=1 status=none
reader=$!
wait_for 10 eval "! has_drr || [ \"\$(stat_of recorded_pages)\" -ge 16 ]"
drr_message stats reset
for d in /sys/class/block/dm-*/queue/read_ahead_kb; do echo 0 >"$d"; done
begin=$(milliseconds)
dd if=/dev/mapper/b of="$W/b" bs=4k count=16 status=none
took=$(($(milliseconds) - begin))
still_going "$reader" "the reader of both halves"
echo "the sibling had the first half in $took ms"
head -c 65536 "$W/file" | cmp - "$W/b"
drr_is served_pages 16
drr_is miss_pages 0
reload half "$(half 0)"
wait "$reader" || fail "the reader of both halves failed"
cmp "$W/file" "$W/a"
remove a b

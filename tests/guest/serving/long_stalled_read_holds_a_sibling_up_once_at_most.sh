#!/bin/sh
# A throttled reader is in the middle of a long read: a sibling that reads the same pages bit by bit waits for it once at most, not for each bit.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

image ext4 64 -b 4096
mount_ab ro,noload
for d in /sys/class/block/dm-*/queue/read_ahead_kb; do echo 1024 >"$d"; done
drop_caches
drr_message stats reset
throttled rbps=4096 dd if="$A/file" of="$W/slow" bs=1M count=1 status=none
slow=$!
sleep 1
begin=$(milliseconds)
# Past the page cache, so that nothing is read ahead: sixteen reads, one after the other.
dd if="$B/file" of="$W/quick" bs=64k count=16 iflag=direct status=none
took=$(($(milliseconds) - begin))
echo "the sibling had its pages in $took ms"
still_going "$slow" "the throttled reader"
head -c 1048576 "$W/file" | cmp - "$W/quick"
if has_drr; then
    at_most "reads that waited for the throttled one" "$(stat_of detached_reads)" 2
fi
unthrottled
wait "$slow" || fail "the throttled reader failed"
head -c 1048576 "$W/file" | cmp - "$W/slow"

#!/bin/sh
# A throttled reader has been in the middle of a read for three seconds: a sibling that wants the same pages does not wait for it.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

image ext4 64 -b 4096
mount_ab ro,noload
drop_caches
drr_message stats reset

# The metadata of both is in memory, so that the first thing that the throttled one reads is the file.
stat "$A/file" "$B/file" >/dev/null
throttled rbps=4096 head -c 65536 "$A/file" >"$W/slow"
slow=$!
wait_for 20 in_flight a
# For longer than anybody waits for a read.
sleep 3
# Both files are cold, and the slow one's pages are on their way, for sixteen seconds in all or so.
begin=$(milliseconds)
head -c 65536 "$B/file" >"$W/quick"
took=$(($(milliseconds) - begin))
echo "the sibling had its pages in $took ms"
still_going "$slow" "the throttled reader"
at_most "the time of the sibling's read, ms" "$took" 5000
head -c 65536 "$W/file" | cmp - "$W/quick"
drr_is followed_pages 0
drr_is detached_reads 0
# Given its share it ends well.
unthrottled
wait "$slow" || fail "the throttled reader failed"
head -c 65536 "$W/file" | cmp - "$W/slow"

#!/bin/sh
# cache=pressure: copies stay until the system reclaims memory; then they leave, and the files are read without the disk all the same.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

only drr dropin
image ext4 64 -b 4096
mount_ab ro,noload
pages=4096
message cache pressure
message stats reset
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
sleep 1
at_least "cached pages before" "$(cached "$A/file" "$B/file")" $((2 * pages))
drr_is cache_dropped_pages 0
# Shrinkers alone: page cache goes by its own LRU lists. They leave a moment after they were asked for.
echo 2 >/proc/sys/vm/drop_caches
wait_for 20 cached_at_most $((pages * 11 / 10)) "$A/file" "$B/file"
drr_at_least cache_dropped_pages $((pages * 9 / 10))
before=$(sectors_read "$DATA")
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
at_most "sectors read from disk" "$(($(sectors_read "$DATA") - before))" 256
drr_is hash_rejects 0

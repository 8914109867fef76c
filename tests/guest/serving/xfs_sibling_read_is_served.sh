#!/bin/sh
# A file on XFS that one snapshot has in its page cache is served to its sibling; both are mounted read-write.
# vm: timeout=120
. "$TESTS/lib.sh"

image xfs 320
mount_ab rw
drop_caches
cmp "$A/file" "$W/file"
start=$(sectors_read "$DATA")
cmp "$B/file" "$W/file"
second=$(($(sectors_read "$DATA") - start))
if has_drr; then
    at_most "sectors that the second read takes from the data device" "$second" 4000
    drr_at_least served_pages 3900
else
    at_least "sectors that the second read takes from dm-thin's data device" "$second" 32768
fi

#!/bin/sh
# A file that one snapshot has in its page cache is read by its sibling without the data device, and is the same.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 64 -b 4096
mount_ab ro,noload
drop_caches
drr_message stats reset
start=$(sectors_read "$DATA")
cmp "$A/file" "$W/file"
first=$(($(sectors_read "$DATA") - start))
at_least "sectors that the first read takes from the data device" "$first" 32768
# Whole and right on the second snapshot, too.
start=$(sectors_read "$DATA")
cmp "$B/file" "$W/file"
second=$(($(sectors_read "$DATA") - start))
if has_drr; then
    # 4096 pages of file data; what is left is the file system's metadata.
    at_most "sectors that the second read takes from the data device" "$second" $((first / 10))
    drr_at_least served_pages 3900
    drr_is hash_rejects 0
else
    at_least "sectors that the second read takes from dm-thin's data device" "$second" 32768
fi
# Served again, this time with each page compared with the disk.
drr_message verify on
umount "$B"
B=$(mounted b ro,noload)
cmp "$B/file" "$W/file"
no_mismatches

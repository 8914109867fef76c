#!/bin/sh
# C1 to C2 to C3: after the first reader's cache has gone, the second one, which was served itself, serves the third.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 64 -b 4096
message create_snap 3 1
thin c 3 64
mount_ab ro,noload
C=$(mounted c ro,noload)
drop_caches
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
# The first one's pages go.
umount "$A"
remove a
drr_message stats reset
start=$(sectors_read "$DATA")
cmp "$C/file" "$W/file"
if has_drr; then
    at_most "sectors read from the data device" $(($(sectors_read "$DATA") - start)) 4000
    drr_at_least served_pages 3900
fi

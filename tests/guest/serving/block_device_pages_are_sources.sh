#!/bin/sh
# Reads of the thin devices themselves, without a file system, are served between snapshots too.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 128 256
thin_new a 0 32
noise "$W/file" 16777216
dd if="$W/file" of=/dev/mapper/a bs=1M oflag=direct status=none
snap b 1 a 0
exec 3</dev/mapper/a
cmp -n 16777216 /dev/mapper/a "$W/file"
start=$(sectors_read "$DATA")
cmp -n 16777216 /dev/mapper/b "$W/file"
if has_drr; then
    at_most "sectors read from the data device" $(($(sectors_read "$DATA") - start)) 4000
    drr_at_least served_pages 3900
fi
drr_message verify on
blockdev --flushbufs /dev/mapper/b
cmp -n 16777216 /dev/mapper/b "$W/file"
no_mismatches
exec 3<&-

#!/bin/sh
# A pool with no_drr serves no page; the data is right.
# vm: timeout=120
# skip-ok: the module under test is the stock dm-thin, or not under these names
. "$TESTS/lib.sh"

only drr
FEATURE=no_drr
pool 128 256
remove pool
pool_forget pool
pool_load pool "$META" "$DATA" 128 0 "$FEATURE"
thin_new a 0 64
noise "$W/file" 16777216
dd if="$W/file" of=/dev/mapper/a bs=1M oflag=direct status=none
snap b 1 a 0
cmp -n 16777216 /dev/mapper/a "$W/file"
start=$(sectors_read "$DATA")
cmp -n 16777216 /dev/mapper/b "$W/file"
at_least "sectors read from the data device" $(($(sectors_read "$DATA") - start)) 32768
drr_is served_pages 0

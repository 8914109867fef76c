#!/bin/sh
# O_DIRECT reads of pages that a sibling has cached are served through a bounce page and are right, also unaligned ones.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 64 -b 4096
mount_ab rw
drop_caches
cmp "$A/file" "$W/file"
drr_message stats reset
dd if="$B/file" bs=1M iflag=direct status=none | cmp - "$W/file"
drr_at_least bounced_pages 3000
dd if="$B/file" bs=4k iflag=direct count=64 skip=100 status=none | cmp -n 262144 - "$W/file" 0 409600
# 512 byte pieces can be parts of a page only.
dd if="$B/file" bs=1536 iflag=direct count=100 skip=3 status=none | cmp -n 153600 - "$W/file" 0 4608
# Once more, each page compared with the disk.
drr_message verify on
dd if="$B/file" bs=1M iflag=direct status=none | cmp - "$W/file"
drr_at_least verify_pages 3000
no_mismatches
# An O_DIRECT reader leaves no source behind: its buffer is its own to write.
umount "$A"
dd if="$B/file" of="$W/copy" bs=1M iflag=direct status=none
cmp "$W/copy" "$W/file"
no_mismatches

#!/bin/sh
# ext4 with 1 KiB blocks, whose bios carry pieces of pages, reads right on both siblings, written or not.
# vm: timeout=120
. "$TESTS/lib.sh"

FILE_MIB=8
image ext4 48 -b 1024
mount_ab rw
drop_caches
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
# Pieces of pages written on one side, in the cache first, then on disk.
cp "$W/file" "$W/file.a"
xfs_io -c "pwrite -q -S 0x5a 1024 1024" -c "pwrite -q -S 0x5b 1050624 3072" -c "pwrite -q -S 0x5c 2000000 777" "$W/file.a"
xfs_io -c "pwrite -q -S 0x5a 1024 1024" -c "pwrite -q -S 0x5b 1050624 3072" -c "pwrite -q -S 0x5c 2000000 777" "$A/file"
cmp "$B/file" "$W/file"
drop_caches
cmp "$B/file" "$W/file"
cmp "$A/file" "$W/file.a"
drop_caches
drr_message verify on
cmp "$A/file" "$W/file.a"
cmp "$B/file" "$W/file"
no_mismatches

#!/bin/sh
# Chunks freed by one image and used by another: reads of the new one are never answered with what caches hold of the old.
# vm: timeout=150
. "$TESTS/lib.sh"

DATA_MIB=24
FILE_MIB=8
DATA_ATTRS=discard=1
image ext4 32 -b 4096
for _ in 1 2; do
    mount_ab rw
    drop_caches
    cmp "$A/file" "$W/file"
    cmp "$B/file" "$W/file"
    # Both owners gone, with their records; the pool is so small that the next image gets these chunks.
    umount "$A" "$B"
    remove a b
    message delete 0
    message delete 1
    message delete 2
    equals "chunks used" "$(chunks_used)" 0
    thin_new origin 0 32
    mkfs.ext4 -q -b 4096 /dev/mapper/origin
    dir=$(mounted origin)
    noise "$W/file" 8388608
    cp "$W/file" "$dir/file"
    # One sibling's cache may keep pages of this device while it is written again.
    cmp "$dir/file" "$W/file"
    sync
    umount "$dir"
    snap a 1 origin 0
    snap b 2 origin 0
    remove origin
done
drr_message verify on
mount_ab rw
cmp "$B/file" "$W/file"
cmp "$A/file" "$W/file"
no_mismatches

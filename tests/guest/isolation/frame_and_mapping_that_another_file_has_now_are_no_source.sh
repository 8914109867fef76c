#!/bin/sh
# A file system is unmounted, and another one, with other data under the same names, takes over its inodes and frames: a record may
# lead to a page that looks just right, and nobody gets its bytes.
# vm: timeout=150
. "$TESTS/lib.sh"

FILE_MIB=8
image ext4 48 -b 4096
# The same file system, with another file under the same name, in the same place.
message create_snap 3 1
thin other 3 48
dir=$(mounted other)
noise "$W/other" $((FILE_MIB * 1048576))
dd if="$W/other" of="$dir/file" bs=1M conv=notrunc,fsync status=none
umount "$dir"
round=0
while [ "$round" -lt 12 ]; do
    round=$((round + 1))
    drop_caches
    A=$(mounted a ro,noload)
    cmp "$A/file" "$W/file"
    umount "$A"
    # Inodes and frames come from where the last ones went.
    dir=$(mounted other ro,noload)
    cmp "$dir/file" "$W/other"
    B=$(mounted b ro,noload)
    cmp "$B/file" "$W/file" || fail "round $round: the wrong bytes"
    umount "$B"
    umount "$dir"
done
echo "hash rejects: $(stat_of hash_rejects); records of frames with another page: $(stat_of reject_mapping)"
drr_at_least identity_rejects 1000

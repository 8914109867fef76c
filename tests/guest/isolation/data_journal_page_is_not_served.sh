#!/bin/sh
# With data=journal a sibling's clean page can be newer than the disk: the reader gets the disk's bytes, the writer keeps his.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 96 -b 4096
A=$(mounted a data=journal,commit=300)
B=$(mounted b ro,noload)
drop_caches
cmp "$A/file" "$W/file"
cp "$W/file" "$W/file.a"
noise "$W/new" 2097152
for target in "$A/file" "$W/file.a"; do
    dd if="$W/new" of="$target" bs=64k seek=16 conv=notrunc,fsync status=none
done
# In the journal now, and not yet in its place.
cmp "$B/file" "$W/file"
cmp "$A/file" "$W/file.a"
drr_message verify on
umount "$A" "$B"
A=$(mounted a data=journal)
B=$(mounted b ro,noload)
cmp "$A/file" "$W/file.a"
cmp "$B/file" "$W/file"
no_mismatches

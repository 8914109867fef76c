#!/bin/sh
# Removing files and fstrim on ext4 gives their chunks back; the files that stay are whole.
# vm: timeout=150
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool
thin_new t 0 96
mkfs.ext4 -q -b 4096 /dev/mapper/t
dir=$(mounted t)
noise "$W/file" $((8 * 1048576))
for i in 1 2 3 4 5; do cp "$W/file" "$dir/file$i"; done
sync
used=$(chunks_used)
rm "$dir/file1" "$dir/file2" "$dir/file4"
sync
fstrim "$dir"
# 24 MiB are 384 chunks; the ends of the extents may stay.
at_most "chunks used" "$(chunks_used)" $((used - 370))
drop_caches
cmp "$W/file" "$dir/file3"
cmp "$W/file" "$dir/file5"

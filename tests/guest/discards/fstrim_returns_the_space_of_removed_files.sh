#!/bin/sh
# Removing files and fstrim on ext4 gives their chunks back; the files that stay are whole.
# vm: timeout=150
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool
thin_new t 0 96
# Inode tables are zeroed here and not by the kernel some time later, which would take chunks meanwhile.
mkfs.ext4 -q -b 4096 -E lazy_itable_init=0 /dev/mapper/t
dir=$(mounted t)
noise "$W/file" $((8 * 1048576))
for i in 1 2 3 4 5; do cp "$W/file" "$dir/file$i"; done
sync
used=$(chunks_used)
rm "$dir/file1" "$dir/file2" "$dir/file4"
sync
# ext4 gives the blocks free a moment after the commit that sync waits for (ext4_process_freed_data), and trims a group again only
# when more of it became free: a discard that was lost would stay lost. 24 MiB are 384 chunks; the ends of the extents may stay.
returned() {
    fstrim "$dir"
    [ "$(chunks_used)" -le $((used - 370)) ]
}
wait_for 20 returned
drop_caches
cmp "$W/file" "$dir/file3"
cmp "$W/file" "$dir/file5"

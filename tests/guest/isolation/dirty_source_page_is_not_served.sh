#!/bin/sh
# A sibling's page that is written but not on disk is no source: the reader gets the disk's bytes.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 64 -b 4096
# Nothing writes back by itself while this runs.
saved=$(cat /proc/sys/vm/dirty_writeback_centisecs)
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
mount_ab commit=300
drop_caches
cmp "$A/file" "$W/file"
cp "$W/file" "$W/file.a"
for target in "$A/file" "$W/file.a"; do
    # Whole pages, a part of one, and one through a mapping.
    xfs_io -c "pwrite -q -S 0x61 0 1m" -c "pwrite -q -S 0x62 2097252 100" -c "mmap -rw 4m 1m" -c "mwrite -S 0x63 4m 64k" "$target"
done
dirty=$(awk '$1 == "Dirty:" { print $2 }' /proc/meminfo)
cmp "$B/file" "$W/file"
echo "$saved" >/proc/sys/vm/dirty_writeback_centisecs
at_least "KiB dirty while the sibling read" "$dirty" 1024
drr_message verify on
# Written back, the page is at another place on disk: still none of the sibling's business.
sync
umount "$B"
B=$(mounted b)
cmp "$B/file" "$W/file"
cmp "$A/file" "$W/file.a"
drop_caches
cmp "$A/file" "$W/file.a"
cmp "$B/file" "$W/file"
no_mismatches

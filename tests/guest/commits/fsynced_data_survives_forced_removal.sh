#!/bin/sh
# A thin torn away under a mounted file system (no flush, table replaced by error) still has what was fsynced.
# vm: timeout=150
. "$TESTS/lib.sh"

pool
thin_new t 0 64
mkfs.ext4 -q -b 4096 /dev/mapper/t
dir=$(mounted t errors=continue)
noise "$W/file" 3000000
cp "$W/file" "$dir/file"
xfs_io -c fsync "$dir/file"
# Not fsynced: may be there or not, and must not matter.
cp "$W/file" "$dir/later"
dmsetup suspend --noflush --nolockfs t
dmsetup wipe_table --noflush --nolockfs t
umount "$dir"
remove t
pool_remove pool

pool_load pool "$META" "$DATA" 128
thin t 0 64
# First the journal, then a file system without a fault.
mounted t >/dev/null
cmp "$W/file" "$dir/file"
umount "$dir"
e2fsck -fn /dev/mapper/t >"$W/e2fsck" 2>&1 || {
    cat "$W/e2fsck"
    fail "e2fsck finds faults"
}

#!/bin/sh
# Files under fs-verity are served between snapshots; a byte changed below one of them is an error to its reader, and to nobody else.
# vm: smp=2 kernel=stock
. "$TESTS/lib.sh"

pool
thin_new o 0 32
mkfs.ext4 -q -b 4096 -O verity /dev/mapper/o
dir=$(mounted o)
noise "$W/file" $((4 * 1048576))
cp "$W/file" "$dir/file"
sync
cat >"$W/enable.py" <<'END'
import fcntl, os, struct, sys

# struct fsverity_enable_arg: SHA-256 over blocks of 4 KiB.
FS_IOC_ENABLE_VERITY = 0x40806685
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, FS_IOC_ENABLE_VERITY, struct.pack("<IIIIQIIQ", 1, 1, 4096, 0, 0, 0, 0, 0) + b"\0" * 88)
END
python3 "$W/enable.py" "$dir/file"
# Where the middle of it lies, in blocks of the file system.
set -- "$(xfs_io -r -c "fiemap" "$dir/file" | sed -nE 's/.*\[[0-9]+\.\.[0-9]+\]: ([0-9]+)\.\..*/\1/p' | head -n 1)"
umount "$dir"
snap a 1 o 0
snap b 2 o 0
remove o
a=$(mounted a)
b=$(mounted b)
cmp "$a/file" "$W/file"
drr_message stats reset
cmp "$b/file" "$W/file"
drr_at_least served_pages 1000
# Changed below, in the second page of the file.
umount "$b"
noise "$W/bad" 512
dd if="$W/bad" of=/dev/mapper/b bs=512 seek=$(($1 + 8)) oflag=direct conv=notrunc status=none
b=$(mounted b)
fails 'Input/output error' dd if="$b/file" of=/dev/null bs=4k skip=1 count=1
dd if="$b/file" bs=4k skip=2 status=none | cmp - "$W/file" 0 8192
# Whoever has the right bytes is not led astray by it.
drop_caches
cmp "$a/file" "$W/file"
umount "$a" "$b"

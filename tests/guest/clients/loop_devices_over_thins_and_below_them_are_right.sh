#!/bin/sh
# Loop devices, direct and cached, over files on thins, over snapshots themselves, and as a pool's data: every layer has the right bytes.
# vm: smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe loop
META=$(disk 8)
# The pool's data is in a file.
truncate -s 128M "$W/data"
DATA=$(losetup --find --show "$W/data")
POOL=pool
pool_load pool "$META" "$DATA" 128
thin_new o 0 48
mkfs.ext4 -q -b 4096 /dev/mapper/o
dir=$(mounted o)
noise "$W/file" $((4 * 1048576))
truncate -s 24M "$dir/image"
mkfs.ext4 -q -b 4096 -F "$dir/image"
mkdir "$MNT/inner"
mount -o loop "$dir/image" "$MNT/inner"
cp "$W/file" "$MNT/inner/file"
umount "$MNT/inner" "$dir"
snap a 1 o 0
snap b 2 o 0
remove o
# A file system in a file of each snapshot, one side past the page cache of the outer file.
a=$(mounted a)
b=$(mounted b)
la=$(losetup --find --show --direct-io=off "$a/image")
lb=$(losetup --find --show --direct-io=on "$b/image")
mkdir "$MNT/a.in" "$MNT/b.in"
mount "$la" "$MNT/a.in"
mount "$lb" "$MNT/b.in"
drr_message stats reset
cmp "$MNT/a.in/file" "$W/file"
cmp "$MNT/b.in/file" "$W/file"
drr_at_least bounced_pages 900
cp "$W/file" "$W/a"
cp "$W/file" "$W/b"
noise "$W/new" 300000
dd if="$W/new" of="$MNT/a.in/file" bs=100000 seek=3 conv=notrunc,fsync status=none
dd if="$W/new" of="$W/a" bs=100000 seek=3 conv=notrunc status=none
dd if="$W/new" of="$MNT/b.in/file" bs=100000 seek=20 conv=notrunc,fsync status=none
dd if="$W/new" of="$W/b" bs=100000 seek=20 conv=notrunc status=none
drop_caches
cmp "$MNT/a.in/file" "$W/a"
cmp "$MNT/b.in/file" "$W/b"
umount "$MNT/a.in" "$MNT/b.in"
losetup -d "$la"
losetup -d "$lb"
umount "$a" "$b"
# Over the snapshots themselves.
la=$(losetup --find --show --read-only /dev/mapper/a)
lb=$(losetup --find --show --direct-io=on /dev/mapper/b)
mount -o ro,noload "$la" "$a"
mount "$lb" "$b"
for side in a b; do
    mount -o loop,ro,noload "$MNT/$side/image" "$MNT/$side.in"
    cmp "$MNT/$side.in/file" "$W/$side"
    umount "$MNT/$side.in"
done
noise "$b/more" 500000
sum=$(sha256sum <"$b/more")
umount "$a" "$b"
losetup -d "$la"
losetup -d "$lb"
b=$(mounted b)
equals "what was written through the loop" "$(sha256sum <"$b/more")" "$sum"
umount "$b"
remove a b
pool_remove pool
losetup -d "$DATA"

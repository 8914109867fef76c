#!/bin/sh
# Under dm-crypt snapshots are read and written right: no page that was decrypted in place is taken for what the disk has, nor the reverse.
# vm: smp=2
. "$TESTS/lib.sh"

pool
modprobe dm-crypt
key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
# crypt NAME THIN: also with reads decrypted by the submitter, where no copy is made.
crypt() {
    dmsetup create "$1" --table "0 $(sectors "/dev/mapper/$2") crypt aes-xts-plain64 $key 0 /dev/mapper/$2 0 $3"
}
thin_new o 0 16
crypt co o 0
mkfs.ext4 -q -b 4096 /dev/mapper/co
dir=$(mounted co)
noise "$W/file" $((2 * 1048576))
cp "$W/file" "$dir/file"
umount "$dir"
remove co
cp /dev/mapper/o "$W/o"
snap a 1 o 0
snap b 2 o 0
snap c 3 o 0
crypt ca a 0
crypt cb b "2 no_read_workqueue no_write_workqueue"
a=$(mounted ca)
b=$(mounted cb)
cmp "$a/file" "$W/file"
cmp "$b/file" "$W/file"
# The ciphertext, while the plain text is cached, and the other way round.
cmp /dev/mapper/c "$W/o"
dd if="$b/file" bs=1M iflag=direct status=none | cmp - "$W/file"
xfs_io -r -c "fadvise -d 0 2m" "$b/file"
cmp "$b/file" "$W/file"
noise "$W/new" 200000
cp "$W/file" "$W/b"
for to in "$b/file" "$W/b"; do
    dd if="$W/new" of="$to" bs=50000 seek=17 conv=notrunc status=none
done
sync
drop_caches
cmp "$b/file" "$W/b"
cmp "$a/file" "$W/file"
cmp /dev/mapper/c "$W/o"
drr_is hash_rejects 0
umount "$a" "$b"

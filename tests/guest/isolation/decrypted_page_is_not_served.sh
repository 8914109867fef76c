#!/bin/sh
# fscrypt decrypts a page in place after the read, so a sibling's clean page is not what the disk holds: only the hash can tell. Where that has
# happened again and again few pages are recorded.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new origin 0 96
mkfs.ext4 -q -F -b 4096 -O encrypt,^has_journal /dev/mapper/origin
O=$(mounted origin test_dummy_encryption)
noise "$W/file" 8388608
cp "$W/file" "$O/file"
umount "$O"
snap a 1 origin 0
snap b 2 origin 0
A=$(mounted a ro,test_dummy_encryption)
B=$(mounted b ro,test_dummy_encryption)
drop_caches
cmp "$A/file" "$W/file"
drr_message stats reset
# Every page is recorded and in place, and none is the ciphertext that B asks for. The first page decides for its whole read.
cmp "$B/file" "$W/file"
drr_at_least hash_rejects 100
# By now it is known that records of A's file are of no use; the inode stays.
sync
echo 1 >/proc/sys/vm/drop_caches
drr_message stats reset
cmp "$A/file" "$W/file"
if has_drr; then
    at_most "pages recorded that are decrypted" "$(stat_of recorded_pages)" 512
fi
drr_message verify on
umount "$B"
B=$(mounted b ro,test_dummy_encryption)
cmp "$B/file" "$W/file"
no_mismatches

#!/bin/sh
# Partitions that begin off a page, over thins and below a pool: files and raw data are right on each snapshot, and served where they can be.
# vm: smp=2 long=yes
. "$TESTS/lib.sh"

# The pool's data begins 63 sectors into its disk: a page of the pool is not one of the disk.
load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 97 discard=1)
dmsetup create part --table "0 196608 linear $DATA 63"
POOL=pool
pool_load pool "$META" /dev/mapper/part 128
thin_new o 0 32
# partition THIN FIRST_SECTOR
partition() {
    dmsetup create "$1.$2" --table "0 32768 linear /dev/mapper/$1 $2"
}
partition o 63
mkfs.ext4 -q -b 4096 /dev/mapper/o.63
dir=$(mounted o.63)
noise "$W/file" $((4 * 1048576))
cp "$W/file" "$dir/file"
umount "$dir"
remove o.63
snap a 1 o 0
snap b 2 o 0
for side in a b; do
    partition $side 63
done
a=$(mounted a.63)
b=$(mounted b.63)
cmp "$a/file" "$W/file"
cmp "$b/file" "$W/file"
dd if="$b/file" bs=1M iflag=direct status=none | cmp - "$W/file"
# Whole disks are in the cache with other boundaries than files.
cmp /dev/mapper/a /dev/mapper/b
noise "$W/new" 300000
cp "$W/file" "$W/b"
for to in "$b/file" "$W/b"; do
    dd if="$W/new" of="$to" bs=60000 seek=11 conv=notrunc status=none
done
sync
drop_caches
cmp "$b/file" "$W/b"
cmp "$a/file" "$W/file"
umount "$a" "$b"
remove a.63 b.63

# On such a data device pages are served as on any other.
thin_new whole 3 32
mkfs.ext4 -q -b 4096 /dev/mapper/whole
dir=$(mounted whole)
cp "$W/file" "$dir/file"
umount "$dir"
snap c 4 whole 3
snap d 5 whole 3
c=$(mounted c ro,noload)
d=$(mounted d ro,noload)
cmp "$c/file" "$W/file"
drr_message stats reset
cmp "$d/file" "$W/file"
drr_at_least served_pages 1000

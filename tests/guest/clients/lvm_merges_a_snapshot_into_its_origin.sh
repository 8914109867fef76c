#!/bin/sh
# A snapshot that LVM merges is its origin afterwards, at once or when the origin is next activated; other snapshots keep theirs.
# vm: smp=2 long=yes
. "$TESTS/lib.sh"
. "$TESTS/lvm_lib.sh"

load_side "$TARGETS"
a=$(disk 64 discard=1)
b=$(disk 16 discard=1)
lvm vgcreate --physicalextentsize 1m --setautoactivation n vg "$a" "$b"
lvm lvcreate --type thin-pool --size 40m --poolmetadatasize 2m --poolmetadataspare n --chunksize 64k --name pool vg "$a"
lvm lvcreate --virtualsize 8m --thinpool pool --name o vg
for name in one two; do
    noise "$W/$name" $((4 * 1048576))
    dd if="$W/$name" of=/dev/mapper/vg-o bs=1M oflag=direct status=none
    lvm lvcreate --snapshot --name $name vg/o
done
noise "$W/o" $((4 * 1048576))
dd if="$W/o" of=/dev/mapper/vg-o bs=1M oflag=direct status=none
# is NAME MODEL: what the device has, past the cache and through it.
is() {
    blockdev --flushbufs "/dev/mapper/vg-$1"
    dd if="/dev/mapper/vg-$1" bs=1M count=4 iflag=direct status=none | cmp - "$W/$2" || fail "$1 is not $2"
    cmp -n 4194304 "/dev/mapper/vg-$1" "$W/$2" || fail "$1 is not $2 through the cache"
}
# In use: put off.
exec 7</dev/mapper/vg-o
lvm lvconvert --merge vg/two
is o o
exec 7<&-
lvm lvchange --activate n vg/o
lvm lvchange --activate y --ignoreactivationskip vg/o vg/one
is o two
is one one
# Not in use: at once. A snapshot of what it is now, that is, for the other one is none of it any more.
lvm lvcreate --snapshot --name three vg/o
dd if="$W/o" of=/dev/mapper/vg-o bs=1M oflag=direct status=none
is o o
lvm lvchange --activate n vg/o
lvm lvconvert --merge vg/three
lvm lvchange --activate y vg/o
is o two
is one one
equals "chunks mapped" "$(thin_mapped vg-o) $(thin_mapped vg-one)" "8192 8192"
lvm vgremove --yes vg
equals "devices left" "$(dmsetup ls | grep -c vg)" 0

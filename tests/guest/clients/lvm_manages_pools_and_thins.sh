#!/bin/sh
# LVM makes a pool, thins and snapshots on the drop-in names, extends data and metadata, deactivates with its thin_check, and removes all.
# vm: timeout=300 mem=1024 smp=2
. "$TESTS/lib.sh"
. "$TESTS/lvm_lib.sh"

load_side "$TARGETS"
a=$(disk 192 discard=1)
b=$(disk 64 discard=1)

lvm vgcreate --physicalextentsize 1m --setautoactivation n vg "$a" "$b"
lvm lvcreate --type thin-pool --size 48m --poolmetadatasize 4m --chunksize 64k --zero y --name pool vg "$a"
lvm lvcreate --virtualsize 64m --thinpool pool --name origin vg
equals "target of the pool" "$(dmsetup table vg-pool-tpool | cut -d' ' -f3)" thin-pool
equals "module in use" "$(lsmod | awk -v m="$MODULE" '$1 == m { print ($3 > 0) }')" 1
mkfs.ext4 -q -b 4096 /dev/mapper/vg-origin
dir=$(mounted vg-origin)
noise "$W/file" $((8 * 1048576))
cp "$W/file" "$dir/file"
# Of a mounted origin, which LVM suspends for it.
lvm lvcreate --snapshot --name snap vg/origin
equals "LVM's transaction" "$(field vg-pool-tpool 1)" 2
noise "$W/file2" $((8 * 1048576))
cp "$W/file2" "$dir/file"
sync
lvm lvchange --activate y --ignoreactivationskip vg/snap
snap=$(mounted vg-snap)
cmp "$snap/file" "$W/file"
cmp "$dir/file" "$W/file2"

# Both grow under the mounted file systems.
lvm lvextend --size +48m vg/pool "$b"
equals "chunks" "$(field vg-pool-tpool 3 | cut -d/ -f2)" 1536
lvm lvextend --poolmetadatasize +4m vg/pool
equals "metadata blocks" "$(field vg-pool-tpool 2 | cut -d/ -f2)" 2048
lvm lvextend --size 96m vg/origin
equals "sectors of the origin" "$(sectors /dev/mapper/vg-origin)" 196608
noise "$W/more" $((24 * 1048576))
cp "$W/more" "$snap/more"
sync
# What LVM reads out of the status.
lvm lvs --noheadings --options lv_name,data_percent,lv_attr,thin_id,transaction_id vg
awk '$1 == "pool" && $2 + 0 > 0 { ok = 1 } END { exit !ok }' "$W/lvm" || fail "lvs: $(cat "$W/lvm")"
umount "$dir" "$snap"

# Off, with LVM's own thin_check of the metadata, and on again.
lvm vgchange --activate n vg
equals "devices left" "$(dmsetup ls | grep -c vg)" 0
lvm lvchange --activate y --ignoreactivationskip vg/snap vg/origin
dir=$(mounted vg-origin)
snap=$(mounted vg-snap)
cmp "$dir/file" "$W/file2"
cmp "$snap/file" "$W/file"
cmp "$snap/more" "$W/more"
umount "$dir" "$snap"
lvm lvremove --yes vg/origin
equals "chunks used" "$(field vg-pool-tpool 3 | cut -d/ -f1)" $(($(thin_mapped vg-snap) / 128))
lvm lvremove --yes vg/snap
lvm vgremove --yes vg
equals "devices left" "$(dmsetup ls | grep -c vg)" 0

#!/bin/sh
# A copy of both backing devices, taken right after fsync returned and with the file system still mounted, holds the file.
# vm: timeout=150
. "$TESTS/lib.sh"

pool
thin_new t 0 64
# Linear layers, so that both devices can be frozen at one moment for the copy, as a power cut would.
remove t
pool_remove pool
dmsetup create lmeta --table "0 $(sectors "$META") linear $META 0"
dmsetup create ldata --table "0 $(sectors "$DATA") linear $DATA 0"
pool_load pool /dev/mapper/lmeta /dev/mapper/ldata 128
thin t 0 64
mkfs.ext4 -q -b 4096 /dev/mapper/t
dir=$(mounted t)
noise "$W/file" 3000000

meta2=$(disk 8)
data2=$(disk 128)
# Once on fresh chunks, once on chunks shared with a snapshot: a new mapping has to be durable either way.
for round in 1 2; do
    cp "$W/file" "$dir/file$round"
    xfs_io -c fsync "$dir/file$round"
    # Metadata first: whatever data came later belongs to mappings that this metadata does not have.
    dmsetup suspend --noflush --nolockfs lmeta
    dmsetup suspend --noflush --nolockfs ldata
    dd if="$META" of="$meta2" bs=1M iflag=direct oflag=direct status=none
    dd if="$DATA" of="$data2" bs=1M iflag=direct oflag=direct status=none
    dmsetup resume ldata
    dmsetup resume lmeta

    POOL=copy
    pool_load copy "$meta2" "$data2" 128
    thin c 0 64
    copy=$(mounted c)
    cmp "$W/file" "$copy/file$round"
    cmp "$W/file" "$copy/file1"
    umount "$copy"
    remove c
    pool_remove copy
    POOL=pool
    message create_snap "$round" 0
done
# The pool on linear layers goes before them, and is checked while they are there.
umount "$dir"
remove t
pool_remove pool

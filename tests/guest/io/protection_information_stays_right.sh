#!/bin/sh
# A data device that checks T10 protection information finds no fault with writes, copies, zeroes or reads of a pool, served or not.
# vm: smp=2 kernel=stock
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe -a sd_mod
modprobe scsi_debug dev_size_mb=96 dif=1 dix=1 guard=0 delay=0 lbpws=1
sd=
found() {
    for f_disk in /sys/block/sd*; do
        if grep -q scsi_debug "$f_disk/device/model" 2>/dev/null && [ -b "/dev/${f_disk##*/}" ]; then
            sd=/dev/${f_disk##*/}
        fi
    done
    [ -n "$sd" ]
}
wait_for 20 found
equals "protection of the disk" "$(cat "/sys/block/${sd##*/}/integrity/format")" T10-DIF-TYPE1-CRC
META=$(disk 8)
DATA=$sd
POOL=pool
pool_load pool "$META" "$DATA" 128
thin_new o 0 32
mkfs.ext4 -q -b 4096 /dev/mapper/o
dir=$(mounted o)
noise "$W/file" $((4 * 1048576))
cp "$W/file" "$dir/file"
umount "$dir"
snap a 1 o 0
snap b 2 o 0
a=$(mounted a)
b=$(mounted b)
cmp "$a/file" "$W/file"
drr_message stats reset
cmp "$b/file" "$W/file"
drr_at_least served_pages 1000
# Written through a mapping while it is written back, which has its checksum made under way.
cp "$W/file" "$W/a"
noise "$W/new" 65536
for i in 1 2 3 4; do
    for to in "$a/file" "$W/a"; do
        xfs_io -c "mmap -rw 0 4m" -c "mwrite -S $i 0 1m" -c "mwrite -S $i $((i * 600001)) 60000" -c "msync -a" -c "mwrite -S $((i + 50)) 4096 500000" "$to"
    done
done
sync
drop_caches
cmp "$a/file" "$W/a"
cmp "$b/file" "$W/file"
umount "$a" "$b"
model "$W/t" 8
thin_new t 3 8
random_puts t "$W/t" 8 8 300
snap s 4 t 3
cp "$W/t" "$W/s"
random_puts t "$W/t" 8 8 200
same t "$W/t"
same s "$W/s"
equals "errors" "$(log_since "$LOG_START" | grep -ciE 'guard|integrity error|ref tag|I/O error|protection error')" 0
# All this was checked: what is written without it cannot be read.
integrity=/sys/block/${sd##*/}/integrity
noise "$W/new" 8192
dd if="$W/new" of=/dev/mapper/t bs=4k count=1 oflag=direct conv=notrunc status=none
echo 0 >"$integrity/write_generate"
dd if="$W/new" of=/dev/mapper/t bs=4k skip=1 count=1 oflag=direct conv=notrunc status=none
echo 1 >"$integrity/write_generate"
fails 'error' dd if=/dev/mapper/t of=/dev/null bs=4k count=1 iflag=direct
remove o a b t s
pool_remove pool
wait_for 10 rmmod scsi_debug

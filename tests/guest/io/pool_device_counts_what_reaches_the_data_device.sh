#!/bin/sh
# The pool device's figures (diskstats, iostat) show the I/O of its thin devices, copies and discards too, as on dm-thin; queue/iostats switches that off.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

DATA_ATTRS="discard=1 irqmode=2 completion_nsec=4000000" pool 128 32
pool_disk=/sys/block/$(dmsetup info -c --noheadings -o blkdevname pool)
thin_new t 0 8
thin_new other 2 8

# moved STAT [READ]: sectors read, less those, written, discarded so far.
moved() {
    awk -v less="${2:-0}" '{ print $3 - less, $7, $14 }' "$1"
}
data_stat=/sys/block/${DATA##*/}/stat
# The kernel has looked for partitions on the data device.
scan=$(word 1 "$(moved "$data_stat")")
same_moves() {
    equals "sectors read, written and discarded ($1)" "$(moved "$pool_disk/stat")" "$(moved "$data_stat" "$scan")"
    equals "I/O under way ($1)" "$(awk '{ print $9 }' "$pool_disk/stat")" 0
}

dd if=/dev/urandom of=/dev/mapper/t bs=64k count=32 oflag=direct conv=notrunc,fsync status=none
same_moves "whole chunks written"
dd if=/dev/urandom of=/dev/mapper/t bs=4k count=4 seek=1024 oflag=direct conv=notrunc status=none
same_moves "parts of new chunks written"
dd if=/dev/mapper/t of=/dev/null bs=256k count=8 iflag=direct status=none
same_moves "read"
at_least "milliseconds of reads" "$(awk '{ print $4 }' "$pool_disk/stat")" 20
snap s 1 t 0
dd if=/dev/urandom of=/dev/mapper/s bs=4k count=1 seek=3 oflag=direct conv=notrunc status=none
dd if=/dev/mapper/s of=/dev/null bs=64k count=4 iflag=direct status=none
same_moves "copied"
blkdiscard -o 0 -l 1048576 /dev/mapper/s
blkdiscard /dev/mapper/t
same_moves "discarded"
at_least "sectors discarded" "$(awk '{ print $14 }' "$pool_disk/stat")" 1024

echo 0 >"$pool_disk/queue/iostats"
before=$(moved "$pool_disk/stat")
dd if=/dev/urandom of=/dev/mapper/other bs=64k count=4 oflag=direct conv=notrunc status=none
dd if=/dev/mapper/other of=/dev/null bs=64k count=4 iflag=direct status=none
equals "sectors moved while iostats is off" "$(moved "$pool_disk/stat")" "$before"

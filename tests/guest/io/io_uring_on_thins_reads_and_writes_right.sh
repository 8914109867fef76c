#!/bin/sh
# io_uring with registered files, registered buffers and a polling submitter verifies on thins and snapshots, and on files that are served.
# vm: smp=2
. "$TESTS/lib.sh"

# verified [option…]: a run of fio.
verified() {
    fio --ioengine=io_uring --iodepth=16 --serialize_overlap=1 --verify=crc32c --verify_fatal=1 "$@" --output="$W/fio" ||
        fail "fio: $(grep -E 'verify|error' "$W/fio")"
}
pool
thin_new t 0 8
mkfs.ext4 -q -b 4096 /dev/mapper/t
dir=$(mounted t)
# fio's own headers tell whether a block is the one that belongs there.
verified --name=f --filename="$dir/file" --rw=write --bs=4k --size=2m --do_verify=0 --end_fsync=1
wait_for 10 umount "$dir"
snap a 1 t 0
snap b 2 t 0
snap raw 3 t 0
snap still 4 t 0
a=$(mounted a)
b=$(mounted b)
cat "$a/file" >/dev/null
drr_message stats reset
# Into registered buffers, which are pinned, and into the page cache.
verified --filename="$b/file" --readonly --rw=randread --bs=4k --size=2m --verify_only=1 \
    --name=direct --direct=1 --fixedbufs=1 --registerfiles=1 --name=cached --stonewall --direct=0
drr_at_least bounced_pages 450
drr_at_least served_pages 950
# A ring gives back its files a moment after the program has ended (io_uring/io_uring.c, io_ring_exit_work).
for at in "$a" "$b"; do
    wait_for 10 umount "$at"
done

cp /dev/mapper/still "$W/still"
verified --direct=1 --fixedbufs=1 --registerfiles=1 --sqthread_poll=1 --rw=randwrite --bsrange=512-96k --blockalign=512 --size=8m \
    --io_size=3m --name=t --filename=/dev/mapper/t --name=raw --filename=/dev/mapper/raw
blockdev --flushbufs /dev/mapper/still
cmp /dev/mapper/still "$W/still"

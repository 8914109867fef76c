#!/bin/sh
# diskstats of thins count what was read, written and discarded to the sector, whether it was served, unmapped, new or copied.
# vm: smp=2
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
FILE_MIB=4
image ext4 32 -b 4096
# count NAME: sectors so far. counted NAME WHAT SECTORS: read, written and discarded since the last time.
count() {
    stat_file=$(printf '/sys/dev/block/%s/stat' "$(dmsetup info -c --noheadings -o major,minor "$1")")
    # shellcheck disable=SC2046 # words
    set -- $(cat "$stat_file")
    reads=$3 writes=$7 discards=${14}
}
counted() {
    count_before="$reads $writes $discards"
    count "$1"
    # shellcheck disable=SC2086 # words
    set -- "$2" "$3" $count_before
    equals "$1: sectors read, written, discarded" "$((reads - $3)) $((writes - $4)) $((discards - $5))" "$2"
}
A=$(mounted a ro,noload)
B=$(mounted b ro,noload)
cmp "$A/file" "$W/file"
# The inode and the place of the file come first.
xfs_io -r -c "pread -q 0 4k" -c "fadvise -d 0 4m" "$B/file"
drr_message stats reset
count b
dd if="$B/file" of=/dev/null bs=1M iflag=direct status=none
counted b "served, direct" "8192 0 0"
drr_at_least bounced_pages 1000
# Read ahead may go no further than the file.
cmp "$B/file" "$W/file"
counted b "served, cached" "8192 0 0"
drr_at_least served_pages 2000
umount "$A" "$B"

thin_new t 10 16
count t
dd if=/dev/mapper/t of=/dev/null bs=384k count=5 iflag=direct status=none
counted t "not mapped" "3840 0 0"
dd if=/dev/zero of=/dev/mapper/t bs=384k count=5 oflag=direct conv=notrunc status=none
counted t "new" "0 3840 0"
dd if=/dev/zero of=/dev/mapper/t bs=1536 count=100 seek=3 oflag=direct conv=notrunc status=none
counted t "in place" "0 300 0"
dd if=/dev/mapper/t of=/dev/null bs=1536 count=100 skip=3 iflag=direct status=none
counted t "mapped" "300 0 0"
message create_snap 11 10
dd if=/dev/zero of=/dev/mapper/t bs=1536 count=100 seek=3 oflag=direct conv=notrunc status=none
dd if=/dev/zero of=/dev/mapper/t bs=64k count=2 seek=10 oflag=direct conv=notrunc status=none
counted t "copied" "0 556 0"
# Without a look at what is there.
blkdiscard -f -o 65536 -l 655360 /dev/mapper/t
counted t "discarded" "0 0 1280"
read -r inflight <"${stat_file%stat}inflight"
equals "in flight" "$(echo "$inflight" | tr -s ' ')" "0 0"

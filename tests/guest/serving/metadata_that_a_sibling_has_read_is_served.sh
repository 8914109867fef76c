#!/bin/sh
# The metadata of a file system that one snapshot has read is not read from the data device by its sibling, and is the same.
# vm: timeout=120
. "$TESTS/lib.sh"

FILE_MIB=1
TREE=common
# shellcheck disable=SC2086 # several options
image "${FS:-ext4}" "${FS_MIB:-64}" ${MKFS:--b 4096}
mount_ab "${OPTIONS:-ro,noload}"

# listed NAME DIR: lists it into $W/NAME, and leaves in $W/sectors what that took from the data device.
listed() {
    l_start=$(sectors_read "$DATA")
    listing "$2" >"$W/$1"
    echo $(($(sectors_read "$DATA") - l_start)) >"$W/sectors"
}

drop_caches
drr_message stats reset
listed a "$A"
first=$(cat "$W/sectors")
equals "files that are listed" "$(grep -c a-file-of-common "$W/a")" 1280
at_least "sectors that the first listing takes from the data device" "$first" 400
listed b "$B"
second=$(cat "$W/sectors")
cmp "$W/a" "$W/b"
if has_drr; then
    at_most "sectors that the second listing takes from the data device" "$second" $((first / 20))
    drr_at_least meta_served_pages $((first / 8 / 2))
else
    at_least "sectors that the second listing takes from dm-thin's data device" "$second" $((first / 2))
fi
# Once more, each page compared with the disk.
drr_message verify on
umount "$B"
B=$(mounted b "${OPTIONS:-ro,noload}")
listed b "$B"
cmp "$W/a" "$W/b"
drr_at_least verify_pages 50
no_mismatches

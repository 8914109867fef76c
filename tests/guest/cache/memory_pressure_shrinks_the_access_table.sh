#!/bin/sh
# The access table gives its memory back when the system asks for it, and is filled again; readers have the right data throughout.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"
only drr dropin

image ext4 64 -b 4096
mount_ab ro,noload
drop_caches
cmp "$A/file" "$W/file"
at_least "groups of the table" "$(stat_of groups)" 256
full=$(stat_of table_bytes)
evicted=$(stat_of evicted_pages)
# Slab caches and whatever else can shrink, but no page of a file.
echo 2 >/proc/sys/vm/drop_caches
drr_is groups 0
at_most "bytes of the table" "$(stat_of table_bytes)" $((full - 256 * 256))
at_least "records given up" $(($(stat_of evicted_pages) - evicted)) 4096
served=$(stat_of served_pages)
cmp "$B/file" "$W/file"
at_most "pages served without a record" $(($(stat_of served_pages) - served)) 64
# What b has read serves a now.
umount "$A"
A=$(mounted a ro,noload)
cmp "$A/file" "$W/file"
at_least "pages served from the new records" $(($(stat_of served_pages) - served)) 3900

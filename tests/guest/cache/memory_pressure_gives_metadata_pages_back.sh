#!/bin/sh
# The pages of metadata that a pool keeps are given back when the system asks for memory; readers have the right data.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"
only drr dropin

FILE_MIB=1
TREE=common
image ext4 64 -b 4096
mount_ab ro,noload
drop_caches
listing "$A" >"$W/a"
at_least "pages kept" "$(stat_of meta_pages)" 50
gone=$(stat_of meta_evicted_pages)
# Slab caches and whatever else can shrink, but no page of a file.
echo 2 >/proc/sys/vm/drop_caches
drr_is meta_pages 0
at_least "pages given up" $(($(stat_of meta_evicted_pages) - gone)) 50
listing "$B" | cmp - "$W/a"
at_least "pages kept again" "$(stat_of meta_pages)" 50

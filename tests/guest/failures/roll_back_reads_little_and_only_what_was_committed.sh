#!/bin/sh
# A roll-back reads a few blocks of a big pool's metadata; if the device has lost a commit before, the pool fails and loses no more.
# vm: timeout=200
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"
only drr dropin

flaky_pool 4096
dmsetup remove pool
awk 'BEGIN {
    n = 60000
    printf "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"%d\">\n", n + 500
    printf "<device dev_id=\"0\" mapped_blocks=\"%d\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", n
    for (i = 0; i < n; i++)
        printf "<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"0\"/>\n", i, (i * 7919) % n
    print "</device>\n</superblock>"
}' >"$W/xml"
thin_restore -q -i "$W/xml" -o /dev/mapper/fmeta
blocks=$(sectors_read "$META")
flaky_load
# Opening reads it all.
at_least "sectors read to open" $(($(sectors_read "$META") - blocks)) $((238 * 8))
thin t 0 4
message create_thin 1
breaks fmeta error_writes
blocks=$(sectors_read "$META")
fails 'Input/output error' message create_thin 9
equals "mode and mark" "$(pool_word 5) $(pool_word 8)" 'ro needs_check'
at_most "sectors read to roll back" $(($(sectors_read "$META") - blocks)) $((40 * 8))
dd if=/dev/mapper/t of=/dev/null bs=64k count=4 iflag=direct status=none
remove t
dmsetup remove pool
works fmeta
thin_check -q --clear-needs-check-flag /dev/mapper/fmeta

# A commit that is lost: what a roll-back would find is older than what was promised.
flaky_load
message create_thin 2
breaks fmeta drop_writes
message create_thin 3
breaks fmeta error_writes
log_mark
fails 'Input/output error' message create_thin 9
equals status "$(word 4 "$(dmsetup status pool)")" Fail
log_names 'has lost what it was given'
dmsetup remove pool
works fmeta
flaky_load
fails 'File exists' message create_thin 2
message create_thin 3
dmsetup remove pool

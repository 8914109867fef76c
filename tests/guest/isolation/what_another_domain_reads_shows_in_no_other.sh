#!/bin/sh
# A tenant with many devices finds the same of its own pages in memory, whether somebody in another domain has read them or not.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

only drr dropin
export FILE_MIB=2
image ext4 32 -b 4096
# The tenant's first four devices read, and the pages of all but the first go again. The fifth one asks.
message domain 1 tenant
for id in 11 12 13 14; do
    message create_snap $id 1
    thin "p$id" $id 32
done
message domain 2 victim
# asks VICTIM_READS: pages that the fifth device is served, and pages that it reads from disk.
asks() {
    drop_caches
    for id in 11 12 13 14; do
        cmp "$(mounted "p$id" ro,noload)/file" "$W/file"
    done
    if [ "$1" = 1 ]; then
        cmp "$(mounted b ro,noload)/file" "$W/file"
        umount "$MNT/b"
    fi
    for id in 12 13 14; do
        umount "$MNT/p$id"
    done
    A=$(mounted a ro,noload)
    message stats reset
    cmp "$A/file" "$W/file"
    echo "$(stat_of served_pages) served, $(stat_of miss_pages) from disk"
    umount "$A" "$MNT/p11"
}
without=$(asks 0)
with=$(asks 1)
echo "without the victim: $without; with it: $with"
equals "pages, after a read in another domain," "$with" "$without"
equals "pages, without one," "$without" "512 served, 0 from disk"

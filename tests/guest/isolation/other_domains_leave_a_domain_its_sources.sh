#!/bin/sh
# A container is served by its sibling however many containers of other domains have read the same image since.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

only drr dropin
export FILE_MIB=2
image ext4 32 -b 4096
message domain 1 here
message domain 2 here
n=1
while [ $n -le 5 ]; do
    message create_snap 1$n 1
    message domain 1$n "other$n"
    thin "o$n" 1$n 32
    n=$((n + 1))
done
mount_ab ro,noload
drop_caches
cmp "$A/file" "$W/file"
n=1
while [ $n -le 5 ]; do
    O=$(mounted "o$n" ro,noload)
    cmp "$O/file" "$W/file"
    n=$((n + 1))
done
message stats reset
cmp "$B/file" "$W/file"
at_least "pages served by the sibling" "$(stat_of served_pages)" 512
at_most "pages read from disk" "$(stat_of miss_pages)" 8

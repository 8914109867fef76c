#!/bin/sh
# On a disk as quick as memory, without siblings, only a sample is recorded after a while; `sampling off` has all recorded again.
# vm: timeout=120 mem=1024 smp=2 kernel=stock
SAMPLING=1
. "$TESTS/lib.sh"
only drr dropin

MIB=32
PAGES=$((MIB * 256))

# recorded_of N: reads the Nth part of the snapshot, which nobody has read; how many of its pages were recorded.
recorded_of() {
    r_before=$(stat_of recorded_pages)
    dd if=/dev/mapper/only of=/dev/null bs=1M count=$MIB skip=$(($1 * MIB)) status=none
    echo $(($(stat_of recorded_pages) - r_before))
}

pool 128 320
thin_new origin 0 $((8 * MIB))
dd if=/dev/zero of=/dev/mapper/origin bs=1M count=$((8 * MIB)) oflag=direct status=none
snap only 1 origin 0
drop_caches
drr_is sampled 0
n=0 all=0
while [ "$(stat_of sampled)" = 0 ]; do
    at_most "parts read while everything is recorded" $n 5
    all=$((all + $(recorded_of $n)))
    n=$((n + 1))
done
# Where in the last part it was switched down is a matter of the disk's time.
at_least "pages recorded of $n parts, before and while it was switched down" "$all" 256
r=$(recorded_of $n)
at_least "pages recorded of a part, switched down" "$r" 1
at_most "pages recorded of a part, switched down" "$r" $((PAGES / 8))
at_least unsampled_pages "$(stat_of unsampled_pages)" $((PAGES * 3 / 4))
message sampling off
equals "pages recorded of a part with sampling off" "$(recorded_of 7)" "$PAGES"
drr_is sampled 0

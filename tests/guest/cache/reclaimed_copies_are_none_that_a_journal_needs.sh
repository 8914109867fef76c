#!/bin/sh
# data=journal: a page that has been written is in memory and in the journal alone for a long time, whereas the sibling's copy is what
# the disk has: it is no copy that may leave.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 96 -b 4096
# No commit while the test looks.
mount_ab data=journal,commit=300
for dir in "$A" "$B"; do
    cmp "$dir/file" "$W/file"
done
# Contents of one sibling change, and are in memory alone. Then the other one's copy is the newest.
for k in 0 1 2 3 4 5 6 7; do
    noise "$W/new" 65536
    for file in "$A/file" "$W/file_a"; do
        [ -e "$file" ] || cp "$W/file" "$file"
        dd if="$W/new" of="$file" bs=64k seek=$((k * 17)) conv=notrunc status=none
    done
    dd if="$B/file" of=/dev/null bs=64k skip=$((k * 17)) count=1 iflag=direct status=none
    drr_message cache pressure
    echo 2 >/proc/sys/vm/drop_caches
    for _ in $(seq "${PACE:-1}"); do
        sleep 0.3
    done
    drr_message cache off
    cmp "$A/file" "$W/file_a" || fail "round $k: what was written to a journal is lost"
    cmp "$B/file" "$W/file" || fail "round $k: the sibling reads something else"
done
sync
drr_at_least cache_dropped_pages 1000
drop_caches
cmp "$A/file" "$W/file_a"
umount "$A"
A=$(mounted a data=journal)
cmp "$A/file" "$W/file_a"
cmp "$B/file" "$W/file"

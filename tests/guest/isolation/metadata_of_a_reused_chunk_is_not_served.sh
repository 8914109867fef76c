#!/bin/sh
# Chunks of deleted devices get other file systems: their metadata is the new one's.
# vm: timeout=180
. "$TESTS/lib.sh"

pool 128 8
# Each takes more than half of the pool: chunks come again.
for round in one two three four five; do
    thin_new "$round" 0 16
    mkfs.ext4 -q -b 4096 -N 2048 -O ^has_journal "/dev/mapper/$round"
    dir=$(mounted "$round")
    tree "$dir" "$round"
    listing "$dir" >"$W/want"
    umount "$dir"
    echo "round $round: $(chunks_used) chunks of 128"
    snap "s$round" 1 "$round" 0
    for n in "$round" "s$round" "$round" "s$round"; do
        dir=$(mounted "$n" ro,noload)
        listing "$dir" | cmp - "$W/want" || fail "$n does not have what was written to it"
        umount "$dir"
    done
    e2fsck -fn "/dev/mapper/s$round" >"$W/e2fsck" 2>&1 || fail "e2fsck: $(cat "$W/e2fsck")"
    remove "$round" "s$round"
    message delete 1
    message delete 0
done
drr_at_least meta_served_pages 100

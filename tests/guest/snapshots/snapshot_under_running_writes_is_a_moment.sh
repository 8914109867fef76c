#!/bin/sh
# create_snap without suspending a busy origin catches one moment: new data up to a point, old data after it.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 16
noise "$W/old" $((16 * 1048576))
noise "$W/new" $((16 * 1048576))
dd if="$W/old" of=/dev/mapper/t bs=1M oflag=direct status=none

# One write at a time, in order: a snapshot may have the one in flight or not, and nothing out of order.
in_background dd if="$W/new" of=/dev/mapper/t bs=4k oflag=direct conv=notrunc status=none
writer=$!
id=0
while kill -0 "$writer" 2>/dev/null && [ "$id" -lt 12 ]; do
    id=$((id + 1))
    message create_snap "$id" 0
done
wait "$writer"
same t "$W/new"
at_least "snapshots taken meanwhile" "$id" 3

middle=0
while [ "$id" -gt 0 ]; do
    thin s "$id" 16
    dd if=/dev/mapper/s of="$W/s" bs=1M iflag=direct status=none
    # The first byte that is not the new data is in the first 4 KiB that the snapshot does not have.
    byte=$(cmp "$W/s" "$W/new" | sed -E 's/.* (byte|char) ([0-9]+),.*/\2/')
    if [ -n "$byte" ]; then
        block=$(((byte - 1) / 4096))
        cmp "$W/s" "$W/old" $((block * 4096)) $((block * 4096)) || fail "snapshot $id: new data up to 4 KiB block $block, but not old data after it"
        if [ "$block" -gt 0 ]; then
            middle=$((middle + 1))
        fi
    fi
    remove s
    id=$((id - 1))
done
at_least "snapshots taken in the middle of the writes" "$middle" 1

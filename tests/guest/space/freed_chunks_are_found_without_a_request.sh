#!/bin/sh
# Writes that find no free chunk wait for a commit, and no longer: what was discarded just before is there for them.
# vm: timeout=200
. "$TESTS/lib.sh"

# What was committed before it was discarded counts as free too early, and dm-thin then says ENOSPC at once: there the writes queue.
if [ "$TARGETS" = stock ]; then
    pool 128 4 0 no_discard_passdown
else
    pool 128 4 0 error_if_no_space no_discard_passdown
fi
thin_new t 0 8
for round in 1 2 3 4; do
    half=$((round % 2 * 4))
    dd if=/dev/zero of=/dev/mapper/t bs=1M count=4 seek="$half" oflag=direct conv=notrunc status=none
    if [ "$round" -gt 2 ]; then
        message set_transaction_id $((round - 3)) $((round - 2))
    fi
    blkdiscard -o $((half * 1048576)) -l 4194304 /dev/mapper/t
done
equals mode "$(pool_field 5)" rw
equals "chunks used" "$(chunks_used)" 0

#!/bin/sh
# A discard whose commit fails has not happened after the repair, or wholly: other data is as it was.
# vm: timeout=300
# skip-ok: dm-thin rolls back a second time here, which fails the pool
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

only drr dropin
flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 4194304 direct
snap s 1 t 0
cp "$W/t" "$W/s"
put t "$W/t" 4194304 4194304 direct
before=$(events)
breaks fmeta error_writes
# Exclusive chunks, which are passed down after the commit, and shared ones.
blkdiscard -o 6291456 -l 1048576 /dev/mapper/t 2>"$W/discard" || :
blkdiscard -o 1048576 -l 1048576 /dev/mapper/t 2>"$W/discard" || :
sync_fails() {
    ! xfs_io -c fsync /dev/mapper/t >/dev/null 2>&1 || [ "$(pool_field 5)" = ro ]
}
wait_for 20 sync_fails
rolled_back "$before"
# What was rolled back is mapped again, and nothing was passed down.
same t "$W/t"
same s "$W/s"
works fmeta
remove t s
repaired
thin t 0 16
thin s 1 16
same t "$W/t"
same s "$W/s"
blkdiscard -o 6291456 -l 1048576 /dev/mapper/t
dd if=/dev/zero of="$W/t" bs=1M seek=6 count=1 conv=notrunc status=none
same t "$W/t"

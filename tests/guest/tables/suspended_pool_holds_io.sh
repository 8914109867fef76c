#!/bin/sh
# A suspended pool holds back what needs it, and no thin can be activated; resumed, all goes on.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 16
message create_thin 1
model "$W/t" 16
put t "$W/t" 0 65536 direct
dmsetup suspend pool
fails 'Invalid argument' thin u 1 16
noise "$W/new" 65536
in_background dd if="$W/new" of=/dev/mapper/t bs=64k seek=3 oflag=direct conv=notrunc status=none
writer=$!
sleep 1
kill -0 "$writer" || fail "the write did not wait for the pool"
dmsetup resume pool
wait "$writer"
dd if="$W/new" of="$W/t" bs=64k seek=3 conv=notrunc status=none
same t "$W/t"
thin u 1 16

#!/bin/sh
# A thin that was suspended by itself is still suspended after its pool was suspended and resumed; the others go on.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 16
thin_new u 1 16
model "$W/t" 16
model "$W/u" 16
put t "$W/t" 0 65536 direct
dmsetup suspend t
dmsetup suspend pool
# Status and tables are answered all the same.
equals "status of t" "$(dmsetup status t)" "0 32768 $THIN_T 128 127"
equals mode "$(pool_field 5)" rw
# Messages too; only a device cannot be activated.
message create_thin 2
fails 'Invalid argument' thin v 2 16
dmsetup resume pool
put u "$W/u" 0 65536 direct
noise "$W/new" 65536
in_background dd if="$W/new" of=/dev/mapper/t bs=64k seek=3 oflag=direct conv=notrunc status=none
writer=$!
sleep 1
kill -0 "$writer" || fail "the write did not wait for the thin"
dmsetup resume t
wait "$writer"
dd if="$W/new" of="$W/t" bs=64k seek=3 conv=notrunc status=none
same t "$W/t"
same u "$W/u"
# And the other way round: resumed while its pool is suspended, it waits for the pool.
dmsetup suspend t
dmsetup suspend pool
in_background dmsetup resume t
resumer=$!
sleep 1
dmsetup resume pool
wait "$resumer"
put t "$W/t" 1048576 65536 direct
same t "$W/t"

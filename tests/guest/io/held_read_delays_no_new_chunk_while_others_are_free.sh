#!/bin/sh
# A read is held below the pool, and may be one of chunks that have been freed since: who needs a chunk takes one of the others.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

pool 128 16
# The chunks in the order of the space map: 32 that will be freed under the read, 16 that are read, 32 that are free already, and
# nearly all of the rest.
thin_new x 0 4
thin_new a 1 4
thin_new g 2 4
thin_new f 3 16
noise "$W/noise" 10485760
dd if="$W/noise" of=/dev/mapper/x bs=64k count=32 oflag=direct status=none
dd if="$W/noise" of=/dev/mapper/a bs=64k count=16 oflag=direct status=none
dd if="$W/noise" of=/dev/mapper/g bs=64k count=32 oflag=direct status=none
dd if="$W/noise" of=/dev/mapper/f bs=64k count=160 oflag=direct conv=notrunc,fsync status=none
remove g x
message delete 2
# Freed, committed, and nobody is reading.
sleep 2

throttled rbps=1024 dd if=/dev/mapper/a of="$W/read" bs=64k count=1 iflag=direct status=none
held=$!
wait_for 20 in_flight a
message delete 0
# A commit, without which what was freed is not free yet.
message set_transaction_id 0 1
thin_new n 4 4
dd if="$W/noise" of=/dev/mapper/n bs=64k count=44 oflag=direct conv=notrunc,fsync status=none
still_going "$held" "the held read"
unthrottled
wait "$held" || fail "the read failed"
head -c 65536 "$W/noise" | cmp - "$W/read"
model "$W/want" 4
dd if="$W/noise" of="$W/want" bs=64k count=44 conv=notrunc status=none
same n "$W/want"
remove a f n
pool_remove pool

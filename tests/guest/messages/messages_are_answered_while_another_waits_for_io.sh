#!/bin/sh
# While a message waits for somebody's I/O that is held below the pool, others are answered, and its sender can be killed. A message
# for a device that is not open, or moves no records, waits for nobody.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

only drr dropin
pool 128 64
thin_new a 0 4
thin_new b 1 4
dd if=/dev/urandom of=/dev/mapper/a bs=1M count=4 oflag=direct status=none
message create_snap 2 0
throttled rbps=512 dd if=/dev/mapper/a of=/dev/null bs=32k count=1 iflag=direct status=none
held=$!
wait_for 20 in_flight a

# waits MESSAGE…, $sender
waits() {
    in_background dmsetup message pool 0 "$*"
    sender=$!
    sleep 0.5
    still_going "$sender" "the message $*"
}
killed() {
    kill -KILL "$sender"
    wait "$sender" 2>/dev/null && fail "the killed sender has succeeded"
    still_going "$held" "the held read"
}
others() {
    message create_thin 3
    message create_snap 4 1
    message set_transaction_id "$1" $(($1 + 1))
    message delete 3
    message delete 4
    still_going "$held" "the held read"
}

# Not open.
message domain 2 tenant
# No other domain.
message domain 1 -
still_going "$held" "the held read"
waits domain 1 tenant
others 0
killed
# The reads of before the move are still under way.
waits domain 1 tenant
killed
waits drr off
others 1
killed
waits drr off
killed
waits drr on
others 2
killed
waits drr on
unthrottled
wait "$held"
wait "$sender" || fail "drr on failed"
drr_is drr 1
message domain 1 tenant
message drr off
drr_is drr 0
message drr on
remove a b
pool_remove pool

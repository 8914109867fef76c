#!/bin/sh
# While a read of one thin is held below the pool the metadata fails: the message, and the writes of another thin that need the
# metadata, fail at once and not when the read ends.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

only drr dropin
flaky_pool
thin_new a 0 4
thin_new b 1 4
dd if=/dev/urandom of=/dev/mapper/a bs=1M count=1 oflag=direct conv=fsync status=none
throttled rbps=512 dd if=/dev/mapper/a of=/dev/null bs=32k count=1 iflag=direct status=none
held=$!
wait_for 20 in_flight a
before=$(events)
breaks fmeta error_writes
fails 'Input/output error' message create_thin 2
fails 'Input/output error' writes b 0 4096
rolled_back "$before"
still_going "$held" "the held read"
unthrottled
wait "$held" || fail "the read failed"
works fmeta
remove a b
repaired
message create_thin 2

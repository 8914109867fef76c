#!/bin/sh
# When metadata can be neither written nor read back the pool fails: everything is an error, nothing hangs; loaded again it is whole.
# vm: timeout=300
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 2097152 direct
before=$(events)
breaks fmeta
fails 'Input/output error' writes t 8388608 65536
failed() {
    dmsetup status pool | grep -q ' Fail$'
}
wait_for 20 failed
if ! [ "$(events)" -gt "$before" ]; then
    fail "no event was sent"
fi
fails 'Input/output error' dd if=/dev/mapper/t of=/dev/null bs=4k count=1 iflag=direct
fails 'Input/output error' writes t 0 4096
fails 'not supported' message create_thin 5
works fmeta
fails 'Input/output error' writes t 0 4096
remove t
dmsetup remove pool
flaky_load
thin t 0 16
same t "$W/t"
remove t

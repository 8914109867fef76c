#!/bin/sh
# Pool status is dm-thin's nine fields to the letter, for each feature that shows in it.
# vm: timeout=120
. "$TESTS/lib.sh"

status_is() {
    got=$(dmsetup status pool)
    if ! printf '%s\n' "$got" | grep -qE "^0 $(sectors "$DATA") $POOL_T $1\$"; then
        fail "status is '$got', expected '$1'"
    fi
}

pool 128 128
status_is '0 [0-9]+/2048 0/2048 - rw no_discard_passdown queue_if_no_space - 512 ?'
message create_thin 0
thin t 0 16
model "$W/t" 16
put t "$W/t" 0 131072
status_is '0 [0-9]+/2048 2/2048 - rw no_discard_passdown queue_if_no_space - 512 ?'
remove t
message set_transaction_id 0 7
pool_remove pool

pool_load pool "$META" "$DATA" 128 0 error_if_no_space
status_is '7 [0-9]+/2048 2/2048 - rw no_discard_passdown error_if_no_space - 512 ?'
pool_remove pool
pool_load pool "$META" "$DATA" 128 0 ignore_discard
status_is '7 [0-9]+/2048 2/2048 - rw ignore_discard queue_if_no_space - 512 ?'
pool_remove pool
pool_load pool "$META" "$DATA" 128 0 read_only
status_is '7 [0-9]+/2048 2/2048 - ro no_discard_passdown queue_if_no_space - 512 ?'
pool_remove pool

# A data device that knows discards.
data2=$(disk 128 discard=1)
meta2=$(disk 16)
pool_load pool "$meta2" "$data2" 128
status_is '0 [0-9]+/4096 0/2048 - rw discard_passdown queue_if_no_space - 1024 ?'

#!/bin/sh
# set_transaction_id with the wrong current id is EINVAL; with the right one status shows the new id, also after reopening.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
equals transaction "$(pool_field 1)" 0
message set_transaction_id 0 1
equals transaction "$(pool_field 1)" 1
fails 'Invalid argument' message set_transaction_id 0 2
fails 'Invalid argument' message set_transaction_id 5 6
equals transaction "$(pool_field 1)" 1
message set_transaction_id 1 4294967299
equals transaction "$(pool_field 1)" 4294967299
pool_remove pool
pool_load pool "$META" "$DATA" 128
equals transaction "$(pool_field 1)" 4294967299

#!/bin/sh
# Unknown messages and messages with too few or too many arguments are refused with EINVAL and named in the log.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
message create_thin 0
log_mark
while read -r words; do
    # shellcheck disable=SC2086 # the words are the arguments
    fails 'Invalid argument' message $words
done <<EOT
create_thin
create_thin 1 2
create_snap
create_snap 1
create_snap 1 0 2
delete
delete 0 1
set_transaction_id
set_transaction_id 0
set_transaction_id 0 1 2
set_transaction_id x 1
set_transaction_id 0 x
reserve_metadata_snap 1
release_metadata_snap 1
no_such_message
no_such_message 1
create_thi 1
CREATE_THINX 1
EOT
log_names 'no_such_message'
equals transaction "$(pool_field 1)" 0
# Nothing of that has created or deleted anything.
fails 'File exists' message create_thin 0
fails 'No data available' message delete 1

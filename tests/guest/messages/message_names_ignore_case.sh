#!/bin/sh
# The names of messages are taken in any case, as dm-thin takes them, and numbers with leading zeroes or a plus.
# vm: timeout=200
. "$TESTS/lib.sh"

pool
message CREATE_THIN 007
fails 'File exists' message create_thin +7
message Create_Snap 8 7
message Set_Transaction_ID 00 1
equals transaction "$(pool_field 1)" 1
message RESERVE_metadata_snap
at_least "held root" "$(pool_field 4)" 1
message release_METADATA_snap
message DELETE 7
message delete 8
fails 'Invalid argument' message create_thin 0x9
fails 'Invalid argument' dmsetup message pool 0 ''

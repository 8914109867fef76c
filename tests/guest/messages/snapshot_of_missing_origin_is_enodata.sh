#!/bin/sh
# create_snap of an origin that does not exist fails with ENODATA and does not take the new id.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
fails 'No data available' message create_snap 1 0
# The failed attempt has left nothing behind under that id.
message create_thin 1
fails 'No data available' message create_snap 2 16777215
message create_snap 2 1

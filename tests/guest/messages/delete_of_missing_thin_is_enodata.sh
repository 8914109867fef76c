#!/bin/sh
# Deleting, or activating, an id that was never created fails with ENODATA.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
message create_thin 1
fails 'No data available' message delete 0
fails 'No data available' message delete 16777215
fails 'No data available' thin t 2 16
message delete 1
fails 'No data available' thin t 1 16

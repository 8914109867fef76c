#!/bin/sh
# create_thin and create_snap with an id that exists fail with EEXIST and change nothing.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 5 16
model "$W/t" 16
put t "$W/t" 0 131072

fails 'File exists' message create_thin 5
message create_thin 6
fails 'File exists' message create_snap 6 5
fails 'File exists' message create_snap 5 5
same t "$W/t"
equals "chunks used" "$(chunks_used)" 2

#!/bin/sh
# Deleting a thin that is active fails with EBUSY and leaves it whole; once it is inactive the delete works.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 65536 200704

fails 'busy' message delete 0
same t "$W/t"

remove t
message delete 0
equals "chunks used" "$(chunks_used)" 0
fails 'No data available' message delete 0

#!/bin/sh
# A pool made here opens in the stock dm-thin, goes on, and comes back, snapshots and ext4 contents whole each time.
# vm: timeout=180
. "$TESTS/lib.sh"

exchange "$TARGETS" stock

#!/bin/sh
# A pool made by the stock dm-thin opens here, goes on, and goes back, snapshots and ext4 contents whole each time.
# vm: timeout=180
. "$TESTS/lib.sh"

exchange stock "$TARGETS"

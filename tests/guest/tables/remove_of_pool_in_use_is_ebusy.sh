#!/bin/sh
# A pool under active thins cannot be removed (EBUSY), and works on.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 65536
fails 'busy' dmsetup remove pool
put t "$W/t" 1048576 65536
same t "$W/t"
remove t
pool_remove pool

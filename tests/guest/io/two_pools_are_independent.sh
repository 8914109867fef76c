#!/bin/sh
# Two pools with the same ids in them hold different data.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
meta2=$(disk 8)
data2=$(disk 64)
pool_load pool2 "$meta2" "$data2" 256
thin_new a 0 16
POOL=pool2
thin_new b 0 16
model "$W/a" 16
model "$W/b" 16
random_puts a "$W/a" 16 20 200
random_puts b "$W/b" 16 20 200
same a "$W/a"
same b "$W/b"
remove a b
message delete 0
equals "chunks used" "$(chunks_used)" 0
POOL=pool
thin a 0 16
same a "$W/a"

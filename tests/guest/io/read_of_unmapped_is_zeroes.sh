#!/bin/sh
# What was never written reads as zeroes, whatever the data device held before.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
# The data device is full of somebody's old data: none of it may show.
tr '\0' '\377' </dev/zero | dd of="$DATA" bs=1M count=128 iflag=fullblock oflag=direct status=none
thin_new t 0 32
model "$W/t" 32
same t "$W/t"
equals "mapped sectors" "$(thin_mapped t)" 0
put t "$W/t" 5000 100
put t "$W/t" 10485760 4096 direct
same t "$W/t"
snap s 1 t 0
same s "$W/t"

#!/bin/sh
# Writes to a snapshot, small and whole-chunk, never show in its origin.
# vm: timeout=150
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
random_puts t "$W/t" 16 40 300
snap s 1 t 0
cp "$W/t" "$W/s"
random_puts s "$W/s" 16 40 300
put s "$W/s" 131072 65536 direct
put s "$W/s" 0 1048576 direct
same t "$W/t"
same s "$W/s"

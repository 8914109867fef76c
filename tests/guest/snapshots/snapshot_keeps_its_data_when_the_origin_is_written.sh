#!/bin/sh
# Writes to an origin, small and whole-chunk, never show in its snapshot.
# vm: timeout=150
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
random_puts t "$W/t" 16 40 300
snap s 1 t 0
cp "$W/t" "$W/s"
random_puts t "$W/t" 16 40 300
put t "$W/t" 131072 65536 direct
put t "$W/t" 0 1048576 direct
same s "$W/s"
same t "$W/t"

#!/bin/sh
# Three generations, each written after the next was taken, keep their own data; deleting the middle one hurts no other.
# vm: timeout=150
. "$TESTS/lib.sh"

pool
thin_new a 0 16
model "$W/a" 16
random_puts a "$W/a" 16 30 300
snap b 1 a 0
cp "$W/a" "$W/b"
random_puts b "$W/b" 16 20 200
snap c 2 b 1
cp "$W/b" "$W/c"
random_puts c "$W/c" 16 20 200
random_puts a "$W/a" 16 20 200
random_puts b "$W/b" 16 20 200
same a "$W/a"
same b "$W/b"
same c "$W/c"
remove b
message delete 1
random_puts a "$W/a" 16 20 200
random_puts c "$W/c" 16 20 200
same a "$W/a"
same c "$W/c"

#!/bin/sh
# A drr thin opens a pool made under the drop-in name, and a thin one made under the own name.
# vm: timeout=120
# skip-ok: the module under test is the stock dm-thin, or not under these names
. "$TESTS/lib.sh"

only drr dropin
pool
thin_new t 0 8
model "$W/t" 8
put t "$W/t" 0 1048576
remove t
for name in drr thin; do
    THIN_T=$name
    thin t 0 8
    same t "$W/t"
    remove t
done

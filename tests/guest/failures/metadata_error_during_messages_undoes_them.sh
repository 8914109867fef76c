#!/bin/sh
# create_thin, create_snap and delete whose commit fails are errors, and have not happened after the repair.
# vm: timeout=300
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 2097152 direct
snap s 1 t 0
remove s
cp "$W/t" "$W/s"

for words in 'create_snap 2 0' 'delete 1' 'create_thin 2'; do
    before=$(events)
    breaks fmeta error_writes
    if has_drr; then
        fails 'Input/output error' message "$words"
    else
        # dm-thin answers success all the same.
        message "$words" || :
    fi
    rolled_back "$before"
    same t "$W/t"
    works fmeta
    remove t
    repaired
    thin t 0 16
    thin s 1 16
    fails 'No data available|Invalid argument|No such' thin none 2 16
    same t "$W/t"
    same s "$W/s"
    remove s
done
message create_snap 2 0
message delete 1

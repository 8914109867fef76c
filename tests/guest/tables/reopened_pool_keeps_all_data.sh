#!/bin/sh
# Pool and thins removed and activated again, the module unloaded between, hold what they held, and go on.
# vm: timeout=150
. "$TESTS/lib.sh"

pool 384
thin_new t 0 16
model "$W/t" 16
random_puts t "$W/t" 16 30 500
snap s 1 t 0
cp "$W/t" "$W/s"
random_puts t "$W/t" 16 10 500
random_puts s "$W/s" 16 10 500
for round in 1 2 3; do
    used=$(chunks_used)
    remove t s
    pool_remove pool
    if [ "$round" = 2 ]; then
        unload "$MODULE"
        load_side "$TARGETS"
    fi
    pool_load pool "$META" "$DATA" 384
    equals "chunks used" "$(chunks_used)" "$used"
    thin t 0 16
    thin s 1 16
    same t "$W/t"
    same s "$W/s"
    # Still shared, still isolated.
    random_puts t "$W/t" 16 6 500
    random_puts s "$W/s" 16 6 500
    same t "$W/t"
    same s "$W/s"
done

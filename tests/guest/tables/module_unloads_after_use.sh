#!/bin/sh
# Load, use, remove everything, unload, five times: nothing holds the module, its libraries or a slab cache.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

for round in 1 2 3 4 5; do
    # The same disks each time, and new metadata.
    if [ "$round" = 1 ]; then
        pool
    else
        load_side "$TARGETS"
        dd if=/dev/zero of="$META" bs=1M count=8 oflag=direct status=none
        pool_load pool "$META" "$DATA" 128
    fi
    thin_new t 0 16
    model "$W/t" 16
    random_puts t "$W/t" 16 10 300
    snap s 1 t 0
    cp "$W/t" "$W/s"
    random_puts t "$W/t" 16 10 300
    # Cached and served reads leave records behind, which must not hold anything.
    cmp /dev/mapper/s "$W/s"
    cmp /dev/mapper/t "$W/t"
    blkdiscard -o 0 -l 1048576 /dev/mapper/s
    if [ $((round % 2)) = 0 ]; then
        remove s
        message delete 1
        remove t
    else
        remove t s
    fi
    # In use: must not go.
    fails 'in use' rmmod "$MODULE"
    pool_remove pool
    rm "$W/t" "$W/s"
    unload "$MODULE"
    for library in dm_persistent_data dm_bio_prison; do
        if [ -d "/sys/module/$library" ]; then
            equals "references to $library" "$(cat "/sys/module/$library/refcnt")" 0
        fi
    done
    if grep -E '^(dm_thin|dm_drr|drr|dm_bio_prison_cell.*drr)' /proc/slabinfo; then
        fail "slab caches are left behind"
    fi
done
if log_since "$LOG_START" | grep -iE 'objects remaining|leak|still (in use|has objects)'; then
    fail "the kernel log tells of a leak"
fi

#!/bin/sh
# Generated table lines of pools and thins get from dm-drr the answer that dm-thin, beside it, gives to the same text.
# vm: timeout=300 hostile=yes
# skip-ok: both are under test at once
. "$TESTS/lib.sh"

# The sample of the default run; hostile_tables_long does more. $WHAT: tables or messages.
only drr
unload dm_drr
modprobe dm-thin-pool
modprobe dm-drr thin_names=0
set --
for side in dm-thin dm-drr; do
    for pool in free active; do
        set -- "$@" "$(disk 8)" "$(disk 32 discard=1)"
    done
done
"$TESTS/bin/hostile" "${WHAT:-tables}" "${HOSTILE_SEED:-1}" "${HOSTILE_FIRST:-0}" "${HOSTILE_COUNT:-500}" "$@"

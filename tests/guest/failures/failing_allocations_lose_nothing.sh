#!/bin/sh
# Whatever allocation of the module fails: an error or another try, never a wrong byte, a leak or damaged metadata.
# vm: kernel=debug timeout=900 mem=1536 solo=yes failslab=yes smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
# More chunks than any device of a round maps; what is not written takes no memory.
DATA=$(disk 4608 discard=1)
EXT=$(disk 8)
python3 "$TESTS/failing_allocations.py" --metadata "$META" --data "$DATA" --origin "$EXT" --module "$KO" \
    --pool-target "$POOL_T" --thin-target "$THIN_T" --rounds "${ROUNDS:-8}" --tries "${TRIES:-0}" --calls "${CALLS:-}" --seed "${SEED:-1}"

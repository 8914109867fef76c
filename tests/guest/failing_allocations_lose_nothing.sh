#!/bin/sh
# Whatever allocation of the module fails: an error or another try, never a wrong byte, a leak or damaged metadata.
# vm: kernel=debug timeout=900 mem=1536 solo=yes failslab=yes
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 512 discard=1)
EXT=$(disk 8)
python3 "$TESTS/failing_allocations.py" --metadata "$META" --data "$DATA" --origin "$EXT" --module "$KO" \
    --pool-target "$POOL_T" --thin-target "$THIN_T" --rounds "${ROUNDS:-8}" --tries "${TRIES:-0}" --seed "${SEED:-1}"

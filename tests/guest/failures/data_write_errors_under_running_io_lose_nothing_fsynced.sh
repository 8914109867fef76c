#!/bin/sh
# The data device takes no more writes under six writers: no hang, no leak; after the check everything fsynced is there.
# vm: timeout=600 smp=2
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

failed_state() {
    # What cannot be flushed cannot be committed.
    equals "mode" "$(pool_field 5) $(pool_field 8)" 'ro needs_check'
}
mended() {
    repaired
}
DATA_ATTRS=cache_size=8
fails_under_io fdata error_writes

#!/bin/sh
# Metadata begins to fail under six writers: read-only, no hang, no leak; after the check everything fsynced is there.
# vm: timeout=600 smp=2
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

failed_state() {
    equals "mode" "$(pool_field 5) $(pool_field 8)" 'ro needs_check'
}
mended() {
    repaired
}
fails_under_io fmeta error_writes

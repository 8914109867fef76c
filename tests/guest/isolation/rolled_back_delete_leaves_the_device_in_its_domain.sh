#!/bin/sh
# A device whose deletion cannot be committed comes back, and is in its domain still.
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

only drr dropin
flaky_pool
thin_new t 0 16
snap s 1 t 0
message domain 1 red
remove s

# in_domain ID TAG
in_domain() {
    message layers >"$W/layers"
    equals "domain of $1" "$(awk -v id="$1" '$1 == id { print $NF }' "$W/layers")" "$2"
}
before=$(events)
breaks fmeta error_writes
fails 'Input/output error' message delete 1
rolled_back "$before"
works fmeta
thin s 1 16
in_domain 0 -
in_domain 1 red
remove s t
repaired
thin t 0 16
# One whose deletion is durable is forgotten.
message domain 1 red
message delete 1
message create_thin 1
thin s 1 16
in_domain 1 -

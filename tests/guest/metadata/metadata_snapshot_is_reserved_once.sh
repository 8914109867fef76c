#!/bin/sh
# reserve_metadata_snap shows the held root; a second one is EBUSY, a release without one EINVAL.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 262144
equals "held root" "$(pool_field 4)" -
fails 'Invalid argument' message release_metadata_snap
message reserve_metadata_snap
root=$(pool_field 4)
at_least "held root" "$root" 1
fails 'busy' message reserve_metadata_snap
# The held root is what it was, while the live metadata goes on. dm's tools read it from the live device.
put t "$W/t" 1048576 262144
sync
thin_dump --metadata-snap "$META" >"$W/dump" 
grep -q 'dev_id="0" mapped_blocks="4"' "$W/dump" || fail "the metadata snapshot is not what was reserved: $(grep mapped_blocks "$W/dump")"
message release_metadata_snap
equals "held root" "$(pool_field 4)" -
fails 'Invalid argument' message release_metadata_snap

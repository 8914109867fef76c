#!/bin/sh
# A metadata snapshot stays over a reload of the pool and keeps what it maps: deleted chunks come back with its release.
# vm: timeout=200
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 262144 direct
message reserve_metadata_snap
root=$(pool_field 4)
remove t
message delete 0
equals "chunks used" "$(chunks_used)" 4
pool_remove pool
pool_load pool "$META" "$DATA" 128
equals "held root" "$(pool_field 4)" "$root"
thin_dump --metadata-snap "$META" >"$W/dump"
grep -q 'dev_id="0" mapped_blocks="4"' "$W/dump" || fail "the metadata snapshot is not what was reserved: $(cat "$W/dump")"
fails 'busy' message reserve_metadata_snap
message release_metadata_snap
equals "chunks used" "$(chunks_used)" 0
message reserve_metadata_snap
message release_metadata_snap

#!/bin/sh
# The messages stats, stats reset, layers and verify answer as text, one name and value a line; wrong words are EINVAL.
# vm: timeout=150 smp=2
# skip-ok: the module under test is the stock dm-thin, or not under these names
. "$TESTS/lib.sh"

only drr dropin
image ext4 64 -b 4096
message stats >"$W/stats"
awk 'NF != 2 || $2 !~ /^[0-9]+$/ { bad = 1 } END { exit bad || NR < 4 }' "$W/stats" || fail "stats is not one name and value a line: $(cat "$W/stats")"
for name in served_pages miss_pages hash_rejects verify_mismatches recorded_pages; do
    stat_of "$name" >/dev/null
done
mount_ab ro,noload
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
drr_at_least served_pages 3900
drr_at_least recorded_pages 3900
message stats reset
drr_is served_pages 0
message layers >"$W/layers"
# Both snapshots and their origin are in the tree.
for id in 0 1 2; do
    grep -qE "(^|[^0-9])$id([^0-9]|\$)" "$W/layers" || fail "layers does not show $id: $(cat "$W/layers")"
done
# device-mapper takes one backslash away.
message domain 2 'a"\\b'
message layers json >"$W/json"
python3 - "$W/json" "$W/layers" <<'END'
import json, sys
rows = json.load(open(sys.argv[1]))
text = [line.split() for line in open(sys.argv[2])]
names = text[0]
assert [list(row) for row in rows] == [names] * len(rows), rows
for row, words in zip(rows, text[1:], strict=True):
    domain = row.pop("domain")
    assert domain == ('a"\\b' if row["id"] == 2 else None), domain
    # The device that was moved has lost its records.
    row.pop("records"), words.pop(names.index("records"))
    told = [None if word == "-" else int(word) for word in words[:-1]]
    assert list(row.values()) == told, (row, words)
END
message domain 2 -
message verify off
message verify on
for words in 'verify maybe' verify 'stats away' 'layers 1'; do
    fails 'Invalid argument' message "$words"
done
no_mismatches
# They only read or switch: a read-only pool answers them as well.
umount "$A" "$B"
remove a b
pool_remove pool
pool_load pool "$META" "$DATA" 128 0 read_only
message stats >/dev/null
message layers >/dev/null
message verify on

#!/bin/sh
# What comes from an external origin is neither recorded nor served; what was copied from it and is shared is, with the right bytes.
# vm: timeout=300
. "$TESTS/lib.sh"

only drr
pool 128 256
EXT=$(disk 16)
mkfs.ext4 -q -b 4096 "$EXT"
noise "$W/file" 4194304
mkdir "$MNT/ext"
mount "$EXT" "$MNT/ext"
cp "$W/file" "$MNT/ext/file"
umount "$MNT/ext"
dmsetup create o --table "0 $(sectors "$EXT") linear $EXT 0"
for n in a b; do
    id=$((${id:-0} + 1))
    message create_thin "$id"
    external_thin "$n" "$id" "$(sectors "$EXT")" o
done
FS=ext4
mount_ab ro,noload
drop_caches
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
for name in recorded_pages served_pages miss_pages unrecorded_foreign; do
    drr_is "$name" 0
done
umount "$A"
umount "$B"
remove b
# A page of each chunk written, with what it has: the rest comes from the origin.
chunks=$((16 * 16))
awk -v n="$chunks" -v from="$EXT" 'BEGIN {
    for (i = 0; i < n; i++) printf "direct pwrite -q -i %s -s %d -b 4096 %d 4096\n", from, i * 65536, i * 65536
}' >"$W/puts"
puts_of direct /dev/mapper/a -d
equals "chunks used" "$(chunks_used)" "$chunks"
message create_snap 3 1
external_thin b 3 "$(sectors "$EXT")" o
mount_ab ro,noload
drop_caches
cmp "$A/file" "$W/file"
drr_is served_pages 0
drr_at_least recorded_pages 1000
drr_message verify on
cmp "$B/file" "$W/file"
drr_at_least verify_pages 900
no_mismatches

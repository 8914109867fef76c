#!/bin/sh
# What thin_restore and thin_repair write of a pool with snapshots opens with the same data, and works on after the device has grown.
# vm: timeout=400
. "$TESTS/lib.sh"

pool 128 64
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 3145728 direct
snap s 1 t 0
cp "$W/t" "$W/s"
put t "$W/t" 65536 131072 direct
snap u 2 s 1
snap v 3 s 1
put s "$W/s" 1048576 262144 direct
message reserve_metadata_snap
put t "$W/t" 2097152 65536 direct
message release_metadata_snap
remove t s u v
pool_remove pool

same_again() {
    pool_load pool "$1" "$DATA" 128
    thin t 0 16
    thin s 1 16
    same t "$W/t"
    same s "$W/s"
    put t "$W/t" 5242880 65536 direct
    message create_snap 9 0
    put t "$W/t" 0 262144 direct
    message delete 9
    same t "$W/t"
    remove t s
    pool_remove pool
}
thin_dump "$META" >"$W/xml"
# As small as it can be at first, so that growing it adds to what the tool has written.
restored=$(disk 8)
dmsetup create restored --table "0 4096 linear $restored 0"
thin_restore -i "$W/xml" -o /dev/mapper/restored >"$W/out" 2>&1 || fail "thin_restore: $(cat "$W/out")"
same_again /dev/mapper/restored
dmsetup remove restored
dmsetup create restored --table "0 16384 linear $restored 0"
same_again /dev/mapper/restored
repaired=$(disk 8)
thin_repair -i /dev/mapper/restored -o "$repaired" >"$W/out" 2>&1 || fail "thin_repair: $(cat "$W/out")"
dmsetup remove restored
same_again "$repaired"

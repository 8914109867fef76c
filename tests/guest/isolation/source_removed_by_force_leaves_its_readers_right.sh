#!/bin/sh
# Snapshots with cached files are torn away by force while siblings read the same: the siblings have every byte, and read from disk if need be.
# vm: smp=2
. "$TESTS/lib.sh"

FILE_MIB=4
image ext4 32 -b 4096
mount_ab ro,noload
for id in 3 4 5; do
    message create_snap "$id" 1
    thin "v$id" "$id" 32
    v=$(mounted "v$id" ro,noload)
    # This one has it, and the reader has not.
    cmp "$v/file" "$W/file"
    xfs_io -r -c "fadvise -d 0 4m" "$A/file"
    xfs_io -r -c "fadvise -d 0 4m" "$B/file"
    in_background cmp "$A/file" "$W/file"
    one=$!
    in_background cmp "$B/file" "$W/file"
    other=$!
    # Replaced by errors, under the mounted file system; while the readers are at it, as the clock will have it.
    sleep "0.0$((id - 3))"
    dmsetup remove --force "v$id" >/dev/null 2>&1 || :
    wait "$one" || fail "A read something else"
    wait "$other" || fail "B read something else"
    equals "table of the one that is gone" "$(dmsetup table "v$id" | cut -d' ' -f3)" error
    # What it has cached is still there, and of no use to anybody.
    cmp -n 65536 "$v/file" "$W/file"
    xfs_io -r -c "fadvise -d 0 4m" "$A/file"
    cmp "$A/file" "$W/file"
    umount "$v"
    remove "v$id"
    message delete "$id"
done
# All sources at once: the last reader reads from disk.
drop_caches
cmp "$A/file" "$W/file"
dmsetup remove --force a >/dev/null 2>&1 || :
before=$(sectors_read "$DATA")
cmp "$B/file" "$W/file"
at_least "sectors read from disk" $(($(sectors_read "$DATA") - before)) 8000
umount "$A"

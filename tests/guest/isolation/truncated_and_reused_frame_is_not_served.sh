#!/bin/sh
# Pages punched out of one sibling's file, their frames in use for other data: the other sibling still reads the right bytes.
# vm: timeout=150
. "$TESTS/lib.sh"

FILE_MIB=8
image ext4 48 -b 4096
mount_ab rw
for round in 1 2 3; do
    # The last one with each served page compared with the disk.
    if [ "$round" = 3 ]; then
        drr_message verify on
    fi
    drop_caches
    cmp "$A/file" "$W/file"
    cp "$W/file" "$W/file.a"
    case $round in
    1) for target in "$A/file" "$W/file.a"; do xfs_io -c "fpunch 1m 4m" "$target"; done ;;
    2) for target in "$A/file" "$W/file.a"; do truncate -s 3000000 "$target"; done ;;
    3) for target in "$A/file" "$W/file.a"; do rm "$target"; done ;;
    esac
    # The freed frames become other pages: of this file system, of tmpfs, anonymous.
    noise "$A/other" 4194304
    head -c 33554432 /dev/zero | tr '\0' '\303' >"$W/fill"
    cmp "$B/file" "$W/file"
    rm "$W/fill"
    if [ "$round" -lt 3 ]; then
        cmp "$A/file" "$W/file.a"
    fi
    rm -f "$A/file" "$A/other"
    # Anew for the next round, on chunks of its own; then the sibling has to read both from there.
    umount "$A" "$B"
    remove a
    message delete 1
    message create_snap 1 2
    thin a 1 48
    mount_ab rw
done
no_mismatches

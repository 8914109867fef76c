#!/bin/sh
# ext4 and XFS with blocks of 16 KiB: what a sibling has is served, folio by folio, and is right; writers stay isolated.
# vm: smp=2
. "$TESTS/lib.sh"

pool 128 192
noise "$W/file" $((2 * 1048576))
noise "$W/new" 150000
for fs in ext4 xfs; do
    case $fs in
    ext4) id=0 mib=32 option="-F -b 16384" ;;
    xfs) id=10 mib=300 option="-b size=16384" ;;
    esac
    thin_new o "$id" "$mib"
    # shellcheck disable=SC2086 # several words
    "mkfs.$fs" -q $option /dev/mapper/o >/dev/null 2>&1
    dir=$(mounted o)
    equals "block size of $fs" "$(stat -f -c %S "$dir")" 16384
    cp "$W/file" "$dir/file"
    umount "$dir"
    snap a $((id + 1)) o "$id"
    snap b $((id + 2)) o "$id"
    remove o
    FS=$fs
    mount_ab rw
    cmp "$A/file" "$W/file"
    drr_message stats reset
    before=$(sectors_read "$DATA")
    cmp "$B/file" "$W/file"
    drr_at_least served_pages 500
    if has_drr; then
        # Of 4,096. A journal that is written meanwhile has chunks copied, 128 sectors each.
        at_most "sectors of $fs read from disk" "$(($(sectors_read "$DATA") - before))" 1024
    fi
    # A page of a block, and one across blocks.
    cp "$W/file" "$W/a"
    for to in "$A/file" "$W/a"; do
        dd if="$W/new" of="$to" bs=4096 seek=5 count=1 conv=notrunc status=none
        dd if="$W/new" of="$to" bs=50000 skip=1 seek=20 count=2 conv=notrunc status=none
    done
    sync
    drop_caches
    cmp "$B/file" "$W/file"
    cmp "$A/file" "$W/a"
    umount "$A" "$B"
    remove a b
done

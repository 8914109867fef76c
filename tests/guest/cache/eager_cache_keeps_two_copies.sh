#!/bin/sh
# Four siblings read the same file: with cache=eager two copies of it stay in memory, without it four. Who has lost its copy has it back
# from a sibling, without the disk.
# vm: timeout=120
. "$TESTS/lib.sh"

for FS_TYPE in ext4 xfs; do
    if [ "$FS_TYPE" = ext4 ]; then set -- ext4 64 -b 4096; else set -- xfs 320; fi
    DATA_MIB=512 image "$@"
    message create_snap 3 1
    message create_snap 4 1
    thin c 3 "$(($(sectors /dev/mapper/a) / 2048))"
    thin d 4 "$(($(sectors /dev/mapper/a) / 2048))"
    options=ro
    if [ "$FS" = xfs ]; then options=ro,norecovery,nouuid; fi
    files=
    for name in a b c d; do
        files="$files $(mounted $name $options)/file"
    done
    pages=4096
    read_all() {
        for file in $files; do
            cmp "$file" "$W/file" || fail "$file is not what was written"
        done
    }

    dropped_at_least() {
        [ "$(stat_of cache_dropped_pages)" -ge "$1" ]
    }
    drr_message stats reset
    read_all
    # shellcheck disable=SC2086 # several words
    at_least "pages cached of $FS files, copies staying" "$(cached $files)" $((4 * pages))
    if has_drr; then
        drr_is cache_dropped_pages 0
        # What is there already goes when the policy changes.
        message cache eager
        # shellcheck disable=SC2086
        wait_for 10 cached_at_most $((pages * 22 / 10)) $files
        # The last of them may be leaving still.
        wait_for 10 dropped_at_least $((pages * 19 / 10))
    fi
    # Again and again nobody needs the disk, and no more than two copies stay.
    before=$(sectors_read "$DATA")
    read_all
    read_all
    read=$(($(sectors_read "$DATA") - before))
    at_most "sectors read from disk with $FS" "$read" 512
    if has_drr; then
        # shellcheck disable=SC2086
        wait_for 10 cached_at_most $((pages * 22 / 10)) $files
        drr_at_least served_pages $((pages * 4))
        drr_is hash_rejects 0
        message cache off
        read_all
        # shellcheck disable=SC2086
        at_least "pages cached, copies staying again" "$(cached $files)" $((4 * pages))
    fi
    for name in a b c d; do
        # Who mapped a file to count its pages may still be on its way out.
        wait_for 10 umount "$MNT/$name"
        remove $name
    done
    pool_remove pool
done

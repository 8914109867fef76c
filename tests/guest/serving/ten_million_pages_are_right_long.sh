#!/bin/sh
# Ten million pages that siblings have are copied, proven or rejected, and compared with the disk, while files around them change: ext4, also
# with data=journal, with 1 KiB blocks and with fscrypt, and XFS with reflinked copies. PAGES sets another number for each of the five.
# vm: timeout=5400 mem=1536 long=yes smp=2
. "$TESTS/lib.sh"

only drr dropin
want=${PAGES:-2000000}
containers="c1 c2 c3"
noise "$W/lib" $((24 * 1048576))

# begin MKFS-OPTIONS… -- MOUNT-OPTIONS: a pool, an image with a library in it, and three containers of it, mounted.
begin() {
    fs=$1
    shift
    mkfs=
    while [ "$1" != -- ]; do
        mkfs="$mkfs $1"
        shift
    done
    options=$2
    pool 128 768
    thin_new image 0 320
    # shellcheck disable=SC2086 # several words
    "mkfs.$fs" -q $mkfs /dev/mapper/image
    dir=$(mounted image "$options")
    cp "$W/lib" "$dir/lib"
    cp "$W/lib" "$dir/own"
    sync
    umount "$dir"
    n=0
    for c in $containers; do
        n=$((n + 1))
        snap "$c" "$n" image 0
        mounted "$c" "$options" >/dev/null
        cp "$W/lib" "$W/own.$c"
    done
    remove image
    message verify on
    message stats reset
}

# Pages that were served, or not for a reason, since `begin`.
pages() {
    echo $(($(stat_of served_pages) + $(stat_of hash_rejects) + $(stat_of identity_rejects)))
}

# changes CONTAINER N: its own file, whose data it shared, and the model of it: written, punched, cut, put back; and what fsx does.
changes() {
    at=$(($2 * 7919 % 6000 * 4096)) odd=$(($2 * 104729 % 24000000))
    for to in "$MNT/$1/own" "$W/own.$1"; do
        case $(($2 % 4)) in
        0) xfs_io -c "pwrite -q -S $(($2 % 256)) $odd 5000" "$to" ;;
        1) xfs_io -c "mmap -rw 0 24m" -c "mwrite -S $(($2 % 256)) $at 20000" "$to" ;;
        2) xfs_io -c "fpunch $odd 50000" -c "pwrite -q -S $(($2 % 256)) -b 64k $at 64k" -c fsync "$to" ;;
        3) xfs_io -c "truncate $((odd + 1))" -c "truncate 24m" "$to" ;;
        esac
    done
    if [ "$fs" = xfs ]; then
        rm -f "$MNT/$1/again"
        cp --reflink=always "$MNT/$1/lib" "$MNT/$1/again"
        xfs_io -c "pwrite -q -S 1 $at 4096" "$MNT/$1/again"
    fi
    fsx -q -S "$2" -N 100 -P "$W" "$MNT/$1/fsx"
}

# end NAME
end() {
    for c in $containers; do
        cmp "$MNT/$c/lib" "$W/lib"
        cmp "$MNT/$c/own" "$W/own.$c"
        umount "$MNT/$c"
    done
    echo "$1: $(stat_of served_pages) served, $(stat_of hash_rejects) rejected by their hash, $(stat_of identity_rejects) by what their" \
        "frame is; $(stat_of verify_pages) compared, $(stat_of verify_mismatches) mismatches"
    no_mismatches
    total=$((${total:-0} + $(pages)))
    # shellcheck disable=SC2086 # several names
    remove $containers
    pool_remove pool
    disk_remove "$META"
    disk_remove "$DATA"
    grep -vxF -e "${META##*/}" -e "${DATA##*/}" "$W/disks" >"$W/disks.left" || :
    mv "$W/disks.left" "$W/disks"
}

# many NAME FS …, as for `begin`
many() {
    name=$1
    shift
    begin "$@"
    round=0
    while [ "$(pages)" -lt "$want" ]; do
        round=$((round + 1))
        n=$((round % 3))
        for c in $containers; do
            # Out of this one's memory, and back from where the others are, and the disk.
            xfs_io -r -c "fadvise -d 0 24m" "$MNT/$c/lib"
            if [ $n = 0 ]; then
                changes "$c" "$round"
                cmp "$MNT/$c/lib" "$W/lib"
            else
                cat "$MNT/$c/lib" >"$W/null"
            fi
            n=$(((n + 1) % 3))
        done
        if [ $((round % 16)) = 0 ]; then
            drop_caches
            for c in $containers; do
                cmp "$MNT/$c/own" "$W/own.$c"
            done
        fi
    done
    end "$name"
}
ln -s /dev/null "$W/null"

many ext4 ext4 -b 4096 -- rw
many "ext4, data=journal" ext4 -b 4096 -- data=journal
# Without clusters the first group begins with the second KiB, and no page of a file is one of the device.
many "ext4, 1 KiB blocks" ext4 -b 1024 -O bigalloc -C 4096 -- rw
many "ext4, fscrypt" ext4 -b 4096 -O encrypt -- test_dummy_encryption
many "xfs, reflinks" xfs -f -- nouuid
at_least "pages in all" "$total" $((5 * want))
echo "$total pages in all"

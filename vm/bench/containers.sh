# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Containers of one image, $MIB MiB at most, in numbers of $COUNTS, on dm-thin, on dm-drr, and on overlayfs over one ext4. Sourced by
# benchmarks that define
#
#   measured NAME COUNT DIR…    with the containers' roots in DIR…; drops the caches first
#   prepared NAME               if they want to: the pool is loaded

TARGETS=stock
SAMPLING=1
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

prepared() {
    :
}

# fill DIR: what a container reads at its start, programs and libraries of the guest's own root.
fill() {
    mkdir "$1/image"
    find /usr/bin /usr/sbin /usr/lib -xdev -type f -size +16k -print | sort >"$W/files"
    filled=0 n=0
    while read -r file; do
        size=$(stat -c %s "$file")
        filled=$((filled + size))
        if [ "$filled" -gt $((MIB * 1048576 * 2 / 3)) ]; then
            break
        fi
        cp "$file" "$1/image/$n"
        n=$((n + 1))
    done <"$W/files"
    sync
}

on_pool() {
    load_side "$1"
    NAME=$(side_name "$1")
    META=$(disk 16)
    # shellcheck disable=SC2046 # several attributes
    DATA=$(disk $((MIB * 2)) $(media_attributes "$MEDIA"))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
    prepared "$NAME"
    thin_new origin 0 "$MIB"
    mkfs.ext4 -q -b 4096 /dev/mapper/origin
    fill "$(mounted origin)"
    umount "$MNT/origin"
    dmsetup suspend origin
    dmsetup resume origin
    for count in $COUNTS; do
        n=1
        dirs=
        while [ "$n" -le "$count" ]; do
            message "create_snap $n 0"
            thin "c$n" "$n" "$MIB"
            dirs="$dirs $(mounted "c$n" ro,noload)"
            n=$((n + 1))
        done
        # shellcheck disable=SC2086 # several words
        measured "$NAME" "$count" $dirs
        n=1
        while [ "$n" -le "$count" ]; do
            umount "$MNT/c$n"
            dmsetup remove "c$n"
            message "delete $n"
            n=$((n + 1))
        done
    done
    remove origin
    taken_down "$NAME"
}

on_overlayfs() {
    # shellcheck disable=SC2046 # several attributes
    DATA=$(disk $((MIB * 2)) $(media_attributes "$MEDIA"))
    mkfs.ext4 -q -b 4096 "$DATA"
    mkdir -p "$MNT/lower" "$MNT/upper"
    mount "$DATA" "$MNT/lower"
    fill "$MNT/lower"
    mount -t tmpfs tmpfs "$MNT/upper"
    modprobe overlay
    for count in $COUNTS; do
        n=1
        dirs=
        while [ "$n" -le "$count" ]; do
            mkdir -p "$MNT/upper/$n/up" "$MNT/upper/$n/work" "$MNT/o$n"
            mount -t overlay overlay -o "lowerdir=$MNT/lower,upperdir=$MNT/upper/$n/up,workdir=$MNT/upper/$n/work" "$MNT/o$n"
            dirs="$dirs $MNT/o$n"
            n=$((n + 1))
        done
        # shellcheck disable=SC2086 # several words
        measured overlayfs "$count" $dirs
        n=1
        while [ "$n" -le "$count" ]; do
            umount "$MNT/o$n"
            n=$((n + 1))
        done
    done
    umount "$MNT/upper"
    umount "$MNT/lower"
}


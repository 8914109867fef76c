#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench storm`: containers of one image start at the same moment, which means that each reads the
# image's files, on dm-thin, on dm-drr, and on overlayfs over one ext4.
#
#   TESTS   directory with lib.sh and read.py        MEDIA   hdd, ssd or nvme
#   SCRATCH writable directory

TARGETS=stock
SAMPLING=1
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

MIB=${MIB:-96}
COUNTS=${COUNTS:-1 8 16}

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

# start DIR…: all of them at once. Prints milliseconds until the last one is done.
start() {
    begin=$(python3 -c 'import time; print(time.monotonic_ns())')
    jobs=
    for dir in "$@"; do
        in_background sh -c 'exec python3 "$1" "$2"/image/* >/dev/null' - "$TESTS/read.py" "$dir"
        jobs="$jobs $!"
    done
    for job in $jobs; do
        wait "$job" || fail "a container could not read its files"
    done
    python3 -c 'import sys, time; print("%.0f" % ((time.monotonic_ns() - int(sys.argv[1])) / 1e6))' "$begin"
}

# measured NAME COUNT DIR…
measured() {
    name=$1 count=$2
    shift 2
    drop_caches
    before=$(sectors_read "$DATA")
    start "$@" >"$W/took"
    bytes=$((($(sectors_read "$DATA") - before) * 512))
    figure "$name" "$count" bytes.1 "$(awk -v b=$bytes 'BEGIN { printf "%.1f", b / 1048576 }')"
    figure "$name" "$count" time.1 "$(cat "$W/took")"
    echo "$name, $count at once: $((bytes / 1048576)) MiB, $(cat "$W/took") ms"
}

on_pool() {
    load_side "$1"
    NAME=$(side_name "$1")
    META=$(disk 16)
    # shellcheck disable=SC2046 # several attributes
    DATA=$(disk $((MIB * 2)) $(media_attributes "$MEDIA"))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
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
    (teardown) || fail "$NAME: could not be taken down"
    : >"$W/disks"
    : >"$W/pools"
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

on_pool stock
on_pool drr
on_overlayfs

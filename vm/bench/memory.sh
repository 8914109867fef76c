#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench memory`: containers of one image read its files, one container after the other, on dm-thin, on
# dm-drr with cache=eager, and on overlayfs over one ext4: how much memory that takes, and what it costs to read everything once more.
#
#   TESTS   directory with lib.sh, containers.sh and read.py        MEDIA   hdd, ssd or nvme
#   SCRATCH writable directory

MIB=${MIB:-48}
COUNTS=${COUNTS:-1 8 16}
# shellcheck source=vm/bench/containers.sh
. "$TESTS/containers.sh"

prepared() {
    if [ "$1" = dm-drr ]; then
        message cache eager
    fi
}

# Page cache without tmpfs, and what dm-drr takes for itself, in bytes.
memory_now() {
    pages=$(awk '$1 == "nr_file_pages" { n += $2 } $1 == "nr_shmem" { n -= $2 } END { print n }' /proc/vmstat)
    own=0
    if [ "$1" = dm-drr ]; then
        own=$(($(stat_of table_bytes) + $(stat_of meta_pages) * 4096))
    fi
    echo $((pages * 4096 + own))
}

# in_turn DIR…: milliseconds.
in_turn() {
    for dir in "$@"; do
        python3 "$TESTS/read.py" "$dir"/image/*
    done >"$W/each"
    awk '{ n += $1 } END { printf "%.1f\n", n / 1000000 }' "$W/each"
}

measured() {
    name=$1 count=$2
    shift 2
    drop_caches
    before=$(memory_now overlayfs)
    in_turn "$@" >/dev/null
    # Copies leave a moment later.
    sleep 1
    after=$(memory_now "$name")
    start=$(sectors_read "$DATA")
    in_turn "$@" >"$W/took"
    bytes=$((($(sectors_read "$DATA") - start) * 512))
    figure "$name" "$count" cache.1 "$(awk -v b=$((after - before)) 'BEGIN { printf "%.1f", b / 1048576 }')"
    figure "$name" "$count" again.1 "$(cat "$W/took")"
    figure "$name" "$count" disk.1 "$(awk -v b=$bytes 'BEGIN { printf "%.2f", b / 1048576 }')"
    echo "$name, $count: $(((after - before) / 1048576)) MiB; once more $(cat "$W/took") ms, $((bytes / 1024)) KiB from disk"
}

on_pool stock
on_pool drr
on_overlayfs

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench storm`: containers of one image start at the same moment, which means that each reads the
# image's files, on dm-thin, on dm-drr, and on overlayfs over one ext4.
#
#   TESTS   directory with lib.sh, containers.sh and read.py        MEDIA   hdd, ssd or nvme
#   SCRATCH writable directory

MIB=${MIB:-96}
COUNTS=${COUNTS:-1 8 16 32}
# shellcheck source=vm/bench/containers.sh
. "$TESTS/containers.sh"

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

on_pool stock
on_pool drr
on_overlayfs

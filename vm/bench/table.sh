#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench table`: what the access table takes for each page that containers have in their page cache: of a
# big file read in sequence, and 4 KiB at a time at random places; of the files of a real image, by one container and by four.
#
#   TESTS   directory with lib.sh, containers.sh, read.py and cached.py        SCRATCH writable directory

MIB=${MIB:-96}
# shellcheck source=vm/bench/containers.sh
. "$TESTS/containers.sh"

# taken CASE FILE…: the table's groups of 256 bytes for the pages of these files.
taken() {
    case=$1
    shift
    groups=$(stat_of groups)
    pages=$(cached "$@")
    at_least "pages in memory" "$pages" 1000
    bytes=$(awk -v g="$groups" -v p="$pages" 'BEGIN { printf "%.1f", g * 256 / p }')
    figure dm-drr "$case" table.1 "$bytes"
    echo "$case: $groups groups for $pages pages, $bytes bytes a page"
}

# fresh: an empty table and nothing in memory.
fresh() {
    message drr off
    drop_caches
    message drr on
}

load_side drr
META=$(disk 16)
DATA=$(disk $((MIB + 64)))
POOL=pool
pool_load "$POOL" "$META" "$DATA" 128
message sampling off
thin_new origin 0 "$MIB"
mkfs.ext4 -q -b 4096 /dev/mapper/origin
dir=$(mounted origin)
MIB=48 fill "$dir"
head -c 33554432 /dev/urandom >"$dir/big"
sync
umount "$dir"
for n in 1 2 3 4; do
    snap "c$n" "$n" origin 0
    mounted "c$n" ro,noload >"$W/mounted"
done
remove origin

fresh
echo "an empty table takes $(stat_of table_bytes) bytes"
python3 "$TESTS/read.py" "$MNT/c1/big" >"$W/took"
taken sequential "$MNT/c1/big"

fresh
python3 - "$MNT/c1/big" <<'END'
import os, random, sys

fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
pages = list(range(8192))
random.Random(1).shuffle(pages)
# A quarter of them: what a data base that has just started has seen.
for page in pages[:2048]:
    os.pread(fd, 4096, page * 4096)
END
taken random "$MNT/c1/big"

fresh
python3 "$TESTS/read.py" "$MNT"/c1/image/* >"$W/took"
taken image "$MNT"/c1/image/*

fresh
python3 "$TESTS/read.py" "$MNT"/c[1-4]/image/* >"$W/took"
taken four "$MNT"/c[1-4]/image/*
taken_down dm-drr

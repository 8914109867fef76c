#!/bin/sh
# A chunk that is discarded and wanted by another thin while a read of it is stalled below: every reader gets its own bytes.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

HOW=${HOW:-deleted}
load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 4 discard=1)
POOL=pool
size=$(sectors "$DATA")
# Reads wait below the pool, writes do not.
dmsetup create slow --table "0 $size linear $DATA 0"
pool_load pool "$META" /dev/mapper/slow 128
thin_new t 0 4
message create_thin 3
thin u 3 4
noise "$W/old" 2097152
dd if="$W/old" of=/dev/mapper/t bs=1M oflag=direct status=none
snap s 1 t 0
message create_snap 2 0
thin r 2 4
# s and r share all with t; t goes.
remove t
message delete 0

slow() {
    dmsetup reload slow --table "$1"
    dmsetup suspend --noflush --nolockfs slow
    dmsetup resume slow
}
noise "$W/new" 2097152
noise "$W/other" 4194304
slow "0 $size delay $DATA 0 $((2000 * ${PACE:-1})) $DATA 0 0"

# Three kinds of reader: direct and buffered, of the snapshots that share the chunks.
in_background dd if=/dev/mapper/s of="$W/direct" bs=256k count=1 iflag=direct status=none
direct=$!
in_background dd if=/dev/mapper/r of="$W/cached" bs=128k count=1 skip=4 status=none
cached=$!
in_background dd if=/dev/mapper/s of="$W/cached2" bs=128k count=1 skip=4 status=none
cached2=$!
sleep 0.5

# Both owners let go of everything while the reads are out there. This may wait for them, and may not.
let_go() {
    if [ "$HOW" = deleted ]; then
        blkdiscard -o 0 -l 2097152 /dev/mapper/s
    else
        # Whole chunks, into the free half of the pool: no copy has to be read.
        dd if="$W/new" of=/dev/mapper/s bs=64k count=32 oflag=direct conv=notrunc status=none
    fi
    blkdiscard -o 0 -l 2097152 /dev/mapper/r
    # A commit, without which what was freed is not free yet.
    message set_transaction_id 0 1
    # The new owner wants more chunks than were free before: some of those just left.
    if [ "$HOW" = deleted ]; then
        dd if="$W/other" of=/dev/mapper/u bs=64k count=64 oflag=direct conv=notrunc status=none
    else
        dd if="$W/other" of=/dev/mapper/u bs=64k count=32 oflag=direct conv=notrunc status=none
    fi
}
still_going "$direct" "the direct reader"
in_background let_go
owners=$!
for job in "$direct" "$cached" "$cached2" "$owners"; do
    wait "$job" || fail "a reader, a writer or a discard failed"
done
slow "0 $size linear $DATA 0"

# read_as FILE OFFSET PAGES AFTER: each page of FILE is the old one or the one AFTER, which the reader's own device got meanwhile; the
# order of a read and a write at once is nobody's promise. Another owner's bytes it must never be.
read_as() {
    equals "bytes read into $1" "$(stat -c %s "$1")" $(($3 * 4096))
    # As a rule all of it is old.
    if cmp -s -n $(($3 * 4096)) "$1" "$W/old" 0 "$2"; then
        return 0
    fi
    e_page=0
    while [ "$e_page" -lt "$3" ]; do
        e_at=$((e_page * 4096))
        cmp -s -n 4096 "$1" "$W/old" "$e_at" $(($2 + e_at)) || cmp -s -n 4096 "$1" "$4" "$e_at" $(($2 + e_at)) ||
            fail "$1: page $e_page is neither what was there nor what its owner made of it"
        e_page=$((e_page + 1))
    done
}
model "$W/zero" 4
if [ "$HOW" = deleted ]; then after=$W/zero; else after=$W/new; fi
read_as "$W/direct" 0 64 "$after"
read_as "$W/cached" 524288 32 "$W/zero"
read_as "$W/cached2" 524288 32 "$after"
model "$W/u" 4
if [ "$HOW" = deleted ]; then
    cp "$W/other" "$W/u"
else
    dd if="$W/other" of="$W/u" bs=1M count=2 conv=notrunc status=none
fi
same u "$W/u"
model "$W/s" 4
if [ "$HOW" = overwritten ]; then
    dd if="$W/new" of="$W/s" bs=1M conv=notrunc status=none
fi
same s "$W/s"
model "$W/r" 4
same r "$W/r"
# The pool is full: the new owner has what the old ones left.
equals "chunks used" "$(chunks_used)" 64
no_mismatches
remove s r u
pool_remove pool

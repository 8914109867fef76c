#!/bin/sh
# A crash in the middle of the deletion of a big device: the device is gone or whole, never half there, and what is left of it goes by
# itself once the pool is loaded again. dm-thin opens such a pool, too.
# vm: mem=1536 smp=2
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

load_side "$TARGETS"
modprobe dm-flakey
CHUNKS=${CHUNKS:-200000}
restored_pool "$CHUNKS" 4096
dmsetup remove pool
dmsetup create fmeta --table "0 $(sectors "$META") flakey $META 0 1 0"
dmsetup create fdata --table "0 $(sectors "$DATA") flakey $DATA 0 1 0"
flaky_load
message create_thin 2
thin w 2 256

# The first writes make commits, so that the deletion is on the disk in part.
in_background python3 "$TESTS/io_beside.py" writes=/dev/mapper/w dmsetup message pool 0 "delete 0"
job=$!
all=$((CHUNKS + 64))
until [ "$(pool_word 3 | cut -d/ -f1)" -lt $((all * 9 / 10)) ] || ! kill -0 "$job" 2>/dev/null; do :; done
# From here on nothing gets to the disk any more, which the pool cannot know.
breaks fmeta drop_writes
wait "$job" || fail "the deletion or the writes beside it failed"
kept=$((64 + $(thin_mapped w) / 128))
equals "chunks used as the pool saw it" "$(chunks_used)" "$kept"
remove w
dmsetup remove pool
works fmeta
check_metadata /dev/mapper/fmeta

# What the crash left.
thin_dump --dev-id 2 /dev/mapper/fmeta >"$W/dump"
kept=$((64 + $(grep -o 'mapped_blocks="[0-9]*"' "$W/dump" | tr -dc 0-9)))
if has_drr; then
    unload dm_drr
    load_side stock
    flaky_load
    left=$(chunks_used)
    at_least "chunks left as dm-thin sees it" "$left" $((kept + 1))
    # How far the last commit is behind what the pool saw, the machine's speed decides.
    at_most "chunks left as dm-thin sees it" "$left" $((all - 1))
    fails 'No data available' message delete 0
    dmsetup remove pool
    load_side "$TARGETS"
fi
flaky_load
if has_drr; then
    fails 'No data available' message delete 0
else
    # There commits wait for all of the deletion: before it or after it.
    message delete 0 2>/dev/null || :
fi
gone() {
    [ "$(chunks_used)" = "$kept" ]
}
wait_for 20 gone
thin w 2 256
remove w
dmsetup remove pool
check_metadata /dev/mapper/fmeta
thin_dump /dev/mapper/fmeta >"$W/dump"
equals devices "$(grep -o 'dev_id="[0-9]*"' "$W/dump" | tr '\n' ' ')" 'dev_id="1" dev_id="2" '

#!/bin/sh
# Six siblings that read the same file at the same moment read it from the data device once, and each gets the right bytes.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# A disk that takes a while, so that the reads meet: longer where processors are slow.
DATA_ATTRS="irqmode=2 completion_nsec=$((20000000 * ${PACE:-1}))"
image ext4 64 -b 4096
message create_snap 3 1
message create_snap 4 1
message create_snap 5 1
message create_snap 6 1
thin c 3 64
thin d 4 64
thin e 5 64
thin f 6 64
dirs=
for name in a b c d e f; do
    dirs="$dirs $(mounted $name ro,noload)"
done
drop_caches

# all_at_once DIR…: each file is compared with what was written.
all_at_once() {
    jobs=
    for dir in "$@"; do
        in_background cmp "$dir/file" "$W/file"
        jobs="$jobs $!"
    done
    for job in $jobs; do
        wait "$job" || fail "a reader failed, or read something else"
    done
}

# One alone, for the measure.
start=$(sectors_read "$DATA")
# shellcheck disable=SC2086 # several words
set -- $dirs
all_at_once "$1"
one=$(($(sectors_read "$DATA") - start))
at_least "sectors that one reader takes from the data device" "$one" 32768

drop_caches
drr_message drr off
drr_message drr on
drr_message stats reset
start=$(sectors_read "$DATA")
all_at_once "$@"
six=$(($(sectors_read "$DATA") - start))
echo "one reader takes $one sectors, six at once $six"
if has_drr; then
    # Each reads the file system's metadata for itself. Readers may miss each other, and find what they want in memory, or find each
    # other's folios locked and read them once more; where processors are slow nobody may have to wait.
    at_most "sectors that six readers at once take" "$six" $((one * 16 / 10 + 6 * 200))
    if [ "${PACE:-1}" = 1 ]; then
        drr_at_least followed_pages 32
    fi
    drr_is hash_rejects 0
    # Where something else has the processors, too, a read may take longer than others wait for it: of 640 some.
    at_most detached_reads "$(stat_of detached_reads)" 64
else
    at_least "sectors that six readers take from dm-thin's data device" "$six" $((one * 5))
fi

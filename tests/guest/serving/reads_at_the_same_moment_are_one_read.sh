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

# six_at_once DIR…: leaves in $six what that takes from the data device.
six_at_once() {
    drop_caches
    drr_message drr off
    drr_message drr on
    drr_message stats reset
    start=$(sectors_read "$DATA")
    all_at_once "$@"
    six=$(($(sectors_read "$DATA") - start))
    echo "one reader takes $one sectors, six at once $six; $(stat_of followed_pages) pages followed, $(stat_of detached_reads) reads detached"
    drr_is hash_rejects 0
}
# Each reads the file system's metadata for itself. Readers may miss each other, and find what they want in memory, or find each
# other's folios locked and read them once more; where processors are slow nobody may have to wait.
most=$((one * 13 / 10 + 6 * 200)) least=32
if [ "${PACE:-1}" != 1 ]; then
    least=0
fi
# Where something else has the processors, too, a read may take longer than others wait for it: of 640 a few.
most_detached=32
met() {
    [ "$six" -le "$most" ] && [ "$(stat_of followed_pages)" -ge "$least" ] && [ "$(stat_of detached_reads)" -le "$most_detached" ]
}

six_at_once "$@"
if has_drr; then
    # Up to three times, for whether they meet is a matter of the processors.
    for _ in 1 2; do
        if met; then
            break
        fi
        six_at_once "$@"
    done
    at_most "sectors that six readers at once take" "$six" "$most"
    drr_at_least followed_pages "$least"
    at_most detached_reads "$(stat_of detached_reads)" "$most_detached"
else
    at_least "sectors that six readers take from dm-thin's data device" "$six" $((one * 5))
fi

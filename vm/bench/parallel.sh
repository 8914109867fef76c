#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench parallel`: 1, 2, 4 and 8 jobs of 4 KiB random writes, each to a freshly taken snapshot of
# its own, on dm-thin and on dm-drr in turn.
#
#   TESTS   directory with lib.sh        MEDIA   hdd, ssd or nvme
#   SCRATCH writable directory           ROUNDS  how often each case is run on each side

TARGETS=stock
SAMPLING=1
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

MIB=64
JOBS="1 2 4 8"
# Each job writes about half of the chunks of its snapshot.
WRITES_MIB=3

# case_of JOBS: fresh snapshots, the writes, and the rate at which they were done.
case_of() {
    jobs=$1 n=1
    while [ $n -le "$jobs" ]; do
        message "create_snap $n 0"
        thin "s$n" $n $MIB
        printf '[s%d]\nfilename=/dev/mapper/s%d\nrandseed=%d\n' $n $n $n
        n=$((n + 1))
    done >"$W/jobs"
    fio --output-format=json --direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --size=${MIB}M \
        --io_size=${WRITES_MIB}M --group_reporting "$W/jobs" >"$W/fio"
    jq -r '.jobs[0].write | [.total_ios * 1000 / .runtime, .clat_ns.mean / 1000, .clat_ns.percentile."99.000000" / 1000]
        | map(round) | join(" ")' "$W/fio" >"$W/result"
    read -r rate mean p99 <"$W/result"
    figure "$NAME" "$jobs" "rate.$round" "$rate"
    figure "$NAME" "$jobs" "mean.$round" "$mean"
    figure "$NAME" "$jobs" "p99.$round" "$p99"
    echo "$NAME, round $round: $jobs jobs: $rate writes a second, $mean us each, 99 % within $p99 us"
    n=1
    while [ $n -le "$jobs" ]; do
        dmsetup remove "s$n"
        message "delete $n"
        n=$((n + 1))
    done
}

run_side() {
    load_side "$1"
    NAME=$(side_name "$1")
    # shellcheck disable=SC2046 # several attributes
    META=$(disk 64 $(media_attributes "$MEDIA")) DATA=$(disk $((MIB * 10)) $(media_attributes "$MEDIA"))
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" 128
    thin_new origin 0 $MIB
    dd if=/dev/urandom of=/dev/mapper/origin bs=1M count=$MIB oflag=direct status=none
    dmsetup remove origin
    for jobs in $JOBS; do
        case_of "$jobs"
    done
    taken_down "$NAME"
}

round=1
while [ "$round" -le "$ROUNDS" ]; do
    run_side stock
    run_side drr
    round=$((round + 1))
done

#!/bin/sh
# Thins whose external origins are thins of the same pool, one above the other and with a linear device between: whatever table was
# loaded last, the pool suspends and resumes under reads, and under writes that copy from the origins, and no byte is lost.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

only drr dropin
# A read from below takes so long that it is under way when the pool suspends.
# shellcheck disable=SC2034 # for pool
DATA_ATTRS="irqmode=2 completion_nsec=4000000"
pool 128 64
thin_new base 0 4
noise "$W/base" 4194304
dd if="$W/base" of=/dev/mapper/base bs=1M oflag=direct conv=fsync status=none
message create_thin 1
external_thin low 1 8192 base
dmsetup create between --table "0 8192 linear /dev/mapper/low 0"
message create_thin 2
external_thin mid 2 8192 between
message create_thin 3
external_thin top 3 8192 mid
message create_thin 4
external_thin other 4 8192 low

table_of() {
    case $1 in
    low) echo "0 8192 $THIN_T /dev/mapper/pool 1 /dev/mapper/base" ;;
    mid) echo "0 8192 $THIN_T /dev/mapper/pool 2 /dev/mapper/between" ;;
    top) echo "0 8192 $THIN_T /dev/mapper/pool 3 /dev/mapper/mid" ;;
    between) echo "0 8192 linear /dev/mapper/low 0" ;;
    esac
}

# The last MiB is left to the writes.
reads() {
    until [ -e "$W/stop" ]; do
        dd if="/dev/mapper/$1" bs=4k count=768 iflag=direct status=none
    done >/dev/null
}
in_background reads top
first=$!
in_background reads other
second=$!
# One page of each chunk: the rest is copied, through all that is below.
writes() {
    chunk=48
    while [ "$chunk" -lt 64 ]; do
        dd if="$W/base" of=/dev/mapper/top bs=4k count=1 seek=$((chunk * 16)) oflag=direct conv=notrunc status=none
        chunk=$((chunk + 1))
    done
}
in_background writes
third=$!

# suspended WHEN: the pool suspends in seconds.
suspended() {
    echo "suspending: $*"
    answered dmsetup suspend pool
}

for order in "low mid top" "top mid low" "mid low top" "top low mid" "between low" "top between"; do
    for name in $order; do
        reload "$name" "$(table_of "$name")"
    done
    # Loaded, but not in force.
    dmsetup reload low --table "$(table_of low)"
    suspended "$order"
    dmsetup resume pool
    dmsetup clear low
done
touch "$W/stop"
for job in "$first" "$second" "$third"; do
    wait "$job" || fail "I/O failed"
done
same other "$W/base"
for chunk in $(seq 48 63); do
    dd if="$W/base" of="$W/base" bs=4k count=1 seek=$((chunk * 16)) conv=notrunc status=none
done
same top "$W/base"
equals "chunks mapped" "$(thin_mapped top)" $((16 * 128))
remove top other mid between low base
pool_remove pool

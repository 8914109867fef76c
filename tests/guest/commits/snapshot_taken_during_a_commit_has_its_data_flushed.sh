#!/bin/sh
# A snapshot is made while a commit waits for the data device's flush: the commit, which makes it durable, flushes once more before it is written,
# for the snapshot names data that ended after the flush had begun.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# dm-thin would have the origin suspended.
only drr dropin
load_side "$TARGETS"
modprobe dm-delay
META=$(disk 8)
# Without a cache nobody flushes it.
DATA_DISK=$(disk 32 cache_size=8)
export POOL=pool
slow() {
    echo "0 $(sectors "$DATA_DISK") delay $DATA_DISK 0 0 $DATA_DISK 0 0 $DATA_DISK 0 $1"
}
dmsetup create slow --table "$(slow 0)"
pool_load pool "$META" /dev/mapper/slow 128
thin_new t 0 4
thin_new u 1 4
dd if=/dev/zero of=/dev/mapper/t bs=1M count=1 oflag=direct conv=fsync status=none
flushes() {
    awk '{ print $16 }' "/sys/class/block/${DATA_DISK##*/}/stat"
}
# Nothing is to be committed.
dmsetup status pool >/dev/null
reload slow "$(slow $((6000 * ${PACE:-1})))"
first_flush_is_over() {
    [ "$(flushes)" -gt "$flushed" ]
}
zeroed() {
    [ "$(sectors_written "$DATA_DISK")" -ge $((data_written + 128)) ]
}
noise "$W/new" 4096
id=2
while true; do
    flushed=$(flushes) data_written=$(sectors_written "$DATA_DISK")
    # A commit, which begins with the flush, once the chunk is filled.
    in_background dd if=/dev/zero of=/dev/mapper/u bs=4k count=1 seek=$((id * 16)) oflag=direct,dsync conv=notrunc status=none
    writer=$!
    wait_for 5 zeroed
    sleep 1
    written=$(sectors_written "$META")
    # In place, and then part of the snapshot.
    dd if="$W/new" of=/dev/mapper/t bs=4k count=1 oflag=direct conv=notrunc status=none
    in_background message create_snap "$id" 0
    snapshot=$!
    sleep 1
    if ! first_flush_is_over; then
        break
    fi
    # Something else had the processor for too long.
    wait "$writer" || fail "the write failed"
    wait "$snapshot" || fail "the snapshot failed"
    [ "$id" -lt 5 ] || fail "the flush was never slow enough"
    id=$((id + 1))
done
wait_for 10 first_flush_is_over
sleep 1
equals "sectors written to the metadata after one flush" "$(sectors_written "$META")" "$written"
reload slow "$(slow 0)"
wait "$writer" || fail "the write failed"
wait "$snapshot" || fail "the snapshot failed"
thin s "$id" 4
dd if=/dev/mapper/s bs=4k count=1 iflag=direct status=none | cmp - "$W/new"
remove t u s
pool_remove pool

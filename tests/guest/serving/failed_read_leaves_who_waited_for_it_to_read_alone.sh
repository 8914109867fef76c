#!/bin/sh
# A read fails that a sibling has waited for: the sibling reads for itself, at once.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

# The pool's reads go through a delay and then through a disk that can fail.
load_side "$TARGETS"
modprobe dm-flakey
modprobe dm-delay
META=$(disk 8)
DATA=$(disk 64)
POOL=pool
dmsetup create fdata --table "0 $(sectors "$DATA") flakey $DATA 0 1 0"
slow() {
    echo "0 $(sectors "$DATA") delay /dev/mapper/fdata 0 $1 /dev/mapper/fdata 0 0"
}
dmsetup create slow --table "$(slow 0)"
pool_load pool "$META" /dev/mapper/slow 128
thin_new origin 0 16
noise "$W/file" 1048576
dd if="$W/file" of=/dev/mapper/origin bs=64k oflag=direct conv=notrunc,fsync status=none
snap a 1 origin 0
snap b 2 origin 0
remove origin

# page NAME N FILE: page N of the device by way of its page cache.
page() {
    dd if="/dev/mapper/$1" of="$3" bs=4096 skip="$2" count=1 status=none
}

echo 0 | tee /sys/class/block/dm-*/queue/read_ahead_kb >/dev/null
# Patience grows with what reads take, up to twice as much when those of two devices have taken longer: from 50 ms to 1.8 s. The last
# ones end in time, so that both devices are followed.
n=200
for ms in 90 180 360 700 900 900; do
    reload slow "$(slow $ms)"
    page a $n "$W/page"
    page b $((n + 1)) "$W/page"
    n=$((n + 2))
done
drr_message stats reset
breaks fdata error_reads
in_background page a 0 "$W/first"
first=$!
wait_for 20 in_flight a
in_background page b 0 "$W/second"
second=$!
# The first read fails at 0.9 seconds, what follows arrives at 1.8. (The page cache tries once more itself.)
sleep 1
works fdata
wait "$second" || fail "who waited for a failed read failed, too"
wait "$first" || :
head -c 4096 "$W/file" | cmp - "$W/second"
drr_at_least followed_pages 1
drr_is detached_reads 0

# Direct readers have memory of their own: nobody waits for them.
drr_message stats reset
in_background dd if=/dev/mapper/a of=/dev/null bs=4096 skip=100 count=1 iflag=direct status=none
direct=$!
wait_for 20 in_flight a
page b 100 "$W/second"
wait "$direct"
dd if="$W/file" bs=4096 skip=100 count=1 status=none | cmp - "$W/second"
drr_is followed_pages 0

# A direct reader may wait for a buffered one, and gets what is right.
in_background page a 150 "$W/first"
first=$!
wait_for 20 in_flight a
dd if=/dev/mapper/b of="$W/second" bs=4096 skip=150 count=1 iflag=direct status=none
wait "$first"
dd if="$W/file" bs=4096 skip=150 count=1 status=none | cmp - "$W/second"
cmp "$W/first" "$W/second"
drr_is followed_pages 1
reload slow "$(slow 0)"
remove a b

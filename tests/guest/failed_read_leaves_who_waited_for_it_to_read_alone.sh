#!/bin/sh
# A read fails that a sibling has waited for: the sibling reads for itself, at once.
# vm: timeout=120
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

reload slow "$(slow 2000)"
echo 0 | tee /sys/class/block/dm-*/queue/read_ahead_kb >/dev/null
# From here on nobody loses patience before four seconds are over.
page a 200 "$W/page"
drr_message stats reset
breaks fdata error_reads
in_background page a 0 "$W/first"
first=$!
sleep 1
in_background page b 0 "$W/second"
second=$!
# The first read fails at two seconds; what follows arrives at four. (The page cache tries once more itself.)
sleep 2
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
sleep 1
page b 100 "$W/second"
wait "$direct"
dd if="$W/file" bs=4096 skip=100 count=1 status=none | cmp - "$W/second"
drr_is followed_pages 0

# A direct reader may wait for a buffered one, and gets what is right.
in_background page a 150 "$W/first"
first=$!
sleep 1
dd if=/dev/mapper/b of="$W/second" bs=4096 skip=150 count=1 iflag=direct status=none
wait "$first"
dd if="$W/file" bs=4096 skip=150 count=1 status=none | cmp - "$W/second"
cmp "$W/first" "$W/second"
drr_is followed_pages 1
reload slow "$(slow 0)"
remove a b

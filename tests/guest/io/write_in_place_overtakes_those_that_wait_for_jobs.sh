#!/bin/sh
# A thin has all the jobs that it may have, for first writes that are throttled, and more wait: its writes in place go on, though the disk,
# which is slow, must tell that they are some.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe dm-delay
restored_pool 1200 320
# The same pool, without any of its metadata in memory, and its metadata device can be made slow.
remove pool
slow() {
    echo "0 $(sectors "$META") delay $META 0 $1 $META 0 0"
}
dmsetup create slow --table "$(slow 0)"
dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/slow $DATA 128 0"
thin t 0 96
throttled wbps=4096 fio --name=f --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=300 --rw=write --bs=64k --number_ios=300 \
    --offset=$((1200 * 65536)) --size=$((300 * 65536)) --zero_buffers --output="$W/fio"
writer=$!
crowded() {
    [ "$(chunks_used)" -ge $((1264 + 200)) ]
}
wait_for 30 crowded
# While the thin's work waits for a block of the first one's mapping the pool's clock runs, and the others come.
reload slow "$(slow 1400)"
read_before=$(sectors_read "$META")
writers=
for at in 10 310 610 910; do
    in_background dd if=/dev/zero of=/dev/mapper/t bs=4k count=1 seek=$((at * 16)) oflag=direct conv=notrunc status=none
    writers="$writers $!"
    sleep 0.2
done
all_have_ended() {
    for one in $writers; do
        ! kill -0 "$one" 2>/dev/null || return 1
    done
}
wait_for 12 all_have_ended
for one in $writers; do
    wait "$one" || fail "a write in place failed"
done
# A leaf of the tree, of 8 sectors, holds 252 chunks at most.
at_least "sectors of metadata read for them" $(($(sectors_read "$META") - read_before)) 32
still_going "$writer" "the throttled writer"
reload slow "$(slow 0)"
unthrottled
wait "$writer" || fail "the throttled writer failed: $(cat "$W/fio")"
equals "mapped sectors" "$(thin_mapped t)" $((1500 * 128))
remove t pool slow
pool_forget pool
check_metadata "$META"

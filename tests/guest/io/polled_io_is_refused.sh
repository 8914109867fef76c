#!/bin/sh
# Polled I/O of a thin device is refused as by every device that cannot poll, whatever is below, and its kernel lives; other io_uring I/O is right.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

only drr dropin
load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 128 poll_queues=1 submit_queues=2 irqmode=2 completion_nsec=50000)
POOL=pool

# polls NAME: whether the device says that it can.
polls() {
    cat "/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$1")/queue/io_poll"
}

# ring NAME ARGUMENT…: fio on the device by way of io_uring.
ring() {
    r_name=$1
    shift
    timeout 60 fio --name=ring --filename="/dev/mapper/$r_name" --direct=1 --ioengine=io_uring --iodepth=16 --size=16m "$@"
}

data_size=$(sectors "$DATA")
for below in "$DATA" /dev/mapper/lin; do
    if [ "$below" != "$DATA" ]; then
        dmsetup create lin --table "0 $data_size linear $DATA 0"
        equals "whether the linear device polls" "$(polls lin)" 1
        dd if=/dev/zero of="$META" bs=4k count=1 oflag=direct status=none
    fi
    dmsetup create pool --table "0 $data_size $POOL_T $META $below 128 0"
    thin_new t 0 16
    equals "whether the thin device polls" "$(polls t)" 0
    fails 'Operation not supported' ring t --rw=randwrite --bs=4k --hipri=1
    if [ "$below" = "$DATA" ]; then
        remove t pool
    fi
done
# What a program gets that does not poll, on new chunks and on shared ones.
for chunks in new shared; do
    if [ "$chunks" = shared ]; then
        snap s 1 t 0
    fi
    ring t --rw=randwrite --bsrange=4k-64k --blockalign=4k --io_size=3m --verify=crc32c --verify_fatal=1 >"$W/fio" 2>&1 ||
        fail "io_uring on $chunks chunks: $(cat "$W/fio")"
done
remove s

# A device that polls becomes a thin one under its readers: they hear of it, and nothing else happens.
dmsetup create x --table "0 32768 linear $DATA 0"
equals "whether x polls" "$(polls x)" 1
remove t
in_background timeout 60 fio --name=poll --filename=/dev/mapper/x --direct=1 --ioengine=io_uring --hipri=1 --iodepth=8 --numjobs=2 \
    --rw=randread --bs=4k --size=16m --time_based --runtime=30 --output="$W/poll"
sleep 1
dmsetup reload x --table "0 32768 $THIN_T /dev/mapper/pool 0"
dmsetup suspend x
dmsetup resume x
equals "whether x polls" "$(polls x)" 0
wait_for 20 grep -q 'Operation not supported' "$W/poll"
ring x --rw=randrw --bs=4k --io_size=2m >"$W/fio" 2>&1 || fail "io_uring after the change: $(cat "$W/fio")"

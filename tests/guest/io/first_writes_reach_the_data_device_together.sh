#!/bin/sh
# Whole chunks that are written first one after the other reach the data device in few large requests, not more of them than on dm-thin.
# vm: timeout=120
. "$TESTS/lib.sh"

only drr dropin
# Requests that have reached the data device.
writes() {
    awk '{ print $5 }' "/sys/class/block/${DATA##*/}/stat"
}
# written SIDE: how many requests 512 chunks take, 64 at a time.
written() {
    load_side "$1"
    META=$(disk 8)
    DATA=$(disk 40 max_sectors=2560)
    # Merged as the block layer likes, and sent on as they come.
    echo 0 >"/sys/class/block/${DATA##*/}/queue/nomerges"
    echo none >"/sys/class/block/${DATA##*/}/queue/scheduler"
    export POOL=pool
    pool_load pool "$META" "$DATA" 128
    thin_new t 0 32
    before=$(writes)
    dd if=/dev/zero of=/dev/mapper/t bs=4M count=8 oflag=direct status=none
    requests=$(($(writes) - before))
    equals "mapped sectors on $1" "$(thin_mapped t)" $((512 * 128))
    echo "512 chunks in $requests requests on $1"
    remove t
    pool_remove pool
    taken_down "$1"
}
written stock
theirs=$requests
# The least of five: something else may have had the processor, and what is written went on meanwhile.
least=512
for _ in 1 2 3 4 5; do
    written "$TARGETS"
    if [ "$requests" -lt "$least" ]; then
        least=$requests
    fi
    if [ "$least" -le $((2 * theirs + 16)) ]; then
        break
    fi
done
requests=$least
at_most "requests for 512 chunks" "$requests" 256
at_most "requests, and dm-thin's are $theirs," "$requests" $((2 * theirs + 16))

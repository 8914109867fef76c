#!/bin/sh
# An fsync that has to wait for a commit is done with the commit's own flush of the data device; one that has not flushes it itself.
. "$TESTS/lib.sh"

DATA_ATTRS=cache_size=8
pool 128 64
thin_new t 0 16
# Field 16 of a block device's stat: flushes that have ended.
flushes() {
    awk '{ print $16 }' "/sys/block/${DATA#/dev/}/stat"
}
before=$(flushes)
i=0
while [ "$i" -lt 50 ]; do
    dd if=/dev/urandom of=/dev/mapper/t bs=64k count=1 seek="$i" oflag=direct conv=fsync,notrunc status=none
    i=$((i + 1))
done
between=$(flushes)
# Commits of the worker's own come beside them, once a second.
[ $((between - before)) -ge 50 ] || fail "50 fsyncs of new chunks flushed the data device $((between - before)) times"
[ $((between - before)) -le 75 ] || fail "50 fsyncs of new chunks flushed the data device $((between - before)) times"
sleep 2
before=$(flushes)
i=0
while [ "$i" -lt 20 ]; do
    dd if=/dev/urandom of=/dev/mapper/t bs=4k count=1 seek="$i" oflag=direct conv=fsync,notrunc status=none
    i=$((i + 1))
done
after=$(flushes)
[ $((after - before)) -ge 20 ] || fail "20 fsyncs of mapped chunks flushed the data device $((after - before)) times"

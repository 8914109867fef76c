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
# fsyncs N SIZE: the flushes that it takes to write and fsync so many blocks of that size, one after the other.
fsyncs() {
    f_before=$(flushes)
    f_n=0
    while [ "$f_n" -lt "$1" ]; do
        dd if=/dev/urandom of=/dev/mapper/t bs="$2" count=1 seek="$f_n" oflag=direct conv=fsync,notrunc status=none
        f_n=$((f_n + 1))
    done
    echo $(($(flushes) - f_before))
}
new=$(fsyncs 50 64k)
# Commits of the worker's own come beside them, once a second.
[ "$new" -ge 50 ] || fail "50 fsyncs of new chunks flushed the data device $new times"
[ "$new" -le 75 ] || fail "50 fsyncs of new chunks flushed the data device $new times"
sleep 2
mapped=$(fsyncs 20 4k)
[ "$mapped" -ge 20 ] || fail "20 fsyncs of mapped chunks flushed the data device $mapped times"

#!/bin/sh
# A data device that cannot be flushed keeps the commit from being written: no mapping to data that may be lost becomes durable.
# vm: timeout=300
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

DATA_ATTRS=cache_size=8
flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
before=$(events)

# Data reaches the device, flushes do not: they go to both targets of the table, writes to the first.
dmsetup suspend --noflush --nolockfs fdata
dmsetup load fdata --table "0 $(($(sectors "$DATA") - 128)) linear $DATA 0
$(($(sectors "$DATA") - 128)) 128 flakey $DATA $(($(sectors "$DATA") - 128)) 0 1 1 error_writes"
dmsetup resume fdata
# The write comes through; the flush, or the pool's own commit, does not.
noise "$W/noise" 65536
dd if="$W/noise" of=/dev/mapper/t bs=64k seek=64 count=1 oflag=direct conv=notrunc status=none
fails 'Input/output error' writes t 8388608 65536
rolled_back "$before"
works fdata
same t "$W/t"
remove t
repaired
thin t 0 16
same t "$W/t"
put t "$W/t" 4194304 65536 direct
same t "$W/t"

#!/bin/sh
# Flushes and FUA writes of a thin whose mappings have not changed go to the data device, without a commit.
# vm: timeout=200
. "$TESTS/lib.sh"

DATA_ATTRS=cache_size=4
pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
# This commits.
dmsetup status pool >/dev/null
written=$(sectors_written "$META")
flushes() {
    awk '{ print $16 }' "/sys/class/block/${DATA##*/}/stat"
}
before=$(flushes)
for at in 0 1 2 3; do
    # The fsync is a flush.
    put t "$W/t" $((at * 65536)) 65536 direct
    put t "$W/t" $((at * 65536 + 4096)) 4096
done
dd if="$W/noise" of=/dev/mapper/t bs=4k count=1 oflag=direct,dsync conv=notrunc status=none
dd if="$W/noise" of="$W/t" bs=4k count=1 conv=notrunc status=none
equals "sectors written to the metadata" "$(sectors_written "$META")" "$written"
at_least "flushes of the data device" "$(($(flushes) - before))" 8
same t "$W/t"

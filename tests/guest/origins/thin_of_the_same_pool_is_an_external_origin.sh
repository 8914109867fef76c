#!/bin/sh
# A thin may be the external origin of another in the same pool: data, commits, discards and a suspended pool go on working.
# vm: timeout=300 smp=2
. "$TESTS/lib.sh"

only drr dropin
pool
thin_new base 0 8
model "$W/base" 8
put base "$W/base" 0 4194304 direct
put base "$W/base" 5000000 10000
snap frozen 1 base 0
message create_thin 2
external_thin t 2 20480 frozen
cp "$W/base" "$W/t"
truncate -s $((20480 * 512)) "$W/t"
same t "$W/t"
random_puts t "$W/t" 10 30 200
same t "$W/t"
# Suspended under reads that go through both.
reads() {
    for _ in 1 2 3 4 5 6; do
        dd if=/dev/mapper/t bs=4k count=200 iflag=direct status=none
    done >/dev/null
}
in_background reads
reader=$!
for _ in 1 2 3 4; do
    dmsetup suspend pool
    dmsetup resume pool
done
wait "$reader"
blkdiscard /dev/mapper/t
cp "$W/base" "$W/t"
truncate -s $((20480 * 512)) "$W/t"
put base "$W/base" 0 4194304 direct
put t "$W/t" 4096 512 direct
same t "$W/t"
same base "$W/base"

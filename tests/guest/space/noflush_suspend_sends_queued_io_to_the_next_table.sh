#!/bin/sh
# A write that waits for space in a full pool goes back to device-mapper on a suspend without flush, and on to whatever table comes next.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

pool 128 4
thin_new t 0 8
dd if=/dev/zero of=/dev/mapper/t bs=1M count=4 oflag=direct status=none
noise "$W/new" 65536
in_background dd if="$W/new" of=/dev/mapper/t bs=64k seek=100 oflag=direct conv=notrunc status=none
writer=$!
wait_for 30 mode_is out_of_data_space
other=$(disk 8)
dmsetup reload t --table "0 16384 linear $other 0"
timeout 60 dmsetup suspend --noflush --nolockfs t
kill -0 "$writer" || fail "the write ended with the suspend"
dmsetup resume t
wait "$writer" || fail "the write failed"
dd if="$other" bs=64k skip=100 count=1 iflag=direct status=none | cmp - "$W/new"

#!/bin/sh
# With no_discard_passdown a discard returns the chunks and the data device never hears of it.
# vm: timeout=120
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 12 0 no_discard_passdown
equals "discard mode" "$(pool_field 6)" no_discard_passdown
thin_new t 0 8
tr '\0' '\245' </dev/zero | dd of=/dev/mapper/t bs=1M count=8 iflag=fullblock oflag=direct status=none
blkdiscard /dev/mapper/t
equals "chunks used" "$(chunks_used)" 0
equals "bytes on the data device" "$(dd if="$DATA" bs=1M iflag=direct status=none | tr -d '\0' | wc -c)" 8388608
equals "bytes of t that are not zero" "$(dd if=/dev/mapper/t bs=1M iflag=direct status=none | tr -d '\0' | wc -c)" 0

#!/bin/sh
# An external origin hangs under 1,100 first writes: those of other thins, over another origin too, go on, and all land in the end.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

pool 128 160
EXT=$(disk 80)
noise "$W/ext" 2097152
dd if="$W/ext" of="$EXT" bs=1M oflag=direct status=none
external ext $((75 * 2048))
dmsetup create other --table "0 4096 linear $EXT $((76 * 2048))"
message create_thin 0
external_thin t 0 $((75 * 2048)) ext
message create_thin 1
external_thin u 1 4096 other
thin_new v 2 4
external_model "$W/t" $((75 * 2048)) $((75 * 2048))

dmsetup suspend --noflush ext
in_background fio --name=f --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=1100 --rw=write:60k --bs=4k --number_ios=1100 \
    --offset=4k --size=74m --buffer_pattern=0xab --output="$W/fio"
writer=$!
wait_for 30 fills_no_more 50
echo "$(chunks_used) chunks are being filled"
noise "$W/new" 65536
put_one() {
    answered dd if="$W/new" of="/dev/mapper/$1" bs="$2" count=1 seek="$3" oflag=direct conv=notrunc status=none
}
# Over no origin, over another one, and over the one that hangs, but without a copy from it.
for at in 0 17 34; do
    put_one v 4k "$at"
    put_one u 4k "$at"
done
put_one t 64k 1190
still_going "$writer" "the writer"
# Those that wait for their turn are in no table's way.
in_background dmsetup suspend --noflush t
suspender=$!
sleep 0.5
dmsetup resume ext
wait "$suspender" || fail "the thin could not be suspended"
dmsetup resume t
ended_soon "$writer" 18 "the writer"
python3 - "$W/t" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    for i in range(64):
        f.seek(4096 + i * 65536)
        f.write(b"\xab" * 4096)
END
dd if=/dev/mapper/t bs=1M count=4 iflag=direct status=none | cmp -n 4194304 - "$W/t"
equals "mapped sectors" "$(thin_mapped t)" $((1101 * 128))
remove t u v ext other
pool_remove pool

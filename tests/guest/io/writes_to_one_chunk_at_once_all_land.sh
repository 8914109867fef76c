#!/bin/sh
# Sixteen small writes at once to each new, then each shared chunk: one provisions it, the others wait for it, all land; FUA ones too.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 1
at_once() {
    fio --name=f --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=1m --verify=crc32c \
        --verify_fatal=1 --randseed="$1" --sync="$2" >"$W/fio" 2>&1 || fail "fio: $(cat "$W/fio")"
}
at_once 1 none
equals "chunks used" "$(chunks_used)" 16
noise "$W/noise" 65536
for how in none dsync; do
    snap "s$how" "$((1 + $(echo "$how" | wc -c)))" t 0
    dd if=/dev/mapper/t of="$W/s" bs=1M iflag=direct status=none
    at_once 7 "$how"
    # Every chunk was copied once, and the snapshot has what it had.
    equals "mapped sectors" "$(thin_mapped t)" 2048
    same "s$how" "$W/s"
done
equals "chunks used" "$(chunks_used)" 48

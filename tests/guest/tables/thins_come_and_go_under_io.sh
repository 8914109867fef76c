#!/bin/sh
# Thins are created, used, removed and deleted while others of the pool do verified I/O and the pool commits.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 16
in_background fio --name=v --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=16k --size=16m \
    --verify=crc32c --verify_fatal=1 --verify_backlog=64 --time_based --runtime=5 --fsync=32 --output="$W/fio"
job=$!
round=0
while kill -0 "$job" 2>/dev/null; do
    round=$((round + 1))
    thin_new "u$round" 1 8
    dd if=/dev/zero of="/dev/mapper/u$round" bs=64k count=8 oflag=direct conv=notrunc status=none
    remove "u$round"
    message delete 1
done
wait "$job" || fail "fio: $(cat "$W/fio")"
at_least "thins that came and went" "$round" 1
equals "chunks used" "$(chunks_used)" $(($(thin_mapped t) / 128))

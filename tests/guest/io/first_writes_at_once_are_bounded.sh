#!/bin/sh
# However many first writes are under way, a thin fills 205 chunks at most at a time; the others wait without one, and all land.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe dm-delay
META=$(disk 16)
DISK=$(disk 288 memory_backed=0)
export POOL=pool
slow() {
    echo "0 $(sectors "$DISK") delay $DISK 0 0 $DISK 0 $1"
}
dmsetup create slow --table "$(slow 0)"
pool_load pool "$META" /dev/mapper/slow 128
thin_new r 0 1
thin_new t 1 256
dd if=/dev/zero of=/dev/mapper/r bs=64k count=16 oflag=direct conv=fsync status=none
used() {
    u_field=$(pool_word 3)
    echo "${u_field%%/*}"
}
at_work() {
    [ "$(used)" -ge $((16 + 200)) ]
}
# Nothing that is written lands for now.
reload slow "$(slow 60000)"
in_background fio --name=f --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=4000 --rw=write:60k --bs=4k --number_ios=4000 \
    --output="$W/fio"
writer=$!
wait_for 30 at_work
sleep 1
in_flight=$(($(used) - 16))
echo "$in_flight chunks are being filled"
if has_drr; then
    at_most "chunks that are being filled" "$in_flight" 205
fi
# Who reads what is mapped is not held up, nor is who works on another device.
dd if=/dev/mapper/r of=/dev/null bs=64k count=16 iflag=direct status=none
still_going "$writer" "the writer"
reload slow "$(slow 0)"
ended_soon "$writer" 16 "the writer"
equals "mapped sectors" "$(thin_mapped t)" $((4000 * 128))
equals "chunks used" "$(chunks_used)" 4016
remove r t
pool_remove pool

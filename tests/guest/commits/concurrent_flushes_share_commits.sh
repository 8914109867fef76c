#!/bin/sh
# Twenty-four FUA writes to new chunks at once, over slow metadata, take far fewer than twenty-four commits.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8 irqmode=2 completion_nsec=30000000)
DATA=$(disk 32)
POOL=pool
pool_load pool "$META" "$DATA" 128
thin_new t 0 8
writes() {
    awk '{ print $5 }' "/sys/class/block/${META##*/}/stat"
}
# One commit, for comparison.
before=$(writes)
dd if=/dev/zero of=/dev/mapper/t bs=64k count=1 seek=100 oflag=direct,dsync conv=notrunc status=none
one=$(($(writes) - before))
at_least "metadata writes of a commit" "$one" 2
before=$(writes)
fio --name=f --filename=/dev/mapper/t --direct=1 --sync=dsync --ioengine=libaio --iodepth=24 --rw=write --bs=64k --size=1536k \
    >"$W/fio" 2>&1 || fail "fio: $(cat "$W/fio")"
at_most "metadata writes of 24 flushes" $(($(writes) - before)) $((12 * one))
equals "mapped sectors" "$(thin_mapped t)" $((25 * 128))

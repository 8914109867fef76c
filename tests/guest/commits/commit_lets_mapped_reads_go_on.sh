#!/bin/sh
# While a commit waits for a slow metadata device, reads of mapped data are answered.
# vm: smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe dm-delay
META_DISK=$(disk 8)
DATA=$(disk 64)
export POOL=pool
slow() {
    echo "0 $(sectors "$META_DISK") delay $META_DISK 0 0 $META_DISK 0 $1"
}
dmsetup create slow --table "$(slow 0)"
pool_load pool /dev/mapper/slow "$DATA" 128
# The teardown's check reads it where it is still there then.
pool_forget pool
echo "pool $META_DISK" >>"$W/pools"
thin_new r 0 4
thin_new w 1 4
dd if=/dev/urandom of=/dev/mapper/r bs=1M count=4 oflag=direct conv=fsync status=none
reload slow "$(slow 700)"

# A first write and its fsync: several writes to the metadata device, one after the other.
io_goes_on fsync 2 reads=r -- dd if=/dev/urandom of=/dev/mapper/w bs=4k count=1 oflag=direct conv=fsync status=none
read -r _ _ _ whole <"$W/io"
at_least "time of the fsync, ms" "$whole" 1000
reload slow "$(slow 0)"

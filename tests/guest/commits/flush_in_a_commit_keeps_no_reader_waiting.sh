#!/bin/sh
# While a commit waits for a slow flush of the data device, reads of mapped data are answered, though mappings were inserted since the
# commit began.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe dm-delay
META=$(disk 8)
# Without a cache nobody flushes it.
DATA_DISK=$(disk 128 cache_size=8)
export POOL=pool
slow() {
    echo "0 $(sectors "$DATA_DISK") delay $DATA_DISK 0 0 $DATA_DISK 0 0 $DATA_DISK 0 $1"
}
dmsetup create slow --table "$(slow 0)"
pool_load pool "$META" /dev/mapper/slow 128
thin_new r 0 4
thin_new w 1 96
dd if=/dev/zero of=/dev/mapper/r bs=1M count=4 oflag=direct conv=fsync status=none
reload slow "$(slow 1500)"
# New mappings all the time, none of which is to be durable, for longer than the test takes.
in_background fio --name=w --filename=/dev/mapper/w --direct=1 --rw=write:60k --bs=4k --rate_iops=40 --number_ios=1500 --output="$W/fio"
writer=$!
# Two commits, each of which flushes twice.
cat >"$W/messages" <<'EOF'
dmsetup message "$POOL" 0 create_thin 2
dmsetup message "$POOL" 0 create_thin 3
EOF
io_goes_on "commits" 6 reads=r -- sh "$W/messages"
read -r _ _ _ whole <"$W/io"
at_least "time of the commits, ms" "$whole" 3000
reload slow "$(slow 0)"
kill "$writer"
wait "$writer" || :
remove r w
pool_remove pool

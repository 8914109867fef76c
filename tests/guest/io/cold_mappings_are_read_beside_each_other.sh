#!/bin/sh
# Mappings that are not in memory are read level by level for all bios that wait, not bio by bio: over metadata that takes 100 ms a block
# 64 reads, and 64 first writes, take a few times that.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
modprobe dm-delay
CHUNKS=16000
META_DISK=$(disk 16)
DATA=$(disk $((CHUNKS / 16 + 16)) memory_backed=0)
export POOL=pool
# Every second chunk is mapped, without runs.
awk -v n="$CHUNKS" 'BEGIN {
    printf "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"%d\">\n", n + 256
    printf "<device dev_id=\"0\" mapped_blocks=\"%d\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", n
    for (i = 0; i < n; i++)
        printf "<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"0\"/>\n", 2 * i, (i * 7919) % n
    print "</device>\n</superblock>"
}' >"$W/pool.xml"
thin_restore -q -i "$W/pool.xml" -o "$META_DISK"
slow() {
    echo "0 $(sectors "$META_DISK") delay $META_DISK 0 $1 $META_DISK 0 0"
}
dmsetup create slow --table "$(slow 0)"
pool_load pool /dev/mapper/slow "$DATA" 128
# The teardown's check reads it where it is still there then.
pool_forget pool
echo "pool $META_DISK" >>"$W/pools"

# cold WHAT LIMIT CMD…: CMD, which prints its milliseconds, with nothing of the metadata in memory. Up to three times, for something else may
# have the processors just then.
cold() {
    c_what=$1 c_limit=$2
    shift 2
    for c_try in 1 2 3; do
        cold_once "$@"
        echo "$c_what: $c_ms ms"
        if ! has_drr || [ "$c_ms" -le "$c_limit" ]; then
            return 0
        fi
    done
    fail "$c_what took $c_ms ms in the last of $c_try tries, expected at most $c_limit"
}
cold_once() {
    dmsetup remove pool
    dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/slow $DATA 128 0"
    thin t 0 $((CHUNKS / 8))
    reload slow "$(slow 100)"
    c_ms=$("$@")
    reload slow "$(slow 0)"
    remove t
}
# io KIND OFFSET: 64 of them at once, all over the device.
io() {
    fio --name=c --filename=/dev/mapper/t --direct=1 --ioengine=libaio --iodepth=64 --rw="$1" --bs=4k --blockalign=128k --offset="$2" \
        --norandommap --randseed="$((6 + c_try))" --number_ios=64 --output-format=json >"$W/fio" || fail "fio: $(cat "$W/fio")"
    jq '.jobs[0] | [.read.runtime, .write.runtime] | max' "$W/fio"
}
# Some thirty leaves and three levels above. A write's insertion reads neighbours of full leaves besides.
cold "64 cold reads" $((2500 * ${PACE:-1})) io randread 0
cold "64 cold first writes" $((4500 * ${PACE:-1})) io randwrite 64k

#!/bin/sh
# The data device holds one device's discard up: discards of others, writes, snapshots, and the end of queueing in a full pool go on.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 8 discard=1)
POOL=pool
# The first half can be made slow for what writes.
half=8192
parts() {
    if [ "$1" = slow ]; then
        echo "0 $half delay $DATA 0 0 $DATA 0 60000 $DATA 0 0"
    else
        echo "0 $half linear $DATA 0"
    fi
    echo "$half $half linear $DATA $half"
}
become() {
    parts "$1" | dmsetup reload parts
    dmsetup suspend --noflush --nolockfs parts
    dmsetup resume parts
}
parts quick | dmsetup create parts
pool_load pool "$META" /dev/mapper/parts 128
thin_new a 0 4
thin_new b 1 4
thin_new c 2 8
# a has the first half, b the second.
dd if=/dev/zero of=/dev/mapper/a bs=1M count=4 oflag=direct conv=notrunc,fsync status=none
dd if=/dev/zero of=/dev/mapper/b bs=1M count=4 oflag=direct conv=notrunc,fsync status=none
equals "chunks used" "$(chunks_used)" 128
echo 1 >"/sys/module/$MODULE/parameters/no_space_timeout"
become slow

in_background blkdiscard /dev/mapper/a
held=$!
sleep 1
in_background dd if=/dev/zero of=/dev/mapper/c bs=64k count=1 oflag=direct conv=notrunc status=none
writer=$!
# Whether PID has ended.
ended() {
    ! kill -0 "$1" 2>/dev/null
}
wait_for 15 ended "$writer"
if wait "$writer"; then
    fail "the writer got space from nowhere"
fi
in_background blkdiscard -o 0 -l 2097152 /dev/mapper/b
other=$!
wait_for 15 ended "$other"
wait "$other" || fail "the discard of b failed"
message create_snap 3 1
dd if=/dev/zero of=/dev/mapper/b bs=64k count=4 oflag=direct conv=notrunc status=none
still_going "$held" "the discard that is held up"
# What a had is held with it.
at_least "chunks used" "$(chunks_used)" 100

become quick
wait "$held" || fail "the held discard failed"
equals "mapped of a" "$(thin_mapped a)" 0
dmsetup status
remove a b c
pool_remove pool

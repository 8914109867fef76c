#!/bin/sh
# Fifteen seconds of verified random I/O on three thins and their snapshots at once; snapshots left alone stay as taken.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

DATA_ATTRS=discard=1
pool 128 256
for i in 0 1 2; do
    thin_new "t$i" "$i" 16
    dd if=/dev/urandom of="/dev/mapper/t$i" bs=1M count=12 oflag=direct status=none
    snap "s$i" "$((i + 10))" "t$i" "$i"
    # Never written: must not change.
    snap "still$i" "$((i + 20))" "t$i" "$i"
    sha256sum "/dev/mapper/still$i" >>"$W/sums"
done
{
    printf '[global]\ndirect=1\nioengine=libaio\niodepth=8\nrw=randwrite\nbsrange=512-96k\nblockalign=512\nverify=crc32c\nverify_fatal=1\n'
    printf 'verify_backlog=32\nserialize_overlap=1\nsize=16m\ntime_based=1\nruntime=15\nfsync=50\n'
    for i in 0 1 2; do
        printf '[t%d]\nfilename=/dev/mapper/t%d\n[s%d]\nfilename=/dev/mapper/s%d\n' "$i" "$i" "$i" "$i"
    done
} >"$W/job"
in_background fio "$W/job" --output="$W/fio"
job=$!
# Snapshots of busy thins come and go meanwhile.
id=100
while kill -0 "$job" 2>/dev/null; do
    message create_snap "$id" $((id % 3))
    if [ "$id" -gt 104 ]; then
        message delete $((id - 5))
    fi
    id=$((id + 1))
    sleep 0.5
done
wait "$job" || {
    cat "$W/fio"
    fail "fio found wrong data"
}
for i in 0 1 2; do
    blockdev --flushbufs "/dev/mapper/still$i"
done
sha256sum -c --quiet "$W/sums"
# The first one, if it had to wait for the I/O to end, would be the only one.
at_least "snapshots taken meanwhile" "$((id - 100))" 3

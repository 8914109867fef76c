#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask bench fsync`: what commits cost who waits for them, alone and beside 1,000 active devices that do
# nothing, and what they cost who only reads, on data devices whose flush takes no time and 20 ms. On dm-thin and on dm-drr in turn.
#
#   TESTS   directory with lib.sh        ROUNDS  how often each case is run on each side
#   SCRATCH writable directory           DEVICES (1000) how many are idle

TARGETS=stock
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

DEVICES=${DEVICES:-1000}

# Times of I/O, one after the other, in microseconds: the median, and what 99 % stay below.
cat >"$W/times.py" <<'PY'
import mmap, os, sys, time
kind, path, count, first = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
fd = os.open(path, os.O_RDWR | os.O_DIRECT)
block = mmap.mmap(-1, 65536 if kind == "fsync" else 4096)
times = []
for i in range(first, first + count):
    begin = time.monotonic()
    if kind == "fsync":
        os.pwritev(fd, [block], i * 65536)
        os.fsync(fd)
    else:
        os.preadv(fd, [block], i % 64 * 65536)
    times.append(time.monotonic() - begin)
    time.sleep(0.002)
times.sort()
print("%d %d" % (times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6))
PY

# timed CASE KIND NAME COUNT FIRST
timed() {
    t_case=$1
    shift
    python3 "$W/times.py" "$1" "/dev/mapper/$2" "$3" "$4" >"$W/result"
    read -r median p99 <"$W/result"
    figure "$NAME" "$t_case" "p50.$round" "$median"
    figure "$NAME" "$t_case" "p99.$round" "$p99"
    echo "$NAME, round $round: $t_case: median $median us, 99 % within $p99 us"
}

# flush_takes MS
flush_takes() {
    echo "0 $(sectors "$DATA") delay $DATA 0 0 $DATA 0 0 $DATA 0 $1"
}

# fsyncs.py DEVICE FILE: a new chunk and a commit every 100 ms, whatever a commit takes, for as long as FILE is there.
cat >"$W/fsyncs.py" <<'PY'
import mmap, os, sys, time
path, going = sys.argv[1:]
fd = os.open(path, os.O_RDWR | os.O_DIRECT)
block = mmap.mmap(-1, 65536)
i, next = 0, time.monotonic()
while os.path.exists(going):
    os.pwritev(fd, [block], i * 65536)
    os.fsync(fd)
    i, next = i + 1, next + 0.1
    time.sleep(max(0, next - time.monotonic()))
PY

# beside_fsyncs CASE MS: times reads while the flushes of commits take so long
beside_fsyncs() {
    reload slow "$(flush_takes "$2")"
    touch "$W/going"
    python3 "$W/fsyncs.py" /dev/mapper/n "$W/going" &
    pid=$!
    timed "$1" read r 2000 0
    rm "$W/going"
    # Without its commits the figures would mean nothing.
    wait "$pid" || fail "the writer beside has failed"
    reload slow "$(flush_takes 0)"
    dmsetup remove n
    message "delete 10003"
    thin_new n 10003 384
}

run_side() {
    load_side "$1"
    NAME=$(side_name "$1")
    modprobe dm-delay
    META=$(disk 32) DATA=$(disk 512 memory_backed=1 cache_size=8)
    POOL=pool
    awk -v n="$DEVICES" 'BEGIN {
        print "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"8192\">"
        for (i = 1; i <= n; i++)
            printf "<device dev_id=\"%d\" mapped_blocks=\"0\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\"></device>\n", i
        print "</superblock>"
    }' >"$W/pool.xml"
    thin_restore -q -i "$W/pool.xml" -o "$META"
    dmsetup create slow --table "$(flush_takes 0)"
    pool_load pool "$META" /dev/mapper/slow 128
    thin_new w 10001 64
    thin_new r 10002 4
    thin_new n 10003 384
    dd if=/dev/zero of=/dev/mapper/r bs=1M count=4 oflag=direct conv=fsync status=none
    timed alone fsync w 300 0
    seq 100 100 "$DEVICES" | while read -r last; do
        dmsetup create --concise "$(awk -v a="$last" -v t="$THIN_T /dev/mapper/$POOL" 'BEGIN {
            for (i = a - 99; i <= a; i++)
                printf "%st%d,,,rw,0 2048 %s %d", (i > a - 99 ? ";" : ""), i, t, i
        }')"
    done
    timed beside fsync w 300 300
    timed quiet read r 2000 0
    beside_fsyncs commits 0
    beside_fsyncs flush 20
    seq "$DEVICES" | sed s/^/t/ | xargs dmsetup remove w r n
    taken_down "$NAME"
}

round=1
while [ "$round" -le "$ROUNDS" ]; do
    run_side stock
    run_side drr
    round=$((round + 1))
done

#!/bin/sh
# A thin that is active under two names, with writes of both to the same chunks all the time: no write is lost, and snapshots, suspends
# of one name with and without flush, and the removal of one are answered. It cannot be deleted before both names are gone.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# So slow that writes to one chunk meet.
# shellcheck disable=SC2034 # for pool
DATA_ATTRS="irqmode=2 completion_nsec=2000000"
pool 128 64
thin_new one 0 4
thin two 0 4

# writes NAME… writes pages of all 64 chunks, each thread its own ones, NAMES in turn; then reads them back through each NAME.
cat >"$W/writes.py" <<'END'
import mmap, os, sys, threading
names, stop = sys.argv[2:], sys.argv[1]
PER_NAME = 4
last = [[0] * 64 for _ in range(len(names) * PER_NAME)]

def write(thread):
    fd = os.open("/dev/mapper/" + names[thread % len(names)], os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    n = 0
    while not os.path.exists(stop) or n < 64:
        n += 1
        chunk = n % 64
        page[:] = (b"%3d %2d %8d\n" % (thread, chunk, n)) * 256
        os.pwrite(fd, page, chunk * 65536 + thread * 4096)
        last[thread][chunk] = n
    os.close(fd)

threads = [threading.Thread(target=write, args=(i,)) for i in range(len(last))]
[t.start() for t in threads]
[t.join() for t in threads]
page = mmap.mmap(-1, 4096)
for name in names:
    fd = os.open("/dev/mapper/" + name, os.O_RDONLY | os.O_DIRECT)
    for thread, chunks in enumerate(last):
        for chunk, n in enumerate(chunks):
            os.preadv(fd, [page], chunk * 65536 + thread * 4096)
            if page[:] != (b"%3d %2d %8d\n" % (thread, chunk, n)) * 256:
                sys.exit("chunk %d, thread %d through %s: a write is lost" % (chunk, thread, name))
    os.close(fd)
END

begin() {
    rm -f "$W/stop"
    in_background python3 "$W/writes.py" "$W/stop" "$@"
    writes=$!
    sleep 0.3
}

finish() {
    touch "$W/stop"
    wait "$writes" || fail "writes were lost"
}

begin one two
for i in 1 2; do
    answered dmsetup message pool 0 "create_snap $i 0"
    thin "s$i" "$i" 4
    sum=$(sha256sum <"/dev/mapper/s$i")
    sleep 0.1
    drop_caches
    equals "snapshot $i, read again" "$(sha256sum <"/dev/mapper/s$i")" "$sum"
    answered dmsetup suspend two
    sleep 0.1
    answered dmsetup message pool 0 "create_snap 1$i 0"
    answered dmsetup resume two
    answered dmsetup suspend --noflush one
    sleep 0.1
    answered dmsetup resume one
    still_going "$writes" "the writes"
done
finish

# While one name writes the other comes and goes.
message create_snap 3 0
begin one
for i in 1 2 3; do
    thin other 0 4
    # Into the chunks that are being copied.
    dd if=/dev/urandom of=/dev/mapper/other bs=4k seek=15 count=1 oflag=direct conv=notrunc status=none
    answered dmsetup remove other
    message create_snap "2$i" 0
done
finish

fails 'busy' message delete 0
answered dmsetup remove one
fails 'busy' message delete 0
answered dmsetup remove two
message delete 0
remove s1 s2
pool_remove pool

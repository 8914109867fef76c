#!/bin/sh
# A direct read is under way into a buffer that its owner keeps changing: siblings that want the same pages at the same moment, and after
# it, read what the disk has.
# vm: timeout=150 smp=2
. "$TESTS/lib.sh"

# A disk that takes a while, so that the reads meet.
DATA_ATTRS="irqmode=2 completion_nsec=$((20000000 * ${PACE:-1}))"
FILE_MIB=4
image ext4 48 -b 4096
mount_ab ro,noload
for round in 1 2 3 4; do
    drop_caches
    rm -f "$W/reading"
    python3 - "$A/file" "$W/reading" <<'END' &
import mmap, os, sys, threading
size = 4 << 20
buffer = mmap.mmap(-1, size)
done = threading.Event()

def scribble():
    while not done.is_set():
        for at in range(0, size, 4096):
            buffer[at : at + 64] = b"\xa5" * 64

t = threading.Thread(target=scribble)
t.start()
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
open(sys.argv[2], "w").close()
for _ in range(3):
    os.preadv(fd, [buffer], 0)
done.set()
t.join()
END
    direct=$!
    echo "$direct" >>"$W/pids"
    is_reading() { [ -e "$W/reading" ]; }
    wait_for 20 is_reading
    cmp "$B/file" "$W/file" || fail "round $round: a reader beside the direct one got something else"
    wait "$direct" || fail "the direct reader failed"
    cmp "$A/file" "$W/file" || fail "round $round: the wrong bytes"
done
drr_is hash_rejects 0
no_mismatches

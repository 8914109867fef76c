#!/bin/sh
# An external origin hangs under first writes, most of which wait for their turn: when the pool is full, as it is told to fail then, these fail
# at once.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# On dm-thin all that are served have a chunk already.
only drr dropin
pool 128 8 0 error_if_no_space
EXT=$(disk 24)
export EXT
external ext $((20 * 2048))
message create_thin 0
external_thin t 0 $((20 * 2048)) ext
thin_new v 1 8

dmsetup suspend --noflush ext
# 100 writes of 4 KiB, one a chunk, each by its own thread; a line for each that failed as it ends.
cat >"$W/writes.py" <<'END'
import errno, mmap, os, sys, threading
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
def write(i):
    try:
        os.pwritev(fd, [block], i * 65536)
    except OSError as e:
        os.write(1, (errno.errorcode[e.errno] + "\n").encode())
threads = [threading.Thread(target=write, args=(i,)) for i in range(100)]
for t in threads:
    t.start()
for t in threads:
    t.join()
END
in_background python3 "$W/writes.py" /dev/mapper/t >"$W/errors"
writer=$!
wait_for 30 fills_no_more 50
filled=$(chunks_used)
those_that_wait_failed() {
    [ "$(grep -c ENOSPC "$W/errors")" -ge $((100 - filled)) ]
}
fails 'No space' dd if=/dev/zero of=/dev/mapper/v bs=64k count=128 oflag=direct conv=notrunc status=none
mode_is out_of_data_space
begin=$(milliseconds)
wait_for 5 those_that_wait_failed
echo "$((100 - filled)) writes have failed within $(($(milliseconds) - begin)) ms"
still_going "$writer" "the writer"
dmsetup resume ext
wait "$writer" || fail "the writer failed"
equals "mapped sectors" "$(thin_mapped t)" $((filled * 128))
remove t v ext
pool_remove pool

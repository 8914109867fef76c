#!/bin/sh
# Pages in memory that the kernel takes out of use as broken, on one snapshot, are no source: all readers get the right bytes, none dies.
# vm: smp=2
. "$TESTS/lib.sh"

khugepaged_off
FILE_MIB=4
image ext4 32 -b 4096
mount_ab rw
cmp "$A/file" "$W/file"
cat >"$W/poison.py" <<'END'
import ctypes, errno, mmap, os, sys, time

HWPOISON, SOFT_OFFLINE = 100, 101
libc = ctypes.CDLL(None, use_errno=True)
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
path, model, kind = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
size = os.fstat(fd).st_size
memory = mmap.mmap(fd, size)
want = open(model, "rb").read()
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
frames = os.open("/proc/self/pagemap", os.O_RDONLY)
undo = "/sys/kernel/debug/hwpoison/unpoison-pfn"
for page in range(7, 1000, 331):
    if memory[page * 4096:page * 4096 + 4096] != want[page * 4096:page * 4096 + 4096]:
        sys.exit("page %d is wrong before it" % page)
    frame = int.from_bytes(os.pread(frames, 8, (at + page * 4096) // 4096 * 8), "little") & (1 << 55) - 1
    # A page that cannot be moved at the moment stays what it is, and may be tried again.
    for patience in range(50, -1, -1):
        if libc.madvise(at + page * 4096, 4096, HWPOISON if kind == "hard" else SOFT_OFFLINE) == 0:
            break
        if kind == "hard" or ctypes.get_errno() not in (errno.EBUSY, errno.EAGAIN) or not patience:
            sys.exit("madvise of page %d: %s" % (page, os.strerror(ctypes.get_errno())))
        time.sleep(0.1)
    print(frame)
END
count_poisoned() {
    awk '$1 == "HardwareCorrupted:" { print $2 / 4 }' /proc/meminfo
}
before=$(count_poisoned)
for kind in hard soft; do
    python3 "$W/poison.py" "$A/file" "$W/file" $kind >>"$W/frames"
    in_background cmp "$A/file" "$W/file"
    reader=$!
    cmp "$B/file" "$W/file"
    wait "$reader" || fail "the file of the broken pages is wrong"
    # B has them all now, and A reads them again.
    xfs_io -r -c "fadvise -d 0 4m" "$A/file"
    cmp "$A/file" "$W/file"
    xfs_io -r -c "fadvise -d 0 4m" "$B/file"
    cmp "$B/file" "$W/file"
done
equals "pages taken out of use" $(($(count_poisoned) - before)) 6
drr_at_least served_pages 900
drr_is hash_rejects 0
umount "$A" "$B"
# Back into use, for the tests to come. The kernel refuses a frame that is between two lists at the moment: six lost pages harm no test.
if modprobe hwpoison-inject 2>/dev/null; then
    while read -r frame; do
        echo "$frame" >/sys/kernel/debug/hwpoison/unpoison-pfn || echo "frame $frame stays out of use"
    done <"$W/frames"
    rmmod hwpoison-inject
fi

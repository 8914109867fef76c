#!/bin/sh
# Reads and writes with RWF_NOWAIT, of files and devices, direct and cached, are done right or refused; what is refused has done nothing.
# vm: smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 32
mkfs.ext4 -q -b 4096 /dev/mapper/t
dir=$(mounted t)
noise "$W/file" $((4 * 1048576))
cp "$W/file" "$dir/file"
sync
umount "$dir"
snap a 1 t 0
snap b 2 t 0
thin_new u 3 4
model "$W/u" 4
put u "$W/u" 0 1048576 direct
snap v 4 u 3
cp "$W/u" "$W/v"
a=$(mounted a)
b=$(mounted b)
cat >"$W/nowait.py" <<'END'
import errno, mmap, os, sys

REFUSED = (errno.EAGAIN, errno.EOPNOTSUPP)
done = {}

def note(what, ok):
    good, bad = done.get(what, (0, 0))
    done[what] = (good + ok, bad + (not ok))

def reads(path, model, flags, what):
    want = open(model, "rb").read()
    size = 16384
    buf = mmap.mmap(-1, size)
    fd = os.open(path, os.O_RDONLY | flags)
    for at in range(0, len(want), size):
        buf[:] = b"\xaa" * size
        try:
            n = os.preadv(fd, [buf], at, os.RWF_NOWAIT)
        except OSError as e:
            if e.errno not in REFUSED:
                raise
            note(what, False)
        else:
            if buf[:n] != want[at:at + n]:
                sys.exit("%s: wrong bytes at %d" % (what, at))
            note(what, n == size)
        # The same without the flag.
        if os.preadv(fd, [buf], at) != size or buf[:] != want[at:at + size]:
            sys.exit("%s: wrong bytes at %d after it" % (what, at))
    os.close(fd)

def writes(path, model, flags, what):
    size = 65536
    buf = mmap.mmap(-1, size)
    fd = os.open(path, os.O_RDWR | flags)
    mfd = os.open(model, os.O_RDWR)
    # Mapped, shared and unmapped chunks.
    for at in range(0, 3 << 20, size):
        buf[:] = os.urandom(size)
        try:
            n = os.pwritev(fd, [buf], at, os.RWF_NOWAIT)
        except OSError as e:
            if e.errno not in REFUSED:
                raise
            note(what, False)
        else:
            os.pwrite(mfd, buf[:n], at)
            note(what, n == size)
    os.fsync(fd)
    os.close(fd)

a, b, u, v, w = sys.argv[1:]
reads(a, w + "/file", 0, "cold cached read")
reads(a, w + "/file", 0, "warm cached read")
reads(b, w + "/file", os.O_DIRECT, "direct read of a file that a sibling has")
reads(u, w + "/u", os.O_DIRECT, "direct read of a device")
writes(u, w + "/u", os.O_DIRECT, "direct write of a device")
writes(v, w + "/v", 0, "cached write of a device")
for what, (good, bad) in done.items():
    print("%s: %d done, %d refused or cut" % (what, good, bad))
if done["warm cached read"][1]:
    sys.exit("a cached page was refused")
END
python3 "$W/nowait.py" "$a/file" "$b/file" /dev/mapper/u /dev/mapper/v "$W"
umount "$a" "$b"
same u "$W/u"
same v "$W/v"

#!/bin/sh
# Direct I/O whose vectors are odd: sectors cut between two of them, memory off its page: reads, served or not, and writes are right.
# vm: smp=2
. "$TESTS/lib.sh"

FILE_MIB=4
image ext4 16 -b 4096
cp "$W/file" "$W/a"
mount_ab rw
cmp "$A/file" "$W/file"
drr_message stats reset
cat >"$W/odd.py" <<'END'
import mmap, os, random, sys

SECTOR = 512
random.seed(int(sys.argv[1]))
# What the device asks of memory: its address and the length of each piece are multiples of this.
STEP = max(int(sys.argv[2]) + 1, 2)

def vectors(memory, length):
    """Pieces of `length` bytes in all, each at a place of its own."""
    out, at = [], random.randrange(0, 64) * STEP
    while length:
        n = min(length, max(STEP, random.choice([STEP, 9 * STEP, 250, 514, 1022, 4094, 4096, 9000]) // STEP * STEP))
        out.append((at, n))
        at += n + random.randrange(0, 8) * STEP
        length -= n
    return out

def rounds(path, model, count, write):
    want = bytearray(open(model, "rb").read())
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    memory = mmap.mmap(-1, 1 << 18)
    view = memoryview(memory)
    for _ in range(count):
        length = random.randrange(1, 100) * SECTOR
        offset = random.randrange(0, (len(want) - length) // SECTOR) * SECTOR
        pieces = vectors(memory, length)
        bufs = [view[p:p + n] for p, n in pieces]
        if write:
            data = os.urandom(length)
            at = 0
            for b in bufs:
                b[:] = data[at:at + len(b)]
                at += len(b)
            if os.pwritev(fd, bufs, offset) != length:
                sys.exit("a short write at %d" % offset)
            want[offset:offset + length] = data
        else:
            memory[:] = b"\x55" * len(memory)
            if os.preadv(fd, bufs, offset) != length:
                sys.exit("a short read at %d" % offset)
            if b"".join(bufs) != want[offset:offset + length]:
                sys.exit("wrong bytes at %d, %d of them in %s" % (offset, length, pieces))
            # Nothing beside the pieces.
            for b in bufs:
                b[:] = b"\x55" * len(b)
            if memory[:].count(b"\x55") != len(memory):
                sys.exit("bytes beside the pieces at %d" % offset)
    os.close(fd)
    open(model, "wb").write(want)

_, _, _, a, b, w = sys.argv
rounds(b, w + "/file", 60, False)
rounds(a, w + "/a", 60, True)
rounds(a, w + "/a", 60, False)
rounds(b, w + "/file", 20, False)
END
read -r seed </proc/sys/kernel/random/uuid
read -r step <"/sys/dev/block/$(dmsetup info -c --noheadings -o major,minor a)/queue/dma_alignment"
echo "seed $((0x${seed%%-*})), alignment of memory $step"
python3 "$W/odd.py" $((0x${seed%%-*})) "$step" "$A/file" "$B/file" "$W"
# A round asks for 1 to 99 sectors: the sum of all has a mean of about 540 pages and strays by some 35.
drr_at_least bounced_pages 250
drop_caches
cmp "$A/file" "$W/a"
cmp "$B/file" "$W/file"
umount "$A" "$B"

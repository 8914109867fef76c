#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Random direct I/O, checked against models, on devices that others suspend, reload, rename, snapshot or move meanwhile.

  random_io.py GOING DEV=MODEL[@I/N]…    until the file GOING is gone; then the models are what the devices have to read back

Each device has a few threads with a part of it each, whose ends are no chunk's. With @I/N it is name number I of N names of one thing:
each thread of each name has some sectors of every chunk then, and nobody discards. A write goes to the model as well, a read is compared
with it. A discard of whole chunks may have worked or not, chunk by chunk, and the model takes over which: nothing else may be read
there than what was, or zeroes. No operation may fail. The answer is one line for each device: its name, and how many operations.
"""

import errno
import fcntl
import mmap
import os
import random
import struct
import sys
import threading

SECTOR = 512
CHUNK = 65536
THREADS = 3
LONGEST = 96
BLKDISCARD = 0x1277

going, *pairs = sys.argv[1:]
wrong = []


class Part(threading.Thread):
    def __init__(self, path, model, ranges, seed):
        super().__init__(daemon=True)
        self.path, self.ranges = path, ranges
        self.device = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.model = os.open(model, os.O_RDWR)
        self.random = random.Random(seed)
        self.memory = mmap.mmap(-1, max(LONGEST * SECTOR, CHUNK))
        self.count = 0

    def run(self):
        try:
            while os.path.exists(going) and not wrong:
                self.step()
                self.count += 1
        except Exception as e:
            wrong.append("%s: %r" % (self.path, e))

    def step(self):
        kind = self.random.random()
        begin, end = self.random.choice(self.ranges)
        if kind < 0.1 and end - begin > 2 * CHUNK // SECTOR:
            return self.discard(begin, end)
        length = self.random.randint(1, min(LONGEST, end - begin))
        at = self.random.randint(begin, end - length) * SECTOR
        length *= SECTOR
        buf = memoryview(self.memory)[:length]
        if kind < 0.6:
            buf[:] = self.random.randbytes(length)
            if os.pwritev(self.device, [buf], at) != length:
                raise OSError("short write at %d" % at)
            os.pwrite(self.model, buf, at)
        else:
            self.read(buf, at)
            if buf != os.pread(self.model, length, at):
                raise ValueError("wrong bytes within %d at %d" % (length, at))

    def read(self, buf, at):
        if os.preadv(self.device, [buf], at) != len(buf):
            raise OSError("short read at %d" % at)

    def discard(self, begin, end):
        first = -(-begin * SECTOR // CHUNK)
        last = end * SECTOR // CHUNK
        chunk = self.random.randrange(first, last)
        count = min(self.random.randint(1, 3), last - chunk)
        try:
            fcntl.ioctl(self.device, BLKDISCARD, struct.pack("=QQ", chunk * CHUNK, count * CHUNK))
        except OSError as e:
            if e.errno != errno.EOPNOTSUPP:
                raise
        buf = memoryview(self.memory)[:CHUNK]
        for at in range(chunk * CHUNK, (chunk + count) * CHUNK, CHUNK):
            self.read(buf, at)
            if buf == os.pread(self.model, CHUNK, at):
                continue
            if any(buf):
                raise ValueError("neither zeroes nor what was there before a discard at %d" % at)
            os.pwrite(self.model, buf, at)


parts = []
for pair in pairs:
    path, _, model = pair.partition("=")
    model, _, name = model.partition("@")
    size = os.stat(model).st_size // SECTOR
    if name:
        number, _, count = name.partition("/")
        turns = THREADS * int(count)
        # Off pages, and several to a chunk.
        stripes = [(at, min(at + 21, size)) for at in range(0, size, 21)]
        ranges = [stripes[int(number) * THREADS + i :: turns] for i in range(THREADS)]
    else:
        # Off chunks and off pages.
        ends = [0] + [size * i // THREADS // 8 * 8 + 3 for i in range(1, THREADS)] + [size]
        ranges = [[(ends[i], ends[i + 1])] for i in range(THREADS)]
    seed = int.from_bytes(os.urandom(4), "big")
    for i in range(THREADS):
        parts.append(Part(path, model, ranges[i], seed + i))
for part in parts:
    part.start()
for part in parts:
    part.join()
for path in {p.path for p in parts}:
    print(path, sum(p.count for p in parts if p.path == path), flush=True)
if wrong:
    sys.exit("\n".join(wrong))

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""direct.py DEVICE read|write BYTES COUNT MIB [random]: direct I/O over the first MIB of a device, one at a time; prints nanoseconds each.

What Python and the system calls take is part of it, and the same on every device. Runs in the guest.
"""

import mmap
import os
import random
import sys
import time


def main():
    device, kind, size, count, mib = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    buffer = mmap.mmap(-1, size)
    buffer.write(random.Random(1).randbytes(min(size, 4096)))
    fd = os.open(device, (os.O_RDONLY if kind == "read" else os.O_WRONLY) | os.O_DIRECT)
    places = [n * size for n in range((mib << 20) // size)]
    if "random" in sys.argv[6:]:
        random.Random(2).shuffle(places)
    io = os.preadv if kind == "read" else os.pwritev
    vectors = [buffer]
    # Once over some of it: lookups are in memory, as they are in use.
    for at in places[: count // 4]:
        io(fd, vectors, at)
    begin = time.monotonic_ns()
    for n in range(count):
        if io(fd, vectors, places[n % len(places)]) != size:
            raise OSError("short")
    print((time.monotonic_ns() - begin) // count)


if __name__ == "__main__":
    main()

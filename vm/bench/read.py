#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""read.py FILE…: reads files whole, in pieces of 128 KiB, and prints how many nanoseconds that took. Runs in the guest."""

import os
import sys
import time

PIECE = 128 << 10


def main():
    buffer = bytearray(PIECE)
    begin = time.monotonic_ns()
    for path in sys.argv[1:]:
        fd = os.open(path, os.O_RDONLY)
        while os.readv(fd, [buffer]):
            pass
        os.close(fd)
    print(time.monotonic_ns() - begin)


if __name__ == "__main__":
    main()

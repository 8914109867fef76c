#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""io_beside.py reads=DEVICE|writes=DEVICE… COMMAND…: does I/O, one after the other on each device, while COMMAND runs.

Reads are of blocks that are mapped; writes are the first ones to their chunks (64 KiB), each with its fsync. For each kind, and for
the command at the end, a line is printed: how many were answered meanwhile, how many milliseconds the longest pause between two was,
and how many the command took. Runs in the guest.
"""

import subprocess
import sys
import threading
import time

from power_cut import BLOCK, CHUNK, MIB, Direct, sectors_of, SECTOR

READ_BLOCKS = 4 * MIB // BLOCK


class Load:
    """I/O in a thread of its own."""

    def __init__(self, word):
        kind, path = word.split("=")
        self.device = Direct(path)
        self.act = {"reads": self.read, "writes": self.write}[kind]
        self.kind = kind
        # The mappings are in memory by then.
        self.warm = {"reads": 2 * READ_BLOCKS, "writes": 8}[kind]
        self.chunks = sectors_of(path) * SECTOR // CHUNK
        self.ends = []
        self.stop = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.stop.is_set():
                self.act(len(self.ends))
                self.ends.append(time.monotonic())
        except Exception as e:
            self.failure = e

    def read(self, n):
        self.device.read(n % READ_BLOCKS * BLOCK, BLOCK)

    def write(self, n):
        if n >= self.chunks:
            raise RuntimeError("no chunk is left to be written for the first time")
        self.device.write(n * CHUNK, b"w" * BLOCK)
        self.device.flush()

    def wait_until_warm(self):
        while len(self.ends) < self.warm and self.thread.is_alive():
            time.sleep(0.01)

    def end(self, begin, end):
        self.stop.set()
        self.thread.join()
        if self.failure:
            raise self.failure
        during = [t for t in self.ends if begin <= t <= end]
        longest = max(b - a for a, b in zip([begin] + during, during + [end]))
        print("%s %d %d %d" % (self.kind, len(during), longest * 1000, (end - begin) * 1000))


def main():
    words = sys.argv[1:]
    loads = []
    while "=" in words[0]:
        loads.append(Load(words.pop(0)))
    for load in loads:
        load.wait_until_warm()
    begin = time.monotonic()
    status = subprocess.run(words).returncode
    end = time.monotonic()
    for load in loads:
        load.end(begin, end)
    return status


if __name__ == "__main__":
    sys.exit(main())

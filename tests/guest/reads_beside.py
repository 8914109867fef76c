#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""reads_beside.py DEVICE COMMAND…: reads mapped blocks of DEVICE, one after the other, while COMMAND runs.

Prints how many reads were answered meanwhile, how many milliseconds the longest pause between two was, and how many the command
took. Runs in the guest.
"""

import subprocess
import sys
import threading
import time

from power_cut import BLOCK, MIB, Direct

BLOCKS = 4 * MIB // BLOCK


def main():
    device = Direct(sys.argv[1])
    ends = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            device.read(len(ends) % BLOCKS * BLOCK, BLOCK)
            ends.append(time.monotonic())

    reader = threading.Thread(target=read)
    reader.start()
    # The mappings are in memory by then.
    while len(ends) < 2 * BLOCKS and reader.is_alive():
        time.sleep(0.01)
    begin = time.monotonic()
    status = subprocess.run(sys.argv[2:]).returncode
    end = time.monotonic()
    stop.set()
    reader.join()
    during = [t for t in ends if begin <= t <= end]
    longest = max(b - a for a, b in zip([begin] + during, during + [end]))
    print("%d %d %d" % (len(during), longest * 1000, (end - begin) * 1000))
    return status


if __name__ == "__main__":
    sys.exit(main())

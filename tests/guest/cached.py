#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How many pages of files are in the page cache, by cachestat(2).

  cached.py FILE…    one number a line
"""

import ctypes
import os
import sys

CACHESTAT = 451
libc = ctypes.CDLL(None, use_errno=True)


class Range(ctypes.Structure):
    _fields_ = [("off", ctypes.c_uint64), ("len", ctypes.c_uint64)]


class Answer(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in "cache dirty writeback evicted recently_evicted".split()]


for path in sys.argv[1:]:
    with open(path, "rb") as f:
        answer = Answer()
        # A length of 0 is the whole file.
        if libc.syscall(CACHESTAT, f.fileno(), ctypes.byref(Range(0, 0)), ctypes.byref(answer), 0):
            sys.exit("cachestat of %s: %s" % (path, os.strerror(ctypes.get_errno())))
        print(answer.cache)

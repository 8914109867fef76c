#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How many pages of files are in the page cache, by cachestat(2), or, where the kernel is built without it, by mincore(2): that needs a
mapping, which khugepaged would take for a reason to move the pages into a huge one, out of the frames where they were, if it were not told
to leave it alone.

  cached.py FILE…    one number a line
"""

import ctypes
import errno
import mmap
import os
import sys

CACHESTAT = 451
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MADV_NOHUGEPAGE = 15
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Range(ctypes.Structure):
    _fields_ = [("off", ctypes.c_uint64), ("len", ctypes.c_uint64)]


class Answer(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in "cache dirty writeback evicted recently_evicted".split()]


def failed(what, path):
    sys.exit("%s of %s: %s" % (what, path, os.strerror(ctypes.get_errno())))


def by_mincore(f):
    size = os.fstat(f.fileno()).st_size
    at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, f.fileno(), 0)
    if at == ctypes.c_void_p(-1).value:
        failed("mmap", f.name)
    # A kernel that knows no huge pages says EINVAL.
    if libc.madvise(at, size, MADV_NOHUGEPAGE) and ctypes.get_errno() != errno.EINVAL:
        failed("madvise", f.name)
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    if libc.mincore(at, size, pages):
        failed("mincore", f.name)
    libc.munmap(at, size)
    return sum(page & 1 for page in pages.raw)


for path in sys.argv[1:]:
    with open(path, "rb") as f:
        answer = Answer()
        # A length of 0 is the whole file.
        if libc.syscall(CACHESTAT, f.fileno(), ctypes.byref(Range(0, 0)), ctypes.byref(answer), 0) == 0:
            print(answer.cache)
        elif ctypes.get_errno() == errno.ENOSYS:
            print(by_mincore(f))
        else:
            failed("cachestat", path)

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Failing allocations: the life of a pool, round after round, while allocations under the module fail.

failslab and fail_page_alloc fail those allocations whose stack has an address of a given range near its top. In the first rounds
that is the whole module, and failures come by chance. Then each call of the module that allocates (its relocations tell) gets a
round in which the first allocations of that call fail, as far as it has any: the range is its return address alone, so that what
has failed is known from the kernel's own count. What no round has reached is listed at the end.

Each operation may fail, and is tried again until it succeeds. When a round's faults are over every block of every device must
have the bytes of its last acknowledged write, or of one that failed after it; the metadata must pass thin_check, and a pool that
an error has stopped must open again once its needs_check flag is cleared. Allocations of the disks below do not fail: they would
lose writes.

Runs in the guest, on the debug kernel, started by failing_allocations*.sh.
"""

import argparse
import bisect
import errno
import itertools
import os
import random
import re
import struct
import sys
import tempfile
import time

from power_cut import BLOCK, CHUNK, MIB, SECTOR, Direct, Failure, dm, number_of, run, sectors_of

KNOBS = ["/sys/kernel/debug/failslab", "/sys/kernel/debug/fail_page_alloc"]
MODULE = "dm_drr"
# Frames above an allocation that are looked at: the allocator's own, those of the library that the module calls, and the module.
# The kernel looks at no more than 32.
DEPTH = 24
# How often a call fails in its round: with its caller's first tries, and not with the last.
TIMES = 4
# More failures than a round by chance has, so that they can be counted.
PLENTY = 1000000

# What allocates on behalf of its caller, as the module's code calls it. Whatever else the module calls either does not allocate,
# or belongs to the library of dm-persistent-data, whose failures any of its calls can return.
ALLOCATING = re.compile(
    r"^(__kmalloc|kmem_cache_alloc|alloc_pages|alloc_workqueue|dm_bio_prison_create|dm_bio_prison_alloc_cell"
    r"|dm_block_manager_create|dm_bufio_client_create|dm_kcopyd_client_create|dm_sm_disk_create|dm_sm_disk_open"
    r"|dm_tm_create_with_sm|dm_tm_open_with_sm|dm_tm_create_non_blocking_clone|init_srcu_struct|mempool_alloc|mempool_create"
    r"|rust_helper_(kv|v)?realloc)"
)
# Calls made while the module is being loaded, before its functions can be told to fail.
AT_LOAD = re.compile(r"init_module|__init")
# Calls made when a device goes in pieces.
IN_PIECES = re.compile(r"6pieces|delete_piece")


def put(path, text):
    with open(path, "w") as f:
        f.write(text)


def number_in(path):
    with open(path) as f:
        return int(f.read())


class Sites:
    """The calls of the module that allocate, as function+offset of the instruction after the call."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        (shoff,) = struct.unpack_from("<Q", self.data, 40)
        size, count, names = struct.unpack_from("<HHH", self.data, 58)
        heads = [struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + i * size) for i in range(count)]
        self.calls = {}
        for kind, wanted in ((2, self.symbols), (4, self.relocations)):
            for h in heads:
                if h[1] == kind:
                    wanted(heads, h)

    def text(self, at):
        return self.data[at : self.data.index(0, at)].decode()

    def symbols(self, heads, h):
        strings = heads[h[6]][4]
        self.table = []
        self.functions = {}
        for at in range(h[4], h[4] + h[5], 24):
            name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", self.data, at)
            self.table.append((self.text(strings + name), section))
            if info & 15 == 2:
                self.functions.setdefault(section, []).append((value, length, self.text(strings + name)))
        for of_section in self.functions.values():
            of_section.sort()

    def relocations(self, heads, h):
        section = h[7]
        functions = self.functions.get(section, [])
        starts = [f[0] for f in functions]
        for at in range(h[4], h[4] + h[5], 24):
            offset, info, _ = struct.unpack_from("<QQq", self.data, at)
            name, defined = self.table[info >> 32]
            if defined or not ALLOCATING.match(name):
                continue
            code = heads[section][4] + offset
            # A jump at the end of a function leaves no frame of its own: its caller's call is the one that is seen.
            if self.data[code - 1] != 0xE8:
                continue
            # Rust's allocator frees by a reallocation to no bytes: the second argument is zeroed (xor esi, esi) before the call.
            if "realloc" in name and b"\x31\xf6" in self.data[code - 32 : code - 1]:
                continue
            n = bisect.bisect_right(starts, offset) - 1
            if n < 0 or offset >= functions[n][0] + functions[n][1]:
                raise Failure("a call of %s outside of all functions" % name)
            # The zero may have been set further up: whatever is dropped is freed.
            if "drop_in_place" in functions[n][2]:
                continue
            self.calls["%s+%#x" % (functions[n][2], offset + 4 - functions[n][0])] = name


def functions_of(module):
    """The functions of a module: addresses in order, and the address of each name that is its only one."""
    with open("/proc/kallsyms") as f:
        words = [w for w in map(str.split, f) if len(w) == 4 and w[3] == "[%s]" % module and w[1] in "tT"]
    text = sorted(int(w[0], 16) for w in words)
    if not text or not text[0]:
        raise Failure("the functions of %s are not to be found" % module)
    names = {}
    for w in words:
        names[w[2]] = None if w[2] in names else int(w[0], 16)
    return text, names


class Faults:
    """Switches failures on and off, and counts them."""

    def __init__(self):
        self.text, self.names = functions_of(MODULE)
        # The disks under the pool are not what is tested.
        disk, _ = functions_of("null_blk")
        for knob in KNOBS:
            for name, value in {
                "probability": "0",
                "task-filter": "N",
                "ignore-gfp-wait": "N",
                "interval": "1",
                "space": "0",
                "verbose": "0",
                "stacktrace-depth": str(DEPTH),
                "reject-start": "%#x" % disk[0],
                "reject-end": "%#x" % (disk[-1] + 0x1000),
            }.items():
                put(os.path.join(knob, name), value)
        put(KNOBS[1] + "/min-order", "0")
        put(KNOBS[1] + "/ignore-gfp-highmem", "N")

    def aim(self, first, end, times):
        """What fails from now on, once `on` is called: allocations with a return address in that range, so many of either kind."""
        self.times = times
        for knob in KNOBS:
            put(knob + "/require-start", "%#x" % first)
            put(knob + "/require-end", "%#x" % end)
            put(knob + "/times", str(times))

    def aim_at_all(self):
        self.aim(self.text[0], self.text[-1] + 0x4000, PLENTY)

    def aim_at(self, site):
        """At one call; whether it is in the kernel's list of functions, once."""
        function, _, offset = site.rpartition("+")
        at = self.names.get(function)
        if at is None:
            return False
        at += int(offset, 16)
        self.aim(at, at + 1, TIMES)
        return True

    def struck(self):
        """How many allocations have failed since they were aimed at."""
        return sum(self.times - number_in(knob + "/times") for knob in KNOBS)

    def on(self, percent):
        for knob in KNOBS:
            put(knob + "/probability", str(percent))

    def off(self):
        for knob in KNOBS:
            put(knob + "/probability", "0")


class Device:
    """A thin device and what each of its blocks may hold: tags, 0 for zeroes."""

    def __init__(self, blocks, tags=None):
        self.allowed = [set(t) for t in tags] if tags else [{0} for _ in range(blocks)]
        self.node = None

    def copy(self):
        return Device(len(self.allowed), self.allowed)


def contents(tag):
    return struct.pack("<Q", tag) * (BLOCK // 8)


class Round:
    """One life of a pool under failures."""

    DEVICE_MIB = 4
    # Mappings of a device whose tree has three levels, and whose deletion takes more than one piece.
    MANY = 66000
    # Tries of an operation before it is done without failures.
    TRIES = 12

    def __init__(self, args, faults, rng, devices):
        self.args = args
        self.faults = faults
        self.rng = rng
        self.devices = devices
        self.tag = rng.randrange(1, 1 << 40) << 20
        self.failed = 0
        self.percent = 0
        # The metadata may hold a device that is not in `devices`.
        self.lost = False
        self.zeroing = True

    def persist(self, what, operation, done=()):
        """Does it, again and again; without failures at the end. `done` are errors that say it has been done already."""
        for _ in range(self.TRIES):
            try:
                return operation()
            except OSError as e:
                if e.errno in done:
                    return None
                self.failed += 1
                if self.stopped():
                    return None
        self.faults.off()
        try:
            return operation()
        except OSError as e:
            if e.errno in done or self.stopped():
                return None
            raise Failure("%s fails without reason: %s" % (what, e))
        finally:
            self.faults.on(self.percent)

    def stopped(self):
        """Whether an error has ended the pool's writing."""
        try:
            words = dm.status("pool").split()
        except OSError:
            return False
        return len(words) < 9 or words[4] in ("ro", "Fail") or "needs_check" in words

    def message(self, text, done=()):
        return self.persist(text, lambda: dm.message("pool", text), done)

    def activate(self, name, number, origin=None):
        words = "%s %d" % (dm.number("pool"), number) + (" " + origin if origin else "")
        device = self.devices[number]
        node = self.persist(
            "activation of %d" % number,
            lambda: dm.create(name, self.DEVICE_MIB * MIB // SECTOR, self.args.thin_target, words),
        )
        device.node = node
        return node is not None

    # --- I/O -----------------------------------------------------------------------------------------------------------------

    def write(self, device, first, count, flush=True):
        self.tag += 1
        data = b"".join(contents(self.tag + (n << 10)) for n in range(count))
        for n in range(count):
            device.allowed[first + n].add(self.tag + (n << 10))
        try:
            d = Direct(device.node)
            try:
                d.write(first * BLOCK, data)
                if flush:
                    d.flush()
            finally:
                d.close()
        except OSError:
            self.failed += 1
            return
        if flush:
            for n in range(count):
                device.allowed[first + n] = {self.tag + (n << 10)}

    def writes(self, device, count):
        blocks = len(device.allowed)
        per = CHUNK // BLOCK
        for _ in range(count):
            # Without zeroing nobody can say what the rest of a new chunk holds: whole chunks only.
            length = self.rng.choice([1, 1, 1, 2, 5, per]) if self.zeroing else per
            first = self.rng.randrange(0, blocks - length)
            if length == per:
                first -= first % length
            self.write(device, first, length, self.rng.random() < 0.8)

    def discard(self, device):
        chunks = len(device.allowed) * BLOCK // CHUNK
        first = self.rng.randrange(chunks)
        count = self.rng.randrange(1, chunks - first + 1)
        per = CHUNK // BLOCK
        for block in range(first * per, (first + count) * per):
            device.allowed[block].add(0)
        d = Direct(device.node)
        try:
            d.discard(first * CHUNK, count * CHUNK)
        except OSError:
            self.failed += 1
        finally:
            d.close()

    def judge(self, name, device, first, data):
        for n in range(len(data) // BLOCK):
            block = data[n * BLOCK : (n + 1) * BLOCK]
            tag = struct.unpack_from("<Q", block)[0]
            if tag not in device.allowed[first + n] or block != contents(tag):
                raise Failure(
                    "block %d of %s holds %#x, allowed %s" % (first + n, name, tag, sorted(map(hex, device.allowed[first + n])))
                )

    def read(self, name, device, direct):
        """Reads the device; parts that cannot be read are passed over while there are failures."""
        step = 16
        if direct:
            d = Direct(device.node, os.O_RDONLY)
            read = d.read
            close = d.close
        else:
            fd = os.open(device.node, os.O_RDONLY | os.O_CLOEXEC)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

            def read(at, length):
                return os.pread(fd, length, at)

            def close():
                os.close(fd)

        try:
            for first in range(0, len(device.allowed), step):
                try:
                    data = read(first * BLOCK, step * BLOCK)
                except OSError:
                    if not self.percent:
                        raise Failure("%s cannot be read at block %d" % (name, first))
                    self.failed += 1
                    continue
                self.judge(name, device, first, data)
        finally:
            close()

    # --- the round -----------------------------------------------------------------------------------------------------------

    def run(self, percent, fresh, many):
        """`many`: the round is the deletion of a device with many mappings."""
        a = self.args
        if many:
            self.restore_many()
        elif fresh:
            d = Direct(a.metadata)
            d.write(0, bytes(MIB))
            d.close()
            self.devices.clear()
        self.percent = percent
        self.faults.on(percent)
        options = self.rng.choice(["0", "1 skip_block_zeroing", "1 no_discard_passdown", "1 drr"])
        if many:
            options = "1 skip_block_zeroing"
        table = "%s %s 128 0 %s" % (number_of(a.metadata), number_of(a.data), options)
        sectors = sectors_of(a.data)
        self.zeroing = "skip_block_zeroing" not in options
        self.persist("creation of the pool", lambda: dm.create("pool", sectors, a.pool_target, table))
        if "pool" not in dm.numbers:
            raise Failure("no pool")
        blocks = self.DEVICE_MIB * MIB // BLOCK
        for number in (0, 2):
            if number not in self.devices:
                self.devices[number] = Device(blocks)
                if self.message("create_thin %d" % number, (errno.EEXIST,)) is None and self.stopped():
                    break
        names = {}
        try:
            if many:
                self.delete(4, names)
            else:
                self.use(names)
        finally:
            self.percent = 0
            self.faults.off()
        self.finish(names)

    def use(self, names):
        origin = self.devices[0]
        if not self.activate("t0", 0):
            return
        names["t0"] = origin
        self.writes(origin, 24)
        self.message("verify %s" % self.rng.choice(["on", "off"]))
        for number in (1, 3):
            if number in self.devices:
                continue
            # Made in one step: what the snapshot holds is what the origin may hold now.
            self.devices[number] = origin.copy()
            self.message("create_snap %d 0" % number, (errno.EEXIST,))
            if self.stopped():
                del self.devices[number]
                return
        for number in (1, 3):
            if not self.activate("t%d" % number, number):
                return
            names["t%d" % number] = self.devices[number]
        for direct in (False, False, True):
            for name in ("t1", "t3"):
                self.read(name, self.devices[int(name[1])], direct)
        self.message("verify on")
        self.read("t1", self.devices[1], False)
        self.message("stats")
        self.message("layers")
        self.message("verify off")
        for number in (1, 0, 3):
            self.writes(self.devices[number], 16)
            self.discard(self.devices[number])
        self.message("reserve_metadata_snap", (errno.EBUSY,))
        self.message("release_metadata_snap", (errno.EINVAL,))
        self.external(names)
        self.persist("suspending", lambda: dm.suspend("pool"))
        self.persist("resuming", lambda: dm.resume("pool"))
        for name in ("t0", "t1"):
            self.read(name, names[name], self.rng.random() < 0.5)
        self.message("domain 1 7")
        self.delete(3, names)

    def delete(self, number, names):
        """Deletes a device with mappings of its own. Where an error has stopped the pool nobody knows whether it is gone."""
        name = "t%d" % number
        if names.pop(name, None):
            self.persist("deactivating", lambda: dm.remove(name))
        self.message("delete %d" % number, (errno.ENODATA,))
        del self.devices[number]
        self.lost = self.stopped()

    def restore_many(self):
        """Makes metadata with a device, 4, of so many mappings that it goes in pieces. Their data is nobody's."""
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as f:
            f.write(
                '<superblock uuid="" time="0" transaction="0" version="2" data_block_size="%d" nr_data_blocks="%d">\n'
                % (CHUNK // SECTOR, sectors_of(self.args.data) * SECTOR // CHUNK)
            )
            f.write('<device dev_id="4" mapped_blocks="%d" transaction="0" creation_time="0" snap_time="0">\n' % self.MANY)
            f.write('<range_mapping origin_begin="0" data_begin="0" length="%d" time="0"/>\n' % self.MANY)
            f.write("</device>\n</superblock>\n")
            f.flush()
            run("thin_restore", "-q", "-i", f.name, "-o", self.args.metadata)
        self.devices.clear()
        self.devices[4] = Device(0)

    def external(self, names):
        """A thin over an external origin: its chunks are filled from there."""
        device = self.devices[2]
        blocks = len(device.allowed)
        for n in range(blocks):
            if 0 in device.allowed[n]:
                device.allowed[n].add(self.args.origin_tag)
        if not self.activate("t2", 2, number_of(self.args.origin)):
            return
        names["t2"] = device
        self.read("t2", device, False)
        self.writes(device, 12)
        self.discard(device)
        for n in range(blocks):
            if 0 in device.allowed[n]:
                device.allowed[n].add(self.args.origin_tag)

    def finish(self, names):
        """Without failures: everything is there, goes, and the metadata is sound."""
        if not self.stopped() and "pool" in dm.numbers:
            for name, device in names.items():
                self.read(name, device, True)
                self.read(name, device, False)
        for name in list(dm.numbers):
            if name != "pool":
                dm.remove(name)
        for number in (1, 3):
            if number in self.devices and self.rng.random() < 0.5:
                try:
                    dm.message("pool", "delete %d" % number)
                except OSError as e:
                    if e.errno != errno.ENODATA and not self.stopped():
                        raise Failure("delete: %s" % e)
                if not self.stopped():
                    del self.devices[number]
        dm.remove("pool")
        run("thin_check", "--clear-needs-check-flag", self.args.metadata)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--metadata", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--pool-target", default="drr-pool")
    parser.add_argument("--thin-target", default="drr")
    parser.add_argument("--rounds", type=int, default=8, help="in which failures come by chance")
    parser.add_argument("--tries", type=int, default=1, help="rounds that a call gets, at most, to be reached")
    parser.add_argument("--calls", default="", help="those whose function contains this, alone")
    parser.add_argument("--seed", default="1")
    args = parser.parse_args()
    args.origin_tag = 0xE0E0E0
    d = Direct(args.origin)
    d.write(0, contents(args.origin_tag) * (Round.DEVICE_MIB * MIB // BLOCK))
    d.close()
    calls = {s: f for s, f in Sites(args.module).calls.items() if args.calls in s and not AT_LOAD.search(s)}
    faults = Faults()
    devices = {}
    since = time.monotonic()
    struck = 0
    failed = 0
    numbers = itertools.count()

    def life(what, percent, fresh=None, many=False):
        """A round; how many allocations failed in it. On new metadata or on what there is: chance decides, unless told."""
        nonlocal struck, failed
        rng = random.Random("%s/%d" % (args.seed, next(numbers)))
        r = Round(args, faults, rng, devices)
        if fresh is None:
            fresh = rng.random() < 0.5
        r.run(percent, fresh or not devices, many)
        if r.lost:
            devices.clear()
        count = faults.struck()
        print("%s: %d allocations and %d operations failed, %.0f s" % (what, count, r.failed, time.monotonic() - since), flush=True)
        struck += count
        failed += r.failed
        return count

    try:
        for n in range(args.rounds):
            faults.aim_at_all()
            life("round %d" % n, (3, 10, 25)[n % 3])
        reached = set()
        for attempt in range(args.tries):
            for site, function in sorted(calls.items()):
                if site in reached or not faults.aim_at(site):
                    continue
                # Some calls are made when metadata is new, others when there is some.
                if life("%s calls %s" % (site, function), 100, attempt % 2 == 0, bool(IN_PIECES.search(site))):
                    reached.add(site)
    finally:
        faults.off()
    print("%d allocations and %d operations failed; seed %s" % (struck, failed, args.seed))
    if args.tries:
        print("%d of the module's %d allocating calls failed" % (len(reached), len(calls)))
        for site, function in sorted(calls.items()):
            if site not in reached:
                print("did not fail: %s calls %s" % (site, function))
    return 0 if struck else 1


if __name__ == "__main__":
    sys.exit(main())

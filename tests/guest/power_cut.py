#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Power cuts: runs a workload on thins over dm-log-writes, replays the log to many points, and looks at what is left.

Layers, from below: a null_blk, log-writes on it, and two linear slices of that, the pool's metadata and data. The log begins
with a clean pool whose image is copied to the replay device. What a writer has fsynced is noted under the name of a mark that
is put into the log after fsync has returned; so a point in the log tells what must be there.

The log has writes in the order of their completion, and puts those that a flush covers before the flush. It does not say which
slice a flush went to, so that is taken from the block layer's trace: metadata and data are treated as two disks, each with a
volatile cache of its own. A point is an entry of the log and one of

  least  what was not flushed (or written with FUA) is lost
  all    nothing is lost
  some   of what was not flushed, some is lost, chosen by the seed

Each point is examined on a throw-away dm-snapshot of the replay device: thin_check, the pool comes up in write mode, every file
system is mounted, compared with what was durable at the last marks, unmounted and checked, thin_check again.

Runs in the guest, started by the power_cut_*.sh tests. POWER_CUT_SEED sets the seed, POWER_CUT_ENTRY=N[:least|all|some] looks
at that entry alone, and POWER_CUT_POINTS sets the number of points.
"""

import argparse
import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
import time
import traceback

SECTOR = 512
BLOCK = 4096
CHUNK = 65536
MIB = 1 << 20
TRACING = "/sys/kernel/tracing"
libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A point, or the test itself, is not as it has to be."""


# --- device-mapper, without a process for each call ---------------------------------------------------------------------------


class Dm:
    """The ioctls of /dev/mapper/control. A device is known by its name; nodes are devtmpfs's /dev/dm-N."""

    SIZE = 32768
    HEADER = struct.Struct("<3I I I I i I I I Q 128s 129s 7x")
    SPEC = struct.Struct("<QQiI16s")
    SUSPEND, NOFLUSH = 1 << 1, 1 << 11

    def __init__(self):
        self.fd = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)
        self.numbers = {}

    def call(self, nr, name, flags=0, payload=b"", targets=0):
        start = self.HEADER.size
        buf = bytearray(self.SIZE)
        self.HEADER.pack_into(buf, 0, 4, 0, 0, self.SIZE, start, targets, 0, flags, 0, 0, 0, name.encode(), b"")
        buf[start : start + len(payload)] = payload
        fcntl.ioctl(self.fd, (3 << 30) | (start << 16) | (0xFD << 8) | nr, buf, True)
        return buf

    def create(self, name, sectors, target, args):
        dev = self.HEADER.unpack_from(self.call(3, name))[10]
        self.numbers[name] = ((dev >> 8) & 0xFFF, (dev & 0xFF) | ((dev >> 12) & ~0xFF))
        text = args.encode() + b"\0"
        text += b"\0" * (-len(text) % 8)
        spec = self.SPEC.pack(0, sectors, 0, self.SPEC.size + len(text), target.encode())
        try:
            self.call(9, name, 0, spec + text, 1)
            self.call(6, name)
        except OSError:
            self.remove(name)
            raise
        return self.node(name)

    def node(self, name):
        return "/dev/dm-%d" % self.numbers[name][1]

    def number(self, name):
        return "%d:%d" % self.numbers[name]

    def remove(self, name):
        until = time.monotonic() + 20
        while True:
            try:
                self.call(4, name)
                del self.numbers[name]
                return
            except OSError as e:
                if e.errno != errno.EBUSY or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def suspend(self, name):
        self.call(6, name, self.SUSPEND)

    def resume(self, name):
        self.call(6, name)

    def status(self, name):
        buf = self.call(12, name)
        at = self.HEADER.unpack_from(buf)[4] + self.SPEC.size
        return buf[at : buf.index(0, at)].decode()

    def message(self, name, text):
        buf = self.call(14, name, 0, struct.pack("<Q", 0) + text.encode() + b"\0")
        head = self.HEADER.unpack_from(buf)
        return buf[head[4] : buf.index(0, head[4])].decode() if head[7] & (1 << 16) else ""


dm = Dm()

# --- blocks, mounts, programs ----------------------------------------------------------------------------------------------------


def number_of(path):
    d = os.stat(path).st_rdev
    return "%d:%d" % (os.major(d), os.minor(d))


def sectors_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(fd, 0, os.SEEK_END) // SECTOR
    finally:
        os.close(fd)


class Direct:
    """A block device or file, read and written past the page cache."""

    def __init__(self, path, flags=os.O_RDWR, room=MIB):
        self.fd = os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC)
        self.map = mmap.mmap(-1, room)
        self.room = room

    def read(self, at, length):
        with memoryview(self.map)[:length] as view:
            if os.preadv(self.fd, [view], at) != length:
                raise Failure("short read")
            return bytes(view)

    def write(self, at, data):
        for off in range(0, len(data), self.room):
            part = data[off : off + self.room]
            self.map[: len(part)] = part
            with memoryview(self.map)[: len(part)] as view:
                if os.pwritev(self.fd, [view], at + off) != len(part):
                    raise Failure("short write")

    def discard(self, at, length):
        fcntl.ioctl(self.fd, 0x1277, struct.pack("<QQ", at, length))

    def zero(self, at, length):
        fcntl.ioctl(self.fd, 0x127F, struct.pack("<QQ", at, length))

    def flush(self):
        os.fsync(self.fd)

    def close(self):
        os.close(self.fd)


def mount(dev, where, fs):
    os.makedirs(where, exist_ok=True)
    options = b"nouuid" if fs == "xfs" else None
    if libc.mount(dev.encode(), where.encode(), fs.encode(), 0, options):
        e = ctypes.get_errno()
        raise Failure("mount of %s on %s: %s" % (fs, dev, os.strerror(e)))


def umount(where):
    until = time.monotonic() + 20
    while libc.umount2(where.encode(), 0):
        e = ctypes.get_errno()
        if e != errno.EBUSY or time.monotonic() > until:
            raise Failure("umount of %s: %s" % (where, os.strerror(e)))
        time.sleep(0.05)


class Program:
    """A program that must succeed."""

    def __init__(self, *command):
        self.command = command
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=False
        )

    def wait(self):
        text = self.process.communicate()[0].decode(errors="replace")
        if self.process.returncode:
            raise Failure("%s: exit %d\n%s" % (" ".join(self.command), self.process.returncode, text[-3000:]))


def run(*command):
    Program(*command).wait()


def fsck(dev, fs):
    return Program("e2fsck", "-fn", dev) if fs == "ext4" else Program("xfs_repair", "-n", dev)


# --- what has to be there --------------------------------------------------------------------------------------------------------
# A writer works step by step: it notes the step, does it, fsyncs, marks the log, notes the state. states[k] is what was durable
# at mark k; steps[k] led from there to states[k + 1] and may be anywhere in between until mark k + 1.


class Writer:
    """A writer's history, and its marks."""

    def __init__(self, name, seed, steps, mark):
        self.name = name
        self.random = random.Random("%s/%s" % (seed, name))
        self.count = steps
        self.mark = mark
        self.states = [{}]
        self.steps = []
        self.stopped = False

    def run(self):
        for _ in range(self.count):
            if self.stopped:
                return
            step = self.choose()
            self.steps.append(step)
            self.do(step)
            self.mark("%s:%d" % (self.name, len(self.steps)))
            self.states.append(self.after(self.states[-1], step))


class FileWriter(Writer):
    """Files in a directory of a mounted file system."""

    def __init__(self, name, seed, steps, mark, where, kinds, files=12, largest=160 * 1024):
        super().__init__(name, seed, steps, mark)
        self.where = os.path.join(where, name)
        self.kinds = kinds
        self.files = files
        self.largest = largest
        self.next = 0

    def prepare(self, count, size):
        """Files that are there from the beginning."""
        os.makedirs(self.where)
        for _ in range(count):
            step = ("new", "f%d" % self.next, self.random.randbytes(size))
            self.next += 1
            self.do(step)
            self.states[0][step[1]] = step[2]

    def choose(self):
        r = self.random
        state = self.states[-1]
        kind = r.choice(self.kinds)
        large = [n for n, d in state.items() if len(d) >= 2 * BLOCK]
        if not state or (kind in ("over", "direct", "chunk") and not large):
            kind = "new"
        if kind == "new" and len(state) >= self.files:
            kind = "unlink"
        if kind == "new":
            self.next += 1
            return ("new", "f%d" % (self.next - 1), r.randbytes(r.randint(1, self.largest)))
        if kind in ("over", "direct", "chunk"):
            name = r.choice(sorted(large))
            blocks = len(state[name]) // BLOCK
            n = min(blocks, CHUNK // BLOCK if kind == "chunk" else r.randint(1, 4))
            at = r.randint(0, blocks - n) * BLOCK
            return ("direct" if kind == "direct" else "over", name, at, r.randbytes(n * BLOCK))
        name = r.choice(sorted(state))
        if kind == "append":
            if len(state[name]) > 2 * self.largest:
                return ("unlink", name)
            return ("append", name, r.randbytes(r.randint(1, 30000)))
        if kind == "replace":
            return ("replace", name, r.randbytes(r.randint(1, self.largest)))
        return ("unlink", name)

    def do(self, step):
        kind, name = step[0], step[1]
        path = os.path.join(self.where, name)
        if kind == "new":
            self.put(path, os.O_CREAT | os.O_EXCL, 0, step[2])
            self.sync_dir()
        elif kind == "over":
            self.put(path, 0, step[2], step[3])
        elif kind == "append":
            self.put(path, 0, len(self.states[-1][name]), step[2])
        elif kind == "direct":
            f = Direct(path, os.O_WRONLY | os.O_DSYNC)
            f.write(step[2], step[3])
            f.close()
        elif kind == "replace":
            self.put(path + ".new", os.O_CREAT | os.O_TRUNC, 0, step[2])
            os.rename(path + ".new", path)
            self.sync_dir()
        elif kind == "unlink":
            os.unlink(path)
            self.sync_dir()

    def put(self, path, flags, at, data):
        fd = os.open(path, os.O_WRONLY | flags, 0o644)
        while data:
            n = os.pwrite(fd, data, at)
            at, data = at + n, data[n:]
        os.fsync(fd)
        os.close(fd)

    def sync_dir(self):
        fd = os.open(self.where, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)

    @staticmethod
    def after(state, step):
        state = dict(state)
        kind, name = step[0], step[1]
        if kind in ("new", "replace"):
            state[name] = step[2]
        elif kind in ("over", "direct"):
            old = state[name]
            state[name] = old[: step[2]] + step[3] + old[step[2] + len(step[3]) :]
        elif kind == "append":
            state[name] = state[name] + step[2]
        else:
            del state[name]
        return state

    def check(self, root, first, last):
        """What is under `root` is states[first], or on the way from there to states[last]."""
        where = os.path.join(root, self.name)
        touched = {}
        for step in self.steps[first:last]:
            touched.setdefault(step[1], []).append(step)
        for name, want in self.states[first].items():
            steps = touched.get(name, [])
            if len(steps) > 1:
                continue
            path = os.path.join(where, name)
            try:
                with open(path, "rb") as f:
                    got = f.read()
            except FileNotFoundError:
                if steps and steps[0][0] == "unlink":
                    continue
                raise Failure("%s is gone (state %d of %d)" % (path, first, last)) from None
            if not steps or steps[0][0] == "unlink":
                same(path, got, want)
            elif steps[0][0] == "replace":
                same(path, got, steps[0][2] if got != want else want)
            elif steps[0][0] == "append":
                same(path, got[: len(want)], want)
            else:
                at, new = steps[0][2], steps[0][3]
                end = at + len(new)
                same(path, got[:at] + want[at:end] + got[end:], want)
                for o in range(0, len(new), SECTOR):
                    if got[at + o : at + o + SECTOR] not in (new[o : o + SECTOR], want[at + o : at + o + SECTOR]):
                        raise Failure("%s has neither the old nor the new bytes at %d" % (path, at + o))
        return len(self.states[first])


def same(path, got, want):
    if got != want:
        n = min(len(got), len(want))
        at = next((i for i in range(n) if got[i] != want[i]), n)
        bad = sum(a != b for a, b in zip(got, want))
        raise Failure(
            "%s differs from what was fsynced: %d bytes, expected %d; first difference at %d, %d bytes differ, there is %s"
            % (path, len(got), len(want), at, bad, got[at : at + 16].hex())
        )


class RawWriter(Writer):
    """A thin without a file system: blocks that each repeat a number, 0 for a discarded or never written one."""

    def __init__(self, name, seed, steps, mark, blocks, kinds):
        super().__init__(name, seed, steps, mark)
        self.blocks = blocks
        self.kinds = kinds
        # Blocks that may still have one of these numbers: their discard may have been ignored.
        self.ignored = {}
        # Numbers say whose they are.
        self.next = (sum(name.encode()) << 32) + 1

    def open(self, dev):
        self.dev = Direct(dev)
        self.durable = Direct(dev, os.O_RDWR | os.O_DSYNC)

    def close(self):
        self.dev.close()
        self.durable.close()

    def number(self):
        self.next += 1
        return self.next

    def prepare(self, count):
        step = [("write", at, [self.number() for _ in range(16)]) for at in range(0, count, 16)]
        self.do(step)
        self.states[0] = self.after({}, step)

    def choose(self):
        r = self.random
        step = []
        kind = r.choice(self.kinds)
        for _ in range(1 if kind == "direct" else r.randint(1, 3)):
            if kind == "chunk":
                at, n = r.randrange(self.blocks // 16) * 16, 16
            elif kind == "discard":
                n = 16 * r.randint(1, 8)
                at = r.randrange((self.blocks - n) // 16) * 16
            else:
                n = r.randint(1, 8)
                at = r.randint(0, self.blocks - n)
            if kind == "discard":
                step.append(("discard", at, [0] * n))
            else:
                step.append(("direct" if kind == "direct" else "write", at, [self.number() for _ in range(n)]))
        return step

    def do(self, step):
        for kind, at, numbers in step:
            if kind == "discard":
                self.dev.discard(at * BLOCK, len(numbers) * BLOCK)
            else:
                data = b"".join(struct.pack("<Q", n) * (BLOCK // 8) for n in numbers)
                (self.durable if kind == "direct" else self.dev).write(at * BLOCK, data)
        if step[-1][0] != "direct":
            self.dev.flush()

    @staticmethod
    def after(state, step):
        state = dict(state)
        for _, at, numbers in step:
            for i, n in enumerate(numbers):
                state[at + i] = n
        return state

    def check(self, dev, first, last):
        state = self.states[first]
        allowed = {block: set(numbers) for block, numbers in self.ignored.items()}
        for step in self.steps[first:last]:
            for _, at, numbers in step:
                for i, n in enumerate(numbers):
                    allowed.setdefault(at + i, set()).add(n)
        d = Direct(dev, os.O_RDONLY)
        try:
            for base in range(0, self.blocks, MIB // BLOCK):
                n = min(MIB // BLOCK, self.blocks - base)
                data = d.read(base * BLOCK, n * BLOCK)
                for i in range(n):
                    block = data[i * BLOCK : (i + 1) * BLOCK]
                    got = struct.unpack_from("<Q", block)[0]
                    want = state.get(base + i, 0)
                    if block != block[:8] * (BLOCK // 8):
                        raise Failure("%s: block %d is torn" % (self.name, base + i))
                    if got != want and got not in allowed.get(base + i, ()):
                        raise Failure(
                            "%s: block %d is %#x, expected %#x%s"
                            % (self.name, base + i, got, want, " or a new one" if base + i in allowed else "")
                        )
        finally:
            d.close()
        return 1


class Thin:
    """A thin device of the workload: its id, size, file system, and who writes to it."""

    def __init__(self, dev_id, mib, fs=None):
        self.id = dev_id
        self.sectors = mib * 2048
        self.fs = fs
        self.writers = []

    @property
    def name(self):
        return "pc-thin%d" % self.id

    @property
    def where(self):
        return "%s/%s" % (args.mnt, self.name)


class Snap:
    """A snapshot taken under the workload: for each writer, the state that it must have, and the last step that it may have."""

    def __init__(self, dev_id, origin):
        self.id = dev_id
        self.origin = origin
        self.first = {w: len(w.states) - 1 for w in origin.writers}
        self.last = {}

    def made(self):
        self.last = {w: len(w.steps) for w in self.origin.writers}


# --- workloads -------------------------------------------------------------------------------------------------------------------


class Workload:
    """Thins, what is prepared before the log begins, and threads that run while it is kept."""

    def __init__(self, seed, scale):
        self.seed = seed
        self.scale = scale
        self.thins = []
        self.snaps = []
        self.threads = []
        self.errors = []
        self.done = threading.Event()
        getattr(self, "plan_" + args.workload)()

    def mark(self, text):
        dm.message("pc-log", "mark " + text)

    def steps(self, n):
        return max(2, int(n * self.scale))

    # What the workloads are made of.

    def files(self, thin, name, steps, kinds, **more):
        w = FileWriter(name, self.seed, self.steps(steps), self.mark, thin.where, kinds.split(), **more)
        thin.writers.append(w)
        return w

    def raw(self, thin, name, steps, kinds):
        w = RawWriter(name, self.seed, self.steps(steps), self.mark, thin.sectors // 8, kinds.split())
        thin.writers.append(w)
        return w

    def plan_fs(self, fs, mib):
        t = Thin(0, mib, fs)
        self.thins.append(t)
        for name in ("a", "b"):
            self.files(t, name, 42, "new new over over append replace unlink direct")
        self.prepare = lambda: self.make_fs(t)
        self.background = [lambda: self.unsynced(t)]

    def plan_ext4(self):
        self.plan_fs("ext4", 48)

    def plan_xfs(self):
        self.plan_fs("xfs", 320)

    def plan_snapshots(self):
        t = Thin(0, 48, "ext4")
        self.thins.append(t)
        for name in ("a", "b"):
            self.files(t, name, 34, "new over over append replace unlink direct chunk")
        self.prepare = lambda: self.make_fs(t)
        self.background = [lambda: self.snapper(t)]

    def plan_cow(self):
        files, raw = Thin(0, 32, "ext4"), Thin(2, 8)
        copy, raw_copy = Thin(1, 32, "ext4"), Thin(3, 8)
        self.thins += [files, copy, raw, raw_copy]
        kinds = "over over over direct direct chunk chunk append"
        self.files(files, "a", 22, kinds, files=8)
        self.files(copy, "b", 22, kinds, files=8)
        for t, name in ((raw, "c"), (raw_copy, "d")):
            self.raw(t, name, 26, "write write write direct chunk")

        def prepare():
            self.make_fs(files)
            for w in (files.writers[0], copy.writers[0]):
                # Both directories are in the origin, so that both are shared.
                w.where = os.path.join(files.where, w.name)
                w.prepare(6, 200000)
                w.where = os.path.join(files.where if w.name == "a" else copy.where, w.name)
            umount(files.where)
            self.snapshot(files, copy)
            writer, other = raw.writers[0], raw_copy.writers[0]
            self.create(raw)
            writer.open(self.activate(raw))
            writer.prepare(raw.sectors // 8 // 2)
            other.states[0] = dict(writer.states[0])
            writer.close()
            self.snapshot(raw, raw_copy)
            for t in (files, copy, raw, raw_copy):
                if t.name in dm.numbers:
                    dm.remove(t.name)

        self.prepare = prepare
        self.background = []

    def plan_discards(self):
        files, raw, again = Thin(0, 28, "ext4"), Thin(1, 16), Thin(2, 16)
        self.thins += [files, raw, again]
        self.files(files, "a", 28, "new new replace replace unlink unlink over", files=8)
        self.raw(raw, "c", 40, "discard discard write write chunk direct")
        self.raw(again, "d", 40, "discard chunk chunk chunk write")

        def prepare():
            self.make_fs(files)
            for t in (raw, again):
                self.create(t)
                w = t.writers[0]
                w.open(self.activate(t))
                w.prepare(t.sectors // 8 // 2)
                w.close()
                dm.remove(t.name)

        self.prepare = prepare
        self.background = [lambda: self.trimmer(files)]

    def plan_mixed(self):
        files, raw = Thin(0, 24, "ext4"), Thin(1, 4)
        self.thins += [files, raw]
        self.files(files, "a", 12, "new over over append replace unlink direct chunk", largest=80000)
        self.raw(raw, "c", 14, "write discard chunk direct")

        def prepare():
            self.make_fs(files)
            self.create(raw)

        self.prepare = prepare
        self.background = [lambda: self.snapper(files), lambda: self.trimmer(files)]

    # Before the log.

    def create(self, t):
        dm.message("pc-pool", "create_thin %d" % t.id)

    def activate(self, t):
        return dm.create(t.name, t.sectors, args.thin_target, "%s %d" % (dm.number("pc-pool"), t.id))

    def snapshot(self, origin, copy):
        dm.suspend(origin.name)
        dm.message("pc-pool", "create_snap %d %d" % (copy.id, origin.id))
        dm.resume(origin.name)

    def make_fs(self, t):
        self.create(t)
        dev = self.activate(t)
        if t.fs == "ext4":
            run("mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", dev)
        else:
            run("mkfs.xfs", "-q", "-f", dev)
        mount(dev, t.where, t.fs)
        for w in t.writers:
            # Those of a copy prepare themselves.
            if args.workload != "cow":
                os.makedirs(w.where)

    # Under the log.

    def start(self):
        for t in self.thins:
            dev = self.activate(t)
            if t.fs:
                mount(dev, t.where, t.fs)
            else:
                t.writers[0].open(dev)
        workers = [w.run for t in self.thins for w in t.writers]
        self.threads = [threading.Thread(target=self.guarded, args=(f,)) for f in workers]
        self.helpers = [threading.Thread(target=self.guarded, args=(f,)) for f in self.background]
        for t in self.threads + self.helpers:
            t.start()

    def guarded(self, f):
        try:
            f()
        except BaseException:
            self.errors.append(traceback.format_exc())
            self.done.set()

    def finish(self):
        for t in self.threads:
            t.join()
        self.done.set()
        for t in self.helpers:
            t.join()
        if self.errors:
            raise Failure("the workload failed:\n" + "\n".join(self.errors))
        for t in self.thins:
            if t.fs:
                umount(t.where)
            else:
                t.writers[0].close()
            dm.remove(t.name)

    def unsynced(self, t):
        """Writes that nobody waits for."""
        r = random.Random("%s/unsynced" % self.seed)
        i = 0
        while not self.done.is_set():
            path = os.path.join(t.where, "unsynced%d" % (i % 8))
            i += 1
            with open(path, "wb") as f:
                f.write(r.randbytes(r.randint(1, 200000)))
            self.done.wait(0.1)

    def snapper(self, t):
        """Snapshots come and go."""
        r = random.Random("%s/snapper" % self.seed)
        dev_id = 10
        live = []
        while not self.done.is_set():
            # dm-thin wants the origin suspended; dm-drr does not mind either way.
            still = args.thin_target == "thin" or r.random() < 0.5
            self.mark("snap:%d" % dev_id)
            if still:
                dm.suspend(t.name)
            s = Snap(dev_id, t)
            dm.message("pc-pool", "create_snap %d %d" % (dev_id, t.id))
            s.made()
            if still:
                dm.resume(t.name)
            self.mark("snapped:%d" % dev_id)
            self.snaps.append(s)
            live.append(dev_id)
            dev_id += 1
            if len(live) > 2:
                gone = live.pop(r.randrange(len(live)))
                self.mark("delete:%d" % gone)
                dm.message("pc-pool", "delete %d" % gone)
                self.mark("deleted:%d" % gone)
            self.done.wait(r.uniform(0.1, 0.8))

    def trimmer(self, t):
        while not self.done.wait(0.4):
            fd = os.open(t.where, os.O_RDONLY)
            fcntl.ioctl(fd, 0xC0185879, bytearray(struct.pack("<QQQ", 0, 2**64 - 1, 0)), True)
            os.close(fd)


# --- the log ---------------------------------------------------------------------------------------------------------------------

FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
META, DATA = 0, 1


class Entry:
    __slots__ = ("sector", "count", "flags", "at", "mark", "owners")

    def covers(self, other):
        return self.sector < other.sector + other.count and other.sector < self.sector + self.count


def read_log(path):
    entries = []
    with open(path, "rb", buffering=65536) as f:
        magic, version, count, size = struct.unpack("<QQQI", f.read(28))
        if (magic, version, size) != (0x6A736677736872, 1, SECTOR):
            raise Failure("this is no log: %#x, version %d, sectors of %d bytes" % (magic, version, size))
        at = SECTOR
        for _ in range(count):
            f.seek(at)
            head = f.read(SECTOR)
            e = Entry()
            e.sector, e.count, e.flags, length = struct.unpack_from("<QQQQ", head)
            e.mark = head[32 : 32 + length].decode() if e.flags & MARK else None
            e.at = at + SECTOR
            e.owners = ()
            at = e.at + (0 if e.flags & DISCARD else e.count * SECTOR)
            entries.append(e)
    return entries


class FlushTrace:
    """The flushes that reach the log, and from which slice."""

    def __init__(self):
        major, minor = dm.numbers["pc-log"]
        self.base = os.path.join(TRACING, "instances/power-cut")
        os.makedirs(self.base, exist_ok=True)
        self.write("trace_clock", "mono")
        # The kernel's own device numbers have 20 bits for the minor.
        only = "dev == %d && nr_sector == 0" % ((major << 20) | minor)
        for event in ("block_bio_remap", "block_bio_complete"):
            self.write("events/block/%s/filter" % event, only)
            self.write("events/block/%s/enable" % event, "1")

    def write(self, name, text):
        with open(os.path.join(self.base, name), "w") as f:
            f.write(text)

    def stop(self):
        self.write("events/enable", "0")
        with open(os.path.join(self.base, "trace")) as f:
            self.lines = [line for line in f if ": block_bio_" in line]
        os.rmdir(self.base)

    def owners(self, slices):
        """For each flush the slices that it may have been for: one, or both when two overlapped."""
        flushes = []
        open_ones = []
        for line in self.lines:
            if "block_bio_complete" in line:
                if open_ones:
                    open_ones.pop(0)
                continue
            # … block_bio_remap: 254,0 FWS 0 + 0 <- (254,2) 0
            old = line.split("<- (")[1].split(")")[0].replace(",", ":")
            this = {slices[old]}
            for other in open_ones:
                this |= other
            for other in open_ones:
                other |= this
            open_ones.append(this)
            flushes.append(this)
        return flushes


class Replay:
    """The replay device, as two disks with caches would have it after a prefix of the log."""

    def __init__(self, entries, log, disk, border):
        self.entries = entries
        self.log = Direct(log, os.O_RDONLY)
        self.disk = Direct(disk)
        self.border = border
        self.next = 0
        self.pending = ([], [])
        self.marks = {}

    def apply(self, e, disk):
        if e.flags & DISCARD:
            # A dm-snapshot takes no discards.
            disk.zero(e.sector * SECTOR, e.count * SECTOR)
            return
        for off in range(0, e.count * SECTOR, MIB):
            n = min(MIB, e.count * SECTOR - off)
            disk.write(e.sector * SECTOR + off, self.log.read(e.at + off, n))

    def side(self, e):
        return META if e.sector < self.border else DATA

    def advance(self, last):
        """Up to and including entry `last`."""
        while self.next <= last:
            e = self.entries[self.next]
            self.next += 1
            if e.flags & MARK:
                name, _, value = e.mark.partition(":")
                if name in ("snap", "snapped", "delete", "deleted"):
                    self.marks.setdefault(name, set()).add(int(value))
                elif value:
                    self.marks[name] = int(value)
                continue
            if e.flags & FLUSH and not e.count:
                for side in e.owners:
                    for p in self.pending[side]:
                        self.apply(p, self.disk)
                    self.pending[side].clear()
                continue
            waiting = self.pending[self.side(e)]
            if e.flags & FUA:
                # Older writes to the same place must not come after it; that they reach the disk is allowed.
                for p in [p for p in waiting if p.covers(e)]:
                    self.apply(p, self.disk)
                    waiting.remove(p)
                self.apply(e, self.disk)
            else:
                waiting.append(e)


# --- one point -------------------------------------------------------------------------------------------------------------------


class Examiner:
    def __init__(self, work, replay):
        self.work = work
        self.replay = replay
        self.files = 0
        self.spent = {}

    def timed(self, what, f, *a):
        since = time.monotonic()
        try:
            return f(*a)
        finally:
            self.spent[what] = self.spent.get(what, 0) + time.monotonic() - since

    def point(self, index, variant):
        self.timed("replay", self.replay.advance, index)
        names = list(dm.numbers)
        # Programs that run beside what follows, each with the thin that it looks at.
        self.beside = []
        try:
            self.timed("set up", self.set_up, index, variant)
            self.look(variant)
        finally:
            for program, _ in self.beside:
                program.process.wait()
            self.timed("take down", self.take_down, names)

    def set_up(self, index, variant):
        cut = dm.create(
            "pc-cut", args.sectors, "snapshot", "%s %s N 8" % (number_of(args.replay), number_of(args.cow))
        )
        if variant != "least":
            r = random.Random("%s/%d" % (args.seed, index))
            d = Direct(cut)
            try:
                for side in (META, DATA):
                    for e in self.replay.pending[side]:
                        if variant == "all" or r.random() < 0.5:
                            self.replay.apply(e, d)
            finally:
                d.close()
        cut = dm.number("pc-cut")
        self.meta = dm.create("pc-cutmeta", args.border, "linear", cut + " 0")
        dm.create("pc-cutdata", args.sectors - args.border, "linear", "%s %d" % (cut, args.border))

    def pool_is_writable(self, when):
        status = dm.status("pc-pool").split()
        if len(status) < 9 or status[4] != "rw" or status[7] != "-":
            raise Failure("%s the pool's status is %r" % (when, " ".join(status)))

    def look(self, variant):
        if variant == "least":
            # The replay device itself is what the snapshot begins with, and nobody changes it meanwhile.
            meta = dm.create("pc-before", args.border, "linear", number_of(args.replay) + " 0")
            self.beside.append((Program("thin_check", meta), None))
        else:
            self.timed("thin_check", run, "thin_check", self.meta)
        self.timed("activate", make_pool, "pc-cutmeta", "pc-cutdata")
        self.pool_is_writable("after the cut")
        if not args.stock:
            dm.message("pc-pool", "verify on")
        marks = self.replay.marks
        for t in self.work.thins:
            self.look_at(t, {w: (marks.get(w.name, 0), marks.get(w.name, 0) + 1) for w in t.writers})
        made, begun = marks.get("snapped", set()), marks.get("snap", set())
        deleted, deleting = marks.get("deleted", set()), marks.get("delete", set())
        for s in self.work.snaps:
            if s.id not in begun:
                continue
            may = s.id not in deleted
            must = s.id in made and s.id not in deleting
            copy = Thin(s.id, s.origin.sectors // 2048, s.origin.fs)
            self.look_at(copy, {w: (s.first[w], s.last[w]) for w in s.origin.writers}, may, must)
        for program, name in self.beside:
            self.timed("fsck", program.wait)
            if name:
                self.timed("activate", dm.remove, name)
        self.beside.clear()
        self.pool_is_writable("after the checks")
        if not args.stock:
            stats = dict(line.split()[:2] for line in dm.message("pc-pool", "stats").splitlines() if " " in line)
            if stats.get("verify_mismatches") != "0":
                raise Failure("verify_mismatches is %s" % stats.get("verify_mismatches"))
        dm.remove("pc-pool")
        self.timed("thin_check", run, "thin_check", self.meta)

    def look_at(self, t, expected, may=True, must=True):
        try:
            dev = self.timed("activate", self.work.activate, t)
        except OSError:
            if must:
                raise Failure("thin %d is gone" % t.id) from None
            return
        if not may:
            raise Failure("thin %d is there although its deletion had returned" % t.id)
        if t.fs:
            self.timed("mount", mount, dev, t.where, t.fs)
            try:
                for w, (first, last) in expected.items():
                    self.files += self.timed("compare", w.check, t.where, first, last)
            finally:
                self.timed("mount", umount, t.where)
            self.beside.append((fsck(dev, t.fs), t.name))
        else:
            for w, (first, last) in expected.items():
                self.files += self.timed("compare", w.check, dev, first, last)
            self.timed("activate", dm.remove, t.name)

    def take_down(self, names):
        for name in reversed([n for n in dm.numbers if n not in names]):
            dm.remove(name)


# --- the whole -------------------------------------------------------------------------------------------------------------------


def make_pool(meta, data):
    dm.create(
        "pc-pool",
        args.sectors - args.border,
        args.pool_target,
        "%s %s %d 0" % (dm.number(meta), dm.number(data), CHUNK // SECTOR),
    )


def on_slices(below, f):
    """Runs `f` with a pool on two slices of a device."""
    dm.create("pc-meta", args.border, "linear", below + " 0")
    dm.create("pc-data", args.sectors - args.border, "linear", "%s %d" % (below, args.border))
    make_pool("pc-meta", "pc-data")
    result = f()
    for name in ("pc-pool", "pc-data", "pc-meta"):
        dm.remove(name)
    return result


def copy(source, target):
    a, b = Direct(source, os.O_RDONLY), Direct(target)
    zero = bytes(MIB)
    for at in range(0, args.sectors * SECTOR, MIB):
        n = min(MIB, args.sectors * SECTOR - at)
        data = a.read(at, n)
        if data != zero[:n]:
            b.write(at, data)
    a.close()
    b.close()


def record(work):
    """Runs the workload on the log; the log's entries."""

    def prepare():
        work.prepare()
        for t in work.thins:
            if t.name in dm.numbers:
                if t.fs:
                    libc.umount2(t.where.encode(), 0)
                dm.remove(t.name)

    on_slices(number_of(args.disk), prepare)
    copy(args.disk, args.replay)
    dm.create("pc-log", args.sectors, "log-writes", "%s %s" % (number_of(args.disk), number_of(args.log)))
    trace = FlushTrace()
    slices = {}

    def body():
        slices[dm.number("pc-meta")] = META
        slices[dm.number("pc-data")] = DATA
        work.start()
        work.finish()

    on_slices(dm.number("pc-log"), body)
    if "logging_disabled" in dm.status("pc-log"):
        raise Failure("the log is full, or had no memory")
    trace.stop()
    dm.remove("pc-log")
    entries = read_log(args.log)
    owners = trace.owners(slices)
    flushes = [e for e in entries if e.flags & FLUSH and not e.count]
    if len(owners) != len(flushes):
        raise Failure("%d flushes in the log, %d in the trace" % (len(flushes), len(owners)))
    for e, o in zip(flushes, owners):
        e.owners = tuple(sorted(o))
    return entries


def choose(entries, points, extra):
    """Entries to stop at: flushes and FUA writes, and between them."""
    if args.entry:
        index, _, variant = args.entry.partition(":")
        return [(int(index), variant or "least")]
    r = random.Random("%s/points" % args.seed)
    ends = [i for i, e in enumerate(entries) if e.flags & (FLUSH | FUA)]
    if len(ends) < points:
        raise Failure("only %d flushes and FUA writes in the log, %d points are wanted" % (len(ends), points))
    chosen = [(i, "least") for i in r.sample(ends, points)]
    # Right before a flush ends, everything that it covers may be there or not.
    between = [i - 1 for i in ends if i and not entries[i - 1].flags & (FLUSH | FUA)]
    between = r.sample(between, min(extra, len(between)))
    chosen += [(i, r.choice(["all", "some", "some"])) for i in between]
    return sorted(chosen)


def describe(entries, index):
    lines = []
    for i in range(max(0, index - 14), min(len(entries), index + 4)):
        e = entries[i]
        if e.mark is not None:
            what = "mark " + e.mark
        elif e.flags & FLUSH and not e.count:
            what = "flush of " + " and ".join(("metadata", "data")[o] for o in e.owners)
        else:
            what = "%s %s at %d, %d sectors" % (
                "discard" if e.flags & DISCARD else "FUA write" if e.flags & FUA else "write",
                "metadata" if e.sector < args.border else "data",
                e.sector if e.sector < args.border else e.sector - args.border,
                e.count,
            )
        lines.append("%s %6d %s" % (">" if i == index else " ", i, what))
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("workload", choices=["ext4", "xfs", "snapshots", "cow", "discards", "mixed"])
    for name in ("disk", "log", "replay", "cow", "pool-target", "thin-target", "mnt"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--points", type=int, default=int(os.environ.get("POWER_CUT_POINTS") or 200))
    p.add_argument("--extra", type=int, default=-1)
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--stock", action="store_true")
    p.add_argument("--seed", default=os.environ.get("POWER_CUT_SEED") or "1")
    p.parse_args(namespace=args)
    args.entry = os.environ.get("POWER_CUT_ENTRY")
    if args.extra < 0:
        args.extra = args.points // 5
    args.sectors = sectors_of(args.disk)
    args.border = 4 * 2048

    since = time.monotonic()
    print("workload %s, seed %s, scale %g" % (args.workload, args.seed, args.scale), flush=True)
    work = Workload(args.seed, args.scale)
    entries = record(work)
    recorded = time.monotonic()
    kinds = [sum(1 for e in entries if e.flags & f) for f in (FLUSH, FUA, DISCARD, MARK)]
    both = sum(1 for e in entries if len(e.owners) > 1)
    print(
        "%.0f s, %d entries: %d flushes (%d of either slice), %d FUA writes, %d discards, %d marks"
        % (recorded - since, len(entries), kinds[0], both, *kinds[1:]),
        flush=True,
    )
    points = choose(entries, args.points, args.extra)
    examiner = Examiner(work, Replay(entries, args.log, args.replay, args.border))
    failures = 0
    for n, (index, variant) in enumerate(points):
        try:
            examiner.point(index, variant)
        except (Failure, OSError) as e:
            failures += 1
            print("FAIL: entry %d, %s: %s" % (index, variant, e))
            print("  marks: %s" % examiner.replay.marks)
            print(describe(entries, index))
            print(
                "  repeat: POWER_CUT_SEED=%s POWER_CUT_ENTRY=%d:%s (the workload is the same again, its timing may not be)"
                % (args.seed, index, variant),
                flush=True,
            )
            if failures >= 5:
                break
        if (n + 1) % 20 == 0:
            print("%d of %d points, %.0f s" % (n + 1, len(points), time.monotonic() - recorded), flush=True)
    ends = sum(1 for _, v in points if v == "least")
    print("seconds: " + ", ".join("%s %.1f" % (k, v) for k, v in sorted(examiner.spent.items())))
    print(
        "power cuts of %s: %d points at flushes and FUA writes, %d between them, %d files compared, %d failures, %.1f min, seed %s"
        % (args.workload, ends, len(points) - ends, examiner.files, failures, (time.monotonic() - since) / 60, args.seed)
    )
    return 1 if failures else 0


args = argparse.Namespace()
if __name__ == "__main__":
    sys.exit(main())

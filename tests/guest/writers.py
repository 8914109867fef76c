#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writers of power_cut.py on devices that are about to fail, and the check of what they had fsynced.

  writers.py write HISTORY RUNNING SEED DIR=NAME… DEV=NAME:BLOCKS…   until the devices fail; makes the file RUNNING before that
  writers.py check HISTORY DIR=NAME… DEV=NAME:BLOCKS…

What is a directory gets files, what is a device numbered blocks.
"""

import os
import pickle
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import power_cut

FILES = "new new over over append replace unlink direct chunk".split()
BLOCKS = "write write discard chunk direct".split()
# A writer that overwrites what is its own already may never see an error.
AFTER = 20


# Set when the devices may fail from now on.
doomed = threading.Event()


class Files(power_cut.FileWriter):
    """An fsync of ext4 that comes just when the commit of its transaction has failed, and not yet been told to all, returns success
    (fs/jbd2/journal.c, 7.2: jbd2_complete_transaction does not ask whether the journal was aborted). A new directory does ask: when
    it can be made after the fsync, that was true. A new time stamp would not do: ext4_dirty_inode (fs/ext4/inode.c) has no result."""

    def do(self, step):
        super().do(step)
        probe = os.path.join(self.where, "probe")
        os.mkdir(probe)
        os.rmdir(probe)


class Blocks(power_cut.RawWriter):
    """A pool that has become read-only ignores discards: they are hints. What was discarded before has to be gone."""

    def after(self, state, step):
        for kind, at, numbers in step:
            for block in range(at, at + len(numbers)):
                if kind == "discard" and doomed.is_set():
                    self.ignored.setdefault(block, set()).add(state.get(block, 0))
                else:
                    self.ignored.pop(block, None)
        return super().after(state, step)


def writers(words, seed):
    for word in words:
        path, _, name = word.partition("=")
        name, _, blocks = name.partition(":")
        if blocks:
            yield path, Blocks(name, seed, 1 << 30, lambda _: None, int(blocks), BLOCKS)
        else:
            yield path, Files(name, seed, 1 << 30, lambda _: None, path, FILES)


def write(history, running, seed, words):
    all_of_them = list(writers(words, seed))
    unexpected = []

    def work(w):
        try:
            w.run()
        except OSError as e:
            print("%s: %s after %d steps" % (w.name, e, len(w.states) - 1), flush=True)
        except BaseException as e:
            unexpected.append("%s: %r" % (w.name, e))

    threads = []
    for path, w in all_of_them:
        if isinstance(w, power_cut.RawWriter):
            w.open(path)
        else:
            os.makedirs(w.where)
        threads.append(threading.Thread(target=work, args=(w,)))
        threads[-1].start()
    while any(len(w.states) < 8 for _, w in all_of_them):
        if not all(t.is_alive() for t in threads):
            sys.exit("a writer failed too early")
        time.sleep(0.1)
    doomed.set()
    open(running, "w").close()
    until = time.monotonic() + 120
    # Until the first one has seen it, and a while longer.
    while all(t.is_alive() for t in threads):
        if time.monotonic() > until:
            sys.exit("no writer has seen an error")
        time.sleep(0.1)
    until = time.monotonic() + AFTER
    while any(t.is_alive() for t in threads) and time.monotonic() < until:
        time.sleep(0.1)
    for _, w in all_of_them:
        w.stopped = True
    for t in threads:
        t.join()
    if unexpected:
        sys.exit("\n".join(unexpected))
    with open(history, "wb") as f:
        pickle.dump(
            {w.name: (w.states[-1], w.steps[len(w.states) - 1 :], getattr(w, "ignored", {})) for _, w in all_of_them}, f
        )


def check(history, words):
    with open(history, "rb") as f:
        known = pickle.load(f)
    for path, w in writers(words, 0):
        state, steps, w.ignored = known[w.name]
        w.states, w.steps = [state], steps
        w.check(path, 0, len(steps))
        print("%s: %d files or blocks as they were fsynced" % (w.name, len(state)))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        check(sys.argv[2], sys.argv[3:])

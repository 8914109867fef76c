// SPDX-License-Identifier: GPL-2.0

//! The pool's works: one that changes mappings and commits, one for discards, two timers.
//!
//! Data moves outside of them: copies and zeroings run in kcopyd, mapped I/O and served reads
//! in map. The ordered worker is what batches all changes of metadata.

use super::{flag, mode::Mode, Pool};
use crate::dm::bio::Status;
use kernel::{prelude::*, sync::atomic::Relaxed};

/// Between two periodic commits, in milliseconds.
const COMMIT_PERIOD_MS: u32 = 1000;

/// The main work: inserts prepared mappings, serves deferred bios, commits where it is due.
pub(crate) fn run(pool: &Pool) {
    // What lookups in map found missing is read while other work is done.
    pool.meta.prefetch();
    let mut prepared = pool.prepared.with(|q| q.take());
    while let Some(job) = prepared.pop() {
        job.complete();
    }
    pool.each_thin(|t| t.process_deferred());
    flush(pool);
}

/// Bios that wait for a commit, and the periodic commit.
fn flush(pool: &Pool) {
    let finished = pool.finished.with(|l| l.take());
    let mut waiting = false;
    pool.each_thin(|t| waiting |= t.has_flushes());
    let due = pool.commit_due.xchg(false, Relaxed);
    if finished.is_empty() && !waiting && !due {
        return;
    }
    // What arrives during the commit waits for the next one: take the lists first.
    if waiting {
        pool.each_thin(|t| t.begin_flush());
    }
    let ok = pool.commit().is_ok();
    finished.end_all(if ok { Status::Ok } else { Status::IoError });
    if waiting {
        pool.each_thin(|t| t.end_flush(ok));
    }
}

/// The discard work.
pub(crate) fn run_discards(pool: &Pool) {
    pool.each_thin(|t| t.process_discards());
}

/// The one-second timer.
pub(crate) fn tick(pool: &Pool) {
    pool.commit_due.store(true, Relaxed);
    pool.wake();
    pool.waker.queue_after(&pool.wq, COMMIT_PERIOD_MS);
}

/// The timer that ends queueing in a full pool.
pub(crate) fn no_space_timed_out(pool: &Pool) {
    if pool.mode() == Mode::OutOfDataSpace && !pool.has(flag::ERROR_IF_NO_SPACE) {
        pr_warn!(
            "{}: no space appeared in time: queued writes fail from now on\n",
            pool.name()
        );
        pool.stop_queueing();
    }
}

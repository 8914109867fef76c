// SPDX-License-Identifier: GPL-2.0

//! The pool's works: one that inserts mappings and commits, one for deletions, three timers.
//!
//! Bios that need a new chunk are prepared by a work of their thin device (`thin::change`); data
//! moves in kcopyd, mapped I/O and served reads in map. This ordered worker is what batches the
//! insertions, under one hold of the metadata's lock, and the commits.

use super::{flag, mode::Mode, Pool};
use crate::{
    dm::{bio::Status, plug::plugged},
    thin::{change, Thin},
};
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};

/// Between two periodic commits, in milliseconds.
const COMMIT_PERIOD_MS: u32 = 1000;

/// The main work: inserts prepared mappings, commits where it is due.
pub(crate) fn run(pool: &Arc<Pool>) {
    // What lookups in map found missing is read while other work is done.
    pool.meta.prefetch();
    let prepared = pool.prepared.with(|q| q.take());
    plugged(|| change::complete(pool, prepared));
    let mut stalled = pool.rosters.stalled.take();
    while let Some(place) = stalled.pop() {
        Thin::go_on(place);
    }
    flush(pool);
}

/// Bios that wait for a commit, and the periodic commit.
fn flush(pool: &Pool) {
    let finished = pool.finished.with(|l| l.take());
    let mut waiting = pool.rosters.flushes.take();
    let due = pool.commit_due.xchg(false, Relaxed);
    if finished.is_empty() && waiting.is_empty() && !due {
        return;
    }
    // What arrives during the commit waits for the next one: take the lists first.
    waiting.iter().for_each(|t| t.begin_flush());
    let committed = pool.commit_for_flushes();
    finished.end_all(committed.map_or(Status::IoError, |_| Status::Ok));
    plugged(|| {
        while let Some(place) = waiting.pop() {
            Thin::end_flush(place, committed);
        }
    });
}

/// Ends deletions that a crash cut short.
pub(crate) fn delete_left_over(pool: &Arc<Pool>) {
    // A piece at a time, so that a suspend waits for no more.
    if pool.meta.has_left_over() && pool.mode().metadata_writable() {
        pool.meta.delete_left_over();
        pool.wake_deletions();
    }
}

/// The one-second timer.
pub(crate) fn tick(pool: &Arc<Pool>) {
    pool.commit_due.store(true, Relaxed);
    // Whatever a bio waits for, it is looked at again now and then: the worker puts back to work what
    // waits for its next run. Idle devices are left alone.
    pool.wake();
    if pool.meta.has_left_over() && pool.mode().metadata_writable() {
        pool.wake_deletions();
    }
    pool.waker.queue_after(&pool.wq, COMMIT_PERIOD_MS);
}

/// The timer of reads that wait for others.
pub(crate) fn watch_followers(pool: &Arc<Pool>) {
    if let Some(ms) = pool.drr.detach_late() {
        pool.follower_watch.queue_after(&pool.thin_wq, ms);
    }
}

/// The timer that ends queueing in a full pool.
pub(crate) fn no_space_timed_out(pool: &Arc<Pool>) {
    if pool.mode() == Mode::OutOfDataSpace && !pool.has(flag::ERROR_IF_NO_SPACE) {
        pr_warn!(
            "{}: no space appeared in time: queued writes fail from now on\n",
            pool.name()
        );
        pool.stop_queueing();
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Space and durability of a pool: allocation, commit, low water, and the modes that follow.
//!
//! Process context throughout, outside of any epoch: aborting a transaction waits for one.

use super::{flag, mode::Mode, Control, Pool};
use crate::{
    dm::{bio::Status, pdata::without_io, work::Once},
    units::Chunk,
};
use kernel::{prelude::*, sync::atomic::Relaxed};

/// Why no chunk was allocated.
pub(crate) enum AllocError {
    /// None is left; the pool is out of data space now.
    NoSpace,
    /// The metadata failed; the pool's mode has changed.
    Failed,
    /// No memory for it now.
    NoMemory,
}

impl Pool {
    /// Allocates a chunk that nobody's I/O can still touch and that no record describes.
    ///
    /// Rule 1 of the write side (docs/invariants.md, DRR): records of the chunk are dropped here,
    /// before anything is written to it.
    pub(crate) fn alloc_chunk(&self) -> Result<Chunk, AllocError> {
        let mut got = self.meta.alloc_chunk();
        if got.as_ref().is_err_and(|e| *e == ENOSPC) {
            // A commit makes chunks available that this transaction has freed. They may be
            // counted as free before (dm-space-map-disk.c, sm_disk_get_nr_free).
            self.commit().map_err(|_| AllocError::Failed)?;
            got = self.meta.alloc_chunk();
        }
        let got = match got {
            Ok(got) => got,
            Err(e) if e == ENOSPC => {
                self.check_low_water(0);
                self.set_mode(Mode::OutOfDataSpace);
                return Err(AllocError::NoSpace);
            }
            Err(e) if e == ENOMEM => return Err(AllocError::NoMemory),
            Err(e) => {
                self.metadata_failed("allocating a chunk", e);
                return Err(AllocError::Failed);
            }
        };
        // As it was before this one was taken.
        self.check_low_water(got.free_chunks.saturating_add(1));
        if got.free_blocks == 0 {
            // Commit before the metadata reserve is used up.
            let _ = self.commit();
        }
        if got.recently_freed {
            self.epochs.wait();
        }
        self.drr
            .chunk_allocated(self.first_page(got.chunk), self.pages(1));
        Ok(got.chunk)
    }

    /// Gives back a chunk that was allocated but not mapped.
    pub(crate) fn put_back(&self, c: Chunk) {
        self.release(c, Chunk(c.0.saturating_add(1)));
    }

    /// Gives back what was allocated or held as `[begin, end)`.
    pub(crate) fn release(&self, begin: Chunk, end: Chunk) {
        let done = self.mode().metadata_writable()
            && self
                .change("giving chunks back", || self.meta.dec_range(begin, end))
                .is_ok();
        if !done {
            self.meta.unwant(begin, end);
        }
    }

    /// Makes a change of the metadata. One that is refused for want of metadata blocks is tried
    /// again after a commit, which frees what the transaction has replaced; if that does not
    /// help the pool is out of metadata space. On an error the pool has reacted. `f` must be in
    /// no epoch when it has failed.
    pub(crate) fn change<R>(&self, what: &str, mut f: impl FnMut() -> Result<R>) -> Result<R> {
        let mut r = f();
        if r.as_ref().is_err_and(|e| *e == ENOSPC) && self.commit().is_ok() {
            r = f();
        }
        r.inspect_err(|e| self.change_failed(what, *e))
    }

    fn check_low_water(&self, free: u64) {
        let reached = |c: &Control| free <= c.low_water_chunks && !c.low_water_triggered;
        if !reached(&self.control.read()) {
            return;
        }
        let first = {
            let mut c = self.control.write();
            let first = reached(&c);
            c.low_water_triggered = true;
            first
        };
        if first {
            pr_warn!(
                "{}: reached low water mark for data device: sending event\n",
                self.name()
            );
            self.event();
        }
    }

    /// Makes all changes durable: the data device is flushed, then the metadata written.
    pub(crate) fn commit(&self) -> Result {
        self.commit_for_flushes().map(|_| ())
    }

    /// As [`Self::commit`]. `true`: all that was written to the data device before the call is durable now;
    /// when there is nothing to commit the data device is not flushed.
    pub(crate) fn commit_for_flushes(&self) -> Result<bool> {
        if !self.mode().metadata_writable() {
            return Err(EINVAL);
        }
        let flushed = self.meta.commit().inspect_err(|e| {
            self.metadata_failed("commit", *e);
        })?;
        if self.meta.take_metadata_low() {
            pr_warn!(
                "{}: reached low water mark for metadata device: sending event\n",
                self.name()
            );
            self.event();
        }
        if self.meta.free_metadata().is_ok_and(|n| n == 0) {
            pr_err!(
                "{}: no free metadata space available; extend the metadata device\n",
                self.name()
            );
            self.set_mode(Mode::OutOfMetadataSpace);
        }
        if self.mode() == Mode::OutOfDataSpace && self.meta.free_data().is_ok_and(|n| n > 0) {
            self.set_mode_from(Some(Mode::OutOfDataSpace), Mode::Write);
            self.retry_all();
        }
        Ok(flushed)
    }

    /// Commits, and writes to the metadata device even if there is nothing to commit: whoever asks
    /// for the pool's state hears of a device that has begun to fail.
    pub(crate) fn commit_for_status(&self) {
        if self.commit().is_ok() {
            if let Err(e) = self.meta.commit_again() {
                self.metadata_failed("commit", e);
            }
        }
    }

    /// Puts every bio that waits for space back to work.
    pub(crate) fn retry_all(&self) {
        self.each_thin(|t| t.retry_waiting());
        self.wake();
    }

    /// Reacts to a change of the metadata that failed. ENOSPC says that nothing was changed, for
    /// want of metadata blocks; anything else spoils the transaction.
    pub(crate) fn change_failed(&self, what: &str, e: Error) {
        if !self.mode().metadata_writable() {
            // The pool stopped writing while the change was on its way.
            return;
        }
        if e == ENOSPC {
            pr_err!(
                "{}: no metadata space left for {}; extend the metadata device\n",
                self.name(),
                what
            );
            self.set_mode(Mode::OutOfMetadataSpace);
        } else {
            self.metadata_failed(what, e);
        }
    }

    /// Reacts to a metadata operation that failed: roll back, mark for checking, stop writing.
    pub(crate) fn metadata_failed(&self, what: &str, e: Error) {
        let old;
        let aborted;
        {
            let _serial = self.mode_lock.write();
            old = self.mode();
            if !old.metadata_writable() {
                return;
            }
            pr_err!(
                "{}: metadata operation failed: {}: error {}; rolling back, run thin_check\n",
                self.name(),
                what,
                e.to_errno()
            );
            // Before the roll-back, so that nobody takes what it leaves behind for success.
            self.store_mode(Mode::ReadOnly);
            aborted = self.meta.abort();
            if aborted.is_err() {
                pr_err!("{}: cannot roll back the metadata\n", self.name());
                self.store_mode(Mode::Fail);
            }
        }
        self.drop_records_after_roll_back();
        self.entered(old, self.mode());
    }

    /// Chunks that were recorded as shared may be private again after the roll-back: reads that looked them
    /// up before must end before the records go for good. Until then none is used: private chunks are
    /// not looked for among them, and a pool that has been rolled back makes nothing shared. So
    /// the caller, the pool's worker perhaps, need not wait for these reads.
    fn drop_records_after_roll_back(&self) {
        self.drr.drop_all();
        let (drr, epochs) = (self.drr.clone(), self.epochs.clone());
        // The caller has bios in hand that reclaim may wait for.
        let work = without_io(|| {
            Once::new(move || {
                epochs.wait();
                drr.drop_all();
            })
        });
        match work {
            Ok(work) => work.queue(&self.thin_wq),
            Err(_) => {
                self.epochs.wait();
                self.drr.drop_all();
            }
        }
    }

    /// Enters a mode, as far as the rules allow it, and tells who waits for events.
    pub(crate) fn set_mode(&self, wanted: Mode) {
        self.set_mode_from(None, wanted);
    }

    /// [`Self::set_mode`], but only if the mode is `from` still.
    fn set_mode_from(&self, from: Option<Mode>, wanted: Mode) {
        let old;
        let new;
        {
            let _serial = self.mode_lock.write();
            old = self.mode();
            if from.is_some_and(|from| from != old) {
                return;
            }
            let needs_check = self.meta.needs_check();
            new = old.transition(wanted, needs_check);
            if wanted == Mode::Write && new == Mode::ReadOnly && needs_check {
                pr_err!(
                    "{}: unable to switch pool to write mode until repaired (thin_check)\n",
                    self.name()
                );
            }
            match new {
                Mode::Write => {
                    let features = self.control.read().features;
                    self.set_flags(&features);
                    self.meta.set_read_write();
                }
                Mode::OutOfDataSpace => {}
                Mode::OutOfMetadataSpace | Mode::ReadOnly | Mode::Fail => {
                    self.meta.set_read_only();
                }
            }
            self.store_mode(new);
        }
        self.entered(old, new);
    }

    /// What follows from a change of mode: timers, waiting bios, the log, an event.
    fn entered(&self, old: Mode, new: Mode) {
        match new {
            Mode::Write | Mode::OutOfDataSpace => self.set_no_space_clock(),
            _ => self.each_thin(|t| t.fail_waiting(Status::IoError)),
        }
        if old != new {
            let detail = match (new, self.has(flag::ERROR_IF_NO_SPACE)) {
                (Mode::OutOfDataSpace, true) => " (error IO)",
                (Mode::OutOfDataSpace, false) => " (queue IO)",
                _ => "",
            };
            pr_info!(
                "{}: switching pool to {}{} mode\n",
                self.name(),
                new.log_name(),
                detail
            );
            self.event();
        }
    }

    /// Starts or stops the clock of a full pool, as the mode wants it. Modes change beside this: what
    /// was done for one that is over is done anew. A suspend has stopped the clock, too.
    fn set_no_space_clock(&self) {
        loop {
            let mode = self.mode();
            let secs = (self.params.no_space_timeout)();
            if mode == Mode::OutOfDataSpace && secs > 0 && !self.has(flag::ERROR_IF_NO_SPACE) {
                self.no_space_timeout
                    .queue_after(&self.thin_wq, secs.saturating_mul(1000));
            } else if mode == Mode::Write {
                self.no_space_timeout.cancel();
            }
            if self.mode() == mode {
                return;
            }
        }
    }

    /// Fails what waits for space from now on, until the pool is in write mode again.
    /// Nothing happens unless it is out of data space now.
    pub(crate) fn stop_queueing(&self) {
        {
            let _serial = self.mode_lock.write();
            if self.mode() != Mode::OutOfDataSpace {
                return;
            }
            let v = self.flags.load(Relaxed) | flag::ERROR_IF_NO_SPACE;
            self.flags.store(v, Relaxed);
        }
        self.event();
        self.each_thin(|t| t.fail_waiting(Status::NoSpace));
    }
}

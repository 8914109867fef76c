// SPDX-License-Identifier: GPL-2.0

//! Bios that need a new mapping: provisioning and the breaking of sharing.
//!
//! Bios are prepared by the work of their thin device, beside those of other devices; mappings
//! are inserted by the pool's worker. Both are process context, may sleep, and are in no epoch
//! when they begin. One bio at a time changes a chunk: it holds the chunk's cell, in which
//! others wait.

use super::{
    claim::{Claim, Refused},
    hold::steps_of_one_hold,
    Stay, Thin, WaitFor,
};
use crate::{
    dm::{
        bio::{Bio, BioList, Op, Status},
        kcopyd::{CopyDone, Region},
        pooled::{Pooled, Queue, Room},
        prison::{Cell, Detained, Prison},
    },
    drr::{platform::now_ns, ReadOutcome},
    meta::{Batch, Lookup, Mapping},
    pool::{flag, mode::Mode, space::AllocError, Pool},
    units::{Chunk, Sectors, VChunk},
};
use kernel::{prelude::*, sync::Arc};

/// A chunk that is being filled, to be mapped when its data is in place.
pub(crate) struct Job {
    thin: Arc<Thin>,
    v: VChunk,
    chunk: Chunk,
    cell: Option<Cell>,
    /// The write that made the chunk necessary; in flight itself when it fills the chunk.
    bio: Option<Bio>,
    /// The bio's own data fills the chunk.
    overwrite: bool,
    status: Status,
    /// The epochs of a copy that reads the old chunk; later those of the write to the new one.
    stay: Option<Stay>,
    /// The end of the chunk, past the external origin's: zeroed when the rest has been copied.
    tail: Option<Region>,
    claim: Claim,
}

/// A bio that could not be served.
#[must_use]
pub(super) enum Left {
    /// It could.
    Nothing,
    /// Its mapping is not in memory.
    Cold(Bio),
    /// So many jobs of the device are under way as there may be.
    Crowded(Bio),
    /// So many of its chunks are being copied from its external origin as may be.
    OriginCrowded(Bio),
}

/// Reads blocks of the metadata that the lookup for a bio misses, and waits for one. `false`: it has
/// all that it needs, or only the lookup itself can say what is wrong. Sleeps; in no epoch.
pub(super) fn bring_in(thin: &Thin, bio: &Bio) -> bool {
    let (v, _) = thin.pool.geometry.split(bio.sector());
    let (begin, end) = (VChunk(v), VChunk(v.saturating_add(1)));
    let r = thin.pool.meta.bring_in(&thin.open, begin, end);
    r.unwrap_or(false)
}

/// Serves one bio of `thin`. Without `may_block` its lookup does not wait for the disk.
pub(super) fn process(thin: &Arc<Thin>, mut bio: Bio, may_block: bool) -> Left {
    let pool = &thin.pool;
    if pool.mode() == Mode::Fail {
        bio.end(Status::IoError);
        return Left::Nothing;
    }
    if bio.bytes() == 0 {
        if pool.meta.changed_this_transaction(&thin.open) {
            thin.wait_for(WaitFor::Commit, bio);
        } else if thin.flush_is_void(&bio) {
            bio.end(Status::IoError);
        } else {
            pool.direct_flush(&mut bio);
            bio.submit();
        }
        return Left::Nothing;
    }
    let (v, _) = pool.geometry.split(bio.sector());
    let v = VChunk(v);
    if bio.op() == Op::Read {
        return read(thin, bio, v, may_block);
    }
    bio.data().owner = Some(thin.clone());
    match Prison::detain(&pool.prison, thin.id, v, bio) {
        Detained::Waits => Left::Nothing,
        Detained::Holder(cell, mut bio) => {
            bio.data().owner = None;
            write(thin, cell, bio, v, may_block)
        }
    }
}

/// Serves a bio that has waited for a commit, now that it has ended: at once if nothing is to be
/// waited for, else by the device's work. The pool's worker only.
pub(crate) fn committed(thin: &Arc<Thin>, bio: Bio) {
    let (v, _) = thin.pool.geometry.split(bio.sector());
    let stay = thin.enter(bio.op());
    match thin.pool.meta.lookup(&thin.open, VChunk(v), false) {
        Ok(Lookup::Mapped(m)) if !m.shared => issue(thin, bio, stay, m),
        _ => {
            thin.leave(stay);
            thin.wait_for(WaitFor::Worker, bio);
        }
    }
}

/// A read whose mapping was not in memory, or that waited for another one.
fn read(thin: &Arc<Thin>, bio: Bio, v: VChunk, may_block: bool) -> Left {
    let pool = &thin.pool;
    let stay = thin.enter(Op::Read);
    match pool.meta.lookup(&thin.open, v, may_block) {
        Ok(Lookup::Mapped(m)) => issue(thin, bio, stay, m),
        Ok(Lookup::Unmapped) => {
            thin.leave(stay);
            if let Some(bio) = thin.read_unmapped(bio) {
                bio.submit();
            }
        }
        Ok(Lookup::WouldBlock) => {
            thin.leave(stay);
            return Left::Cold(bio);
        }
        Err(_) => {
            thin.leave(stay);
            bio.end(Status::IoError);
        }
    }
    Left::Nothing
}

/// Sends a bio to its chunk. What must be durable with mappings that are not goes through a
/// commit first and comes back.
fn issue(thin: &Arc<Thin>, mut bio: Bio, stay: Stay, m: Mapping) {
    let pool = &thin.pool;
    if bio.is_flush() && pool.meta.inserted_this_transaction(&thin.open) {
        thin.leave(stay);
        thin.wait_for(WaitFor::Commit, bio);
        return;
    }
    if thin.flush_is_void(&bio) {
        thin.leave(stay);
        bio.end(Status::IoError);
        return;
    }
    let (_, off) = pool.geometry.split(bio.sector());
    let phys = pool.data_sector(m.chunk, off);
    if m.shared {
        match pool.drr.read_shared_whole(&thin.layer, &mut bio, phys) {
            ReadOutcome::Served => {
                thin.leave(stay);
                bio.end(Status::Ok);
                return;
            }
            ReadOutcome::Follow(leader) => {
                thin.leave(stay);
                pool.drr.follow(leader, bio, thin.clone());
                pool.watch_followers();
                return;
            }
            ReadOutcome::Disk => {}
        }
    }
    bio.data().stay = Some(stay);
    pool.direct(&mut bio, phys);
    bio.submit();
}

/// A write that holds its chunk's cell.
fn write(thin: &Arc<Thin>, cell: Cell, bio: Bio, v: VChunk, may_block: bool) -> Left {
    let pool = &thin.pool;
    let stay = thin.enter(Op::Write);
    let found = pool.meta.lookup(&thin.open, v, may_block);
    match found {
        Ok(Lookup::Mapped(m)) if !m.shared => {
            issue(thin, bio, stay, m);
            let_go(cell);
            return Left::Nothing;
        }
        Ok(Lookup::Mapped(_) | Lookup::Unmapped) => thin.leave(stay),
        Ok(Lookup::WouldBlock) => {
            thin.leave(stay);
            let_go(cell);
            return Left::Cold(bio);
        }
        Err(_) => {
            thin.leave(stay);
            refuse(cell, bio, Status::IoError);
            return Left::Nothing;
        }
    }

    // In no epoch here: allocation may wait for one.
    if found != Ok(Lookup::Unmapped) && thin.device.snapshots.is_up() {
        thin.wait_for_snapshot(bio);
        let_go(cell);
        return Left::Nothing;
    }
    if pool.mode() != Mode::Write {
        unserviceable(thin, cell, bio);
        return Left::Nothing;
    }
    let from_origin = found == Ok(Lookup::Unmapped) && copies_from_origin(thin, &bio, v);
    let (claim, room) = match Claim::new(thin, from_origin) {
        Ok(claimed) => claimed,
        Err(why) => {
            let_go(cell);
            return match why {
                Refused::Jobs => Left::Crowded(bio),
                Refused::FromOrigin => Left::OriginCrowded(bio),
            };
        }
    };
    if !begin_job(thin, claim, room, cell, bio, v) {
        // Others may wait for the room that has been given up.
        pool.wake();
    }
    Left::Nothing
}

/// Whether a write to a chunk that is not mapped has something of the external origin copied.
fn copies_from_origin(thin: &Thin, bio: &Bio, v: VChunk) -> bool {
    !covers_chunk(thin, bio) && thin.in_origin(v).is_some()
}

fn covers_chunk(thin: &Thin, bio: &Bio) -> bool {
    bio.sectors() == thin.pool.geometry.sectors()
}

/// Fills a new chunk for a write that holds its chunk's cell. `false`: the room for a job is given up.
fn begin_job(
    thin: &Arc<Thin>,
    claim: Claim,
    room: Room<Job>,
    cell: Cell,
    bio: Bio,
    v: VChunk,
) -> bool {
    let pool = &thin.pool;
    let chunk = match pool.alloc_chunk() {
        Ok(c) => c,
        Err(AllocError::NoSpace) => {
            unserviceable(thin, cell, bio);
            return false;
        }
        Err(AllocError::NoMemory) => {
            // The next tick of the pool's clock at the latest tries again.
            thin.wait_for(WaitFor::NextRun, bio);
            let_go(cell);
            return true;
        }
        Err(AllocError::Failed) => {
            refuse(cell, bio, Status::IoError);
            return false;
        }
    };
    let job = room.fill(Job {
        thin: thin.clone(),
        v,
        chunk,
        overwrite: covers_chunk(thin, &bio),
        cell: Some(cell),
        bio: Some(bio),
        status: Status::Ok,
        stay: None,
        tail: None,
        claim,
    });
    let Some(mut job) = fill(pool, job) else {
        return true;
    };
    // A discard came between, for who holds the cell inserts, but anybody unmaps, or a snapshot
    // did. The bio looks again.
    let (cell, bio) = (job.cell.take(), job.bio.take());
    pool.put_back(chunk);
    if let Some(bio) = bio {
        thin.wait_for(WaitFor::Worker, bio);
    }
    if let Some(cell) = cell {
        let_go(cell);
    }
    false
}

/// Fills the new chunk: by the bio itself when it covers it, else from the old chunk or from the
/// external origin, else with zeroes, else not at all. Gives the job back when the mapping is not
/// what it was.
///
/// From this lookup until the copy has read the old chunk the epoch keeps it. What is shared has no
/// writer left, unless a snapshot is being made that has only now made it so.
fn fill(pool: &Pool, mut job: Pooled<Job>) -> Option<Pooled<Job>> {
    let stay = job.thin.enter(Op::Read);
    let meant_for_origin = job.claim.is_from_origin();
    let old = match pool.meta.lookup(&job.thin.open, job.v, true) {
        Ok(Lookup::Mapped(m))
            if m.shared && !job.thin.device.snapshots.is_up() && !meant_for_origin =>
        {
            Some(m.chunk)
        }
        Ok(Lookup::Unmapped) => None,
        Ok(Lookup::Mapped(_) | Lookup::WouldBlock) | Err(_) => {
            job.thin.leave(stay);
            return Some(job);
        }
    };
    if let Some(old) = old {
        pool.drr
            .layer_wrote(&job.thin.layer, pool.first_page(old), pool.pages(1));
    }
    let to = pool.region(job.chunk);
    if job.overwrite {
        job.thin.leave(stay);
        if let Some(mut bio) = job.bio.take() {
            pool.direct(&mut bio, Sectors(to.sector));
            bio.data().job = Some(job);
            bio.submit();
        }
        return None;
    }
    match old {
        Some(old) => {
            job.stay = Some(stay);
            pool.copier.copy(job.thin.serial, pool.region(old), to, job);
        }
        None => {
            // What follows relies on no mapping. The origin may be a thin device of this pool, whose
            // works must be able to go on while this waits for kcopyd.
            job.thin.leave(stay);
            let serial = job.thin.serial;
            let from = job.thin.in_origin(job.v);
            if from.is_some() != job.claim.is_from_origin() {
                // The job was meant for a shared chunk, which has been discarded since.
                return Some(job);
            }
            if let Some(from) = from {
                let rest = to.sectors.saturating_sub(from.sectors);
                if rest > 0 {
                    job.tail = Some(Region {
                        sector: to.sector.saturating_add(from.sectors),
                        sectors: rest,
                        ..to
                    });
                }
                let to = Region {
                    sectors: from.sectors,
                    ..to
                };
                pool.origin_copier.copy(serial, from, to, job);
            } else if pool.has(flag::ZERO) {
                pool.copier.zero(serial, to, job);
            } else {
                pool.prepared.with(|q| q.push(job));
                pool.wake();
            }
        }
    }
    None
}

impl CopyDone for Job {
    fn copy_done(mut job: Pooled<Self>, ok: bool) {
        let thin = job.thin.clone();
        if let Some(stay) = job.stay.take() {
            // A chunk of the pool has been read, too.
            thin.pool.count_io(Op::Read, thin.pool.geometry.sectors());
            thin.leave(stay);
        }
        if job.tail.is_none() {
            thin.pool.count_io(Op::Write, thin.pool.geometry.sectors());
        }
        if !ok {
            job.status = Status::IoError;
        }
        thin.pool.prepared.with(|q| q.push(job));
        thin.pool.wake();
    }
}

impl Job {
    /// The bio that fills the chunk has ended. Any context.
    pub(crate) fn written(&mut self, bio: Bio, status: Status) {
        self.bio = Some(bio);
        self.status = status;
    }
}

/// Jobs that are looked at together, at most.
const BATCH: usize = 64;

/// Maps filled chunks and lets everybody go on. The pool's worker only.
pub(crate) fn complete(pool: &Pool, mut jobs: Queue<Job>) {
    while !jobs.is_empty() {
        let mut batch = Queue::new();
        for _ in 0..BATCH {
            match jobs.pop() {
                Some(job) => {
                    if let Some(job) = job.zero_tail() {
                        batch.push(job);
                    }
                }
                None => break,
            }
        }
        while !batch.is_empty() {
            complete_some(pool, &mut batch);
        }
    }
}

/// Maps as many as one hold of the lock has time for, one at least. Who waits for the lock gets it
/// before the next hold: a semaphore's waiters are woken when it is given back.
fn complete_some(pool: &Pool, batch: &mut Queue<Job>) {
    let mut done = Queue::new();
    // What fails here, job by job, is tried again below.
    let tried = pool.meta.insert_batch(|meta| {
        steps_of_one_hold(now_ns, || {
            let Some(mut job) = batch.pop() else {
                return false;
            };
            if job.status.is_ok() {
                let _ = job.insert(meta);
            }
            done.push(job);
            true
        });
    });
    if tried.is_err() {
        done = batch.take();
    }
    // First those that are in an epoch: what failed may have to wait for one.
    let mut failed = Queue::new();
    while let Some(job) = done.pop() {
        if job.stay.is_some() {
            job.finish();
        } else {
            failed.push(job);
        }
    }
    while let Some(job) = failed.pop() {
        job.finish();
    }
}

impl Job {
    /// Inserts the mapping of the filled chunk. The write to it is in the epochs from before the
    /// insertion: from then on the chunk can be freed again, or be shared.
    fn insert(&mut self, meta: &mut Batch<'_>) -> Result {
        let stay = self.thin.enter(Op::Write);
        match meta.insert(&self.thin.open, self.v, self.chunk) {
            Ok(()) => self.stay = Some(stay),
            Err(e) => {
                self.thin.leave(stay);
                return Err(e);
            }
        }
        Ok(())
    }
}

impl Pooled<Job> {
    /// Has what is behind the external origin's part zeroed, if that is still to be done: the job
    /// comes back to the worker afterwards. Else gives it back at once.
    fn zero_tail(mut self) -> Option<Self> {
        let Some(tail) = self.tail.take().filter(|_| self.status.is_ok()) else {
            return Some(self);
        };
        let thin = self.thin.clone();
        thin.pool.copier.zero(thin.serial, tail, self);
        None
    }

    /// Lets everybody go on, now that the mapping has been inserted, or could not be.
    fn finish(mut self) {
        let thin = self.thin.clone();
        let pool = &thin.pool;
        let (Some(cell), Some(bio)) = (self.cell.take(), self.bio.take()) else {
            return;
        };
        if !self.status.is_ok() {
            pool.put_back(self.chunk);
            refuse(cell, bio, self.status);
            return;
        }
        if self.stay.is_none() {
            let _ = pool.change("inserting a mapping", || {
                let mut failed = Ok(());
                pool.meta.insert_batch(|meta| failed = self.insert(meta))?;
                failed
            });
        }
        let Some(stay) = self.stay.take() else {
            pool.put_back(self.chunk);
            refuse(cell, bio, Status::IoError);
            return;
        };
        if self.overwrite {
            thin.leave(stay);
            if bio.is_flush() {
                pool.finished.with(|l| l.push(bio));
            } else {
                bio.end(Status::Ok);
            }
        } else {
            let m = Mapping {
                chunk: self.chunk,
                shared: false,
            };
            issue(&thin, bio, stay, m);
        }
        let_go(cell);
    }
}

/// Lets go of a chunk. The bios that waited go back to the work of their own activations.
fn let_go(cell: Cell) {
    let mut inmates = cell.release();
    // Mostly all are of one.
    let mut run: Option<(Arc<Thin>, BioList)> = None;
    while let Some(mut bio) = inmates.pop() {
        // `process` has noted it; without it the bio ends with an error.
        let Some(owner) = bio.data().owner.take() else {
            continue;
        };
        match &mut run {
            Some((thin, list)) if Arc::ptr_eq(thin, &owner) => list.push(bio),
            _ => {
                let mut list = BioList::new();
                list.push(bio);
                if let Some((thin, list)) = run.replace((owner, list)) {
                    thin.defer_list(list);
                }
            }
        }
    }
    if let Some((thin, list)) = run {
        thin.defer_list(list);
    }
}

/// Ends a bio with an error; what waited behind it tries for itself.
fn refuse(cell: Cell, bio: Bio, status: Status) {
    bio.end(status);
    let_go(cell);
}

/// A write that needs a chunk where there is none: it waits, or fails, as the pool is told to.
fn unserviceable(thin: &Arc<Thin>, cell: Cell, bio: Bio) {
    let pool = &thin.pool;
    let mode = pool.mode();
    if mode == Mode::Write {
        // Space came between the failure and this look.
        thin.wait_for(WaitFor::Worker, bio);
    } else if mode == Mode::OutOfDataSpace && !pool.has(flag::ERROR_IF_NO_SPACE) {
        thin.wait_for(WaitFor::Space, bio);
        // Space may have come, or the waiting ended, between the look at the mode and the list.
        if pool.mode() != Mode::OutOfDataSpace {
            thin.retry_waiting();
        } else if pool.has(flag::ERROR_IF_NO_SPACE) {
            thin.fail_waiting(Status::NoSpace);
        }
    } else if mode == Mode::OutOfDataSpace {
        bio.end(Status::NoSpace);
    } else {
        bio.end(Status::IoError);
    }
    let_go(cell);
}

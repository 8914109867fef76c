// SPDX-License-Identifier: GPL-2.0

//! A thin device: its bios, and where they wait.
//!
//! `map` is the path of every bio in the submitter's context, `change` what the device's work
//! does for those that need a new mapping, `discard` the return of space, `origin` what is read
//! where nothing is mapped, `target` the device as device-mapper sees it. A device may be active
//! under several names at once; `device` is what these share.
//!
//! A bio is in the epochs (`PerBio::stay`) from before the lookup of its mapping until nothing
//! relies on that mapping; a bio that waits in a list or a cell is in none.

pub(crate) mod change;
mod claim;
pub(crate) mod device;
pub(crate) mod discard;
mod hold;
pub(crate) mod map;
pub(crate) mod origin;
pub(crate) mod runs;
pub(crate) mod target;

use crate::{
    dm::{
        bdev::Accounted,
        bio::{Bio, BioList, Op, Status},
        epoch::Token,
        plug::plugged,
        pooled::Pooled,
        stack,
        sync::IrqLock,
        target::MappedDev,
        work::Work,
    },
    drr::{Layer, ReadHook, Resume},
    meta::OpenThin,
    pool::{
        roster::{Place, Roster, Seat},
        Pool,
    },
    units::DevId,
};
pub(crate) use change::Job;
use change::Left;
use claim::{Claims, Turns};
use device::Activation;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Completion,
    },
};
use origin::Origin;

/// A flag that several contexts set.
pub(crate) type AtomicFlag = Atomic<bool>;

/// What the module keeps for each bio of a thin device.
#[derive(Default)]
pub(crate) struct PerBio {
    /// The epochs that the bio is in while it relies on a mapping.
    pub(crate) stay: Option<Stay>,
    /// The job that a whole-chunk write completes.
    pub(crate) job: Option<Pooled<Job>>,
    /// While the bio waits in a cell, where it belongs.
    pub(crate) owner: Option<Arc<Thin>>,
    /// What is to be done when a read of shared data ends.
    pub(crate) read_hook: ReadHook,
    /// The pool device counts the bio as its own while it is on the data device.
    pub(crate) accounted: Option<Accounted>,
}

/// The epochs that somebody is in who relies on a mapping; to be given back to [`Thin::leave`].
#[must_use]
pub(crate) struct Stay {
    /// The pool's: the chunk is not used for anything else.
    pool: Token,
    /// The device's own, for what may write in place: no snapshot of the device is complete.
    writes: Option<Token>,
}

/// Where bios of one device wait.
pub(crate) struct Waiting {
    /// For the device's work.
    pub(crate) deferred: BioList,
    /// For the next commit: empty flushes and FUA writes.
    pub(crate) flushes: BioList,
    /// For the commit that is under way.
    pub(crate) flushing: BioList,
    /// For the device's discard work.
    pub(crate) discards: BioList,
    /// For the next run of the pool's worker.
    pub(crate) stalled: BioList,
    /// Until the device may have more jobs.
    crowded: BioList,
    /// Until more chunks may be copied from the external origin.
    over_origin: BioList,
    /// For space.
    pub(crate) retry: BioList,
    /// For the roster of who has `flushes`.
    flush_seat: Seat<Arc<Thin>>,
    /// For that of who has bios `stalled`, `crowded` or `over_origin`.
    stall_seat: Seat<Arc<Thin>>,
    /// While the device is suspended without flushing, everything goes back to device-mapper.
    pub(crate) requeue: bool,
}

impl Waiting {
    /// Whether anybody has a turn.
    fn has_turns(&self, turns: &Turns) -> bool {
        let (jobs, copies) = match *turns {
            Turns::All => (true, true),
            Turns::Some { jobs, copies } => (jobs > 0, copies > 0),
        };
        jobs && !self.crowded.is_empty() || copies && !self.over_origin.is_empty()
    }

    /// Takes those out that have a turn. At most as many as one device may have jobs, unless it is all.
    fn take_turns(&mut self, turns: Turns) -> BioList {
        let mut list = BioList::new();
        match turns {
            Turns::All => {
                list.append(self.crowded.take());
                list.append(self.over_origin.take());
            }
            Turns::Some { jobs, copies } => {
                take_some(&mut self.crowded, jobs, &mut list);
                take_some(&mut self.over_origin, copies, &mut list);
            }
        }
        list
    }
}

/// Moves the first `n` bios of a list to the end of another one.
fn take_some(from: &mut BioList, n: u32, to: &mut BioList) {
    for _ in 0..n {
        match from.pop() {
            Some(bio) => to.push(bio),
            None => return,
        }
    }
}

/// The devices of a pool that have something to be done by its worker.
pub(crate) struct Rosters {
    /// Bios wait for a commit.
    pub(crate) flushes: Roster<Arc<Thin>>,
    /// Bios wait for a run of the pool's worker, the next one or one after which there are more jobs.
    pub(crate) stalled: Roster<Arc<Thin>>,
}

impl Rosters {
    pub(crate) fn new() -> Self {
        Self {
            flushes: Roster::new(),
            stalled: Roster::new(),
        }
    }
}

/// Rounds through the deferred bios after which a lookup waits for all that it needs. Without
/// memory blocks may leave the cache as fast as they come.
const ROUNDS: u32 = 64;

/// An activation of a thin device.
///
/// Whoever works on the device holds a reference for the time being; the destructor of its table
/// waits until there is none (`gone`), so that afterwards it is closed and its mapped device is
/// not used any more.
pub(crate) struct Thin {
    /// Higher than that of every device made before.
    pub(crate) serial: u64,
    /// The pool has suspended the device along with itself.
    pub(crate) suspended_by_pool: AtomicFlag,
    /// How many devices its I/O could go to when the pool was suspended last (`dm::stack`).
    reach: Atomic<usize>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) id: DevId,
    pub(crate) md: MappedDev,
    pub(crate) open: Arc<OpenThin>,
    pub(crate) layer: Arc<Layer>,
    pub(crate) origin: Option<Origin>,
    pub(crate) waiting: IrqLock<Waiting>,
    /// Shared with other activations of the same device.
    device: Activation,
    /// The chunks that are being filled.
    claims: Claims,
    /// Serves the deferred bios.
    work: Work<Thin>,
    /// Serves the discards.
    discard_work: Work<Thin>,
    /// Last: when it is dropped, everything above has been.
    _gone: SignalOnDrop,
}

/// Tells that what it was part of does not exist any more.
struct SignalOnDrop(Arc<Completion>);

impl Drop for SignalOnDrop {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}

impl Resume for Thin {
    fn resume(&self, bio: Bio) {
        self.wait_for(WaitFor::Worker, bio);
    }
}

/// The lists of [`Waiting`] that bios are put into.
#[derive(Clone, Copy)]
pub(crate) enum WaitFor {
    Worker,
    Commit,
    Discard,
    /// The next run of the pool's worker for another reason, or by the clock.
    NextRun,
    /// A run of it after which the device may have more jobs.
    Job,
    /// A run of it after which more chunks may be copied from the external origin.
    OriginCopy,
    Space,
}

impl Thin {
    #[expect(
        clippy::too_many_arguments,
        reason = "the constructor's parts, each named once"
    )]
    fn new(
        serial: u64,
        pool: Arc<Pool>,
        id: DevId,
        md: MappedDev,
        open: Arc<OpenThin>,
        layer: Arc<Layer>,
        origin: Option<Origin>,
        device: Activation,
        gone: Arc<Completion>,
    ) -> Result<Arc<Self>> {
        let waiting = IrqLock::new(Waiting {
            deferred: BioList::new(),
            flushes: BioList::new(),
            flushing: BioList::new(),
            discards: BioList::new(),
            stalled: BioList::new(),
            crowded: BioList::new(),
            over_origin: BioList::new(),
            retry: BioList::new(),
            flush_seat: Seat::Closed,
            stall_seat: Seat::Closed,
            requeue: false,
        })?;
        let thin = Arc::new(
            Self {
                serial,
                suspended_by_pool: AtomicFlag::new(false),
                reach: Atomic::new(0),
                pool,
                id,
                md,
                open,
                layer,
                origin,
                waiting,
                device,
                claims: Claims::new(),
                work: Work::new(|thin: &Arc<Self>| plugged(|| thin.process_deferred()))?,
                discard_work: Work::new(Self::process_discards)?,
                _gone: SignalOnDrop(gone),
            },
            GFP_KERNEL,
        )?;
        thin.arm().inspect_err(|_| thin.disarm())?;
        Ok(thin)
    }

    /// Readies the device's works and its places in the rosters, all of which refer to the device.
    fn arm(self: &Arc<Self>) -> Result {
        let place = || KBox::new(Place::new(self.clone()), GFP_KERNEL).map(Seat::Home);
        let (flush, stall) = (place()?, place()?);
        self.waiting.with(|w| {
            w.flush_seat = flush;
            w.stall_seat = stall;
        });
        self.work.arm(self.clone())?;
        self.discard_work.arm(self.clone())
    }

    /// Ends the device's works and its places in the rosters for good. Sleeps.
    pub(crate) fn disarm(&self) {
        let closed = self
            .waiting
            .with(|w| [w.flush_seat.close(), w.stall_seat.close()]);
        if closed.iter().any(|c| c.is_err()) {
            // Who serves the rosters drops what has nowhere to go back to.
            self.pool.wake();
        }
        drop(closed);
        self.work.disarm();
        self.discard_work.disarm();
    }

    /// Enters the epochs, before the lookup of the mapping that `op` is to rely on. Any context.
    pub(crate) fn enter(&self, op: Op) -> Stay {
        Stay {
            pool: self.pool.epochs.enter(),
            writes: (op == Op::Write).then(|| self.device.writes.enter()),
        }
    }

    /// Leaves the epochs. Any context.
    pub(crate) fn leave(&self, stay: Stay) {
        if let Some(writes) = stay.writes {
            self.device.writes.leave(writes);
        }
        self.pool.epochs.leave(stay.pool);
    }

    /// Makes the device's work run soon. Any context.
    pub(crate) fn wake(&self) {
        self.work.queue(&self.pool.thin_wq);
    }

    /// Lets a bio wait, and wakes who will see to it. Any context. The bio must be in no epoch.
    pub(crate) fn wait_for(&self, what: WaitFor, bio: Bio) {
        let mut list = BioList::new();
        list.push(bio);
        self.all_wait_for(what, list);
    }

    /// Lets bios wait, as [`Self::wait_for`], if there are any.
    fn all_wait_for(&self, what: WaitFor, list: BioList) {
        if list.is_empty() {
            return;
        }
        let mut list = Some(list);
        let place = self.waiting.with(|w| {
            if w.requeue {
                return None;
            }
            let (to, seat) = match what {
                WaitFor::Worker => (&mut w.deferred, None),
                WaitFor::Commit => (&mut w.flushes, Some(&mut w.flush_seat)),
                WaitFor::Discard => (&mut w.discards, None),
                WaitFor::NextRun => (&mut w.stalled, Some(&mut w.stall_seat)),
                WaitFor::Job => (&mut w.crowded, Some(&mut w.stall_seat)),
                WaitFor::OriginCopy => (&mut w.over_origin, Some(&mut w.stall_seat)),
                WaitFor::Space => (&mut w.retry, None),
            };
            to.append(list.take()?);
            seat?.take()
        });
        if let Some(l) = list {
            l.end_all(Status::Requeue);
            return;
        }
        let rosters = &self.pool.rosters;
        let roster = match what {
            WaitFor::Commit => Some(&rosters.flushes),
            WaitFor::NextRun | WaitFor::Job | WaitFor::OriginCopy => Some(&rosters.stalled),
            WaitFor::Worker | WaitFor::Discard | WaitFor::Space => None,
        };
        if let (Some(roster), Some(place)) = (roster, place) {
            roster.list(place);
        }
        match what {
            WaitFor::Worker => self.wake(),
            WaitFor::Commit => self.pool.wake(),
            WaitFor::Discard => self.discard_work.queue(&self.pool.discard_wq),
            WaitFor::NextRun | WaitFor::Job | WaitFor::OriginCopy | WaitFor::Space => {}
        }
    }

    /// Hands a whole list to the device's work.
    ///
    /// Only writes wait in cells, so only they come here.
    pub(crate) fn defer_list(&self, list: BioList) {
        if list.is_empty() {
            return;
        }
        let mut list = Some(list);
        self.waiting.with(|w| {
            if !w.requeue {
                if let Some(l) = list.take() {
                    w.deferred.append(l);
                }
            }
        });
        match list {
            Some(l) => l.end_all(Status::Requeue),
            None => self.wake(),
        }
    }

    /// Puts what waits for space back to work.
    pub(crate) fn retry_waiting(&self) {
        let moved = self.waiting.with(|w| {
            let l = w.retry.take();
            let any = !l.is_empty();
            w.deferred.append(l);
            any
        });
        if moved {
            self.wake();
        }
    }

    /// Ends what waits for space.
    pub(crate) fn fail_waiting(&self, status: Status) {
        self.waiting.with(|w| w.retry.take()).end_all(status);
    }

    /// Sends every waiting bio back to device-mapper from now on, or stops doing so.
    pub(crate) fn set_requeue(&self, on: bool) {
        let lists = self.waiting.with(|w| {
            w.requeue = on;
            if on {
                [
                    w.deferred.take(),
                    w.flushes.take(),
                    w.discards.take(),
                    w.stalled.take(),
                    w.crowded.take(),
                    w.over_origin.take(),
                    w.retry.take(),
                ]
            } else {
                [const { BioList::new() }; 7]
            }
        });
        for l in lists {
            l.end_all(Status::Requeue);
        }
    }

    /// Whether the bio asks for durability of what was rolled back. A roll-back says so before it
    /// clears the signs of changes: whoever finds nothing changed, and would let the bio go
    /// without a commit, must ask this after that.
    pub(crate) fn flush_is_void(&self, bio: &Bio) -> bool {
        bio.is_flush() && self.pool.meta.changes_were_aborted(&self.open)
    }

    /// Marks the bios that the commit which begins now is for.
    pub(crate) fn begin_flush(&self) {
        self.waiting.with(|w| {
            let l = w.flushes.take();
            w.flushing.append(l);
        });
    }

    /// Sends the bios of a commit on their way, now that it has ended. What has come meanwhile waits for
    /// the next one: then the place goes into the roster again.
    pub(crate) fn end_flush(place: KBox<Place<Arc<Self>>>, committed: Result<bool>) {
        let thin = place.who.clone();
        let (mut list, again, closed) = thin.waiting.with(|w| {
            let list = w.flushing.take();
            if w.flushes.is_empty() {
                (list, None, w.flush_seat.give_back(place))
            } else {
                (list, Some(place), None)
            }
        });
        drop(closed);
        if let Some(place) = again {
            thin.pool.rosters.flushes.list(place);
            thin.pool.wake();
        }
        thin.send_committed(&mut list, committed);
    }

    /// `committed` as [`Pool::commit_for_flushes`] has said.
    fn send_committed(self: &Arc<Self>, list: &mut BioList, committed: Result<bool>) {
        while let Some(mut bio) = list.pop() {
            if committed.is_err() || self.pool.meta.changes_were_aborted(&self.open) {
                // What the submitter wants durable has been rolled back, or cannot be written.
                bio.end(Status::IoError);
            } else if bio.bytes() == 0 && committed == Ok(true) {
                // The commit began after the bio had come, with a flush of the data device.
                bio.end(Status::Ok);
            } else if bio.bytes() == 0 {
                // All that the flush must cover has been committed, whatever has changed since.
                self.pool.direct_flush(&mut bio);
                bio.submit();
            } else {
                change::committed(self, bio);
            }
        }
    }

    /// Takes note of how far the device's I/O can go now. By the table in force, be it another than
    /// this one. ENOMEM: taken for the farthest of all. Sleeps.
    pub(crate) fn measure_reach(&self) -> Result {
        let reach = self.md.disk().ok_or(ENXIO).and_then(stack::reach);
        self.reach
            .store(*reach.as_ref().unwrap_or(&usize::MAX), Relaxed);
        reach.map(|_| ())
    }

    /// Where the device stands: above all that have a lower place, or beside them.
    pub(crate) fn place(&self) -> (usize, u64) {
        (self.reach.load(Relaxed), self.serial)
    }

    /// Suspends the device along with its pool. Sleeps.
    pub(crate) fn suspend_with_pool(&self) {
        self.md.internal_suspend_noflush();
        self.suspended_by_pool.store(true, Relaxed);
    }

    /// Undoes [`Self::suspend_with_pool`], if it was done. Sleeps.
    pub(crate) fn resume_with_pool(&self) {
        if self.suspended_by_pool.xchg(false, Relaxed) {
            self.md.internal_resume();
        }
    }

    /// Lets a write that has to copy a chunk wait until the snapshot that is being made of the device
    /// is complete. Any context.
    pub(crate) fn wait_for_snapshot(&self, bio: Bio) {
        self.wait_for(WaitFor::NextRun, bio);
        if !self.device.snapshots.is_up() {
            // It has become so before the bio was in the list.
            self.pool.wake();
        }
    }

    /// Puts what waits for the next run of the pool's worker back to work, and wakes the device's work if
    /// anybody has a turn. The pool's worker only. While some wait for one, the place goes into the roster
    /// again.
    ///
    /// If there is nothing to be done the device's work is left alone. No wake is lost so: who adds to
    /// `deferred` wakes the work, and what ends a wait for a turn is followed by a run of this.
    pub(crate) fn go_on(place: KBox<Place<Arc<Self>>>) {
        let thin = place.who.clone();
        let turns = thin.turns();
        let (wake, again, closed) = thin.waiting.with(|w| {
            // They have waited for longer than the others.
            let mut list = w.stalled.take();
            list.append(w.deferred.take());
            w.deferred = list;
            let wake = !w.deferred.is_empty() || w.has_turns(&turns);
            if w.crowded.is_empty() && w.over_origin.is_empty() {
                (wake, None, w.stall_seat.give_back(place))
            } else {
                (wake, Some(place), None)
            }
        });
        drop(closed);
        if let Some(place) = again {
            thin.pool.rosters.stalled.list(place);
        }
        if wake {
            thin.wake();
        }
    }

    /// Serves the bios that wait for it. The device's work only.
    ///
    /// Those whose mappings are not in memory are kept until all the others have been served. Then
    /// the blocks that all of them miss are read at once, and they are looked at again: so a level of the
    /// tree costs one time the disk's latency, not one for each bio. Bios overtake each other so. They are
    /// all under way at the same time, which gives them no order: who wants one waits for the end of
    /// the first.
    ///
    /// Those for which there is no job wait in lists of their own, which are gone through by turns. A bio
    /// that has not been looked at never waits behind them, for it may need no job.
    fn process_deferred(self: &Arc<Self>) {
        let turns = self.turns();
        let mut list = self.waiting.with(|w| {
            let mut list = w.take_turns(turns);
            list.append(w.deferred.take());
            list
        });
        let mut rounds = 0;
        loop {
            let mut cold = self.process_all(list);
            // After they were put into the lists: jobs may have ended, and the worker may have run for
            // them, before. From here on each that ends makes it run. Also, who had a turn may have
            // needed no job: then it is the next one's.
            let turns = self.turns();
            let mut next = self.waiting.with(|w| w.take_turns(turns));
            if let Some(first) = cold.pop() {
                self.pool.meta.prefetch();
                if rounds < ROUNDS && change::bring_in(self, &first) {
                    cold.push(first);
                } else {
                    self.process_waiting(first);
                }
                rounds = rounds.saturating_add(1);
            } else if next.is_empty() {
                return;
            }
            next.append(cold);
            next.append(self.waiting.with(|w| w.deferred.take()));
            list = next;
        }
    }

    /// Serves bios, and lets those wait for which there is no job. Returns those whose mappings are not in
    /// memory.
    fn process_all(self: &Arc<Self>, mut list: BioList) -> BioList {
        let mut cold = BioList::new();
        let mut crowded = BioList::new();
        let mut over_origin = BioList::new();
        while let Some(bio) = list.pop() {
            match change::process(self, bio, false) {
                Left::Nothing => {}
                Left::Cold(bio) => cold.push(bio),
                Left::Crowded(bio) => crowded.push(bio),
                Left::OriginCrowded(bio) => over_origin.push(bio),
            }
        }
        self.all_wait_for(WaitFor::Job, crowded);
        self.all_wait_for(WaitFor::OriginCopy, over_origin);
        cold
    }

    /// Serves a bio whose lookup waits for all that it needs.
    fn process_waiting(self: &Arc<Self>, bio: Bio) {
        match change::process(self, bio, true) {
            Left::Nothing => {}
            Left::Cold(bio) => self.wait_for(WaitFor::NextRun, bio),
            Left::Crowded(bio) => self.wait_for(WaitFor::Job, bio),
            Left::OriginCrowded(bio) => self.wait_for(WaitFor::OriginCopy, bio),
        }
    }

    /// Serves the discards that wait. The device's discard work only.
    fn process_discards(self: &Arc<Self>) {
        let list = self.waiting.with(|w| w.discards.take());
        discard::process(self, list);
    }
}

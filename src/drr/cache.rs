// SPDX-License-Identifier: GPL-2.0

//! Copies in memory: shared pages leave the page caches of layers that use them less, because a sibling
//! can give them back at memory's speed (HP-Mapper's removal of duplicates; SoCC 2019).
//!
//! - `off`: everything stays.
//! - `pressure`: when the system reclaims memory, all copies but one are looked for, in the order of the
//!   table; when a memory control group does, at a limit of its own, those copies that are charged to it.
//! - `eager`: besides, of whatever is read or served two copies stay, the others leave soon. Two, so that
//!   nobody has to ask the disk when one of two containers ends, or is short of memory of its own.
//!
//! The access table tells which pages several layers have. A worker looks at each of them where it is. What
//! is hot stays (read more than once since it came, or mapped), then the newest, then the oldest, which
//! has been there for everybody else. What leaves is a whole folio of a file, clean, unmapped, without anybody's
//! reference, that no journal needs, and of which the table knows another source for every page. So
//! nothing is lost but time, should the other source go before it is asked; and a record is as weak here
//! as anywhere: it only says where to look.
//!
//! No reference or lock on a folio outlives one look, and none on an inode is taken. Neighbours: dm/folio.rs
//! (the look, and the removal), table.rs (who has what), serve.rs (`Drr::publish` asks).

use super::{
    bits::Bits,
    demand::{Demand, Group, Wanted},
    group::{Frames, Source, GROUP_PAGES, GROUP_SHIFT, MAX_SOURCES},
    platform::{now_ns, pause},
    stats::{Counter, Tally},
    table::Table,
    turns::Turns,
    Drr, Layer,
};
use crate::dm::{
    folio::{Dropped, LockedSource, Reject, Use},
    shrinker::{Shrink, ShrinkGroups},
    work::{Work, WorkQueue},
};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kernel::{prelude::*, sync::Arc};

/// Between what makes a copy and the look at it: what was read ahead is not told from what nobody wants
/// before its reader has come to it. In milliseconds.
const DELAY_MS: u32 = 100;
/// Copies that stay when nobody asks for memory, and when the system does.
const AT_EASE: usize = 2;
const UNDER_PRESSURE: usize = 1;
const NS_PER_MS: u64 = 1_000_000;

/// What becomes of copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CachePolicy {
    Off,
    Pressure,
    Eager,
}

/// Policies, by their numbers as a module parameter, and their words in messages.
const POLICIES: [(CachePolicy, &str); 3] = [
    (CachePolicy::Off, "off"),
    (CachePolicy::Pressure, "pressure"),
    (CachePolicy::Eager, "eager"),
];

impl CachePolicy {
    /// By its number as a module parameter.
    pub(crate) fn from_param(n: u32) -> Option<Self> {
        POLICIES.get(n as usize).map(|(policy, _)| *policy)
    }

    /// By its word in a message; EINVAL for any other.
    pub(super) fn from_word(word: &str) -> Result<Self> {
        POLICIES
            .iter()
            .find(|(_, name)| *name == word)
            .map(|(policy, _)| *policy)
            .ok_or(EINVAL)
    }
}

/// Cache management of one pool.
pub(crate) struct Cache {
    policy: AtomicU32,
    /// Buckets of the table that are to be looked through.
    marks: Bits,
    /// Those to be marked when the next round begins, whatever makes it begin: they have copies to which somebody
    /// refers, and nothing tells when that ends.
    later: Bits,
    /// Where among them the next run of the work goes on; [`NO_ROUND`]: nowhere, until the delay is over.
    next_mark: AtomicUsize,
    /// Pages that are wanted back.
    demand: Demand,
    /// The bucket that is looked through next for them.
    hand: AtomicUsize,
    turns: Turns,
    table: Arc<Table>,
    wq: WorkQueue,
    /// Looks at marked buckets, and for what is wanted back.
    work: Work<Drr>,
    /// Begins a round over the marked buckets. A work of its own: while one waits for a delay, to queue it at once
    /// would do nothing.
    delay: Work<Drr>,
}

const NO_ROUND: usize = usize::MAX;

impl Cache {
    /// Process context; sleeps.
    pub(super) fn new(table: Arc<Table>, policy: CachePolicy) -> Result<Self> {
        Ok(Self {
            policy: AtomicU32::new(policy as u32),
            marks: Bits::new(table.buckets()).ok_or(ENOMEM)?,
            later: Bits::new(table.buckets()).ok_or(ENOMEM)?,
            next_mark: AtomicUsize::new(NO_ROUND),
            demand: Demand::new(table.buckets()),
            hand: AtomicUsize::new(0),
            turns: Turns::new(),
            table,
            wq: WorkQueue::ordered(c"dm-drr-cache")?,
            work: Work::new(Drr::manage_cache)?,
            delay: Work::new(Drr::look_at_marks)?,
        })
    }

    /// The policy in force. Any context.
    pub(super) fn policy(&self) -> CachePolicy {
        CachePolicy::from_param(self.policy.load(Ordering::Relaxed)).unwrap_or(CachePolicy::Off)
    }

    /// Puts a policy in force. Process context.
    pub(super) fn set_policy(&self, policy: CachePolicy) {
        self.policy.store(policy as u32, Ordering::Relaxed);
        self.demand.recorded();
        if policy == CachePolicy::Off {
            // Nobody is at work for it any more, and it would be old when somebody is again.
            self.demand.withdraw();
            return;
        }
        if policy == CachePolicy::Eager {
            self.marks.set_all();
            self.begin_round();
        }
        // Somebody who found the policy before may have asked since it was withdrawn, and asks no more until
        // there is room.
        self.work.queue(&self.wq);
    }

    /// Pages of `key` have been recorded. Any context but NMI.
    pub(super) fn recorded(&self, key: u64, domain: u32) {
        let policy = self.policy();
        if policy == CachePolicy::Off {
            return;
        }
        self.demand.recorded();
        if policy != CachePolicy::Eager {
            return;
        }
        if let Some(bucket) = self.table.bucket_with_copies(key, domain, AT_EASE) {
            self.look_soon(bucket);
        }
    }

    /// Has a bucket of the table looked through in a moment. Any context but NMI.
    fn look_soon(&self, bucket: usize) {
        self.marks.set(bucket);
        self.delay.queue_after(&self.wq, DELAY_MS);
    }

    /// Has the marked buckets looked through now, unless that is being done. Any context but NMI.
    fn begin_round(&self) {
        // As the bits, sequentially consistent: a round that ends at this moment sees the marks, or is seen to have
        // ended.
        let _ = self
            .next_mark
            .compare_exchange(NO_ROUND, 0, Ordering::SeqCst, Ordering::SeqCst);
        self.work.queue(&self.wq);
    }

    fn may_have_copies(&self) -> bool {
        self.policy() != CachePolicy::Off && !self.demand.is_barren(now_ns())
    }
}

/// What is told here leaves a moment later, and where it is looked for nobody waits.
impl ShrinkGroups for Cache {
    fn count(&self, group: Option<Group>) -> usize {
        if !self.may_have_copies() {
            return 0;
        }
        let room = match group {
            None => self.demand.room_for_all(),
            Some(group) => self.demand.room_for_group(group, now_ns()),
        };
        room.min(self.table.groups().saturating_mul(GROUP_PAGES))
    }

    fn ask(&self, n: usize, group: Option<Group>) -> bool {
        let heard = self.may_have_copies()
            && match group {
                None => self.demand.ask_for_all(n),
                Some(group) => self.demand.ask_for_group(group, n, now_ns()),
            };
        if heard {
            self.work.queue(&self.wq);
        }
        heard
    }
}

/// The access table's memory. A record tells where a copy is that takes 256 times as much: the copies go
/// first.
pub(super) struct Records(pub(super) Arc<Cache>);

impl Shrink for Records {
    fn count(&self) -> usize {
        if self.0.may_have_copies() {
            0
        } else {
            self.0.table.groups()
        }
    }

    fn shrink(&self, groups: usize) -> usize {
        self.0.table.shrink(groups)
    }
}

impl Drr {
    /// Begins cache management, which holds references to `self` until [`Self::shut_down`]; that also where
    /// this fails. Process context.
    pub(crate) fn start(self: &Arc<Self>) -> Result {
        self.cache.work.arm(self.clone())?;
        self.cache.delay.arm(self.clone())
    }

    /// Ends it for good. Process context; sleeps.
    pub(crate) fn shut_down(&self) {
        self.cache.delay.disarm();
        self.cache.work.disarm();
    }

    /// The work of the delay.
    fn look_at_marks(self: &Arc<Self>) {
        self.cache.marks.take_all_of(&self.cache.later);
        self.cache.begin_round();
    }

    /// The work: some of what is to be done, and then itself once more if that was not all.
    fn manage_cache(self: &Arc<Self>) {
        let cache = &self.cache;
        if cache.policy() == CachePolicy::Off {
            return;
        }
        let rest = cache.turns.run(
            now_ns,
            |end| self.look_at_marked(|| now_ns() < end),
            |end| self.walk_on(|| now_ns() < end),
        );
        if let Some(ns) = rest {
            let ms = u32::try_from(ns.div_ceil(NS_PER_MS)).unwrap_or(DELAY_MS);
            cache.work.queue_after(&cache.wq, ms);
        }
    }

    /// Goes on with the round over the marked buckets; whether it has come to the last one in time.
    fn look_at_marked(&self, in_time: impl Fn() -> bool) -> bool {
        let cache = &self.cache;
        let mut from = cache.next_mark.load(Ordering::Relaxed);
        if from == NO_ROUND || cache.policy() != CachePolicy::Eager {
            return true;
        }
        while let Some(bucket) = cache.marks.next(from) {
            if !in_time() {
                cache.next_mark.store(bucket, Ordering::Relaxed);
                return false;
            }
            from = bucket.saturating_add(1);
            // Before the look: who marks it from now on may have something that is not seen.
            cache.marks.clear(bucket);
            match self.thin_out(bucket, AT_EASE, &mut Wanted::everything()) {
                Again::Soon => cache.look_soon(bucket),
                Again::Later => {
                    cache.later.set(bucket);
                }
                Again::No => {}
            }
        }
        cache.next_mark.store(NO_ROUND, Ordering::SeqCst);
        // Those that were marked meanwhile, of which some delay may have ended during the round.
        if cache.marks.next(0).is_some() {
            cache.delay.queue_after(&cache.wq, DELAY_MS);
        }
        true
    }

    /// A part of the lap for what the system wants back; whether it has ended in time.
    fn walk_on(&self, in_time: impl Fn() -> bool) -> bool {
        let cache = &self.cache;
        while in_time() {
            let mut wanted = cache.demand.wanted();
            if wanted.is_nothing() {
                return true;
            }
            let hand = cache.hand.load(Ordering::Relaxed);
            let next = self.table.next_bucket(hand);
            // Those in between are empty.
            let end = next.map_or(self.table.buckets(), |n| n.saturating_add(1));
            if !cache.demand.step(end.saturating_sub(hand)) {
                // All of it has been looked through; whatever is still wanted is not here.
                if cache.demand.give_up(now_ns()) {
                    return true;
                }
                continue;
            }
            cache
                .hand
                .store(if next.is_none() { 0 } else { end }, Ordering::Relaxed);
            let Some(bucket) = next else { continue };
            self.thin_out(bucket, UNDER_PRESSURE, &mut wanted);
            if wanted.pages_gone() != 0 {
                cache.demand.left(&wanted);
            }
        }
        false
    }

    /// Thins out the pages of one bucket of the table to `keep` copies, as far as that is wanted.
    fn thin_out(&self, bucket: usize, keep: usize, wanted: &mut Wanted) -> Again {
        let mut again = Again::No;
        let mut after = None;
        loop {
            let copied = self.table.copied(bucket, keep, after);
            if copied.iter().all(Option::is_none) {
                break;
            }
            // Before any folio is locked: whoever holds it may allocate memory, for which reclaim may wait
            // for a folio.
            let state = self.state.read();
            for (key, domain) in copied.into_iter().flatten() {
                after = Some((key, domain));
                let mut thinning = Thinning {
                    drr: self,
                    layers: &state.active,
                    domain,
                    keep,
                    wanted: &mut *wanted,
                    again,
                    tally: Tally::new(),
                };
                for slot in 0..GROUP_PAGES as u64 {
                    thinning.page((key << GROUP_SHIFT) | slot);
                }
                self.stats.add(&thinning.tally);
                again = thinning.again;
            }
            drop(state);
            // A bucket may have hundreds of such keys and domains.
            pause();
        }
        again
    }
}

/// When a bucket is worth another look.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    /// When something is recorded.
    No,
    /// With the next round: somebody refers to a copy.
    Later,
    /// In a moment: a copy was locked, so its reader is at it.
    Soon,
}

/// One look at the pages of a key.
struct Thinning<'a> {
    drr: &'a Drr,
    /// Held for as long as folios are locked.
    layers: &'a [Arc<Layer>],
    domain: u32,
    /// Copies that stay.
    keep: usize,
    /// Whose copies may leave, and which have.
    wanted: &'a mut Wanted,
    again: Again,
    tally: Tally,
}

impl Thinning<'_> {
    /// Lets the best copies of a page stay, and whatever is in use. In a frame of its own.
    #[inline(never)]
    fn page(&mut self, ppn: u64) {
        let sources = self.drr.table.sources(ppn, self.domain);
        if sources.len() <= self.keep {
            return;
        }
        // Only looked at, one after the other: they are unlocked again. Newest first.
        let mut copies: [Option<(Source, Use)>; MAX_SOURCES] = [None; MAX_SOURCES];
        let mut len: usize = 0;
        for source in sources.iter() {
            if let Some((_, usage)) = self.look(ppn, source) {
                if let Some(copy) = copies.get_mut(len) {
                    *copy = Some((*source, usage));
                    len = len.saturating_add(1);
                }
            }
        }
        let hot = copies.iter().flatten().filter(|(_, u)| u.hot).count();
        let mut spare = len.saturating_sub(self.keep);
        let oldest = len.saturating_sub(1);
        for n in Iterator::chain(1..oldest, [oldest, 0]) {
            let Some(Some((source, usage))) = copies.get(n) else {
                continue;
            };
            if !self.wanted.lets_go(usage.group) {
                continue;
            }
            // Of the newest, what was read ahead is wanted soon: it has to have been read. Who has asked
            // for memory itself does without it.
            let others = hot >= self.keep || self.wanted.by_group(usage.group);
            let may_leave = !usage.hot && (n != 0 || (usage.used && others));
            if spare == 0 || !may_leave {
                continue;
            }
            if let Some((page, usage)) = self.look(ppn, source) {
                spare = spare.saturating_sub(self.let_go(ppn, source, page, &usage).into());
            }
        }
    }

    /// Locks a source and sees how it is used.
    fn look(&mut self, ppn: u64, source: &Source) -> Option<(LockedSource, Use)> {
        match LockedSource::take(source.pfn, source.mapping, source.index) {
            Ok(page) => {
                let usage = page.usage();
                Some((page, usage))
            }
            Err(why) => {
                if why == Reject::Locked {
                    self.again = Again::Soon;
                }
                self.drr.reject(ppn, source, why, &mut self.tally);
                None
            }
        }
    }

    /// Takes the folio of a source out of the page cache, if all of it has other sources; whether it is out.
    fn let_go(&mut self, ppn: u64, source: &Source, page: LockedSource, usage: &Use) -> bool {
        let folio = Frames::of(ppn, source, usage.before, usage.pages, self.domain);
        let Some(folio) = folio.filter(|f| self.drr.table.all_have_others(f)) else {
            self.tally.add(Counter::CacheKeptPartial, 1);
            return false;
        };
        let layer = self.layers.iter().find(|l| l.serial == source.layer);
        let dropped = layer.map_or(Dropped::Refused, |layer| page.drop_from_cache(layer.own));
        if dropped != Dropped::Done {
            if dropped == Dropped::Busy {
                self.again = self.again.max(Again::Later);
            }
            self.tally.add(Counter::CacheKeptBusy, 1);
            return false;
        }
        self.tally.add(Counter::CacheDroppedPages, usage.pages);
        self.wanted.gone(usage.group, usage.pages as usize);
        self.drr.table.forget_folio(&folio);
        true
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Reads of shared pages that are on their way to the disk, and the reads that wait for them: those of one
//! domain.
//!
//! When several containers start at once, each would read the same pages: none has them yet. So a
//! read that goes to disk and will be recorded (the *leader*) is noted here with its pages, and a
//! read of the same pages inside the same domain (a *follower*) waits for its end. Then the record
//! is there, and the follower is looked up and served like any other read: from a record that is
//! proven. Waiting gives it no rights, so nothing can go wrong here but time.
//!
//! And that is bounded, for a leader may be throttled. *Patience* is twice what reads took lately. A leader that
//! takes longer is *stalled*: whoever waits for it goes on, and nobody follows it any more, whichever
//! of its pages he wants. A follower brings the time until which it waits along, and gets it from its
//! first wait: so all its waits together take patience, whatever the number of leaders. Who has less than the least
//! patience left waits no more, for the timer goes off that often. While a layer
//! has stalled last, its reads are noted, but nobody follows them.
//!
//! What "lately" is follows a longer read at once and a shorter one slowly, so that a queue which builds up at
//! the disk is not taken for a stalled leader. What a stalled read took teaches nothing, however many
//! of them a layer has: it may be throttled. Only when reads of two layers have stalled one after the other, and none
//! has ended in time between, it is the disk that is slow, and patience doubles. Reads that are short
//! by nature, those of metadata, teach only patience.
//!
//! # Invariants
//!
//! 1. An entry is in the bucket of its key from `lead` until `end` of its leader. A waiter is in
//!    an entry, and each is handed out exactly once, by `end` or by `detach`.
//! 2. `active` is at least the number of entries; `waiting` the number of waiters.
//!
//! Locks: one interrupt-safe spinlock a bucket and one for being counted, never two at once. Nothing here allocates after
//! construction: where a bucket is full the read is not noted, and nobody follows it. Any context
//! but NMI.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbours: peers.rs (one of these for each domain), serve.rs
//! (who leads, who follows), record.rs (the end of a leader).

use super::group::{key_of, keys, mask_of, slot_of, GROUP_PAGES};
use super::platform::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use super::platform::{array, Array, IrqLock};

/// Buckets of a domain, and how many domains have so many. They stay until the pool goes, some 35 KiB each time: those that
/// come after the first ones have fewer, which is room for 64 groups of pages that are being read.
const BUCKETS: usize = 64;
const MANY_DOMAINS: u32 = 256;
const BUCKETS_OF_MANY: usize = 8;
const BUCKET_ENTRIES: usize = 8;
/// A longer read leads with its first pages only.
const MAX_KEYS: u64 = 16;
/// Layers that are known to have stalled last.
const SLOW_LAYERS: usize = 8;
/// How long a follower waits at least and at most, in nanoseconds.
pub(crate) const PATIENCE_MIN: u64 = 50_000_000;
const PATIENCE_MAX: u64 = 2_000_000_000;

/// A list of those who wait.
pub(crate) trait Waiters: Default {
    /// One of them.
    type Item;
    fn push(&mut self, item: Self::Item);
    fn append(&mut self, others: Self);
}

/// Evidence of being a leader; to be given back to [`Reads::end`].
#[must_use]
#[derive(Debug)]
pub(crate) struct Lead {
    id: u64,
    domain: u32,
    /// Serial of the layer that reads.
    by: u64,
    first: u64,
    pages: u64,
    started: u64,
}

impl Lead {
    /// The first page, how many, and when it began, in nanoseconds.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        (self.first, self.pages, self.started)
    }

    /// The domain whose reads it is one of.
    pub(crate) fn domain(&self) -> u32 {
        self.domain
    }
}

/// What becomes of a read that goes to disk.
#[derive(Debug)]
pub(crate) enum Start {
    /// Others may follow it.
    Lead(Lead),
    /// One of the same pages has begun in the meantime, as far as that many pages go.
    Follow(Place, u64),
    /// There was no room: nobody can follow it.
    Alone,
}

/// Whether a follower that is to go on at the moment `until` may wait.
pub(crate) fn may_wait(until: u64, now: u64) -> bool {
    now.saturating_add(PATIENCE_MIN) <= until
}

/// Where a follower is to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    domain: u32,
    key: u64,
    lead: u64,
}

impl Place {
    /// The domain of the leader.
    pub(crate) fn domain(&self) -> u32 {
        self.domain
    }
}

/// Followers that go on without their leaders.
pub(crate) struct Detached<W> {
    /// Those whose leader is stalled. They are not to wait for another one.
    pub(crate) stalled: W,
    /// Those who may have to go on because of the time that one of them has brought along. Whose own time is not
    /// over may follow another leader, or the same one again.
    pub(crate) due: W,
    pub(crate) count: u32,
    /// Others are still waiting: the nanoseconds until the first of them has to go on.
    pub(crate) next: Option<u64>,
}

impl<W: Waiters> Detached<W> {
    /// Nobody, and nobody waits.
    pub(crate) fn nobody() -> Self {
        Self {
            stalled: W::default(),
            due: W::default(),
            count: 0,
            next: None,
        }
    }

    /// Adds those of another domain.
    pub(crate) fn append(&mut self, other: Self) {
        self.stalled.append(other.stalled);
        self.due.append(other.due);
        self.count = self.count.saturating_add(other.count);
        self.next = self.next.into_iter().chain(other.next).min();
    }
}

/// The part of a leader's pages that lies in one group of the access table.
struct Entry<W> {
    /// 0: the entry is free.
    lead: u64,
    key: u64,
    /// Cleared when the leader is taken for stalled, and never set of a layer that has stalled last: nobody
    /// follows it any more.
    pages: u16,
    by: u64,
    started: u64,
    /// When the first of those who wait has to go on.
    due: u64,
    count: u32,
    waiters: W,
}

impl<W: Waiters> Entry<W> {
    fn free() -> Self {
        Self {
            lead: 0,
            key: 0,
            pages: 0,
            by: 0,
            started: 0,
            due: u64::MAX,
            count: 0,
            waiters: W::default(),
        }
    }

    fn is_late(&self, now: u64, patience: u64) -> bool {
        now.saturating_sub(self.started) > patience
    }

    fn take(&mut self) -> (W, u32) {
        self.due = u64::MAX;
        (
            core::mem::take(&mut self.waiters),
            core::mem::take(&mut self.count),
        )
    }
}

struct Bucket<W> {
    entries: [Entry<W>; BUCKET_ENTRIES],
}

impl<W: Waiters> Bucket<W> {
    /// Who reads most of the `pages` from `ppn` on, and how many.
    fn leader(&mut self, ppn: u64, pages: u64, at: &Moment) -> Option<(Place, u64)> {
        let (key, slot) = (key_of(ppn), slot_of(ppn));
        let domain = at.domain;
        self.of(key, at)
            .map(|e| {
                let run = e.pages.checked_shr(slot as u32).unwrap_or(0);
                let lead = e.lead;
                let place = Place { domain, key, lead };
                (place, u64::from(run.trailing_ones()).min(pages))
            })
            .max_by_key(|(_, n)| *n)
            .filter(|(_, n)| *n != 0)
    }

    /// The entries of pages of `key` that can be followed.
    fn of<'a>(&'a mut self, key: u64, at: &'a Moment) -> impl Iterator<Item = &'a mut Entry<W>> {
        self.entries
            .iter_mut()
            .filter(move |e| e.lead != 0 && e.key == key && !e.is_late(at.now, at.patience))
    }
}

/// When somebody asks, of which domain.
struct Moment {
    domain: u32,
    now: u64,
    patience: u64,
}

/// The reads of one domain.
pub(crate) struct Reads<W> {
    domain: u32,
    buckets: Array<IrqLock<Bucket<W>>>,
    active: AtomicU32,
    waiting: AtomicU32,
    /// When those who wait are to be looked at next.
    look_at: AtomicU64,
    /// Held by who begins to wait, as long as it takes to be counted.
    counting: IrqLock<()>,
    ids: AtomicU64,
    /// How long reads took lately, in nanoseconds.
    latency: AtomicU64,
    /// The layer whose read has stalled, if none has ended in time since.
    stalled: AtomicU64,
    /// Layers of which a read has stalled, and none has ended in time since, as far as there is room.
    slow: [AtomicU64; SLOW_LAYERS],
    slow_hand: AtomicUsize,
}

impl<W: Waiters> Reads<W> {
    /// No reads of `domain`. `None` without memory. Process context.
    pub(crate) fn new(domain: u32) -> Option<Self> {
        // By its own number, so that a domain cannot tell how many others there are.
        let buckets = if domain < MANY_DOMAINS {
            BUCKETS
        } else {
            BUCKETS_OF_MANY
        };
        Some(Self {
            domain,
            buckets: array(buckets, |_| {
                IrqLock::new(Bucket {
                    entries: core::array::from_fn(|_| Entry::free()),
                })
            })?,
            active: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            look_at: AtomicU64::new(u64::MAX),
            counting: IrqLock::new(()),
            ids: AtomicU64::new(1),
            latency: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            slow: core::array::from_fn(|_| AtomicU64::new(0)),
            slow_hand: AtomicUsize::new(0),
        })
    }

    fn bucket(&self, key: u64) -> Option<&IrqLock<Bucket<W>>> {
        let number = key.checked_rem(self.buckets.len() as u64)?;
        self.buckets.get(usize::try_from(number).ok()?)
    }

    /// Whether there is any leader.
    pub(crate) fn any(&self) -> bool {
        self.active.load(Ordering::Relaxed) != 0
    }

    fn at(&self, now: u64) -> Moment {
        Moment {
            domain: self.domain,
            now,
            patience: self.patience(),
        }
    }

    /// Begins a read of these pages by layer `by`: notes it as a leader or, if it may follow, finds one, of two that
    /// begin at once. `now` is in nanoseconds.
    pub(crate) fn start(
        &self,
        first: u64,
        pages: u64,
        by: u64,
        now: u64,
        may_follow: bool,
    ) -> Start {
        let wanted = pages;
        let pages = pages.min(MAX_KEYS.saturating_mul(GROUP_PAGES as u64) - slot_of(first) as u64);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let at = self.at(now);
        let is_slow = self.is_slow(by);
        let mut noted = false;
        for key in keys(first, pages) {
            let Some(bucket) = self.bucket(key) else {
                continue;
            };
            self.active.fetch_add(1, Ordering::Relaxed);
            let begun = bucket.with(|b| {
                if may_follow && key == key_of(first) {
                    if let Some(other) = b.leader(first, wanted, &at) {
                        return Err(Some(other));
                    }
                }
                let free = b.entries.iter_mut().find(|e| e.lead == 0);
                let e = free.ok_or(None)?;
                e.lead = id;
                e.key = key;
                e.pages = if is_slow {
                    0
                } else {
                    mask_of(key, first, pages)
                };
                e.by = by;
                e.started = now;
                Ok(())
            });
            if begun.is_err() {
                self.active.fetch_sub(1, Ordering::Relaxed);
            }
            match begun {
                Ok(()) => noted = true,
                // Only the first group is asked for one, so nothing has been noted yet.
                Err(Some((place, n))) => return Start::Follow(place, n),
                Err(None) => {}
            }
        }
        if noted {
            Start::Lead(Lead {
                id,
                domain: self.domain,
                by,
                first,
                pages,
                started: now,
            })
        } else {
            Start::Alone
        }
    }

    /// Which of the 16 pages around `ppn` are being read, `now`, by those who can be followed: bit n is
    /// page `(ppn & !15) + n`.
    pub(crate) fn in_flight(&self, ppn: u64, now: u64) -> u16 {
        if !self.any() {
            return 0;
        }
        let (key, at) = (key_of(ppn), self.at(now));
        self.bucket(key).map_or(0, |bucket| {
            bucket.with(|b| b.of(key, &at).fold(0, |all, e| all | e.pages))
        })
    }

    /// A leader of page `ppn`, and how many of the `pages` from there on it reads.
    pub(crate) fn leader(&self, ppn: u64, pages: u64, now: u64) -> Option<(Place, u64)> {
        if !self.any() {
            return None;
        }
        self.bucket(key_of(ppn))?
            .with(|b| b.leader(ppn, pages, &self.at(now)))
    }

    /// Lets a follower wait, until the moment `until` at most. `Err`: its leader has ended, or is stalled.
    pub(crate) fn follow(
        &self,
        place: Place,
        item: W::Item,
        until: u64,
        now: u64,
    ) -> Result<(), W::Item> {
        let Some(bucket) = self.bucket(place.key) else {
            return Err(item);
        };
        self.count_in();
        let at = self.at(now);
        let refused = bucket.with(|b| {
            let leader = b
                .of(place.key, &at)
                .find(|e| e.lead == place.lead && e.pages != 0);
            let Some(e) = leader else {
                return Some(item);
            };
            e.waiters.push(item);
            e.count = e.count.saturating_add(1);
            e.due = e.due.min(until);
            None
        });
        match refused {
            Some(item) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(item)
            }
            None => {
                // After it is in its entry: see `detach`. Never later than what others have asked for.
                let soon = now.saturating_add(PATIENCE_MIN).min(until);
                self.look_at.fetch_min(soon, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Somebody begins to wait: counted before anybody can take him out. When to look that was said before nobody
    /// waited means nothing any more: a look then would come or not, as others have had one done meanwhile.
    /// Forgotten before anybody else is counted, so that nobody's time is lost.
    fn count_in(&self) {
        self.counting.with(|()| {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                self.look_at.store(u64::MAX, Ordering::Relaxed);
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// A leader has ended, and published what it read: who waits for it. `short`: it was one of those
    /// that are short by nature.
    pub(crate) fn end(&self, lead: Lead, now: u64, short: bool) -> W {
        self.learn(lead.by, now.saturating_sub(lead.started), short);
        let mut out = W::default();
        for key in keys(lead.first, lead.pages) {
            let Some(bucket) = self.bucket(key) else {
                continue;
            };
            let found = bucket.with(|b| {
                let e = b
                    .entries
                    .iter_mut()
                    .find(|e| e.lead == lead.id && e.key == key)?;
                e.lead = 0;
                Some(e.take())
            });
            if let Some((waiters, count)) = found {
                self.active.fetch_sub(1, Ordering::Relaxed);
                self.waiting.fetch_sub(count, Ordering::Relaxed);
                out.append(waiters);
            }
        }
        out
    }

    /// Those who have waited long enough. Nothing is done before the time that the last call, or those who
    /// wait, have told of: so it does not matter who else has this called.
    pub(crate) fn detach(&self, now: u64) -> Detached<W> {
        let mut out = Detached::nobody();
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return out;
        }
        let look_at = self.look_at.load(Ordering::Relaxed);
        if now < look_at {
            out.next = Some(look_at.saturating_sub(now));
            return out;
        }
        // Whoever is not in its entry yet says after this when to look.
        self.look_at.store(u64::MAX, Ordering::Relaxed);
        let patience = self.patience();
        for bucket in self.buckets.iter() {
            bucket.with(|b| {
                for e in b.entries.iter_mut().filter(|e| e.lead != 0) {
                    self.detach_in(e, now, patience, &mut out);
                }
            });
        }
        self.waiting.fetch_sub(out.count, Ordering::Relaxed);
        // Patience may have become less by then.
        out.next = out.next.map(|next| next.min(PATIENCE_MIN));
        if let Some(next) = out.next {
            let soon = now.saturating_add(next);
            self.look_at.fetch_min(soon, Ordering::Relaxed);
        }
        out
    }

    /// The followers of one entry, if they have waited long enough.
    fn detach_in(&self, e: &mut Entry<W>, now: u64, patience: u64, out: &mut Detached<W>) {
        let late = e.is_late(now, patience);
        if late && e.pages != 0 {
            e.pages = 0;
            self.slow(e.by);
        }
        if e.count == 0 {
            return;
        }
        if late || now >= e.due {
            let (waiters, count) = e.take();
            out.count = out.count.saturating_add(count);
            if late {
                out.stalled.append(waiters);
            } else {
                out.due.append(waiters);
            }
            return;
        }
        // It is late one nanosecond after its patience.
        let end = e.started.saturating_add(patience).saturating_add(1);
        let left = e.due.min(end).saturating_sub(now);
        out.next = out.next.into_iter().chain([left]).min();
    }

    /// How long a follower waits, in nanoseconds.
    pub(crate) fn patience(&self) -> u64 {
        let lately = self.latency.load(Ordering::Relaxed);
        lately.saturating_mul(2).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// A read of layer `by` has taken `ns`. Two that end at once may forget one of them.
    fn learn(&self, by: u64, ns: u64, short: bool) {
        let patience = self.patience();
        if ns <= patience {
            if !short {
                self.stalled.store(0, Ordering::Relaxed);
            }
            self.trust(by);
            if !short || ns > self.latency.load(Ordering::Relaxed) {
                self.took(ns);
            }
            return;
        }
        self.slow(by);
        let other = self.stalled.swap(by, Ordering::Relaxed);
        if other != 0 && other != by {
            // No longer than anybody would have waited for it.
            self.stalled.store(0, Ordering::Relaxed);
            self.took(patience);
        }
    }

    fn took(&self, ns: u64) {
        let before = self.latency.load(Ordering::Relaxed);
        let now = if ns > before {
            ns
        } else {
            before - (before - ns) / 8
        };
        self.latency.store(now, Ordering::Relaxed);
    }

    fn is_slow(&self, layer: u64) -> bool {
        self.slow
            .iter()
            .any(|slow| slow.load(Ordering::Relaxed) == layer)
    }

    /// A read of `layer` has stalled.
    fn slow(&self, layer: u64) {
        if self.is_slow(layer) {
            return;
        }
        let free = self
            .slow
            .iter()
            .find(|slow| slow.load(Ordering::Relaxed) == 0);
        let oldest = self.slow_hand.fetch_add(1, Ordering::Relaxed) % SLOW_LAYERS;
        if let Some(place) = free.or_else(|| self.slow.get(oldest)) {
            place.store(layer, Ordering::Relaxed);
        }
    }

    /// A read of `layer` has ended in time.
    fn trust(&self, layer: u64) {
        for slow in &self.slow {
            // Most are 0 at all times: nothing is written then.
            if slow.load(Ordering::Relaxed) == layer {
                slow.store(0, Ordering::Relaxed);
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Reads of shared pages that are on their way to the disk, and the reads that wait for them.
//!
//! When several containers start at once, each would read the same pages: none has them yet. So a
//! read that goes to disk and will be recorded (the *leader*) is noted here with its pages, and a
//! read of the same pages inside the same domain (a *follower*) waits for its end. Then the record
//! is there, and the follower is looked up and served like any other read: from a record that is
//! proven. Waiting gives it no rights, so nothing can go wrong here but time.
//!
//! And that is bounded: who has waited longer than twice what reads took lately goes on without its
//! leader, which may be throttled. What "lately" is follows a longer read at once and a shorter one
//! slowly, so that a queue which builds up at the disk is not taken for a stalled leader. Reads that
//! are short by nature, those of metadata, teach only patience.
//!
//! # Invariants
//!
//! 1. An entry is in the bucket of its key from `lead` until `end` of its leader. A waiter is in
//!    an entry, and each is handed out exactly once, by `end` or by `detach`.
//! 2. `active` is at least the number of entries; `waiting` the number of waiters.
//!
//! Locks: one interrupt-safe spinlock a bucket, never two at once. Nothing here allocates after
//! construction: where a bucket is full the read is not noted, and nobody follows it. Any context
//! but NMI.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbours: serve.rs (who leads, who follows),
//! record.rs (the end of a leader).

use super::platform::{array, Array, IrqLock};
use super::table::{key_of, keys, mask_of, slot_of, GROUP_PAGES};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BUCKETS: usize = 64;
const BUCKET_ENTRIES: usize = 8;
/// A longer read leads with its first pages only.
const MAX_KEYS: u64 = 16;
/// How long a follower waits at least and at most, in nanoseconds.
const PATIENCE_MIN: u64 = 50_000_000;
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
    first: u64,
    pages: u64,
    started: u64,
}

impl Lead {
    /// The first page, how many, and when it began, in nanoseconds.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        (self.first, self.pages, self.started)
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

/// Where a follower is to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    key: u64,
    lead: u64,
}

/// The part of a leader's pages that lies in one group of the access table.
struct Entry<W> {
    /// 0: the entry is free.
    lead: u64,
    key: u64,
    /// Cleared when the leader is taken for stalled: nobody follows it any more.
    pages: u16,
    domain: u32,
    started: u64,
    count: u32,
    waiters: W,
}

impl<W: Waiters> Entry<W> {
    fn free() -> Self {
        Self {
            lead: 0,
            key: 0,
            pages: 0,
            domain: 0,
            started: 0,
            count: 0,
            waiters: W::default(),
        }
    }

    fn take(&mut self) -> (W, u32) {
        (
            core::mem::take(&mut self.waiters),
            core::mem::take(&mut self.count),
        )
    }
}

struct Bucket<W> {
    entries: [Entry<W>; BUCKET_ENTRIES],
}

impl<W> Bucket<W> {
    /// Who reads most of the `pages` from `ppn` on, and how many.
    fn leader(&mut self, ppn: u64, pages: u64, domain: u32) -> Option<(Place, u64)> {
        let (key, slot) = (key_of(ppn), slot_of(ppn));
        self.of(key, domain)
            .map(|e| {
                let run = e.pages.checked_shr(slot as u32).unwrap_or(0);
                let place = Place { key, lead: e.lead };
                (place, u64::from(run.trailing_ones()).min(pages))
            })
            .max_by_key(|(_, n)| *n)
            .filter(|(_, n)| *n != 0)
    }

    /// The entries of pages of `key` that can be followed inside `domain`.
    fn of(&mut self, key: u64, domain: u32) -> impl Iterator<Item = &mut Entry<W>> {
        self.entries
            .iter_mut()
            .filter(move |e| e.lead != 0 && e.key == key && e.domain == domain)
    }
}

/// The reads of one pool.
pub(crate) struct Reads<W> {
    buckets: Array<IrqLock<Bucket<W>>>,
    active: AtomicU32,
    waiting: AtomicU32,
    ids: AtomicU64,
    /// How long reads took lately, in nanoseconds.
    latency: AtomicU64,
}

impl<W: Waiters> Reads<W> {
    /// No reads. `None` without memory. Process context.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            buckets: array(BUCKETS, |_| {
                IrqLock::new(Bucket {
                    entries: core::array::from_fn(|_| Entry::free()),
                })
            })?,
            active: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            ids: AtomicU64::new(1),
            latency: AtomicU64::new(0),
        })
    }

    fn bucket(&self, key: u64) -> Option<&IrqLock<Bucket<W>>> {
        self.buckets.get((key % BUCKETS as u64) as usize)
    }

    /// Whether there is any leader.
    pub(crate) fn any(&self) -> bool {
        self.active.load(Ordering::Relaxed) != 0
    }

    /// Begins a read of these pages: notes it as a leader or, if it may follow, finds one, of two that
    /// begin at once. `now` is in nanoseconds.
    pub(crate) fn start(
        &self,
        first: u64,
        pages: u64,
        domain: u32,
        now: u64,
        may_follow: bool,
    ) -> Start {
        let wanted = pages;
        let pages = pages.min(MAX_KEYS.saturating_mul(GROUP_PAGES as u64) - slot_of(first) as u64);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut noted = false;
        for key in keys(first, pages) {
            let Some(bucket) = self.bucket(key) else {
                continue;
            };
            self.active.fetch_add(1, Ordering::Relaxed);
            let begun = bucket.with(|b| {
                if may_follow && key == key_of(first) {
                    if let Some(other) = b.leader(first, wanted, domain) {
                        return Err(Some(other));
                    }
                }
                let free = b.entries.iter_mut().find(|e| e.lead == 0);
                let e = free.ok_or(None)?;
                e.lead = id;
                e.key = key;
                e.pages = mask_of(key, first, pages);
                e.domain = domain;
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
                first,
                pages,
                started: now,
            })
        } else {
            Start::Alone
        }
    }

    /// Which of the 16 pages around `ppn` are being read inside `domain`: bit n is page
    /// `(ppn & !15) + n`.
    pub(crate) fn in_flight(&self, ppn: u64, domain: u32) -> u16 {
        if !self.any() {
            return 0;
        }
        let key = key_of(ppn);
        self.bucket(key).map_or(0, |bucket| {
            bucket.with(|b| b.of(key, domain).fold(0, |all, e| all | e.pages))
        })
    }

    /// A leader of page `ppn`, and how many of the `pages` from there on it reads.
    pub(crate) fn leader(&self, ppn: u64, pages: u64, domain: u32) -> Option<(Place, u64)> {
        if !self.any() {
            return None;
        }
        self.bucket(key_of(ppn))?
            .with(|b| b.leader(ppn, pages, domain))
    }

    /// Lets a follower wait. `Err`: its leader has ended, or is stalled.
    pub(crate) fn follow(&self, place: Place, item: W::Item) -> Result<(), W::Item> {
        let Some(bucket) = self.bucket(place.key) else {
            return Err(item);
        };
        // Raised before anybody can take the waiter out.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let refused = bucket.with(|b| {
            let leader = b
                .entries
                .iter_mut()
                .find(|e| e.lead == place.lead && e.key == place.key && e.pages != 0);
            let Some(e) = leader else {
                return Some(item);
            };
            e.waiters.push(item);
            e.count = e.count.saturating_add(1);
            None
        });
        match refused {
            Some(item) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(item)
            }
            None => Ok(()),
        }
    }

    /// A leader has ended, and published what it read: who waits for it. `short`: it was one of those
    /// that are short by nature.
    pub(crate) fn end(&self, lead: Lead, now: u64, short: bool) -> W {
        let ns = now.saturating_sub(lead.started);
        if !short || ns > self.latency.load(Ordering::Relaxed) {
            self.took(ns);
        }
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

    /// Those whose patience is over, how many they are, and whether others are still waiting.
    pub(crate) fn detach(&self, now: u64) -> (W, u32, bool) {
        let mut out = W::default();
        let mut gone: u32 = 0;
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return (out, 0, false);
        }
        let patience = self.patience();
        for bucket in self.buckets.iter() {
            let late = bucket.with(|b| {
                let mut late = W::default();
                let mut n: u32 = 0;
                for e in b.entries.iter_mut() {
                    if e.count != 0 && now.saturating_sub(e.started) > patience {
                        e.pages = 0;
                        let (waiters, count) = e.take();
                        late.append(waiters);
                        n = n.saturating_add(count);
                    }
                }
                (late, n)
            });
            out.append(late.0);
            gone = gone.saturating_add(late.1);
        }
        let before = self.waiting.fetch_sub(gone, Ordering::Relaxed);
        (out, gone, before > gone)
    }

    /// How long a follower waits, in nanoseconds.
    pub(crate) fn patience(&self) -> u64 {
        let lately = self.latency.load(Ordering::Relaxed);
        lately.saturating_mul(2).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// A read took that long; counted as no longer than anybody would have waited for it, so that a
    /// throttled reader teaches nobody patience. Two at once may forget one of them.
    fn took(&self, ns: u64) {
        let ns = ns.min(self.patience());
        let before = self.latency.load(Ordering::Relaxed);
        let now = if ns > before {
            ns
        } else {
            before - (before - ns) / 8
        };
        self.latency.store(now, Ordering::Relaxed);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! File systems' metadata, kept in pages of our own.
//!
//! A page-cache page of file data can serve siblings because its folio can be locked while it is copied.
//! Metadata is read into buffers that nobody else can lock: ext4's buffer heads lock a buffer and not the
//! folio, XFS's buffers have no mapping at all. So what shared reads of metadata return (metadata.rs tells which
//! reads those are) is copied into pages that belong to this module: the one exception to "no cache of our own", for 7 to 14 % of
//! what a container's start reads.
//!
//! Nobody else can write to these pages, hence no hash: what is in one is what the disk returned, and
//! holds until the page of the data device is written. Pages are kept for the data device's page, whoever
//! read it: the layer that did may write elsewhere (breaking the sharing), or go.
//!
//! A *group* is the pages of 16 aligned pages of the data device, with the sectors that are valid: file systems
//! with small blocks read parts of pages, and XFS single sectors.
//!
//! # Invariants
//!
//! 1. `pages` counts, by domains, the pages in all groups; a group has at least one, and a page at least one
//!    valid sector.
//! 2. *Nothing that is kept survives a write to its page*: exactly as in table.rs, invariant 4.
//!    [`MetaPages::drop_range`] raises the bucket's generation and drops under the bucket's lock;
//!    [`MetaPages::keep`] compares a ticket, from before the read, under the same lock.
//! 3. What is kept carries a domain, and is found in that domain alone. It leaves for want of room only if its
//!    domain has its share of that, or more (shares.rs); a group leaves as a whole.
//! 4. A bucket has at most [`MAX_GROUPS_OF_KEY`] groups of one key: so many domains keep pages of one place, one group
//!    each. A walk along its list costs no more, but for the few other keys in it.
//!
//! Locks: one interrupt-safe spinlock a bucket, never two at once; a page is copied under it. Any context
//! but NMI. Memory is allocated without waiting; where there is none nothing is kept.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbours: metadata.rs (serves from here, and keeps),
//! mod.rs (drops).

use super::bucket::MAX_GROUPS_OF_KEY;
use super::group::{key_of, keys, mask_of, slot_of, GROUP_PAGES};
use super::list::{node, List, Node};
use super::platform::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use super::platform::{array, pause, Array, Boxed, IrqLock};
use super::shares::Shares;
use super::spread::spread;
use super::table::Ticket;

/// Pages for which there is a bucket, when all room is used. A group has some four: metadata lies scattered.
const BUCKET_PAGES: usize = 8;
const MIN_BUCKETS: usize = 16;
/// Groups that are looked at, in whole buckets, where there is no room for another page, for something of the domain that
/// has most, and then for something of any that has its share. table.rs says why that mostly finds something; here
/// up to 16 pages are in one place.
const EVICT_LOOKS: usize = 256;
const EVICT_LOOKS_ALL: usize = 768;
/// Buckets that are looked through for that at most: many have no groups.
const EVICT_SCAN: usize = 256;
const EVICT_SCAN_ALL: usize = 1024;
const PAGE_BYTES: usize = 4096;
/// Buckets that are emptied without a pause.
const STRIDE: usize = 256;

/// Pages of one domain around one place.
struct Group<P> {
    key: u64,
    domain: u32,
    /// Found since the hand came by.
    used: bool,
    pages: [Option<P>; GROUP_PAGES],
    /// Which sectors of each page are valid.
    valid: [u8; GROUP_PAGES],
}

impl<P> Group<P> {
    fn count(&self) -> usize {
        self.pages.iter().flatten().count()
    }
}

/// Groups, the oldest first.
type Bucket<P> = List<Group<P>>;

struct Slot<P> {
    generation: AtomicU32,
    bucket: IrqLock<Bucket<P>>,
}

/// The metadata pages of one pool, `P` being a page of memory.
pub(crate) struct MetaPages<P> {
    slots: Array<Slot<P>>,
    seed: u64,
    max_pages: usize,
    pages: Shares,
    generation: AtomicU32,
    hand: AtomicUsize,
    evicted: AtomicU64,
}

/// How keeping a page went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    Done,
    /// A write came in between.
    Cancelled,
    NoMemory,
}

/// The sectors of a page from byte `at` on, `len` bytes; those it has only a part of are not among them.
pub(crate) fn sectors_of(at: u32, len: u32) -> u8 {
    let begin = at.div_ceil(512).min(8);
    let end = (at.saturating_add(len) / 512).min(8);
    let below = |n: u32| 1u16.checked_shl(n).unwrap_or(0).wrapping_sub(1);
    (below(end) & !below(begin)) as u8
}

/// The group of a key in a domain, if there is one.
fn find<P>(b: &mut Bucket<P>, key: u64, domain: u32) -> Option<&mut Group<P>> {
    b.iter_mut().find(|g| g.key == key && g.domain == domain)
}

impl<P> MetaPages<P> {
    /// Room for about `max_bytes` of pages; none: nothing is ever kept. `seed` spreads keys over buckets.
    /// `None` without memory. Process context.
    pub(crate) fn new(max_bytes: usize, seed: u64) -> Option<Self> {
        let max_pages = max_bytes / PAGE_BYTES;
        let buckets = (max_pages / BUCKET_PAGES).max(MIN_BUCKETS);
        Some(Self {
            slots: array(buckets, |_| Slot {
                generation: AtomicU32::new(0),
                bucket: IrqLock::new(Bucket::new()),
            })?,
            seed: seed | 1,
            max_pages,
            pages: Shares::new()?,
            generation: AtomicU32::new(0),
            hand: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    fn slot(&self, key: u64) -> Option<&Slot<P>> {
        let h = spread(key.wrapping_mul(self.seed));
        let n = u128::from(h).wrapping_mul(self.slots.len() as u128) >> 64;
        self.slots.get(n as usize)
    }

    /// Pages that are kept now.
    pub(crate) fn pages(&self) -> usize {
        self.pages.total()
    }

    /// Pages given up for lack of room or memory so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// A ticket for a read of these pages, to be taken before the data is fetched.
    pub(crate) fn ticket(&self, first: u64, pages: u64) -> Ticket {
        Ticket::of(first, pages, self.generations(first, pages))
    }

    fn generations(&self, first: u64, pages: u64) -> u32 {
        let mut sum = self.generation.load(Ordering::Acquire);
        for key in keys(first, pages) {
            if let Some(s) = self.slot(key) {
                sum = sum.wrapping_add(s.generation.load(Ordering::Acquire));
            }
        }
        sum
    }

    /// Shows page `ppn` if it has all these sectors. `f` runs under a spinlock.
    pub(crate) fn with_page<R>(
        &self,
        ppn: u64,
        domain: u32,
        sectors: u8,
        f: impl FnOnce(&P) -> R,
    ) -> Option<R> {
        if self.pages() == 0 {
            return None;
        }
        let (key, n) = (key_of(ppn), slot_of(ppn));
        self.slot(key)?.bucket.with(|b| {
            let group = find(b, key, domain)?;
            let valid = group.valid.get(n).copied().unwrap_or(0);
            if sectors == 0 || valid & sectors != sectors {
                return None;
            }
            group.used = true;
            group.pages.get(n)?.as_ref().map(f)
        })
    }

    /// Keeps these sectors of page `ppn`, unless it was written since the `ticket` was taken. `fresh` makes
    /// a page, `copy` puts the sectors' bytes into it; both run under a spinlock.
    pub(crate) fn keep(
        &self,
        ppn: u64,
        domain: u32,
        sectors: u8,
        ticket: &Ticket,
        fresh: impl FnOnce() -> Option<P>,
        copy: impl FnOnce(&mut P) -> bool,
    ) -> Kept {
        let (key, n) = (key_of(ppn), slot_of(ppn));
        let Some(slot) = self.slot(key) else {
            return Kept::NoMemory;
        };
        if sectors == 0 || self.max_pages == 0 {
            return Kept::NoMemory;
        }
        if self.is_full() && !self.has(ppn, domain) && !self.make_room(domain) {
            return Kept::NoMemory;
        }
        // Its memory is freed outside of the lock.
        let mut surplus = None;
        let kept = slot.bucket.with(|b| {
            // Under the lock: see invariant 2.
            let (first, pages, sum) = ticket.parts();
            if self.generations(first, pages) != sum {
                return Kept::Cancelled;
            }
            let made = find(b, key, domain).is_none();
            if made && !make_group(b, key, domain) {
                return Kept::NoMemory;
            }
            let Some(group) = find(b, key, domain) else {
                return Kept::NoMemory;
            };
            let (Some(page), Some(valid)) = (group.pages.get_mut(n), group.valid.get_mut(n)) else {
                return Kept::NoMemory;
            };
            if page.is_none() {
                *page = fresh();
                if page.is_some() {
                    self.pages.add(domain);
                }
            }
            if let Some(page) = page {
                if copy(page) {
                    *valid |= sectors;
                }
            }
            let kept = *valid & sectors == sectors;
            // Invariant 1.
            if *valid == 0 && page.take().is_some() {
                self.pages.sub(domain, 1);
            }
            if kept {
                // Only now: nobody gives way for a page that there is no memory for.
                if made {
                    surplus = take_surplus(b, key, domain);
                }
                return Kept::Done;
            }
            sweep_empty(b);
            Kept::NoMemory
        });
        if let Some(old) = surplus {
            self.count_evicted(&old.item);
        }
        kept
    }

    /// Takes a group that has been given up off the counts; how many pages it had.
    fn count_evicted(&self, group: &Group<P>) -> usize {
        let pages = group.count();
        self.pages
            .sub(group.domain, u32::try_from(pages).unwrap_or(0));
        self.evicted.fetch_add(pages as u64, Ordering::Relaxed);
        pages
    }

    fn is_full(&self) -> bool {
        self.pages() >= self.max_pages
    }

    /// Whether page `ppn` is kept for `domain`, or a part of it.
    fn has(&self, ppn: u64, domain: u32) -> bool {
        let (key, n) = (key_of(ppn), slot_of(ppn));
        self.slot(key).is_some_and(|slot| {
            slot.bucket.with(|b| {
                let group = find(b, key, domain);
                group.is_some_and(|g| g.pages.get(n).is_some_and(Option::is_some))
            })
        })
    }

    /// Gives a group up, so that `domain` may have another page: one that has not been found lately if need
    /// not be; whether there is room.
    fn make_room(&self, domain: u32) -> bool {
        let share = self.pages.share(self.max_pages, Some(domain));
        let most = self.pages.most(share);
        let of_most = |g: &Group<P>| g.domain == most;
        let unused = |g: &mut Group<P>| of_most(g) && !core::mem::take(&mut g.used);
        let gives = |g: &mut Group<P>| self.pages.gives(g.domain, share);
        self.evict(EVICT_SCAN, EVICT_LOOKS, unused)
            .or_else(|| self.evict(EVICT_SCAN, EVICT_LOOKS, |g| of_most(g)))
            .or_else(|| self.evict(EVICT_SCAN_ALL, EVICT_LOOKS_ALL, gives))
            .is_some()
    }

    /// Gives the first group up that `may_go`, in one of the next buckets: up to `buckets` of them, until it has looked
    /// at `looks` groups and what is left of their last bucket. Tells how many pages it had.
    fn evict(
        &self,
        buckets: usize,
        looks: usize,
        mut may_go: impl FnMut(&mut Group<P>) -> bool,
    ) -> Option<usize> {
        let mut left = looks;
        for _ in 0..buckets.min(self.slots.len()) {
            let hand = self.hand.fetch_add(1, Ordering::Relaxed);
            let slot = self.slots.get(hand.checked_rem(self.slots.len())?)?;
            // Its memory is freed outside of the lock.
            let may_go = |g: &mut Group<P>| {
                left = left.saturating_sub(1);
                may_go(g)
            };
            if let Some(old) = slot.bucket.with(|b| b.take(may_go)) {
                return Some(self.count_evicted(&old.item));
            }
            if left == 0 {
                break;
            }
        }
        None
    }

    /// Gives `pages` pages back, of domains that have their share of what there is, rarely used ones first; how
    /// many it was.
    pub(crate) fn shrink(&self, pages: usize) -> usize {
        let mut gone: usize = 0;
        // All groups that are left had been used, the second time none has since.
        let mut in_vain: usize = 0;
        while gone < pages && in_vain <= self.slots.len().saturating_mul(2) {
            let share = self.pages.share(self.pages(), None);
            let unused = |g: &mut Group<P>| {
                self.pages.gives(g.domain, share) && !core::mem::take(&mut g.used)
            };
            match self.evict(1, usize::MAX, unused) {
                Some(n) => {
                    gone = gone.saturating_add(n);
                    in_vain = 0;
                }
                None => in_vain = in_vain.saturating_add(1),
            }
        }
        gone
    }

    /// Rule 1: these pages are about to be written. Drops what is kept of them, and cancels what is being
    /// read. Groups leave as a whole; chunks consist of whole ones.
    pub(crate) fn drop_range(&self, first: u64, pages: u64) {
        let range = keys(first, pages);
        if range.end.saturating_sub(range.start) > self.slots.len() as u64 {
            // Longer than there are buckets: one pass over everything is cheaper.
            self.cancel_all();
            for slot in self.slots.iter() {
                self.drop_in(slot, |_| {}, |g| mask_of(g.key, first, pages) != 0);
            }
            return;
        }
        for key in range {
            let Some(slot) = self.slot(key) else { continue };
            let cancel = |generation: &AtomicU32| {
                generation.fetch_add(1, Ordering::AcqRel);
            };
            self.drop_in(slot, cancel, |g| g.key == key);
        }
    }

    /// Drops everything, and cancels what is being read. Process context; may sleep.
    pub(crate) fn drop_all(&self) {
        self.cancel_all();
        for (n, slot) in self.slots.iter().enumerate() {
            if n % STRIDE == STRIDE - 1 {
                pause();
            }
            self.drop_in(slot, |_| {}, |_| true);
        }
    }

    fn cancel_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops each group of a bucket that is in `range`, after `cancel` under the same lock. Their pages, up to 16 of each, are
    /// freed without it.
    fn drop_in(
        &self,
        slot: &Slot<P>,
        cancel: impl FnOnce(&AtomicU32),
        range: impl Fn(&Group<P>) -> bool,
    ) {
        let gone = slot.bucket.with(|b| {
            cancel(&slot.generation);
            b.take_all(range)
        });
        for group in gone.iter() {
            self.pages
                .sub(group.domain, u32::try_from(group.count()).unwrap_or(0));
        }
    }
}

/// Makes an empty group; whether there is memory for it.
fn make_group<P>(b: &mut Bucket<P>, key: u64, domain: u32) -> bool {
    let group = node(Group {
        key,
        domain,
        used: false,
        pages: [const { None }; GROUP_PAGES],
        valid: [0; GROUP_PAGES],
    });
    group.map(|group| b.insert(group, |_| false)).is_some()
}

/// Takes a group of `key` out, if there are more than are kept: one that has not been found lately if need not be, and not
/// that of `domain`, which has just come. Each domain has one, and its share is less.
fn take_surplus<P>(b: &mut Bucket<P>, key: u64, domain: u32) -> Option<Boxed<Node<Group<P>>>> {
    let all = b.iter().filter(|g| g.key == key).count();
    if all <= MAX_GROUPS_OF_KEY {
        return None;
    }
    let gives = |g: &Group<P>| g.key == key && g.domain != domain;
    b.take(|g| gives(g) && !core::mem::take(&mut g.used))
        .or_else(|| b.take(|g| gives(g)))
}

fn sweep_empty<P>(b: &mut Bucket<P>) {
    b.retain(|g| g.count() != 0);
}

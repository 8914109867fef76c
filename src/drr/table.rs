// SPDX-License-Identifier: GPL-2.0

//! The access table: where in memory a page of the data device was last seen.
//!
//! A *group* holds the records of 16 aligned pages of the data device (64 KiB) that one layer has
//! in consecutive places of one mapping: 256 bytes for up to 16 records. All groups of a page
//! are in one bucket; at most [`MAX_SOURCES`] of one domain have a record of one page, and at most
//! `MAX_GROUPS_OF_KEY` of all domains are kept (bucket.rs). So whoever has the lock of a bucket walks along a short list.
//!
//! Records are weak: frame numbers, a mapping's address that is only compared, and a hash. They
//! promise nothing; whoever uses one proves it (serve.rs).
//!
//! What a domain finds here is what it would find alone, but for writes, which drop the records of all
//! domains, and for the room: a domain that has its share of that, or more, may lose some (shares.rs). The groups of
//! one key are such a room, too.
//!
//! # Invariants
//!
//! 1. A bucket's list is ordered by key and domain, ascending, and inside those by age, newest first. It holds at most
//!    [`MAX_SOURCES`] records of one page inside one domain, and `MAX_GROUPS_OF_KEY` groups of one key.
//! 2. A group in the table has at least one valid record.
//! 3. `groups` counts, by domains, the groups linked in all buckets; raised before one is linked.
//! 4. *No record survives a write to its page.* A write calls [`Table::drop_range`], which raises
//!    the bucket's generation and drops its records under the bucket's lock. A read that is to be
//!    recorded takes a [`Ticket`] (the sum of the generations it covers) before its data is
//!    fetched, and [`Table::publish`] compares it under the same lock: a record whose data was
//!    fetched before the write is either linked before the drop, and dropped, or refused.
//!    The same holds for `drop_all` with the table's own generation, and for a removed layer with
//!    its `alive` mark.
//! 5. A bucket that is not in `occupied` is empty, and a layer has no groups in a block of buckets that is not in
//!    its `touched`. A publication adds its bucket to both *before* it looks at generation and mark, and under
//!    the bucket's lock; a drop raises the generation, or takes the mark away, before it looks at the
//!    sets. So a publication that is not refused is seen by the drop, which then waits for the lock.
//!
//! Locks: one interrupt-safe spinlock a bucket, never two at once; nothing sleeps under it.
//! Everything here may be called from any context but NMI, if it does not say otherwise.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbours: group.rs and bucket.rs (what is in it), platform.rs
//! (allocation, lock), serve.rs and record.rs (users).

use super::bits::Bits;
use super::bucket::{Bucket, Copies, Survey};
use super::group::{
    bit, key_of, keys, mask_of, slot_of, Batch, Frames, Group, Known, Source, Sources, GROUP_BYTES,
    GROUP_PAGES, MAX_SOURCES,
};
use super::list::{node, List, Node};
use super::platform::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use super::platform::{array, pause, Array, Boxed, IrqLock};
use super::shares::{Share, Shares};
use super::spread::spread;

/// Groups a bucket holds on average when the table is full.
const BUCKET_LOAD: usize = 4;
const MIN_BUCKETS: usize = 64;
const MAX_BUCKETS: usize = 1 << 20;
/// Keys and domains that [`Table::copied`] tells of at once.
pub(crate) const COPIED: usize = 8;
/// Blocks of buckets that a layer's records are told apart by, at most.
const MAX_BLOCKS: usize = 4096;
/// Buckets that are looked through without a pause.
const STRIDE: usize = 256;
/// Groups that one insertion into a full table looks at, in whole buckets, for something of the domain that has most,
/// and how many for something of any domain that has its share: interrupts may be off. At least twice the square root of
/// what the table has is of such domains (one of them has its share, and all that the others lack): of the largest
/// table one group in 1,024, of one of 64 MiB one in 256. Where all that is in a few buckets, or by bad luck, nothing is
/// found; the next insertion goes on behind these buckets.
const EVICT_LOOKS: usize = 256;
const EVICT_LOOKS_ALL: usize = 768;
/// Buckets with groups that are looked through at least when the system wants something back.
const SHRINK_SCAN_MIN: usize = 4096;
/// ... and for each group that the system wants back, where that is more.
const SHRINK_SCAN: usize = 16;

/// Evidence of when a read began, for the pages that it covers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ticket {
    first: u64,
    pages: u64,
    sum: u32,
}

impl Ticket {
    /// A ticket for pages whose generations add up to `sum`.
    pub(super) fn of(first: u64, pages: u64, sum: u32) -> Self {
        Self { first, pages, sum }
    }

    /// The first page, how many, and the sum.
    pub(super) fn parts(&self) -> (u64, u64, u32) {
        (self.first, self.pages, self.sum)
    }
}

/// How a publication went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Published {
    /// That many records were made or renewed.
    Recorded(u32),
    /// A write, or the end of the layer, came in between.
    Cancelled,
    /// No memory for a group, or no room in the table.
    NoMemory,
}

/// A layer's end, and where in the table its records may be.
pub(crate) struct Presence {
    /// Cleared, for good, when the layer is removed.
    alive: AtomicBool,
    /// Blocks of buckets in which it has recorded. Only grows.
    touched: Bits,
}

impl Presence {
    /// In a table of `blocks` blocks. `None` without memory. Process context.
    pub(crate) fn new(blocks: usize) -> Option<Self> {
        Some(Self {
            alive: AtomicBool::new(true),
            touched: Bits::new(blocks)?,
        })
    }

    /// From here on nothing is recorded for the layer.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }
}

struct Slot {
    generation: AtomicU32,
    bucket: IrqLock<Bucket>,
}

/// The access table of one pool.
pub(crate) struct Table {
    slots: Array<Slot>,
    /// Buckets that have groups.
    occupied: Bits,
    shift: u32,
    /// log2 of the buckets of a block.
    block_shift: u32,
    seed: u64,
    max_bytes: AtomicUsize,
    groups: Shares,
    generation: AtomicU32,
    clock: AtomicU64,
    hand: AtomicUsize,
    evicted: AtomicU64,
}

impl Table {
    /// A table that takes at most about `max_bytes`; `seed` spreads keys over buckets. `None`
    /// without memory. Process context.
    pub(crate) fn new(max_bytes: usize, seed: u64) -> Option<Self> {
        let wanted = (max_bytes / (GROUP_BYTES * BUCKET_LOAD)).clamp(MIN_BUCKETS, MAX_BUCKETS);
        let buckets = wanted.checked_next_power_of_two().unwrap_or(MIN_BUCKETS);
        let slots = array(buckets, |_| Slot {
            generation: AtomicU32::new(0),
            bucket: IrqLock::new(Bucket {
                groups: List::new(),
            }),
        })?;
        Some(Self {
            slots,
            occupied: Bits::new(buckets)?,
            shift: 64u32.saturating_sub(buckets.trailing_zeros()),
            block_shift: (buckets / MAX_BLOCKS).checked_ilog2().unwrap_or(0),
            seed: seed | 1,
            max_bytes: AtomicUsize::new(max_bytes),
            groups: Shares::new()?,
            generation: AtomicU32::new(0),
            clock: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    fn number(&self, key: u64) -> usize {
        let h = spread(key.wrapping_mul(self.seed));
        h.checked_shr(self.shift).unwrap_or(0) as usize
    }

    fn slot(&self, key: u64) -> Option<&Slot> {
        self.slots.get(self.number(key))
    }

    /// Runs `f` on bucket `number`, of which groups may be taken.
    fn thin<R>(&self, number: usize, f: impl FnOnce(&Slot, &mut Bucket) -> R) -> Option<R> {
        let slot = self.slots.get(number)?;
        Some(slot.bucket.with(|b| {
            let r = f(slot, b);
            if b.groups.is_empty() {
                self.occupied.clear(number);
            }
            r
        }))
    }

    /// A layer that has no records yet. `None` without memory. Process context.
    pub(crate) fn presence(&self) -> Option<Presence> {
        Presence::new(self.slots.len().checked_shr(self.block_shift)?)
    }

    /// Groups that are linked now.
    pub(crate) fn groups(&self) -> usize {
        self.groups.total()
    }

    /// Bytes that the table takes now, buckets included.
    pub(crate) fn bytes(&self) -> usize {
        self.groups()
            .saturating_mul(GROUP_BYTES)
            .saturating_add(self.overhead())
    }

    fn overhead(&self) -> usize {
        self.slots
            .len()
            .saturating_mul(core::mem::size_of::<Slot>())
            .saturating_add(self.groups.bytes())
            .saturating_add(self.slots.len() / 8)
    }

    /// Records dropped for lack of room so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Groups that there is room for.
    fn room(&self) -> usize {
        let max = self.max_bytes.load(Ordering::Relaxed);
        max.saturating_sub(self.overhead()) / GROUP_BYTES
    }

    fn is_full(&self) -> bool {
        self.groups() >= self.room()
    }

    /// The records of page `ppn` inside `domain`, newest first.
    pub(crate) fn sources(&self, ppn: u64, domain: u32) -> Sources {
        let mut out = Sources::default();
        if self.groups() == 0 {
            return out;
        }
        let (key, slot) = (key_of(ppn), slot_of(ppn));
        if let Some(s) = self.slot(key) {
            s.bucket.with(|b| {
                for g in b.of(key, domain).filter(|g| g.valid & bit(slot) != 0) {
                    if let (Some(pfn), Some(hash)) = (g.pfn.get(slot), g.hash.get(slot)) {
                        out.push(Source {
                            pfn: *pfn,
                            mapping: g.id.mapping,
                            index: g.id.base.wrapping_add(slot as u64),
                            layer: g.id.layer,
                            hash: *hash,
                        });
                    }
                }
            });
        }
        out
    }

    /// Looks a record of page `ppn` inside `domain` up, which `known` tells of then: the newest, or that of the group
    /// which the page before had one of.
    pub(crate) fn look_up(&self, ppn: u64, domain: u32, known: &mut Known) {
        let key = key_of(ppn);
        known.slot = slot_of(ppn);
        let bit = bit(known.slot);
        if known.key == Some((key, domain)) && known.group.valid & bit != 0 {
            return;
        }
        known.key = Some((key, domain));
        known.group.valid = 0;
        if self.groups() == 0 {
            return;
        }
        let Some(s) = self.slot(key) else { return };
        s.bucket.with(|b| {
            let newest = b.of(key, domain).find(|g| g.valid & bit != 0);
            if let Some(g) = newest {
                known.group.id = g.id;
                known.group.valid = g.valid;
                known.group.pfn = g.pfn;
                known.group.hash = g.hash;
            }
        });
    }

    /// The number of buckets.
    pub(crate) fn buckets(&self) -> usize {
        self.slots.len()
    }

    /// The first bucket from `from` on that has groups.
    pub(crate) fn next_bucket(&self, from: usize) -> Option<usize> {
        self.occupied.next(from)
    }

    /// The number of the bucket of key `key`, if some page of that has more than `n` records inside
    /// `domain`.
    pub(crate) fn bucket_with_copies(&self, key: u64, domain: u32, n: usize) -> Option<usize> {
        let number = self.number(key);
        let slot = self.slots.get(number)?;
        let has = slot.bucket.with(|b| b.has_copies(key, domain, n));
        has.then_some(number)
    }

    /// Keys and domains in bucket `number` of which some page has more than `n` records: in ascending order the first
    /// ones above `after`, as many as fit.
    pub(crate) fn copied(
        &self,
        number: usize,
        n: usize,
        after: Option<(u64, u32)>,
    ) -> [Option<(u64, u32)>; COPIED] {
        let mut out = [None; COPIED];
        let Some(slot) = self.slots.get(number) else {
            return out;
        };
        slot.bucket.with(|b| {
            let mut places = out.iter_mut();
            let mut run = None;
            let mut copies = Copies::default();
            let mut told = None;
            for g in b.groups.iter() {
                let this = Some(g.place());
                if this <= after || this == told {
                    continue;
                }
                if this != run {
                    run = this;
                    copies = Copies::default();
                }
                copies.add(g.valid);
                if copies.are_more_than(n) {
                    let Some(place) = places.next() else { break };
                    *place = this;
                    told = this;
                }
            }
        });
        out
    }

    /// Which of the 16 pages around `ppn` have a record inside `domain`: bit n is page
    /// `(ppn & !15) + n`.
    pub(crate) fn present(&self, ppn: u64, domain: u32) -> u16 {
        let mut out = 0;
        if self.groups() == 0 {
            return out;
        }
        let key = key_of(ppn);
        if let Some(s) = self.slot(key) {
            s.bucket.with(|b| {
                out = b.of(key, domain).fold(0, |all, g| all | g.valid);
            });
        }
        out
    }

    /// A ticket for a read of these pages, to be taken before the data is fetched.
    pub(crate) fn ticket(&self, first: u64, pages: u64) -> Ticket {
        Ticket {
            first,
            pages,
            sum: self.generations(first, pages),
        }
    }

    /// Generations only rise, so an equal sum (modulo 2^32 drops during one read) means that none
    /// of them has.
    fn generations(&self, first: u64, pages: u64) -> u32 {
        let mut sum = self.generation.load(Ordering::SeqCst);
        for key in keys(first, pages) {
            if let Some(s) = self.slot(key) {
                sum = sum.wrapping_add(s.generation.load(Ordering::Acquire));
            }
        }
        sum
    }

    /// Makes the records of `batch`, unless a write (`ticket`) or the layer's end (`owner`)
    /// came in between. They become the newest of their pages; of a page that has as many sources in their
    /// domain as are kept the oldest one goes that the batch was not copied from.
    pub(crate) fn publish(&self, batch: &Batch, ticket: &Ticket, owner: &Presence) -> Published {
        if batch.valid == 0 {
            return Published::Recorded(0);
        }
        let published = self.publish_in(batch, ticket, owner, None);
        if published != Published::NoMemory || !self.is_full() {
            return published;
        }
        match self.make_room(batch.id.domain) {
            Some(memory) => self.publish_in(batch, ticket, owner, Some(memory)),
            None => Published::NoMemory,
        }
    }

    /// The same, in the `memory` of a group that has made room, if there was none before.
    fn publish_in(
        &self,
        batch: &Batch,
        ticket: &Ticket,
        owner: &Presence,
        memory: Option<Boxed<Node<Group>>>,
    ) -> Published {
        let age = self.clock.fetch_add(1, Ordering::Relaxed);
        let number = self.number(batch.key);
        let published = self.thin(number, |_, b| {
            let block = number.checked_shr(self.block_shift).unwrap_or(0);
            // Under the lock, and before the look: see invariants 4 and 5.
            if !self.occupied.set(number) || !owner.touched.set(block) {
                return Published::NoMemory;
            }
            if self.generations(ticket.first, ticket.pages) != ticket.sum
                || !owner.alive.load(Ordering::SeqCst)
            {
                return Published::Cancelled;
            }
            let survey = b.survey(batch);
            let found = if survey.known {
                b.take_known(batch)
            } else {
                None
            };
            let group = match found {
                Some(mut group) => {
                    batch.copy_to(&mut group.item);
                    group.item.age = age;
                    Some(group)
                }
                None => self.fresh(batch, age, memory),
            };
            let Some(group) = group else {
                return Published::NoMemory;
            };
            b.push(group);
            if survey.of_domain <= MAX_SOURCES || !self.bound_sources(b, batch, survey.origin) {
                self.bound_groups(b, &survey);
            }
            Published::Recorded(batch.valid.count_ones())
        });
        published.unwrap_or(Published::NoMemory)
    }

    /// A group of what is in `batch`, counted but not linked: in `memory`, or where there is room.
    fn fresh(
        &self,
        batch: &Batch,
        age: u64,
        memory: Option<Boxed<Node<Group>>>,
    ) -> Option<Boxed<Node<Group>>> {
        let new = Group {
            key: batch.key,
            id: batch.id,
            age,
            valid: batch.valid,
            pfn: batch.pfn,
            hash: batch.hash,
        };
        let group = match memory {
            Some(mut group) => {
                group.item = new;
                group
            }
            None if self.is_full() => return None,
            None => node(new)?,
        };
        self.groups.add(batch.id.domain);
        Some(group)
    }

    /// Keeps the newest [`MAX_SOURCES`] records of each page of `batch` in its domain, the one that it was copied from
    /// among them: the new ones are locked until their reads have ended, and others who waited for the same
    /// page want to copy it, too. `origin`: the pages that have such a record. Whether a group is gone.
    fn bound_sources(&self, b: &mut Bucket, batch: &Batch, mut origin: u16) -> bool {
        let place = (batch.key, batch.id.domain);
        let mut gone = false;
        let mut seen = [0u8; GROUP_PAGES];
        for (n, seen) in seen.iter_mut().enumerate() {
            *seen = u8::from(origin & bit(n) != 0);
        }
        let mut evicted: u64 = 0;
        b.retain_up_to(&self.groups, place, |g| {
            if g.place() == place {
                // Counted already: its newest record of each page.
                let counted = if g.id.layer == batch.from {
                    g.valid & origin
                } else {
                    0
                };
                origin &= !counted;
                for (n, seen) in seen.iter_mut().enumerate() {
                    if g.valid & batch.valid & !counted & bit(n) == 0 {
                        continue;
                    }
                    *seen = seen.saturating_add(1);
                    if usize::from(*seen) > MAX_SOURCES {
                        g.valid &= !bit(n);
                        evicted = evicted.saturating_add(1);
                    }
                }
            }
            gone |= g.valid == 0;
            g.valid != 0
        });
        self.evicted.fetch_add(evicted, Ordering::Relaxed);
        gone
    }

    /// Keeps `MAX_GROUPS_OF_KEY` groups of a key that has got another one. Who has less than its share of them, which
    /// is their number divided by that of the domains that have one, loses none: the domain that has most has more.
    fn bound_groups(&self, b: &mut Bucket, survey: &Survey) {
        let surplus = survey.surplus();
        if let Some(group) = surplus.and_then(|age| b.groups.take(|g| g.age == age)) {
            self.groups.sub(group.item.id.domain, 1);
            self.count_evicted(&group.item);
        }
    }

    fn count_evicted(&self, group: &Group) {
        self.evicted
            .fetch_add(u64::from(group.valid.count_ones()), Ordering::Relaxed);
    }

    /// Takes an old group out somewhere near, so that `domain` may have one more. Looks at a bounded number of groups.
    fn make_room(&self, domain: u32) -> Option<Boxed<Node<Group>>> {
        let share = self.groups.share(self.room(), Some(domain));
        let most = self.groups.most(share);
        let of_most = |g: &Group| g.id.domain == most;
        let memory = self
            .take_somewhere(EVICT_LOOKS, of_most)
            .or_else(|| self.take_somewhere(EVICT_LOOKS_ALL, |g| self.gives(g, share)));
        // Those who came at the same moment have left more than there is room for.
        if memory.is_some() && self.is_full() {
            drop(self.take_somewhere(EVICT_LOOKS, of_most));
        }
        memory
    }

    fn gives(&self, group: &Group, share: Share) -> bool {
        self.groups.gives(group.id.domain, share)
    }

    /// Takes the oldest group that `may_go` out of the first of the next buckets that has one; looks at `looks` groups,
    /// and what is left of their last bucket.
    fn take_somewhere(
        &self,
        looks: usize,
        may_go: impl Fn(&Group) -> bool,
    ) -> Option<Boxed<Node<Group>>> {
        let mut left = looks;
        // Where the buckets are few it does not go round twice.
        for _ in 0..looks.min(self.slots.len()) {
            if left == 0 {
                break;
            }
            let number = self.next_occupied()?;
            let may_go = |g: &Group| {
                left = left.saturating_sub(1);
                may_go(g)
            };
            if let Some(group) = self.thin(number, |_, b| b.take_oldest(may_go)).flatten() {
                self.groups.sub(group.item.id.domain, 1);
                self.count_evicted(&group.item);
                return Some(group);
            }
        }
        None
    }

    /// Steps to the next bucket that has groups. Those who do so at the same time may come to the same one, or pass
    /// one over.
    fn next_occupied(&self) -> Option<usize> {
        let hand = self.hand.load(Ordering::Relaxed);
        let next = self.occupied.next(hand).or_else(|| self.occupied.next(0))?;
        self.hand.store(next.saturating_add(1), Ordering::Relaxed);
        Some(next)
    }

    /// Gives `groups` groups back, of domains that have their share of what there is, old ones first as far as
    /// buckets tell; how many it was. Looks at some buckets for each. Process context; may sleep.
    pub(crate) fn shrink(&self, groups: usize) -> usize {
        let mut gone: usize = 0;
        for n in 0..groups.saturating_mul(SHRINK_SCAN).max(SHRINK_SCAN_MIN) {
            if gone >= groups || self.groups() == 0 {
                break;
            }
            if n % STRIDE == STRIDE - 1 {
                pause();
            }
            let share = self.groups.share(self.groups(), None);
            if self.take_somewhere(1, |g| self.gives(g, share)).is_some() {
                gone = gone.saturating_add(1);
            }
        }
        gone
    }

    /// Drops that very record, if it is still there as it was.
    pub(crate) fn forget(&self, ppn: u64, source: &Source) {
        let (key, n) = (key_of(ppn), slot_of(ppn));
        self.thin(self.number(key), |_, b| {
            b.retain(&self.groups, |g| {
                if g.key == key
                    && g.id.mapping == source.mapping
                    && g.id.layer == source.layer
                    && g.id.base.wrapping_add(n as u64) == source.index
                    && g.pfn.get(n) == Some(&source.pfn)
                    && g.hash.get(n) == Some(&source.hash)
                {
                    g.valid &= !bit(n);
                }
                g.valid != 0
            })
        });
    }

    /// Whether every page of a folio has a record that leads there, and one of another place.
    pub(crate) fn all_have_others(&self, frames: &Frames) -> bool {
        let pages = u64::from(frames.pages);
        keys(frames.ppn, pages).all(|key| {
            let Some(slot) = self.slot(key) else {
                return false;
            };
            let (mut there, mut others) = (0, 0);
            slot.bucket.with(|b| {
                for g in b.of(key, frames.domain) {
                    if frames.are_of(g) {
                        there |= frames.led_to_by(g);
                    } else {
                        others |= g.valid;
                    }
                }
            });
            mask_of(key, frames.ppn, pages) & !(there & others) == 0
        })
    }

    /// Drops the records that lead to a folio.
    pub(crate) fn forget_folio(&self, frames: &Frames) {
        for key in keys(frames.ppn, frames.pages.into()) {
            self.thin(self.number(key), |_, b| {
                b.retain(&self.groups, |g| {
                    if g.key == key && frames.are_of(g) {
                        g.valid &= !frames.led_to_by(g);
                    }
                    g.valid != 0
                })
            });
        }
    }

    /// Rule 1: drops all records of these pages, and cancels those being made.
    pub(crate) fn drop_range(&self, first: u64, pages: u64) {
        let range = keys(first, pages);
        if range.end.saturating_sub(range.start) > self.slots.len() as u64 {
            // Longer than the table is wide: one pass over everything is cheaper.
            self.cancel_all();
            self.sweep(|g| {
                g.valid &= !mask_of(g.key, first, pages);
                g.valid != 0
            });
            return;
        }
        for key in range {
            let mask = mask_of(key, first, pages);
            self.thin(self.number(key), |slot, b| {
                slot.generation.fetch_add(1, Ordering::AcqRel);
                b.retain(&self.groups, |g| {
                    if g.key == key {
                        g.valid &= !mask;
                    }
                    g.valid != 0
                })
            });
        }
    }

    /// Rule 2: drops one layer's records of these pages. Those being made may still come: they are
    /// right for the page, and useless when the layer's memory has changed. Process context; may sleep: a discard is
    /// as long as the device. No lock is held for more than a bucket.
    pub(crate) fn drop_layer_range(&self, layer: u64, first: u64, pages: u64) {
        if self.groups() == 0 {
            return;
        }
        let range = keys(first, pages);
        if range.end.saturating_sub(range.start) > self.slots.len() as u64 {
            self.sweep_all(|g| {
                if g.id.layer == layer {
                    g.valid &= !mask_of(g.key, first, pages);
                }
                g.valid != 0
            });
            return;
        }
        for (n, key) in range.enumerate() {
            if n % STRIDE == STRIDE - 1 {
                pause();
            }
            let mask = mask_of(key, first, pages);
            self.thin(self.number(key), |_, b| {
                b.retain(&self.groups, |g| {
                    if g.key == key && g.id.layer == layer {
                        g.valid &= !mask;
                    }
                    g.valid != 0
                })
            });
        }
    }

    /// Rule 3: drops all records of a layer, whose `owner` has ended, or [`Self::cancel_all`] was called
    /// before (invariant 5). Costs what the layer has recorded. Process context; may sleep.
    pub(crate) fn drop_layer(&self, layer: u64, owner: &Presence) {
        let mut block = 0;
        while let Some(n) = owner.touched.next(block) {
            let first = n.checked_shl(self.block_shift).unwrap_or(usize::MAX);
            let end = first.saturating_add(1usize.checked_shl(self.block_shift).unwrap_or(0));
            self.sweep_between(first, end, |g| g.id.layer != layer);
            block = n.saturating_add(1);
            pause();
        }
    }

    /// Cancels all records being made.
    pub(crate) fn cancel_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Drops everything, and cancels what is being made. Process context; may sleep.
    pub(crate) fn drop_all(&self) {
        self.cancel_all();
        self.sweep_all(|_| false);
    }

    /// Drops what `keep` says no for out of all buckets. Process context; may sleep.
    fn sweep_all(&self, mut keep: impl FnMut(&mut Group) -> bool) {
        let mut first = 0;
        while first < self.slots.len() {
            let end = first.saturating_add(STRIDE);
            self.sweep_between(first, end, &mut keep);
            first = end;
            pause();
        }
    }

    fn sweep(&self, keep: impl FnMut(&mut Group) -> bool) {
        self.sweep_between(0, self.slots.len(), keep);
    }

    /// Drops what `keep` says no for out of the buckets from `first` up to `end`.
    fn sweep_between(&self, first: usize, end: usize, mut keep: impl FnMut(&mut Group) -> bool) {
        let mut from = first;
        while let Some(number) = self.occupied.next_below(from, end) {
            self.thin(number, |_, b| b.retain(&self.groups, &mut keep));
            from = number.saturating_add(1);
        }
    }

    /// Counts the records of layers in one pass over the table: `counts` are layers, in their order, and numbers to be
    /// added to. Process context; may sleep.
    pub(crate) fn count_records(&self, counts: &mut [(u64, u64)]) {
        let mut from = 0;
        let mut seen: usize = 0;
        while let Some(number) = self.occupied.next(from) {
            from = number.saturating_add(1);
            if let Some(slot) = self.slots.get(number) {
                slot.bucket.with(|b| {
                    for g in b.groups.iter() {
                        let at = counts.binary_search_by_key(&g.id.layer, |(layer, _)| *layer);
                        if let Some((_, n)) = at.ok().and_then(|at| counts.get_mut(at)) {
                            *n = n.saturating_add(u64::from(g.valid.count_ones()));
                        }
                    }
                });
            }
            seen = seen.saturating_add(1);
            if seen >= STRIDE {
                seen = 0;
                pause();
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The way of a shared read in map: serve the longest prefix that is in a sibling's memory, or wait
//! for a read of the same pages that is under way, or prepare the read that goes to disk.
//!
//! Rules (docs/invariants.md, DRR): foreign folios are not locked; unproven bytes are only
//! ever in a private page or in a locked, not uptodate page of the layer's own page cache; every
//! failure is a miss. Neighbours: dm/folio.rs (frames and memory), table.rs, record.rs.

use super::{
    cache::CachePolicy,
    coalesce::{Place, Start},
    group::{Batch, Known, Page, Source},
    heatmap::Heat,
    peers::Peers,
    platform::now_ns,
    record::{Copied, Ending, InFlight, Keep},
    stats::{Counter, Tally},
    table::{Published, Ticket},
    Drr, Layer, ReadOutcome,
};
use crate::dm::{
    bio::{Bio, BioList},
    folio::{Armed, HeldSource, OwnPage, Pieces, PrivatePage, Reject, PAGE_BYTES},
};
use crate::units::{Sectors, PAGE_SECTORS, PAGE_SECTORS_SHIFT, SECTOR_SHIFT};
use core::sync::atomic::Ordering;
use kernel::alloc::flags::{__GFP_NOWARN, GFP_NOWAIT};
use kernel::prelude::*;
use kernel::sync::Arc;

/// A bio is cut before a run of hits only when the run has at least that many pages.
const WORTH_A_CUT: u32 = 4;

/// What the table and the coalescer tell of in one go.
const PAGES_OF_GROUP: u32 = 16;

/// The part of a bio that lies in one page of the data device.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) ppn: u64,
    /// First byte inside the page.
    pub(super) at: u32,
    /// Bytes.
    pub(super) len: u32,
}

impl Part {
    /// The part of a bio of `total` bytes at sector `phys` that begins at byte `done` of it.
    pub(super) fn new(phys: Sectors, done: u32, total: u32) -> Option<Self> {
        let left = total.checked_sub(done).filter(|l| *l != 0)?;
        let sector = phys.0.saturating_add(u64::from(done >> SECTOR_SHIFT));
        let at = ((sector & (PAGE_SECTORS - 1)) as u32) << SECTOR_SHIFT;
        Some(Self {
            ppn: sector >> PAGE_SECTORS_SHIFT,
            at,
            len: left.min(PAGE_BYTES.saturating_sub(at)),
        })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.len == PAGE_BYTES
    }
}

/// Pages of the data device that `bytes` at `phys` touch: the first, and how many.
pub(super) fn extent(phys: Sectors, bytes: u32) -> (u64, u64) {
    let first = phys.0 >> PAGE_SECTORS_SHIFT;
    let end = phys
        .0
        .saturating_add(u64::from(bytes >> SECTOR_SHIFT))
        .saturating_add(PAGE_SECTORS - 1)
        >> PAGE_SECTORS_SHIFT;
    (first, end.saturating_sub(first))
}

/// How much of a bio was served.
#[derive(Clone, Copy, Default)]
struct Served {
    pages: u32,
    bytes: u32,
    /// Pages of these that went through a private page.
    bounced: u32,
}

/// What one call of `serve` carries along.
struct Walk<'a> {
    drr: &'a Drr,
    layer: &'a Layer,
    /// The layer's, at the beginning.
    peers: Option<&'a Peers<BioList>>,
    ticket: Ticket,
    /// What the table says of the part in hand, and of the pages around it.
    known: Known,
    batch: Batch,
    bounce: Option<PrivatePage>,
    /// The source of the parts served last, and how much it was, not counted yet.
    heat: Heat,
    /// What was served in all, not counted yet.
    served: Served,
    /// The part handled last had records.
    tried: bool,
    tally: &'a mut Tally,
}

impl Drr {
    pub(super) fn serve(
        &self,
        layer: &Arc<Layer>,
        bio: &mut Bio,
        phys: Sectors,
        tally: &mut Tally,
    ) -> ReadOutcome {
        let total = bio.bytes();
        let (first, pages) = extent(phys, total);
        let ticket = self.table.ticket(first, pages);
        if self.verify.load(Ordering::Relaxed) {
            // Everything goes to disk: nobody leads or follows.
            let mut end = Ending::new(self.wanted(layer, bio, phys, ticket, tally));
            end.copies = self.copy_for_verify(layer, phys, total, tally);
            self.arm(bio, phys, end, tally);
            return ReadOutcome::Disk;
        }

        let mut done: u32 = 0;
        let mut tried = false;
        let known = self.table.present(first, layer.domain());
        if known & (1u16 << (first & 15)) != 0 {
            (done, tried) = self.serve_prefix(layer, bio, phys, ticket, tally);
        }
        if done != 0 {
            if let Some(peers) = self.peers_of(layer) {
                peers.sampling.served(first, extent(phys, done).1);
            }
            if self.cache.policy() != CachePolicy::Off {
                // The reader's control group has copies now.
                self.cache_shrinker.note_group();
            }
            if done < total {
                bio.accept_partial(done >> SECTOR_SHIFT);
            }
            return ReadOutcome::Served;
        }
        if let Some(leader) = self.leader(layer, bio, phys) {
            return self.follow_leader(leader, bio, phys, tally);
        }
        if let Some(bytes) = self.misses_before_hits(layer, phys, total, known, tried) {
            bio.accept_partial(bytes >> SECTOR_SHIFT);
        }
        let keep = self.wanted(layer, bio, phys, ticket, tally);
        self.lead_or_follow(layer, bio, phys, keep, true, tally)
    }

    /// Fills what siblings' memory has of the beginning of a bio: how many bytes, and whether the part that comes
    /// then had records.
    ///
    /// A frame of its own: nobody else below it needs that much of the stack.
    #[inline(never)]
    fn serve_prefix(
        &self,
        layer: &Layer,
        bio: &Bio,
        phys: Sectors,
        ticket: Ticket,
        tally: &mut Tally,
    ) -> (u32, bool) {
        let total = bio.bytes();
        let mut done: u32 = 0;
        let mut walk = Walk::new(self, layer, ticket, tally);
        let mut pieces = Pieces::of(bio);
        while let Some(part) = Part::new(phys, done, total) {
            if !walk.serve_part(part, &mut pieces) {
                break;
            }
            done = done.saturating_add(part.len);
        }
        walk.end();
        (done, walk.tried)
    }

    /// Sends a read to disk, so that others can follow it if it is to be kept; unless, `patient`, it
    /// finds that another one has just begun.
    pub(super) fn lead_or_follow(
        &self,
        layer: &Layer,
        bio: &mut Bio,
        phys: Sectors,
        keep: Keep,
        patient: bool,
        tally: &mut Tally,
    ) -> ReadOutcome {
        let mut end = Ending::new(keep);
        let peers = self
            .peers_of(layer)
            .filter(|_| !matches!(keep, Keep::Nothing));
        if let Some(peers) = peers {
            let (first, pages) = extent(phys, bio.bytes());
            let now = now_ns();
            let patient = patient && bio.data().read_hook.may_wait(now);
            match peers.reads.start(first, pages, layer.serial, now, patient) {
                Start::Lead(lead) => end.lead = Some(lead),
                Start::Alone => {}
                Start::Follow(place, n) => {
                    return self.follow_leader((place, n), bio, phys, tally);
                }
            }
        }
        self.arm(bio, phys, end, tally);
        ReadOutcome::Disk
    }

    /// Another read of the pages that the bio begins with, and of how many of them, if the bio may wait for it.
    pub(super) fn leader(
        &self,
        layer: &Layer,
        bio: &mut Bio,
        phys: Sectors,
    ) -> Option<(Place, u64)> {
        let reads = &self.peers_of(layer)?.reads;
        if !reads.any() {
            return None;
        }
        let now = now_ns();
        let (first, pages) = extent(phys, bio.bytes());
        if !bio.data().read_hook.may_wait(now) {
            return None;
        }
        reads.leader(first, pages, now)
    }

    /// Another read of all pages of the bio, which may wait for it.
    pub(super) fn leader_of_all(
        &self,
        layer: &Layer,
        bio: &mut Bio,
        phys: Sectors,
    ) -> Option<(Place, u64)> {
        let (_, pages) = extent(phys, bio.bytes());
        self.leader(layer, bio, phys)
            .filter(|(_, covered)| *covered >= pages)
    }

    /// Lets the read wait for one of the same pages that is under way, as far as that goes.
    pub(super) fn follow_leader(
        &self,
        (place, covered): (Place, u64),
        bio: &mut Bio,
        phys: Sectors,
        tally: &mut Tally,
    ) -> ReadOutcome {
        let before = (phys.0 & (PAGE_SECTORS - 1)) as u32;
        let sectors = (covered as u32) << PAGE_SECTORS_SHIFT;
        // Nothing is done where the leader has all of it.
        bio.accept_partial(sectors.saturating_sub(before));
        tally.add(Counter::FollowedPages, covered as u32);
        ReadOutcome::Follow(place)
    }

    /// Fills all of a bio from siblings' memory; whether it is: if not it is for the disk, whatever
    /// of it has been filled. Process context; does not sleep. In a frame of its own.
    #[inline(never)]
    pub(super) fn serve_whole(
        &self,
        layer: &Arc<Layer>,
        bio: &Bio,
        phys: Sectors,
        tally: &mut Tally,
    ) -> bool {
        let total = bio.bytes();
        let (first, pages) = extent(phys, total);
        let ticket = self.table.ticket(first, pages);
        let mut walk = Walk::new(self, layer, ticket, tally);
        let mut pieces = Pieces::of(bio);
        let mut done: u32 = 0;
        while let Some(part) = Part::new(phys, done, total) {
            if !walk.serve_part(part, &mut pieces) {
                // All of it counts as a miss, and is recorded when it has come from the disk.
                return false;
            }
            done = done.saturating_add(part.len);
        }
        walk.end();
        if let Some(peers) = self.peers_of(layer) {
            peers.sampling.served(first, pages);
        }
        true
    }

    /// Prepares the end of a read that goes to disk and waits for nobody, nothing being copied.
    pub(super) fn arm_miss(&self, layer: &Layer, bio: &mut Bio, phys: Sectors, tally: &mut Tally) {
        let (first, pages) = extent(phys, bio.bytes());
        let ticket = self.table.ticket(first, pages);
        let keep = self.wanted(layer, bio, phys, ticket, tally);
        // Impatient, it is never told to follow.
        let _ = self.lead_or_follow(layer, bio, phys, keep, false, tally);
    }

    /// What is to be kept of a read.
    fn wanted(
        &self,
        layer: &Layer,
        bio: &Bio,
        phys: Sectors,
        ticket: Ticket,
        tally: &mut Tally,
    ) -> Keep {
        if self.recordable(layer, bio, phys, tally) {
            Keep::Records(ticket)
        } else {
            Keep::Nothing
        }
    }

    /// Whether the read is to be recorded. A look at the first page tells buffered reads from the
    /// others; each page is looked at again at the end.
    fn recordable(&self, layer: &Layer, bio: &Bio, phys: Sectors, tally: &mut Tally) -> bool {
        let (first, pages) = extent(phys, bio.bytes());
        let pays = |peers: &Peers<_>| peers.sampling.wants(first);
        if !self.peers_of(layer).is_some_and(pays) && !self.verify.load(Ordering::Relaxed) {
            tally.add(
                Counter::UnsampledPages,
                u32::try_from(pages).unwrap_or(u32::MAX),
            );
            return false;
        }
        !layer.bar.is_up()
            && phys.0 & (PAGE_SECTORS - 1) == 0
            && Pieces::of(bio)
                .next(PAGE_BYTES)
                .is_some_and(|piece| piece.own(layer.own).is_some())
    }

    /// Prepares the end of a read that goes to disk.
    pub(super) fn arm(&self, bio: &mut Bio, phys: Sectors, end: Ending, tally: &mut Tally) {
        let (_, pages) = extent(phys, bio.bytes());
        tally.add(Counter::MissBytes, bio.bytes());
        tally.add(
            Counter::MissPages,
            u32::try_from(pages)
                .unwrap_or(u32::MAX)
                .saturating_sub(u32::try_from(end.copies.len()).unwrap_or(0)),
        );
        if !matches!(end.keep, Keep::Nothing) || !end.copies.is_empty() {
            let armed = Armed::arm(bio);
            bio.data().read_hook.arm(InFlight::new(armed, phys, end));
        }
    }

    /// Bytes before the first run of hits that is worth a cut, when the bio begins with misses. `known`:
    /// which pages of the first one's group had records.
    ///
    /// `tried`: the first page had records, and none of them served. Those of the pages right
    /// after it are most likely of the same age and fate (a page cache that was dropped), and no reason
    /// to cut.
    fn misses_before_hits(
        &self,
        layer: &Layer,
        phys: Sectors,
        total: u32,
        known: u16,
        tried: bool,
    ) -> Option<u32> {
        let reads = &self.peers_of(layer)?.reads;
        if self.table.groups() == 0 && !reads.any() {
            return None;
        }
        let domain = layer.domain();
        let first = phys.0 >> PAGE_SECTORS_SHIFT;
        let now = if reads.any() { now_ns() } else { 0 };
        let mut window = Some((first & !15, known | reads.in_flight(first, now)));
        let mut done: u32 = 0;
        let mut run_start: u32 = 0;
        let mut run: u32 = 0;
        let mut seen_miss = false;
        while let Some(part) = Part::new(phys, done, total) {
            let key = part.ppn & !15;
            let mask = match window {
                Some((k, mask)) if k == key => mask,
                _ => {
                    // A read that is under way counts as a hit: the rest will wait for it.
                    let mask =
                        self.table.present(part.ppn, domain) | reads.in_flight(part.ppn, now);
                    window = Some((key, mask));
                    mask
                }
            };
            if mask == 0 && done != 0 {
                // Nothing up to the end of the group.
                seen_miss = true;
                run = 0;
                let left = PAGES_OF_GROUP.saturating_sub((part.ppn & 15) as u32 + 1);
                done = done
                    .saturating_add(part.len)
                    .saturating_add(left.saturating_mul(PAGE_BYTES));
                continue;
            }
            if done == 0 && tried {
                // Its records may have been dropped just now.
            } else if mask & (1u16 << (part.ppn & 15)) == 0 {
                seen_miss = true;
                run = 0;
            } else if seen_miss {
                if run == 0 {
                    run_start = done;
                }
                run = run.saturating_add(1);
                if run >= WORTH_A_CUT {
                    return Some(run_start).filter(|b| *b != 0);
                }
            }
            done = done.saturating_add(part.len);
        }
        None
    }

    /// With verify on: proven copies of all pages that could be served, to be compared when the
    /// disk has answered. In a frame of its own.
    #[inline(never)]
    fn copy_for_verify(
        &self,
        layer: &Layer,
        phys: Sectors,
        total: u32,
        tally: &mut Tally,
    ) -> KVec<Copied> {
        let mut copies = KVec::new();
        let peers = self.peers_of(layer);
        let mut done: u32 = 0;
        while let Some(part) = Part::new(phys, done, total) {
            let begin = done;
            done = done.saturating_add(part.len);
            let sources = self.table.sources(part.ppn, layer.domain());
            for source in sources.iter() {
                let Some(mut page) = PrivatePage::new() else {
                    break;
                };
                if self.copy_proven(part.ppn, source, &mut page, peers, tally) != Ok(true) {
                    continue;
                }
                let copied = Copied {
                    begin,
                    part,
                    layer: source.layer,
                    page,
                };
                if copies.push(copied, GFP_NOWAIT | __GFP_NOWARN).is_ok() {
                    tally.add(Counter::ServedPages, 1);
                    tally.add(Counter::ServedBytes, part.len);
                }
                break;
            }
        }
        copies
    }

    /// Copies `source` into a private page; whether the copy is proven.
    fn copy_proven(
        &self,
        ppn: u64,
        source: &Source,
        to: &mut PrivatePage,
        peers: Option<&Peers<BioList>>,
        tally: &mut Tally,
    ) -> Result<bool, Reject> {
        let copied = HeldSource::take(source.pfn, source.mapping, source.index)
            .and_then(|held| held.copy_to(to, &self.key));
        match copied {
            Ok(hash) => Ok(self.prove(ppn, source, hash, peers, tally)),
            Err(why) => {
                self.reject(ppn, source, why, tally);
                Err(why)
            }
        }
    }

    /// Whether a copy of `source` is what the disk has; a record that is not is dropped. `peers`: the reader's.
    fn prove(
        &self,
        ppn: u64,
        source: &Source,
        hash: u64,
        peers: Option<&Peers<BioList>>,
        tally: &mut Tally,
    ) -> bool {
        if hash == source.hash {
            if let Some(peers) = peers {
                peers.backoff.proven(source.mapping, source.layer);
            }
            return true;
        }
        tally.add(Counter::HashRejects, 1);
        self.table.forget(ppn, source);
        if let Some(peers) = peers {
            peers.backoff.failed(source.mapping, source.layer, now_ns());
        }
        false
    }

    /// Counts a failure, and drops the record unless its folio was only locked.
    pub(super) fn reject(&self, ppn: u64, source: &Source, why: Reject, tally: &mut Tally) {
        let counter = match why {
            Reject::Locked => {
                tally.add(Counter::TrylockFails, 1);
                return;
            }
            Reject::Offline => Counter::RejectOffline,
            Reject::Gone => Counter::RejectGone,
            Reject::Mapping => Counter::RejectMapping,
            Reject::NotUptodate => Counter::RejectNotUptodate,
            Reject::Dirty => Counter::RejectDirty,
            Reject::Writeback => Counter::RejectWriteback,
            Reject::Pinned => Counter::RejectPinned,
            Reject::Poisoned => Counter::RejectPoisoned,
        };
        tally.add(counter, 1);
        tally.add(Counter::IdentityRejects, 1);
        self.table.forget(ppn, source);
    }
}

impl<'a> Walk<'a> {
    fn new(drr: &'a Drr, layer: &'a Layer, ticket: Ticket, tally: &'a mut Tally) -> Self {
        Self {
            drr,
            layer,
            peers: drr.peers_of(layer),
            ticket,
            known: Known::nothing(),
            batch: Batch::empty(),
            bounce: None,
            heat: Heat::default(),
            served: Served::default(),
            tried: false,
            tally,
        }
    }

    /// Fills one part from the first source that works; steps `pieces` over it. On `false` the
    /// part has to come from disk, and `pieces` is of no more use.
    fn serve_part(&mut self, part: Part, pieces: &mut Pieces<'_>) -> bool {
        let domain = self.layer.domain();
        self.drr.table.look_up(part.ppn, domain, &mut self.known);
        let source = self.known.source();
        self.tried = source.is_some();
        let Some(source) = source else { return false };
        if part.is_whole() {
            let mut ahead = pieces.clone();
            let own = ahead
                .next(PAGE_BYTES)
                .and_then(|piece| ahead.own(&piece, self.layer.own));
            if let Some(mut own) = own {
                *pieces = ahead;
                return self.serve_own(part, &source, &mut own)
                    || self.other_that(part.ppn, &source, &mut |walk, source| {
                        walk.serve_own(part, source, &mut own)
                    });
            }
        }
        self.serve_bounced(part, &source, pieces)
            || self.other_that(part.ppn, &source, &mut |walk, source| {
                walk.serve_bounced(part, source, pieces)
            })
    }

    /// Whether another source than the one that was `tried` serves; the newest are tried first.
    #[inline(never)]
    fn other_that(
        &mut self,
        ppn: u64,
        tried: &Source,
        serves: &mut dyn FnMut(&mut Self, &Source) -> bool,
    ) -> bool {
        let sources = self.drr.table.sources(ppn, self.layer.domain());
        let mut others = sources.iter().filter(|s| *s != tried);
        others.any(|source| serves(self, source))
    }

    /// Straight into a page of the layer's own page cache, which nobody sees before the bio
    /// has ended.
    fn serve_own(&mut self, part: Part, source: &Source, own: &mut OwnPage<'_>) -> bool {
        // The frame may be the destination itself, come back to its old place.
        if own.pfn() == Some(source.pfn) {
            self.drr.table.forget(part.ppn, source);
            return false;
        }
        let copied = HeldSource::take(source.pfn, source.mapping, source.index)
            .and_then(|held| held.copy_to_own(own, &self.drr.key));
        let hash = match copied {
            Ok(hash) => hash,
            Err(why) => {
                self.drr.reject(part.ppn, source, why, self.tally);
                return false;
            }
        };
        if !self
            .drr
            .prove(part.ppn, source, hash, self.peers, self.tally)
        {
            return false;
        }
        self.served(part, source);
        let serial = self.layer.serial;
        let wants = |p: &Peers<_>| p.backoff.wants(own.mapping(), serial, part.ppn, now_ns);
        if let Some(pfn) = own.pfn().filter(|_| self.peers.is_none_or(wants)) {
            self.note(
                part.ppn,
                &Page {
                    pfn,
                    mapping: own.mapping(),
                    index: own.index(),
                    layer: self.layer.serial,
                    domain: self.layer.domain(),
                    hash,
                },
                source.layer,
            );
        }
        true
    }

    /// By way of a private page, so that the destination only ever sees proven bytes.
    fn serve_bounced(&mut self, part: Part, source: &Source, pieces: &mut Pieces<'_>) -> bool {
        let mut check = pieces.clone();
        let mut left = part.len;
        while left != 0 {
            match check.next(left) {
                Some(piece) if piece.is_ordinary() => left = left.saturating_sub(piece.len()),
                _ => return false,
            }
        }
        let Some(mut page) = self.bounce.take().or_else(PrivatePage::new) else {
            return false;
        };
        let copied = self
            .drr
            .copy_proven(part.ppn, source, &mut page, self.peers, self.tally);
        let proven = copied == Ok(true);
        let mut at = part.at;
        let mut left = if proven { part.len } else { 0 };
        while left != 0 {
            // Both cannot fail: the pieces were walked above.
            let Some(piece) = pieces.next(left) else {
                return false;
            };
            if !piece.fill(&page, at) {
                return false;
            }
            at = at.saturating_add(piece.len());
            left = left.saturating_sub(piece.len());
        }
        self.bounce = Some(page);
        if proven {
            self.served.bounced = self.served.bounced.saturating_add(1);
            self.served(part, source);
        }
        proven
    }

    fn served(&mut self, part: Part, source: &Source) {
        if self.heat.source != source.layer {
            self.count_heat();
            self.heat.source = source.layer;
        }
        self.heat.pages = self.heat.pages.saturating_add(1);
        self.heat.bytes = self.heat.bytes.saturating_add(u64::from(part.len));
        self.served.pages = self.served.pages.saturating_add(1);
        self.served.bytes = self.served.bytes.saturating_add(part.len);
    }

    /// The bio is answered with what was served: publishes and counts that. Once; by reference, for a copy of `self`
    /// would take a third of the stack that there is.
    fn end(&mut self) {
        self.publish();
        self.count_heat();
        self.tally.add(Counter::ServedPages, self.served.pages);
        self.tally.add(Counter::ServedBytes, self.served.bytes);
        self.tally.add(Counter::BouncedPages, self.served.bounced);
    }

    /// The reader is the newest source of what it was served by layer `from`.
    fn note(&mut self, ppn: u64, page: &Page, from: u64) {
        let begins = self.batch.is_empty();
        if !self.batch.add(ppn, page) {
            self.publish();
            // Empty, it takes any.
            self.batch.add(ppn, page);
            self.batch.copied_from(from);
        } else if begins {
            self.batch.copied_from(from);
        }
    }

    fn count_heat(&mut self) {
        let heat = core::mem::take(&mut self.heat);
        if heat.source != 0 {
            self.layer.heat.served(heat.source, heat.pages, heat.bytes);
        }
    }

    fn publish(&mut self) {
        if !self.batch.is_empty() {
            self.drr
                .publish(self.layer, &self.batch, &self.ticket, self.tally);
            self.batch.clear();
        }
    }
}

impl Drr {
    /// Makes the records of a batch, and counts how it went.
    pub(super) fn publish(&self, layer: &Layer, batch: &Batch, ticket: &Ticket, tally: &mut Tally) {
        match self.table.publish(batch, ticket, &layer.presence) {
            Published::Recorded(n) => {
                tally.add(Counter::RecordedPages, n);
                self.cache.recorded(batch.key(), batch.domain());
            }
            Published::Cancelled => tally.add(Counter::CancelledPages, batch.pages()),
            Published::NoMemory => {}
        }
    }
}

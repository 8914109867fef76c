// SPDX-License-Identifier: GPL-2.0

//! The way of a shared read in end_io: record what the disk returned, and compare what could have
//! been served with it.
//!
//! Runs before the bio is completed, so that its page-cache folios are still locked. Completion may
//! be in hard interrupt context: at most [`IN_PLACE_PAGES`] are hashed or compared there, more goes
//! to a worker, which ends the bio a second time (dm/folio.rs, `ReadQueue`). So does the end of a read
//! that others have waited for.
//!
//! Neighbours: serve.rs (arms the hook), table.rs (publication), dm/folio.rs.

use super::{
    coalesce::{may_wait, Lead, Waiters},
    group::{pages_of_group_from, Batch, Page},
    hash::{Pages, HASHED_TOGETHER},
    metadata::Metadata,
    peers::Peers,
    platform::now_ns,
    serve::{extent, Part},
    stats::{Counter, Tally},
    table::Ticket,
    Drr, Layer,
};
use crate::dm::{
    bio::{Bio, BioList, Status},
    folio::{Armed, Deferred, PrivatePage, PAGE_BYTES},
};
use crate::units::Sectors;
use core::sync::atomic::Ordering;
use kernel::{prelude::*, sync::Arc};

/// Pages that end_io handles itself.
const IN_PLACE_PAGES: u64 = 16;

/// A proven copy of what a read asks for, kept to be compared with the disk (verify).
pub(super) struct Copied {
    /// Where in the bio it begins, in bytes.
    pub(super) begin: u32,
    pub(super) part: Part,
    /// Serial of the layer that it was copied from.
    pub(super) layer: u64,
    pub(super) page: PrivatePage,
}

/// What is to be kept of a read.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    Nothing,
    /// Records of where its pages are in the page cache.
    Records(Ticket),
    /// A copy: it is metadata.
    Copy(Ticket, Metadata),
}

/// What is to be done when a read has ended.
pub(super) struct Ending {
    pub(super) keep: Keep,
    /// Others may wait for this read.
    pub(super) lead: Option<Lead>,
    pub(super) copies: KVec<Copied>,
}

impl Ending {
    /// Tickets in `keep` are from before the read.
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            lead: None,
            copies: KVec::new(),
        }
    }
}

/// A read that is on its way to the disk.
pub(super) struct InFlight {
    armed: Armed,
    phys: Sectors,
    end: Ending,
}

impl InFlight {
    pub(super) fn new(armed: Armed, phys: Sectors, end: Ending) -> Self {
        Self { armed, phys, end }
    }
}

/// Whom a read that waited goes back to.
pub(crate) trait Resume: Send + Sync {
    /// Takes the read, to look its mapping up once more. Process context.
    fn resume(&self, bio: Bio);
}

/// What DRR keeps in a bio's own data: nothing, unless the read is to be recorded or compared, or
/// waits for another one.
#[derive(Default)]
pub(crate) struct ReadHook {
    read: Option<InFlight>,
    /// Who the worker works for; set while deferred.
    owner: Option<(Arc<Drr>, Arc<Layer>)>,
    /// Who waited for this read, and goes on when it has ended.
    followers: BioList,
    /// Set while the read waits itself.
    back: Option<Arc<dyn Resume>>,
    /// Until when it may wait, from its first wait on, in nanoseconds.
    until: Option<u64>,
    pub(crate) deferred: Deferred,
}

impl ReadHook {
    /// Whether the end of the read is of interest.
    pub(crate) fn is_armed(&self) -> bool {
        self.read.is_some()
    }

    pub(super) fn arm(&mut self, read: InFlight) {
        self.read = Some(read);
    }

    /// Begins a wait; until when it may last: all waits of a read together for the patience that there was at the
    /// first of them.
    pub(super) fn wait(&mut self, back: Arc<dyn Resume>, now: u64, patience: u64) -> u64 {
        self.back = Some(back);
        *self.until.get_or_insert(now.saturating_add(patience))
    }

    /// Whether the read may wait for another one.
    pub(super) fn may_wait(&self, now: u64) -> bool {
        self.until.is_none_or(|until| may_wait(until, now))
    }

    /// The worker's part: finishes the read and empties the hook. The bio is ended by the caller,
    /// and then the followers are resumed.
    ///
    /// The references to pool and layer go here, before the bio ends; until then the target holds
    /// its own, so these are never the last ones.
    pub(crate) fn run_deferred(&mut self) -> BioList {
        if let Some((drr, layer)) = self.owner.take() {
            let mut tally = Tally::new();
            tally.add(Counter::DeferredReads, 1);
            drr.count(&layer, &tally);
            drr.finish(&layer, self);
        }
        self.followers.take()
    }
}

/// Sends reads that waited on their way. Process context.
pub(crate) fn resume(mut followers: BioList) {
    while let Some(mut bio) = followers.pop() {
        match bio.data().read_hook.back.take() {
            Some(back) => back.resume(bio),
            // Nobody waits without it.
            None => bio.end(Status::IoError),
        }
    }
}

/// The same for reads whose leader is stalled: they wait for nobody any more.
pub(super) fn resume_alone(mut followers: BioList) {
    let mut list = BioList::new();
    while let Some(mut bio) = followers.pop() {
        bio.data().read_hook.until = Some(0);
        list.push(bio);
    }
    resume(list);
}

impl Waiters for BioList {
    type Item = Bio;

    fn push(&mut self, item: Bio) {
        self.push(item);
    }

    fn append(&mut self, others: Self) {
        self.append(others);
    }
}

impl Drr {
    /// `read_ended` for an armed hook.
    pub(super) fn end_armed(
        self: &Arc<Self>,
        layer: &Arc<Layer>,
        mut bio: Bio,
        status: Status,
    ) -> Option<Bio> {
        let hook = &mut bio.data().read_hook;
        if status.is_ok() {
            let pages = hook.read.as_ref().map_or(0, |read| {
                extent(read.phys, read.armed.pieces().map_or(0, |p| p.bytes())).1
            });
            if pages > IN_PLACE_PAGES || !self.key.is_usable() {
                hook.owner = Some((self.clone(), layer.clone()));
                self.queue.defer(bio, status);
                return None;
            }
            self.finish(layer, hook);
        } else {
            // Nothing was read: nothing to record, nothing to compare.
            self.lead_on(hook);
        }
        if hook.followers.is_empty() {
            return Some(bio);
        }
        // They look their mappings up, which may sleep.
        self.queue.defer(bio, status);
        None
    }

    /// Records and compares what the disk returned; after that nobody can begin to follow the read.
    fn finish(&self, layer: &Layer, hook: &mut ReadHook) {
        let mut tally = Tally::new();
        let ended = now_ns();
        if let Some(read) = hook.read.as_ref() {
            self.compare(layer, read, &mut tally);
            match read.end.keep {
                Keep::Records(ticket) if self.is_enabled() => {
                    if let Some(lead) = read.end.lead.as_ref() {
                        let (first, pages, began) = lead.read();
                        if let Some(peers) = self.peers.of(lead.domain()) {
                            let ns = ended.saturating_sub(began);
                            peers.sampling.recorded(first, pages, ns);
                        }
                    }
                    self.record(layer, read, &ticket, &mut tally);
                }
                Keep::Copy(ticket, kind) if self.is_enabled() => {
                    if let Some(pieces) = read.armed.pieces() {
                        self.keep_metadata(layer, pieces, read.phys, kind, &ticket, &mut tally);
                    }
                }
                Keep::Nothing | Keep::Records(_) | Keep::Copy(..) => {}
            }
        }
        self.lead_on(hook);
        self.count(layer, &tally);
    }

    /// Ends the read's part in the hook; its followers are left there.
    fn lead_on(&self, hook: &mut ReadHook) {
        let Some(end) = hook.read.take().map(|read| read.end) else {
            return;
        };
        if let Some(lead) = end.lead {
            let short = matches!(end.keep, Keep::Copy(..));
            if let Some(peers) = self.peers.of(lead.domain()) {
                hook.followers = peers.reads.end(lead, now_ns(), short);
            }
        }
    }

    /// In a frame of its own.
    #[inline(never)]
    fn record(&self, layer: &Layer, read: &InFlight, ticket: &Ticket, tally: &mut Tally) {
        // `None` only when the hook was moved out of its bio, which nobody does.
        let Some(mut pieces) = read.armed.pieces() else {
            return;
        };
        let total = pieces.bytes();
        let peers = self.peers_of(layer);
        let verify = self.verify.load(Ordering::Relaxed);
        let mut batch = Batch::empty();
        let mut contents = Pages::none();
        let mut hashes = [0; HASHED_TOGETHER];
        let mut publish = |batch: &mut Batch, contents: &mut Pages<'_>, tally: &mut Tally| {
            if !batch.is_empty() {
                let n = contents.hash(&self.key, &mut hashes);
                batch.set_hashes(hashes.get(..n).unwrap_or(&[]));
                self.publish(layer, batch, ticket, tally);
                batch.clear();
            }
        };
        let mut done: u32 = 0;
        while let Some(part) = Part::new(read.phys, done, total) {
            done = done.saturating_add(part.len);
            let Some(piece) = pieces.next(part.len) else {
                break;
            };
            if piece.len() != part.len {
                pieces.skip(part.len.saturating_sub(piece.len()));
                tally.add(Counter::UnrecordedForeign, 1);
                continue;
            }
            let whole = part.is_whole().then_some(&piece);
            let room = pages_of_group_from(part.ppn);
            let Some(run) = whole.and_then(|piece| pieces.own_run(piece, layer.own, room)) else {
                tally.add(Counter::UnrecordedForeign, 1);
                continue;
            };
            let pages = run.pages();
            done = done.saturating_add(pages.saturating_sub(1).saturating_mul(PAGE_BYTES));
            let first = run.first();
            let page = first.pfn().map(|pfn| Page {
                pfn,
                mapping: first.mapping(),
                index: first.index(),
                layer: layer.serial,
                domain: layer.domain(),
                // Of all of a batch together.
                hash: 0,
            });
            let (Some(page), Some(words)) = (page, run.into_words()) else {
                tally.add(Counter::UnrecordedForeign, pages);
                continue;
            };
            let wants = |p: &Peers<_>| p.backoff.wants(page.mapping, page.layer, part.ppn, now_ns);
            // Under verify each record is to be tried.
            if !verify && !peers.is_none_or(wants) {
                tally.add(Counter::UnsampledPages, pages);
                continue;
            }
            if !batch.add_run(part.ppn, &page, pages) {
                publish(&mut batch, &mut contents, tally);
                // Empty, it takes any.
                batch.add_run(part.ppn, &page, pages);
            }
            contents.add(words);
        }
        publish(&mut batch, &mut contents, tally);
    }

    /// Compares what could have been served with what the disk returned. The disk's bytes are in
    /// place already, so they win by themselves. In a frame of its own.
    #[inline(never)]
    fn compare(&self, layer: &Layer, read: &InFlight, tally: &mut Tally) {
        for copied in read.end.copies.iter() {
            let Some(mut pieces) = read.armed.pieces() else {
                return;
            };
            pieces.skip(copied.begin);
            let mut at = copied.part.at;
            let mut left = copied.part.len;
            let mut difference = None;
            while left != 0 {
                let Some(piece) = pieces.next(left) else {
                    return;
                };
                if !piece.is_ordinary() {
                    return;
                }
                let here = piece.difference(&copied.page, at);
                difference = difference.or(here.map(|n| at.saturating_add(n)));
                at = at.saturating_add(piece.len());
                left = left.saturating_sub(piece.len());
            }
            tally.add(Counter::VerifyPages, 1);
            if let Some(byte) = difference {
                tally.add(Counter::VerifyMismatches, 1);
                self.log_mismatch(layer, copied, byte);
            }
        }
    }

    /// Once per pool: the counter tells how many there were. `byte`: the first one of the page that differs. Hashes
    /// are not told: who reads the log could learn of the key.
    fn log_mismatch(&self, layer: &Layer, copied: &Copied, byte: u32) {
        if self.mismatch_logged.swap(true, Ordering::Relaxed) {
            return;
        }
        pr_err!(
            "{}: verify: page {} (bytes {} to {}) for device {} (layer serial {}) from layer serial {} differs from the disk, first in byte {}: please report it, and switch it off with the message 'drr off'\n",
            self.name(),
            copied.part.ppn,
            copied.part.at,
            copied.part.at.saturating_add(copied.part.len).min(PAGE_BYTES),
            layer.id.0,
            layer.serial,
            copied.layer,
            byte,
        );
    }
}

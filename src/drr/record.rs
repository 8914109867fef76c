// SPDX-License-Identifier: GPL-2.0

//! The way of a shared read in end_io: record what the disk returned, and compare what could have
//! been served with it.
//!
//! Runs before the bio is completed, so that its page-cache folios are still locked. Completion may
//! be in hard interrupt context: at most [`IN_PLACE_PAGES`] are hashed or compared there, more goes
//! to a worker, which ends the bio a second time (dm/folio.rs, `ReadQueue`).
//!
//! Neighbours: serve.rs (arms the hook), table.rs (publication), dm/folio.rs.

use super::{
    serve::{extent, Part},
    stats::{Counter, Tally},
    table::{Batch, Page, Ticket},
    Drr, Layer,
};
use crate::dm::{
    bio::{Bio, Status},
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
    pub(super) hash: u64,
    pub(super) page: PrivatePage,
}

/// A read that is on its way to the disk.
pub(super) struct InFlight {
    armed: Armed,
    phys: Sectors,
    ticket: Ticket,
    record: bool,
    copies: KVec<Copied>,
}

impl InFlight {
    pub(super) fn new(
        armed: Armed,
        phys: Sectors,
        ticket: Ticket,
        record: bool,
        copies: KVec<Copied>,
    ) -> Self {
        Self {
            armed,
            phys,
            ticket,
            record,
            copies,
        }
    }
}

/// What DRR keeps in a bio's own data: nothing, unless the read is to be recorded or compared.
#[derive(Default)]
pub(crate) struct ReadHook {
    read: Option<InFlight>,
    /// Who the worker works for; set while deferred.
    owner: Option<(Arc<Drr>, Arc<Layer>)>,
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

    /// The worker's part: finishes the read and empties the hook. The bio is ended by the caller.
    ///
    /// The references to pool and layer go here, before the bio ends; until then the target holds
    /// its own, so these are never the last ones.
    pub(crate) fn run_deferred(&mut self) {
        if let Some((drr, layer)) = self.owner.take() {
            let mut tally = Tally::new();
            tally.add(Counter::DeferredReads, 1);
            drr.count(&layer, &tally);
            drr.finish(&layer, self);
        }
        self.read = None;
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
        let pages = match hook.read.as_ref() {
            Some(read) if status.is_ok() => {
                extent(read.phys, read.armed.pieces().map_or(0, |p| p.bytes())).1
            }
            _ => {
                // Nothing was read: nothing to record, nothing to compare.
                hook.read = None;
                return Some(bio);
            }
        };
        if pages > IN_PLACE_PAGES {
            hook.owner = Some((self.clone(), layer.clone()));
            self.queue.defer(bio);
            return None;
        }
        self.finish(layer, hook);
        Some(bio)
    }

    fn finish(&self, layer: &Layer, hook: &mut ReadHook) {
        let mut tally = Tally::new();
        if let Some(read) = hook.read.as_ref() {
            self.compare(layer, read, &mut tally);
            if read.record && self.is_enabled() {
                self.record(layer, read, &mut tally);
            }
        }
        hook.read = None;
        self.count(layer, &tally);
    }

    fn record(&self, layer: &Layer, read: &InFlight, tally: &mut Tally) {
        // `None` only when the hook was moved out of its bio, which nobody does.
        let Some(mut pieces) = read.armed.pieces() else {
            return;
        };
        let total = pieces.bytes();
        let mut batch: Option<Batch> = None;
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
            let Some(own) = piece.own(layer.own).filter(|_| part.is_whole()) else {
                tally.add(Counter::UnrecordedForeign, 1);
                continue;
            };
            let Some(pfn) = own.pfn() else { continue };
            let page = Page {
                pfn,
                mapping: own.mapping(),
                index: own.index(),
                layer: layer.serial,
                domain: layer.domain(),
                hash: own.with_words(|words| self.key.hash(words)),
            };
            if batch.as_mut().is_some_and(|b| b.add(part.ppn, page)) {
                continue;
            }
            if let Some(full) = batch.replace(Batch::new(part.ppn, page)) {
                self.publish(layer, &full, &read.ticket, tally);
            }
        }
        if let Some(last) = batch {
            self.publish(layer, &last, &read.ticket, tally);
        }
    }

    /// Compares what could have been served with what the disk returned. The disk's bytes are in
    /// place already, so they win by themselves.
    fn compare(&self, layer: &Layer, read: &InFlight, tally: &mut Tally) {
        for copied in read.copies.iter() {
            let Some(mut pieces) = read.armed.pieces() else {
                return;
            };
            pieces.skip(copied.begin);
            let mut at = copied.part.at;
            let mut left = copied.part.len;
            let mut differs = false;
            let mut disk_hash = None;
            while left != 0 {
                let Some(piece) = pieces.next(left) else {
                    return;
                };
                if !piece.is_ordinary() {
                    return;
                }
                if piece.differs(&copied.page, at) {
                    differs = true;
                    disk_hash = piece
                        .own(layer.own)
                        .map(|own| own.with_words(|words| self.key.hash(words)));
                }
                at = at.saturating_add(piece.len());
                left = left.saturating_sub(piece.len());
            }
            tally.add(Counter::VerifyPages, 1);
            if differs {
                tally.add(Counter::VerifyMismatches, 1);
                self.log_mismatch(layer, copied, disk_hash);
            }
        }
    }

    /// Once per pool: the counter tells how many there were.
    fn log_mismatch(&self, layer: &Layer, copied: &Copied, disk_hash: Option<u64>) {
        if self.mismatch_logged.swap(true, Ordering::Relaxed) {
            return;
        }
        pr_err!(
            "{}: verify: page {} (bytes {} to {}) for device {} (layer serial {}) from layer serial {} differs from the disk: hash {:#x}, disk {:#x} (0: not a whole page)\n",
            self.name(),
            copied.part.ppn,
            copied.part.at,
            copied.part.at.saturating_add(copied.part.len).min(PAGE_BYTES),
            layer.id.0,
            layer.serial,
            copied.layer,
            copied.hash,
            disk_hash.unwrap_or(0),
        );
    }
}

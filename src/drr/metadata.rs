// SPDX-License-Identifier: GPL-2.0

//! The way of a file system's metadata: served from the pool's own pages in map, kept there in end_io.
//!
//! What is metadata is told by the bio (REQ_META: XFS, most of ext4), or by where it is read to: buffer
//! heads of the layer's device, which ext4 reads ahead without that flag. In either case the memory is the
//! file system's own, and its reader has not been told yet that it is filled when end_io copies it: nobody
//! changes it then. Programs cannot set REQ_META, and what they give to a direct read is pinned.
//!
//! A read is filled as a whole or not at all: most are of one block. Else it goes to disk like any other, and
//! others wait for it (coalesce.rs). Neighbours: metapages.rs (the pages), serve.rs, record.rs.

use super::{
    metapages::{sectors_of, Kept},
    record::{Copied, Ending, Keep},
    serve::{extent, Part},
    stats::{Counter, Tally},
    table::Ticket,
    Drr, Layer, ReadOutcome,
};
use crate::dm::{
    bio::Bio,
    folio::{Pieces, PrivatePage, PAGE_BYTES},
};
use crate::units::Sectors;
use core::sync::atomic::Ordering;
use kernel::alloc::flags::{__GFP_NOWARN, GFP_NOWAIT};
use kernel::prelude::*;

/// How a read is known to be one of metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    /// By its flag.
    Flagged,
    /// By the buffers that it fills.
    Buffer,
}

impl Metadata {
    /// Whether `bio` reads metadata; by its first page, if the bio does not tell.
    pub(super) fn of(layer: &Layer, bio: &Bio) -> Option<Self> {
        if bio.is_metadata() {
            return Some(Self::Flagged);
        }
        Pieces::of(bio)
            .next(PAGE_BYTES)
            // A page that can be locked is better served from where it is.
            .filter(|piece| piece.is_buffer(layer.own) && piece.own(layer.own).is_none())
            .map(|_| Self::Buffer)
    }
}

/// Fills a part of a read from `page`.
fn fill(mut pieces: Pieces<'_>, part: Part, page: &PrivatePage) -> bool {
    let mut at = part.at;
    let mut left = part.len;
    while left != 0 {
        let Some(piece) = pieces.next(left) else {
            return false;
        };
        if !piece.is_ordinary() || !piece.fill(page, at) {
            return false;
        }
        at = at.saturating_add(piece.len());
        left = left.saturating_sub(piece.len());
    }
    true
}

/// Copies a part of a read into its place in `page`.
fn copy_out(
    mut pieces: Pieces<'_>,
    part: Part,
    kind: Metadata,
    layer: &Layer,
    page: &mut PrivatePage,
) -> bool {
    let mut at = part.at;
    let mut left = part.len;
    while left != 0 {
        let Some(piece) = pieces.next(left) else {
            return false;
        };
        let sound = match kind {
            Metadata::Flagged => piece.is_ordinary(),
            Metadata::Buffer => piece.is_buffer(layer.own),
        };
        if !sound || !piece.take(page, at) {
            return false;
        }
        at = at.saturating_add(piece.len());
        left = left.saturating_sub(piece.len());
    }
    true
}

impl Drr {
    /// The way of a read of metadata in map: from the pool's own pages, as a whole, or like any other.
    pub(super) fn serve_metadata(
        &self,
        layer: &Layer,
        bio: &mut Bio,
        phys: Sectors,
        kind: Metadata,
        tally: &mut Tally,
    ) -> ReadOutcome {
        let (first, pages) = extent(phys, bio.bytes());
        let ticket = self.meta_pages.ticket(first, pages);
        if self.verify.load(Ordering::Relaxed) {
            let mut end = Ending::new(self.copy_wanted(layer, ticket, kind));
            end.copies = self.metadata_for_verify(layer, phys, bio.bytes(), tally);
            self.arm(bio, phys, end, tally);
            return ReadOutcome::Disk;
        }
        if self.fill_metadata(layer, bio, phys, tally) {
            return ReadOutcome::Served;
        }
        if let Some(leader) = self.leader(layer, bio, phys) {
            return self.follow_leader(leader, bio, phys, tally);
        }
        self.lead_or_follow(
            layer,
            bio,
            phys,
            self.copy_wanted(layer, ticket, kind),
            true,
            tally,
        )
    }

    /// The same outside of map; whether the read is filled. If not it is prepared for the disk.
    pub(super) fn serve_metadata_whole(
        &self,
        layer: &Layer,
        bio: &mut Bio,
        phys: Sectors,
        kind: Metadata,
        tally: &mut Tally,
    ) -> bool {
        if !self.verify.load(Ordering::Relaxed) && self.fill_metadata(layer, bio, phys, tally) {
            return true;
        }
        let (first, pages) = extent(phys, bio.bytes());
        let keep = self.copy_wanted(layer, self.meta_pages.ticket(first, pages), kind);
        // Impatient, it is never told to follow.
        let _ = self.lead_or_follow(layer, bio, phys, keep, false, tally);
        false
    }

    fn copy_wanted(&self, layer: &Layer, ticket: Ticket, kind: Metadata) -> Keep {
        if !layer.bar.is_up() {
            Keep::Copy(ticket, kind)
        } else {
            Keep::Nothing
        }
    }

    /// Fills a read of metadata from the pool's own pages, if they have all of it.
    fn fill_metadata(&self, layer: &Layer, bio: &Bio, phys: Sectors, tally: &mut Tally) -> bool {
        let total = bio.bytes();
        let domain = layer.domain();
        let mut pieces = Pieces::of(bio);
        let mut done: u32 = 0;
        // What is filled before a page is missing is overwritten from disk, and seen by nobody.
        while let Some(part) = Part::new(phys, done, total) {
            let sectors = sectors_of(part.at, part.len);
            let here = pieces.clone();
            pieces.skip(part.len);
            let filled = self
                .meta_pages
                .with_page(part.ppn, domain, sectors, |page| fill(here, part, page));
            if filled != Some(true) {
                return false;
            }
            done = done.saturating_add(part.len);
        }
        let (_, pages) = extent(phys, total);
        tally.add(Counter::MetaServedBytes, total);
        tally.add(
            Counter::MetaServedPages,
            u32::try_from(pages).unwrap_or(u32::MAX),
        );
        true
    }

    /// With verify on: copies of the pages of metadata that could be served.
    fn metadata_for_verify(
        &self,
        layer: &Layer,
        phys: Sectors,
        total: u32,
        tally: &mut Tally,
    ) -> KVec<Copied> {
        let mut copies = KVec::new();
        let mut done: u32 = 0;
        while let Some(part) = Part::new(phys, done, total) {
            let begin = done;
            done = done.saturating_add(part.len);
            let Some(mut page) = PrivatePage::new() else {
                break;
            };
            let sectors = sectors_of(part.at, part.len);
            let found = self
                .meta_pages
                .with_page(part.ppn, layer.domain(), sectors, |kept| {
                    page.copy_from(kept);
                });
            if found.is_none() {
                continue;
            }
            let copied = Copied {
                begin,
                part,
                layer: 0,
                page,
            };
            if copies.push(copied, GFP_NOWAIT | __GFP_NOWARN).is_ok() {
                tally.add(Counter::MetaServedPages, 1);
                tally.add(Counter::MetaServedBytes, part.len);
            }
        }
        copies
    }

    /// Copies metadata that the disk returned into the pool's own pages. Any context but NMI, before the
    /// bio is ended.
    #[inline(never)]
    pub(super) fn keep_metadata(
        &self,
        layer: &Layer,
        mut pieces: Pieces<'_>,
        phys: Sectors,
        kind: Metadata,
        ticket: &Ticket,
        tally: &mut Tally,
    ) {
        let total = pieces.bytes();
        let mut done: u32 = 0;
        while let Some(part) = Part::new(phys, done, total) {
            done = done.saturating_add(part.len);
            let here = pieces.clone();
            pieces.skip(part.len);
            let kept = self.meta_pages.keep(
                part.ppn,
                layer.domain(),
                sectors_of(part.at, part.len),
                ticket,
                PrivatePage::new,
                |page| copy_out(here, part, kind, layer, page),
            );
            match kept {
                Kept::Done => tally.add(Counter::MetaKeptPages, 1),
                Kept::Cancelled => tally.add(Counter::CancelledPages, 1),
                Kept::NoMemory => {}
            }
        }
    }
}

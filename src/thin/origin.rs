// SPDX-License-Identifier: GPL-2.0

//! External origins: a read-only device outside of the pool that has what is not mapped.
//!
//! A thin device reads its unmapped chunks from there, at the same offset, and zeroes past the
//! origin's end. A chunk that a write maps is filled from there first (`change`).
//!
//! No I/O to an origin is in an epoch: it relies on no mapping of this pool. An origin may be
//! anything, even a thin device of the same pool, whose reads can need that device's work, and
//! works wait for epochs.
//!
//! What comes from an origin has no physical page in the pool's data device: it is neither
//! recorded nor served.

use super::Thin;
use crate::{
    dm::{
        bdev::BlockDev,
        bio::{Bio, Status},
        kcopyd::Region,
    },
    units::VChunk,
};
use kernel::sync::atomic::{Atomic, Relaxed};

/// The external origin of a thin device.
pub(crate) struct Origin {
    dev: BlockDev,
    /// Its length when the thin device was last resumed.
    sectors: Atomic<u64>,
}

impl Origin {
    /// An origin that is taken for empty until it is measured.
    pub(super) fn new(dev: BlockDev) -> Self {
        Self {
            dev,
            sectors: Atomic::new(0),
        }
    }

    /// Takes note of the device's length. While no I/O flows.
    pub(super) fn measure(&self) {
        self.sectors.store(self.dev.sectors(), Relaxed);
    }

    pub(super) fn dev(&self) -> BlockDev {
        self.dev
    }
}

impl Thin {
    /// Answers a read of a chunk that is not mapped. Gives the bio back, directed to the origin,
    /// when there is something to be read; else it has been ended. The bio is in no epoch.
    pub(super) fn read_unmapped(&self, mut bio: Bio) -> Option<Bio> {
        let begin = bio.sector();
        let there = self.origin.as_ref().and_then(|o| {
            let left = o.sectors.load(Relaxed).checked_sub(begin.0)?;
            Some((o, left)).filter(|_| left > 0)
        });
        match there {
            Some((origin, left)) => {
                bio.end_in_zeroes(left);
                bio.remap(origin.dev, begin);
                Some(bio)
            }
            None => {
                bio.zero_fill();
                bio.end(Status::Ok);
                None
            }
        }
    }

    /// What the origin has of a chunk, if anything: less than a chunk where it ends.
    pub(super) fn in_origin(&self, v: VChunk) -> Option<Region> {
        let origin = self.origin.as_ref()?;
        let geometry = &self.pool.geometry;
        let begin = geometry.start(v.0).0;
        let left = origin.sectors.load(Relaxed).checked_sub(begin)?;
        (left > 0).then(|| Region {
            dev: origin.dev,
            sector: begin,
            sectors: left.min(geometry.sectors()),
        })
    }
}

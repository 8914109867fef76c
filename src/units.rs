// SPDX-License-Identifier: GPL-2.0

//! Units of length and address, as types, so that they cannot be mixed.
//!
//! Pure: compiled by the kernel and by the host tests.

/// log2 of the bytes in a sector.
pub(crate) const SECTOR_SHIFT: u32 = 9;
/// log2 of the sectors in a 4 KiB page.
pub(crate) const PAGE_SECTORS_SHIFT: u32 = 3;
/// Sectors in a 4 KiB page.
pub(crate) const PAGE_SECTORS: u64 = 1 << PAGE_SECTORS_SHIFT;

/// A length or an address in 512-byte sectors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Sectors(pub(crate) u64);

/// A chunk (the pool's block) of the data device, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Chunk(pub(crate) u64);

/// A chunk of a thin device's address space, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct VChunk(pub(crate) u64);

/// A 4 KiB page of the data device, by number: the identity of data (design: PPN).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Ppn(pub(crate) u64);

/// A thin device's id, as in messages and metadata: 24 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct DevId(pub(crate) u32);

impl DevId {
    /// The largest id that a message may name.
    pub(crate) const MAX: u32 = (1 << 24) - 1;
}

/// How a pool divides the data device: the chunk size and the arithmetic that follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    sectors: u64,
    /// `log2(sectors)` when it is a power of two: shifts are cheaper than divisions.
    shift: Option<u32>,
}

impl Geometry {
    /// Chunks of `sectors` sectors; `None` for zero.
    pub(crate) fn new(sectors: u64) -> Option<Self> {
        if sectors == 0 {
            return None;
        }
        let shift = if sectors.is_power_of_two() {
            Some(sectors.trailing_zeros())
        } else {
            None
        };
        Some(Self { sectors, shift })
    }

    /// Sectors in a chunk.
    pub(crate) fn sectors(&self) -> u64 {
        self.sectors
    }

    /// The chunk that holds sector `s`, and the sector's offset inside it.
    pub(crate) fn split(&self, s: Sectors) -> (u64, u64) {
        match self.shift {
            Some(sh) => (s.0 >> sh, s.0 & (self.sectors - 1)),
            // `sectors` is not zero by construction; checked operations keep panics out.
            None => (
                s.0.checked_div(self.sectors).unwrap_or(0),
                s.0.checked_rem(self.sectors).unwrap_or(0),
            ),
        }
    }

    /// The first sector of chunk `n`; saturates where no device could be that large.
    pub(crate) fn start(&self, n: u64) -> Sectors {
        Sectors(n.saturating_mul(self.sectors))
    }
}

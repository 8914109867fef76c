// SPDX-License-Identifier: GPL-2.0

//! Reference counts as an inspection handles them: those of a bitmap, 32 at a time, and those of all
//! chunks beside the mappings that were found.
//!
//! Neighbours: `meta::check`, which has read and checked the blocks. Pure: compiled by the kernel and by the
//! host tests.

use crate::drr::platform::{array, Array};

/// The lower bits of the counts in eight bytes of a bitmap, two bits each.
const LOW_BITS: u64 = 0x5555_5555_5555_5555;
/// Those counts.
pub(crate) const WORD_ENTRIES: u64 = 32;

/// The lower bits of the first `n` counts of a word.
fn low_bits(n: u64) -> u64 {
    let bits = u32::try_from(n.saturating_mul(2)).unwrap_or(u32::MAX);
    LOW_BITS
        & 1u64
            .checked_shl(bits)
            .map_or(u64::MAX, |b| b.wrapping_sub(1))
}

/// What eight bytes of a bitmap say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    /// Counts above 0, and of 3, inside of the map.
    pub(crate) used: u32,
    pub(crate) many: u32,
    /// Counts of 0 from the first that may be one on, inside of the map and past its end.
    pub(crate) free: u32,
    pub(crate) free_past: u32,
    /// The counts inside of the map, two bits each, the first one in the lowest.
    pub(crate) counts: u64,
}

impl Word {
    /// `word` of a map of `limit` places, none of which before `none_free_before` is taken for free; its
    /// first place is number `at`. On the disk the high bit of a count comes first.
    pub(crate) fn new(word: u64, at: u64, limit: u64, none_free_before: u64) -> Self {
        let (high, low) = (word & LOW_BITS, word >> 1 & LOW_BITS);
        let inside = low_bits(limit.saturating_sub(at));
        let late = LOW_BITS & !low_bits(none_free_before.saturating_sub(at));
        let free = !(high | low) & late;
        Self {
            used: ((high | low) & inside).count_ones(),
            many: (high & low & inside).count_ones(),
            free: (free & inside).count_ones(),
            free_past: (free & !inside).count_ones(),
            counts: (high & inside) << 1 | low & inside,
        }
    }
}

/// Count and mappings found, two bits each, of every chunk, unless there are too many to be tallied.
pub(super) struct Chunks {
    pub(super) count: u64,
    nibbles: Option<Array<u8>>,
}

impl Chunks {
    /// None yet.
    pub(super) fn none() -> Self {
        Self {
            count: 0,
            nibbles: None,
        }
    }

    /// Tells of that many chunks; each is tallied if `tallied`. `false`: no memory.
    pub(super) fn begin(&mut self, count: u64, tallied: bool) -> bool {
        self.count = count;
        if tallied {
            let bytes = usize::try_from(count.div_ceil(2)).ok();
            self.nibbles = bytes.and_then(|n| array(n, |_| 0));
        }
        !tallied || self.nibbles.is_some()
    }

    fn nibble(&mut self, chunk: u64) -> Option<(&mut u8, u32)> {
        let at = usize::try_from(chunk / 2).ok()?;
        let shift = if chunk & 1 == 0 { 0 } else { 4 };
        Some((self.nibbles.as_mut()?.get_mut(at)?, shift))
    }

    /// Sets the counts of chunks from `first` on, an even number; two bits each, the lowest first.
    pub(super) fn set_counts(&mut self, first: u64, mut counts: u64) {
        let at = usize::try_from(first / 2).unwrap_or(usize::MAX);
        let nibbles = self.nibbles.as_mut().and_then(|n| n.get_mut(at..));
        for b in nibbles.unwrap_or(&mut []) {
            if counts == 0 {
                return;
            }
            *b |= (counts & 3 | counts >> 2 << 4 & 0x30) as u8;
            counts >>= 4;
        }
    }

    /// What the bitmap says; "three or more" where nothing is tallied.
    pub(super) fn count_of(&mut self, chunk: u64) -> u8 {
        self.nibble(chunk).map_or(3, |(b, shift)| (*b >> shift) & 3)
    }

    /// Notes a mapping; whether the chunk may have that many.
    pub(super) fn map(&mut self, chunk: u64) -> bool {
        let Some((b, shift)) = self.nibble(chunk) else {
            return true;
        };
        let (count, seen) = ((*b >> shift) & 3, (*b >> shift >> 2) & 3);
        if count == 3 {
            return true;
        }
        if seen >= count {
            return false;
        }
        *b = b.wrapping_add(4 << shift);
        true
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Recently freed chunks: which chunks may still be touched by I/O that looked them up before
//! they were freed.
//!
//! The space map gives a freed chunk out again after the next commit, and one that was also
//! allocated in the running transaction even before. I/O that found the chunk before it was freed
//! may be in flight even then. Every chunk whose reference count is decremented is therefore
//! noted in a [`Filter`] (`filling`); a successful commit moves the notes to a second one
//! (`pending`) and takes an epoch cookie. A chunk in `filling`, or in `pending` as long as that
//! cookie is not past, may still be in use, and whoever allocates it waits for the epochs before
//! touching it. Chunks that were only held, mapped by nobody, are not noted. A filter is a bitmap
//! indexed by the low bits of the chunk's number: it never forgets a chunk, and a collision costs
//! one needless wait.
//!
//! Invariants: a recorded chunk is contained until `clear` or until `absorb` moved it; nothing
//! here allocates after construction, because recording happens deep inside tree changes.
//!
//! Neighbours: recent.rs has `pending` and its cookie, `meta::Metadata` owns the protocol, `dm::pdata` records from the reference-count
//! callbacks. Pure: compiled by the kernel and by the host tests.

use core::ops::DerefMut;

/// Words of storage that a filter of the metadata has (65,536 bits, 8 KiB).
pub(crate) const FILTER_WORDS: usize = 1024;

const WORD_BITS: u64 = u64::BITS as u64;

/// An approximate set of chunk numbers without false negatives.
///
/// # Invariants
///
/// `words` is not empty; `empty` is true only if all words are zero.
pub(crate) struct Filter<S> {
    words: S,
    empty: bool,
}

impl<S: DerefMut<Target = [u64]>> Filter<S> {
    /// An empty set over `words`, whatever they held; `None` when there are none.
    pub(crate) fn new(mut words: S) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        words.fill(0);
        // INVARIANT: not empty, and all zero.
        Some(Self { words, empty: true })
    }

    fn bits(&self) -> u64 {
        (self.words.len() as u64).saturating_mul(WORD_BITS)
    }

    /// Word index and mask of `chunk`.
    fn place(&self, chunk: u64) -> (usize, u64) {
        // `bits()` is not zero by the type invariant; the checked form keeps panics out.
        let bit = chunk.checked_rem(self.bits()).unwrap_or(0);
        // The quotient is below `words.len()`, so it fits.
        ((bit / WORD_BITS) as usize, 1 << (bit % WORD_BITS))
    }

    /// Adds the chunks `[begin, end)`.
    pub(crate) fn record(&mut self, begin: u64, end: u64) {
        if end <= begin {
            return;
        }
        if end - begin >= self.bits() {
            return self.fill();
        }
        for chunk in begin..end {
            let (word, mask) = self.place(chunk);
            if let Some(w) = self.words.get_mut(word) {
                *w |= mask;
            }
        }
        self.empty = false;
    }

    /// Whether `chunk` may have been recorded; never false for one that was.
    pub(crate) fn contains(&self, chunk: u64) -> bool {
        if self.empty {
            return false;
        }
        let (word, mask) = self.place(chunk);
        self.words.get(word).is_none_or(|w| w & mask != 0)
    }

    /// Whether nothing is recorded.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        if !self.empty {
            self.words.fill(0);
            self.empty = true;
        }
    }

    /// Contains every chunk from here on, until `clear`.
    pub(crate) fn fill(&mut self) {
        self.words.fill(u64::MAX);
        self.empty = false;
    }

    /// Takes over everything that `other` contains and leaves it empty. A filter of another
    /// size cannot be merged bit by bit: then this one contains everything.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        if other.empty {
            return;
        }
        if self.words.len() != other.words.len() {
            self.fill();
        } else {
            for (to, from) in self.words.iter_mut().zip(other.words.iter()) {
                *to |= *from;
            }
            self.empty = false;
        }
        other.clear();
    }
}

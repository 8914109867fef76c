// SPDX-License-Identifier: GPL-2.0

//! A set of small numbers that many threads change at once: one bit each.
//!
//! Every access is sequentially consistent. So of two threads that each write one word and then look at the
//! other's, at least one sees what the other has written (table.rs relies on that).
//!
//! Pure: compiled by the kernel and by the host tests. Any context.

use super::platform::atomic::{AtomicU64, Ordering};
use super::platform::{array, Array};

pub(crate) struct Bits {
    words: Array<AtomicU64>,
}

/// The word and the bit of number `n`.
fn place(n: usize) -> (usize, u64) {
    let bit = 1u64.checked_shl(n as u32 % u64::BITS).unwrap_or(0);
    (n / u64::BITS as usize, bit)
}

impl Bits {
    /// An empty set of numbers below `n`. `None` without memory. Process context.
    pub(crate) fn new(n: usize) -> Option<Self> {
        let words = array(n.div_ceil(u64::BITS as usize), |_| AtomicU64::new(0))?;
        Some(Self { words })
    }

    /// Adds `n`; `false` when it is too large for this set.
    pub(crate) fn set(&self, n: usize) -> bool {
        let (word, bit) = place(n);
        let Some(word) = self.words.get(word) else {
            return false;
        };
        // Mostly it is there, and the line stays shared.
        if word.load(Ordering::SeqCst) & bit == 0 {
            word.fetch_or(bit, Ordering::SeqCst);
        }
        true
    }

    /// Takes `n` out; whether it was there.
    pub(crate) fn clear(&self, n: usize) -> bool {
        let (word, bit) = place(n);
        let Some(word) = self.words.get(word) else {
            return false;
        };
        word.load(Ordering::SeqCst) & bit != 0 && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Adds every number.
    pub(crate) fn set_all(&self) {
        for word in self.words.iter() {
            word.store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// Moves all numbers of `other`, a set for as many, here.
    pub(crate) fn take_all_of(&self, other: &Self) {
        for (to, from) in self.words.iter().zip(other.words.iter()) {
            // Mostly there is none, and the line stays shared.
            if from.load(Ordering::SeqCst) != 0 {
                to.fetch_or(from.swap(0, Ordering::SeqCst), Ordering::SeqCst);
            }
        }
    }

    /// The smallest number in the set that is `from` or larger. Looks at a word for each 64 numbers.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        self.next_below(from, usize::MAX)
    }

    /// The same, if it is below `end`.
    pub(crate) fn next_below(&self, from: usize, end: usize) -> Option<usize> {
        let (first, bit) = place(from);
        let words = end.div_ceil(u64::BITS as usize).min(self.words.len());
        let mut here = !bit.wrapping_sub(1);
        for (n, word) in self.words.get(first..words)?.iter().enumerate() {
            let bits = word.load(Ordering::SeqCst) & here;
            if bits != 0 {
                let base = first.saturating_add(n).saturating_mul(u64::BITS as usize);
                let next = base.saturating_add(bits.trailing_zeros() as usize);
                return Some(next).filter(|n| *n < end);
            }
            here = u64::MAX;
        }
        None
    }
}

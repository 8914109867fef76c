// SPDX-License-Identifier: GPL-2.0

//! Numbers that follow each other, spread evenly.
//!
//! Pure: compiled by the kernel and by the host tests. Any context.

/// A product with 2^64 / golden ratio, an odd number: its top bits are spread evenly (Knuth, TAOCP 3, 6.4).
pub(crate) fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Whether `n` is one of a sample: of `of` numbers that follow each other about one is. `of` is a power of two,
/// and more than 1.
pub(crate) fn is_in_sample(n: u64, of: u64) -> bool {
    spread(n) >> (u64::BITS - of.trailing_zeros()) == 0
}

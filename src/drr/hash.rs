// SPDX-License-Identifier: GPL-2.0

//! The content hash: a keyed 64-bit hash of one 4 KiB page.
//!
//! NH over 64-bit words (Black, Halevi, Krawczyk, Krovetz, Rogaway: "UMAC: Fast and Secure
//! Message Authentication", CRYPTO '99), whose 128-bit result is folded to 61 bits by a linear
//! hash over the prime field of 2^61 - 1.
//!
//! Bound: for any two different pages, chosen without knowledge of the key, the chance over the
//! key that they collide is at most 2^-64 (NH, equal lengths, 64-bit words) + 1 / (2^61 - 1)
//! (fold), below 2^-60. The key is random, one per pool and load, and never leaves the module;
//! hashes are compared inside it only, so that whoever chooses pages learns at most whether a
//! read was slow. It is not a cryptographic hash: with the key a collision is easily made.
//!
//! Cost: 256 multiplications a page, no branch and no bounds check in the loop.
//!
//! Pure: compiled by the kernel and by the host tests.

use super::platform::{array, Array};

/// 64-bit words in a 4 KiB page.
pub(crate) const PAGE_WORDS: usize = 512;
/// Random words that a key consists of.
const KEY_WORDS: usize = PAGE_WORDS + 3;
/// The Mersenne prime of the fold.
const PRIME: u64 = (1 << 61) - 1;
/// Bits of the pieces that the fold cuts NH's result into: three of them hold 128 bits.
const PIECE_BITS: u32 = 43;
const PIECE: u128 = (1 << PIECE_BITS) - 1;

/// The secret key of one pool.
pub(crate) struct Key {
    words: Array<u64>,
}

impl Key {
    /// Draws a key from `random`; `None` without memory.
    pub(crate) fn new(mut random: impl FnMut() -> u64) -> Option<Self> {
        Some(Self {
            words: array(KEY_WORDS, |_| random())?,
        })
    }

    /// The hash of `page`. Any context.
    pub(crate) fn hash(&self, page: &[u64; PAGE_WORDS]) -> u64 {
        // Four sums, counted downwards, compile to two instructions a product: added to one sum, the
        // compiler moves each product to other registers first (rustc 1.85: 22 instead of 15.5
        // instructions for 32 bytes).
        let (mut s, mut t, mut u, mut v) = (0u128, 0u128, 0u128, 0u128);
        let product = |m0: &u64, m1: &u64, k0: &u64, k1: &u64| {
            u128::from(m0.wrapping_add(*k0)).wrapping_mul(u128::from(m1.wrapping_add(*k1)))
        };
        // `zip` ends with the shorter side, so the fold's words are not part of the loop.
        for (m, k) in page.chunks_exact(8).zip(self.words.chunks_exact(8)) {
            if let ([m0, m1, m2, m3, m4, m5, m6, m7], [k0, k1, k2, k3, k4, k5, k6, k7]) = (m, k) {
                s = s.wrapping_sub(product(m0, m1, k0, k1));
                t = t.wrapping_sub(product(m2, m3, k2, k3));
                u = u.wrapping_sub(product(m4, m5, k4, k5));
                v = v.wrapping_sub(product(m6, m7, k6, k7));
            }
        }
        let sum = s.wrapping_add(t).wrapping_add(u).wrapping_add(v);
        self.fold(sum.wrapping_neg())
    }

    fn fold(&self, sum: u128) -> u64 {
        let pieces = [
            sum & PIECE,
            (sum >> PIECE_BITS) & PIECE,
            sum >> (2 * PIECE_BITS),
        ];
        let mut acc: u128 = 0;
        for (piece, k) in pieces.iter().zip(self.words.iter().skip(PAGE_WORDS)) {
            // Below 2^43 * 2^61 each: three of them stay far from 2^128.
            acc = acc.wrapping_add(piece.wrapping_mul(u128::from(k & PRIME)));
        }
        reduce(acc)
    }
}

/// `v mod 2^61 - 1`, for `v < 2^122`.
fn reduce(v: u128) -> u64 {
    let p = u128::from(PRIME);
    let once = (v & p).wrapping_add(v >> 61);
    let twice = (once & p).wrapping_add(once >> 61);
    let r = if twice >= p {
        twice.wrapping_sub(p)
    } else {
        twice
    };
    // Below 2^61 after the reductions above.
    (r & p) as u64
}

// SPDX-License-Identifier: GPL-2.0

//! The content hash: a keyed 64-bit hash of one 4 KiB page.
//!
//! A universal sum of the page's words, of 128 bits, folded to 64 by a multilinear hash (Lemire and Kaser,
//! "Strongly universal string hashing is fast", The Computer Journal, 2014). The sum is one of two, the same for all of a pool's life:
//!
//! - CLNH (Lemire and Kaser, "Faster 64-bit universal hashing using carry-less multiplications",
//!   2016): of the pairs of words, each combined with a word of the key by exclusive or, the carry-less
//!   products, added by exclusive or. Where the processor has vector registers and the instruction:
//!   a third of NH's instructions, a copy can be summed in the same pass, and pages that are summed
//!   together share the loads of the key.
//! - NH over 64-bit words (Black, Halevi, Krawczyk, Krovetz, Rogaway: "UMAC: Fast and Secure Message
//!   Authentication", CRYPTO '99) elsewhere: 256 multiplications a page.
//!
//! Bound: for any two different pages, chosen without knowledge of the key, the chance over the
//! key that they collide is at most 2^-64 (either sum, equal lengths, 64-bit words) + 2^-64 (the fold: the
//! upper 64 of 128 bits, of characters of 64), hence 2^-63. The key is random, one per pool and load, and never leaves the module;
//! hashes are compared inside it only, so that whoever chooses pages learns at most whether a
//! read was slow. It is not a cryptographic hash: with the key a collision is easily made.
//!
//! Pure: compiled by the kernel and by the host tests.

use super::platform::{array, carry_less_sums, has_carry_less, is_carry_less_usable, Array};

/// 64-bit words in a 4 KiB page.
pub(crate) const PAGE_WORDS: usize = 512;
/// 128-bit words of the fold's key.
const FOLD_WORDS: usize = 3;
/// Pages that the vector registers are taken for at once.
pub(crate) const HASHED_TOGETHER: usize = 16;

/// A page.
type Words = [u64; PAGE_WORDS];

/// How a key sums pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sum {
    /// With ordinary multiplications.
    Nh,
    /// With carry-less ones, in vector registers.
    Clnh,
}

/// The secret key of one pool.
pub(crate) struct Key {
    words: Array<u64>,
    fold: [u128; FOLD_WORDS],
    sum: Sum,
}

impl Key {
    /// Draws a key from `random`, which fills a slice, for vector registers if `vectors` and if they compute
    /// what they should; `None` without memory. Process context.
    pub(crate) fn new(random: impl Fn(&mut [u64]), vectors: bool) -> Option<Self> {
        // All words at once: a call of the generator costs far more than the word that it gives.
        let mut words = array(PAGE_WORDS, |_| 0)?;
        random(&mut words);
        let fold = [0; FOLD_WORDS].map(|_| {
            let mut halves = [0; 2];
            random(&mut halves);
            joined(halves)
        });
        let mut key = Self {
            words,
            fold,
            sum: Sum::Nh,
        };
        if vectors && has_carry_less() && key.vectors_are_right(random)? {
            key.sum = Sum::Clnh;
        }
        Some(key)
    }

    /// Whether the vector registers compute what they should, of eight pages together and of one, unless
    /// they are in use; `None` without memory.
    fn vectors_are_right(&self, random: impl Fn(&mut [u64])) -> Option<bool> {
        let words = self.page_words()?;
        let mut memory = array(10 * PAGE_WORDS, |_| 0)?;
        random(&mut memory);
        let mut pages = [NO_PAGE; 10];
        for (place, page) in pages.iter_mut().zip(memory.chunks_exact(PAGE_WORDS)) {
            *place = page.first_chunk()?;
        }
        let mut sums = [[0; 2]; HASHED_TOGETHER];
        let right = !carry_less_sums(&pages, words, &mut sums)
            || pages
                .iter()
                .zip(sums)
                .all(|(page, sum)| joined(sum) == carry_less_sum_slowly(page, words));
        Some(right)
    }

    /// Which sum the key is for.
    pub(crate) fn sum(&self) -> Sum {
        self.sum
    }

    /// The hash of `page`. Any context; where [`Self::is_usable`] says no, it takes long.
    pub(crate) fn hash(&self, page: &Words) -> u64 {
        let mut hash = [0];
        self.hash_all(&[page], &mut hash);
        let [hash] = hash;
        hash
    }

    /// The hashes of `pages`, as many as `out` has room for, in their order: cheaper than one by one. As
    /// [`Self::hash`].
    pub(crate) fn hash_all(&self, pages: &[&Words], out: &mut [u64]) {
        let together = pages
            .chunks(HASHED_TOGETHER)
            .zip(out.chunks_mut(HASHED_TOGETHER));
        for (pages, out) in together {
            let Some(words) = self.carry_less() else {
                for (page, out) in pages.iter().zip(out) {
                    *out = self.fold(self.nh(page));
                }
                continue;
            };
            let mut sums = [[0; 2]; HASHED_TOGETHER];
            if carry_less_sums(pages, words, &mut sums) {
                for (sum, out) in sums.iter().zip(out) {
                    *out = self.of_sum(*sum);
                }
            } else {
                for (page, out) in pages.iter().zip(out) {
                    *out = self.fold(carry_less_sum_slowly(page, words));
                }
            }
        }
    }

    /// Whether a hash costs what it should here: the vector registers may be in use where an interrupt
    /// has come. Any context but NMI.
    pub(crate) fn is_usable(&self) -> bool {
        self.sum == Sum::Nh || is_carry_less_usable()
    }

    /// The key's words for who copies a page and adds up its carry-less products in one pass; `None`
    /// when it is for the other sum.
    pub(crate) fn carry_less(&self) -> Option<&Words> {
        match self.sum {
            Sum::Clnh => self.page_words(),
            Sum::Nh => None,
        }
    }

    /// The hash of a page whose carry-less products have that sum, the lower half first.
    pub(crate) fn of_sum(&self, sum: [u64; 2]) -> u64 {
        self.fold(joined(sum))
    }

    fn page_words(&self) -> Option<&Words> {
        self.words.first_chunk()
    }

    fn nh(&self, page: &Words) -> u128 {
        // Four sums, counted downwards, compile to two instructions a product: added to one sum, the
        // compiler moves each product to other registers first (rustc 1.85: 22 instead of 15.5
        // instructions for 32 bytes).
        let (mut s, mut t, mut u, mut v) = (0u128, 0u128, 0u128, 0u128);
        let product = |m0: &u64, m1: &u64, k0: &u64, k1: &u64| {
            u128::from(m0.wrapping_add(*k0)).wrapping_mul(u128::from(m1.wrapping_add(*k1)))
        };
        for (m, k) in page.chunks_exact(8).zip(self.words.chunks_exact(8)) {
            if let ([m0, m1, m2, m3, m4, m5, m6, m7], [k0, k1, k2, k3, k4, k5, k6, k7]) = (m, k) {
                s = s.wrapping_sub(product(m0, m1, k0, k1));
                t = t.wrapping_sub(product(m2, m3, k2, k3));
                u = u.wrapping_sub(product(m4, m5, k4, k5));
                v = v.wrapping_sub(product(m6, m7, k6, k7));
            }
        }
        s.wrapping_add(t)
            .wrapping_add(u)
            .wrapping_add(v)
            .wrapping_neg()
    }

    /// Multilinear in the sum's two words: of the products with 128-bit keys, added to another one, the
    /// upper half.
    fn fold(&self, sum: u128) -> u64 {
        let [first, low, high] = self.fold;
        let folded = first
            .wrapping_add(low.wrapping_mul(sum & u128::from(u64::MAX)))
            .wrapping_add(high.wrapping_mul(sum >> 64));
        (folded >> 64) as u64
    }
}

/// Stands for a page where there is none.
const NO_PAGE: &Words = &[0; PAGE_WORDS];

/// Pages that are to be hashed together.
pub(crate) struct Pages<'a> {
    pages: [&'a Words; HASHED_TOGETHER],
    len: usize,
}

impl<'a> Pages<'a> {
    pub(crate) fn none() -> Self {
        Self {
            pages: [NO_PAGE; HASHED_TOGETHER],
            len: 0,
        }
    }

    /// Adds pages; whether there was room for them. There is for [`HASHED_TOGETHER`] in all.
    pub(crate) fn add(&mut self, pages: &'a [Words]) -> bool {
        let end = self.len.saturating_add(pages.len());
        let Some(places) = self.pages.get_mut(self.len..end) else {
            return false;
        };
        for (place, page) in places.iter_mut().zip(pages) {
            *place = page;
        }
        self.len = end;
        true
    }

    /// Takes all; how many there were, and their hashes, in their order.
    pub(crate) fn hash(&mut self, key: &Key, out: &mut [u64; HASHED_TOGETHER]) -> usize {
        let len = core::mem::take(&mut self.len);
        key.hash_all(self.pages.get(..len).unwrap_or(&[]), out);
        len
    }
}

fn joined([low, high]: [u64; 2]) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

/// The same sum as the vector registers', bit by bit.
fn carry_less_sum_slowly(page: &Words, words: &Words) -> u128 {
    let mut sum = 0;
    for (m, k) in page.chunks_exact(2).zip(words.chunks_exact(2)) {
        if let ([m0, m1], [k0, k1]) = (m, k) {
            let (a, b) = (m0 ^ k0, m1 ^ k1);
            for bit in 0..u64::BITS {
                let mask = 0u128.wrapping_sub(u128::from(b >> bit & 1));
                sum ^= u128::from(a) << bit & mask;
            }
        }
    }
    sum
}

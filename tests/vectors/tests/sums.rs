// SPDX-License-Identifier: GPL-2.0

//! What the vector registers compute is what the definition says, of any number of pages. Passes unseen where the processor has
//! no such instructions.

use proptest::prelude::*;
use vectors::{copy, is_available, sums, Page, PAGE_WORDS};

fn page(seed: u64) -> Page {
    let mut word = seed;
    Page(std::array::from_fn(|_| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word
    }))
}

/// The product of two polynomials over the field of two elements, one coefficient of `b` after the other.
fn product(a: u64, b: u64) -> u128 {
    (0..64)
        .filter(|n| b >> n & 1 == 1)
        .fold(0, |sum, n| sum ^ (u128::from(a) << n))
}

fn by_definition(page: &Page, key: &Page) -> [u64; 2] {
    let sum = (0..PAGE_WORDS).step_by(2).fold(0, |sum, i| {
        sum ^ product(page.0[i] ^ key.0[i], page.0[i + 1] ^ key.0[i + 1])
    });
    [sum as u64, (sum >> 64) as u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn are_what_their_definition_says(key in 1u64.., first in 1u64..u64::MAX - 40, n in 0..35usize) {
        if !is_available() {
            return Ok(());
        }
        let key = page(key);
        let pages: Vec<_> = (0..n as u64).map(|n| page(first + n)).collect();
        let all: Vec<_> = pages.iter().collect();
        let mut out = vec![[u64::MAX; 2]; n + 1];
        sums(&all, &key, &mut out);
        for (page, sum) in pages.iter().zip(&out) {
            prop_assert_eq!(sum, &by_definition(page, &key));
        }
        prop_assert_eq!(out[n], [u64::MAX; 2], "no more than asked for");
    }

    #[test]
    fn a_copy_is_the_same_and_has_the_same_sum(key in 1u64.., seed in 1u64..) {
        if !is_available() {
            return Ok(());
        }
        let (key, source) = (page(key), page(seed));
        let mut to = Page([0; PAGE_WORDS]);
        prop_assert_eq!(copy(&source, &mut to, &key), by_definition(&source, &key));
        prop_assert_eq!(to, source);
    }
}

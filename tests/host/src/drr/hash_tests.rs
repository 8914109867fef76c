// SPDX-License-Identifier: GPL-2.0

use super::hash::{Key, PAGE_WORDS};
use super::platform::set_out_of_memory;
use proptest::prelude::*;

const P: u128 = (1 << 61) - 1;

/// A deterministic stream of words (splitmix64).
fn words(seed: u64) -> impl FnMut() -> u64 {
    let mut s = seed;
    move || {
        s = s.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = s;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn page(seed: u64) -> [u64; PAGE_WORDS] {
    let mut next = words(seed);
    std::array::from_fn(|_| next())
}

fn key(seed: u64) -> Key {
    Key::new(words(seed)).unwrap()
}

/// The definition, word by word, with plain remainders.
fn by_definition(key_seed: u64, page: &[u64; PAGE_WORDS]) -> u64 {
    let mut next = words(key_seed);
    let k: Vec<u64> = (0..PAGE_WORDS + 3).map(|_| next()).collect();
    let mut sum = 0u128;
    for i in (0..PAGE_WORDS).step_by(2) {
        let a = page[i].wrapping_add(k[i]) as u128;
        let b = page[i + 1].wrapping_add(k[i + 1]) as u128;
        sum = sum.wrapping_add(a * b);
    }
    let pieces = [sum % (1 << 43), (sum >> 43) % (1 << 43), sum >> 86];
    let mut h = 0u128;
    for (piece, k) in pieces.iter().zip(&k[PAGE_WORDS..]) {
        h = (h + piece * ((*k as u128) % (1 << 61) % P)) % P;
    }
    h as u64
}

proptest! {
    #[test]
    fn is_what_its_definition_says(k: u64, p: u64) {
        prop_assert_eq!(key(k).hash(&page(p)), by_definition(k, &page(p)));
    }

    #[test]
    fn depends_on_the_key(k: u64, p: u64) {
        prop_assert_ne!(key(k).hash(&page(p)), key(k ^ 1).hash(&page(p)));
    }

    #[test]
    fn swapped_words_differ(k: u64, p: u64, i in 0..PAGE_WORDS, j in 0..PAGE_WORDS) {
        let (key, mut page) = (key(k), page(p));
        let before = key.hash(&page);
        page.swap(i, j);
        prop_assert_eq!(i == j, before == key.hash(&page));
    }
}

#[test]
fn every_single_bit_counts() {
    let key = key(1);
    for mut page in [[0; PAGE_WORDS], [u64::MAX; PAGE_WORDS], page(2)] {
        let before = key.hash(&page);
        for word in 0..PAGE_WORDS {
            for bit in 0..64 {
                page[word] ^= 1 << bit;
                assert_ne!(before, key.hash(&page), "word {word} bit {bit}");
                page[word] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn a_shifted_page_differs() {
    let key = key(3);
    let mut shifted = page(4);
    shifted.rotate_left(1);
    assert_ne!(key.hash(&page(4)), key.hash(&shifted));
}

#[test]
fn extreme_keys_and_pages_stay_below_the_prime() {
    for k in [0, u64::MAX] {
        let key = Key::new(|| k).unwrap();
        for p in [0, 1, u64::MAX] {
            assert!((key.hash(&[p; PAGE_WORDS]) as u128) < P);
        }
    }
}

#[test]
fn no_memory_no_key() {
    set_out_of_memory(true);
    assert!(Key::new(|| 0).is_none());
    set_out_of_memory(false);
}

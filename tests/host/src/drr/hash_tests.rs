// SPDX-License-Identifier: GPL-2.0

use super::hash::{Key, Pages, Sum, HASHED_TOGETHER, PAGE_WORDS};
use super::platform::{set_out_of_memory, set_vectors, Vectors};
use proptest::prelude::*;

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

fn filled(seed: u64) -> impl Fn(&mut [u64]) {
    let next = std::cell::RefCell::new(words(seed));
    move |to| to.fill_with(&mut *next.borrow_mut())
}

fn page(seed: u64) -> [u64; PAGE_WORDS] {
    let mut next = words(seed);
    std::array::from_fn(|_| next())
}

fn key(seed: u64, sum: Sum) -> Key {
    set_vectors(match sum {
        Sum::Nh => Vectors::Absent,
        Sum::Clnh => Vectors::Busy,
    });
    let key = Key::new(filled(seed), true).unwrap();
    assert_eq!(key.sum(), sum);
    key
}

fn sums() -> impl Strategy<Value = Sum> {
    prop_oneof![Just(Sum::Nh), Just(Sum::Clnh)]
}

/// The product of two polynomials over the field of two elements: their coefficients are convolved.
fn carry_less_product(a: u64, b: u64) -> u128 {
    (0..127u32)
        .map(|n| {
            // The coefficients of the pairs of powers whose sum is n, b's in reverse order.
            let b = u128::from(b.reverse_bits());
            let pairs = u128::from(a) & if n < 64 { b >> (63 - n) } else { b << (n - 63) };
            u128::from(pairs.count_ones() % 2) << n
        })
        .sum()
}

/// The definition, word by word, with plain remainders.
fn by_definition(key_seed: u64, which: Sum, page: &[u64; PAGE_WORDS]) -> u64 {
    let mut next = words(key_seed);
    let k: Vec<u64> = (0..PAGE_WORDS + 6).map(|_| next()).collect();
    let mut sum = 0u128;
    for i in (0..PAGE_WORDS).step_by(2) {
        sum = match which {
            Sum::Nh => {
                let a = page[i].wrapping_add(k[i]) as u128;
                let b = page[i + 1].wrapping_add(k[i + 1]) as u128;
                sum.wrapping_add(a * b)
            }
            Sum::Clnh => sum ^ carry_less_product(page[i] ^ k[i], page[i + 1] ^ k[i + 1]),
        };
    }
    let key = |n: usize| (k[n] as u128) + ((k[n + 1] as u128) << 64);
    // In halves of words, so that no product is cut.
    let mut folded = key(PAGE_WORDS);
    for (word, at) in [(sum as u64, 2), ((sum >> 64) as u64, 4)] {
        for half in 0..2 {
            let part = ((word >> (32 * half)) & 0xffff_ffff) as u128;
            for piece in 0..4 {
                let k = key(PAGE_WORDS + at) >> (32 * piece) & 0xffff_ffff;
                let shift = 32 * (half + piece);
                if shift < 128 {
                    folded = folded.wrapping_add((part * k) << shift);
                }
            }
        }
    }
    (folded >> 64) as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn is_what_its_definition_says(k: u64, p: u64, sum in sums()) {
        prop_assert_eq!(key(k, sum).hash(&page(p)), by_definition(k, sum, &page(p)));
    }

    #[test]
    fn depends_on_the_key(k: u64, p: u64, sum in sums()) {
        prop_assert_ne!(key(k, sum).hash(&page(p)), key(k ^ 1, sum).hash(&page(p)));
    }

    #[test]
    fn swapped_words_differ(k: u64, p: u64, sum in sums(), i in 0..PAGE_WORDS, j in 0..PAGE_WORDS) {
        let (key, mut page) = (key(k, sum), page(p));
        let before = key.hash(&page);
        page.swap(i, j);
        prop_assert_eq!(i == j, before == key.hash(&page));
    }
}

#[test]
fn every_single_bit_counts() {
    for (sum, step) in [(Sum::Nh, 1), (Sum::Clnh, 61)] {
        let key = key(1, sum);
        for mut page in [[0; PAGE_WORDS], [u64::MAX; PAGE_WORDS], page(2)] {
            let before = key.hash(&page);
            for at in (0..PAGE_WORDS * 64).step_by(step) {
                let (word, bit) = (at / 64, at % 64);
                page[word] ^= 1 << bit;
                assert_ne!(before, key.hash(&page), "{sum:?} word {word} bit {bit}");
                page[word] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn a_shifted_page_differs() {
    for sum in [Sum::Nh, Sum::Clnh] {
        let key = key(3, sum);
        let mut shifted = page(4);
        shifted.rotate_left(1);
        assert_ne!(key.hash(&page(4)), key.hash(&shifted));
    }
}

#[test]
fn no_memory_no_key() {
    set_out_of_memory(true);
    for vectors in [Vectors::Absent, Vectors::Busy] {
        set_vectors(vectors);
        assert!(Key::new(|_| (), true).is_none());
    }
    set_out_of_memory(false);
}

#[test]
fn who_copies_and_sums_gets_the_same_hash() {
    let key = key(5, Sum::Clnh);
    let words = key.carry_less().unwrap();
    let sum = (0..PAGE_WORDS)
        .step_by(2)
        .map(|i| carry_less_product(page(6)[i] ^ words[i], page(6)[i + 1] ^ words[i + 1]))
        .fold(0, |a, b| a ^ b);
    let halves = [sum as u64, (sum >> 64) as u64];
    assert_eq!(key.of_sum(halves), key.hash(&page(6)));
}

#[test]
fn pages_that_are_hashed_together_have_the_same_hashes() {
    let pages: Vec<_> = (0..2 * HASHED_TOGETHER as u64 + 3).map(page).collect();
    let all: Vec<_> = pages.iter().collect();
    for sum in [Sum::Nh, Sum::Clnh] {
        let key = key(8, sum);
        for n in [0, 1, 5, HASHED_TOGETHER, HASHED_TOGETHER + 1, all.len()] {
            let mut hashes = vec![0; n];
            key.hash_all(&all[..n], &mut hashes);
            let one_by_one: Vec<_> = all[..n].iter().map(|page| key.hash(page)).collect();
            assert_eq!(hashes, one_by_one);
        }
        let mut group = Pages::none();
        assert!(group.add(&pages[..3]));
        assert!(!group.add(&pages[..HASHED_TOGETHER]), "no room for all");
        assert!(group.add(&pages[3..HASHED_TOGETHER]));
        assert!(!group.add(&pages[..1]), "full");
        let mut hashes = [0; HASHED_TOGETHER];
        assert_eq!(group.hash(&key, &mut hashes), HASHED_TOGETHER);
        assert!((0..HASHED_TOGETHER).all(|n| hashes[n] == key.hash(all[n])));
        assert!(group.add(&pages[3..4]), "empty again");
        assert_eq!(group.hash(&key, &mut hashes), 1);
        assert_eq!(hashes[0], key.hash(all[3]));
    }
}

#[test]
fn vector_registers_that_are_wrong_or_not_wanted_are_not_used() {
    set_vectors(Vectors::Wrong);
    assert_eq!(Key::new(filled(7), true).unwrap().sum(), Sum::Nh);
    set_vectors(Vectors::Busy);
    let plain = Key::new(filled(7), false).unwrap();
    assert_eq!(plain.sum(), Sum::Nh);
    assert!(plain.carry_less().is_none());
    assert!(plain.is_usable());
    assert!(!key(7, Sum::Clnh).is_usable());
}

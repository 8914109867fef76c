// SPDX-License-Identifier: GPL-2.0

//! The filter of recently freed chunks: it never forgets one.

use super::freed::*;
use proptest::prelude::*;

fn filter(words: usize) -> Filter<Vec<u64>> {
    Filter::new(vec![u64::MAX; words]).unwrap()
}

#[test]
fn a_filter_needs_storage() {
    assert!(Filter::new(Vec::new()).is_none());
}

#[test]
fn a_new_filter_is_empty_whatever_the_storage_held() {
    let f = filter(4);
    assert!(f.is_empty());
    assert!((0..1000).all(|c| !f.contains(c)));
}

#[test]
fn a_range_as_long_as_the_filter_is_everything() {
    let mut f = filter(2);
    f.record(1 << 40, (1 << 40) + 128);
    assert!((0..128).all(|c| f.contains(c)));
    f.record(0, u64::MAX);
    assert!(f.contains(u64::MAX));
}

#[test]
fn an_empty_range_records_nothing() {
    let mut f = filter(2);
    f.record(5, 5);
    f.record(5, 4);
    assert!(f.is_empty());
}

#[test]
fn filters_of_different_sizes_merge_to_everything() {
    let (mut a, mut b) = (filter(2), filter(4));
    b.record(3, 4);
    a.absorb(&mut b);
    assert!((0..300).all(|c| a.contains(c)));
    assert!(b.is_empty());
}

proptest! {
    #[test]
    fn recorded_chunks_are_contained(
        ranges in prop::collection::vec((any::<u32>(), 0u64..300), 0..20),
        words in 1usize..40,
    ) {
        let mut f = filter(words);
        for (b, n) in &ranges {
            f.record(u64::from(*b), u64::from(*b) + n);
        }
        for (b, n) in &ranges {
            for c in u64::from(*b)..u64::from(*b) + n {
                prop_assert!(f.contains(c));
            }
        }
    }

    #[test]
    fn absorbing_moves_everything(
        a in prop::collection::vec(0u64..5000, 0..50),
        b in prop::collection::vec(0u64..5000, 0..50),
    ) {
        let (mut to, mut from) = (filter(1024), filter(1024));
        a.iter().for_each(|c| to.record(*c, c + 1));
        b.iter().for_each(|c| from.record(*c, c + 1));
        to.absorb(&mut from);
        prop_assert!(from.is_empty());
        // Chunks below the number of bits do not collide.
        for c in 0..5000 {
            prop_assert_eq!(to.contains(c), a.contains(&c) || b.contains(&c));
            prop_assert!(!from.contains(c));
        }
        to.clear();
        prop_assert!((0..5000).all(|c| !to.contains(c)));
    }
}

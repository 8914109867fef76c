// SPDX-License-Identifier: GPL-2.0

use super::{bits::Bits, platform::set_out_of_memory};
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn is_a_set(changes in prop::collection::vec((0..200usize, any::<bool>()), 0..60), from in 0..210usize, end in 0..210usize) {
        let bits = Bits::new(190).unwrap();
        let mut model = BTreeSet::new();
        for (n, add) in changes {
            // As many as fit into whole words.
            let fits = n < 192;
            if add {
                prop_assert_eq!(bits.set(n), fits);
                if fits {
                    model.insert(n);
                }
            } else {
                prop_assert_eq!(bits.clear(n), model.remove(&n));
            }
            let mut all = Vec::new();
            while let Some(n) = bits.next(all.last().map_or(0, |n| n + 1)) {
                all.push(n);
            }
            prop_assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
        }
        let next = model.range(from..).next().copied();
        prop_assert_eq!(bits.next(from), next);
        prop_assert_eq!(bits.next_below(from, end), next.filter(|n| *n < end));
    }
}

#[test]
fn all_are_as_many_as_fit_into_whole_words() {
    let bits = Bits::new(65).unwrap();
    assert_eq!(bits.next(0), None);
    bits.set_all();
    assert!((0..128).all(|n| bits.next(n) == Some(n)));
    assert_eq!(bits.next(128), None);
}

#[test]
fn all_of_another_set_are_taken() {
    let (here, there) = (Bits::new(190).unwrap(), Bits::new(190).unwrap());
    assert!(here.set(7));
    for n in [7, 64, 189] {
        assert!(there.set(n));
    }
    here.take_all_of(&there);
    assert_eq!(there.next(0), None);
    assert_eq!(
        [0, 8, 65, 190].map(|n| here.next(n)),
        [Some(7), Some(64), Some(189), None]
    );
}

#[test]
fn without_memory_there_is_none() {
    set_out_of_memory(true);
    assert!(Bits::new(1).is_none());
    set_out_of_memory(false);
}

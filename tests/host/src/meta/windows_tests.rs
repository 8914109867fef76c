// SPDX-License-Identifier: GPL-2.0

use super::windows::Windows;
use proptest::prelude::*;
use std::collections::BTreeSet;

const LIMIT: u64 = 40;

/// Reads ahead as `dm::rawdisk` does; the runs that would be read.
fn read_ahead(w: &mut Windows<(u64, u64)>, mut first: u64, end: u64) -> Vec<(u64, u64)> {
    let mut read = Vec::new();
    while let Some((from, to)) = w.missing(first, end) {
        assert!(w.add(from, to - from, (from, to)));
        read.push((from, to));
        first = to;
    }
    read
}

proptest! {
    #[test]
    fn a_block_is_found_in_the_window_that_was_read(
        runs in prop::collection::vec((0u64..100, 1u64..12), 1..40),
    ) {
        let mut w = Windows::new(LIMIT);
        for (first, n) in runs {
            for (from, to) in read_ahead(&mut w, first, first + n) {
                prop_assert!(first <= from && from < to && to <= first + n);
            }
            // What was read last is there, and right; the whole is bounded.
            prop_assert!(w.find(first + n - 1).is_some());
            let mut all = 0;
            let mut seen = BTreeSet::new();
            for block in 0..120 {
                if let Some((&(from, to), place)) = w.find(block) {
                    prop_assert!(from <= block && block < to && place == block - from);
                    all += 1;
                    seen.insert(from);
                }
            }
            prop_assert!(all <= LIMIT);
            prop_assert!(seen.len() as u64 <= all);
        }
    }

    #[test]
    fn nothing_that_is_there_is_missing(
        there in prop::collection::vec((0u64..60, 1u64..5), 0..8),
        first in 0u64..60,
        n in 0u64..20,
    ) {
        let mut w = Windows::new(1000);
        let mut model = BTreeSet::new();
        for (from, n) in there {
            read_ahead(&mut w, from, from + n);
            model.extend(from..from + n);
        }
        let wanted: Vec<u64> = (first..first + n).filter(|b| !model.contains(b)).collect();
        let got: Vec<u64> = read_ahead(&mut w, first, first + n)
            .into_iter()
            .flat_map(|(from, to)| from..to)
            .collect();
        prop_assert_eq!(got, wanted);
    }
}

#[test]
fn what_is_in_use_stays() {
    let mut w = Windows::new(LIMIT);
    assert!(w.add(1000, 10, ()));
    for first in (0..500).step_by(10) {
        assert!(w.find(1000).is_some());
        assert!(w.add(first, 10, ()));
    }
    assert!(w.find(1000).is_some());
    assert!(w.find(0).is_none());
}

#[test]
fn a_window_that_is_forgotten_is_missing() {
    let mut w = Windows::new(LIMIT);
    assert!(w.add(5, 3, ()));
    w.forget(8);
    assert!(w.find(5).is_some());
    w.forget(6);
    assert!(w.find(5).is_none());
    assert_eq!(w.missing(4, 9), Some((4, 9)));
}

// SPDX-License-Identifier: GPL-2.0

use super::stats::{Counter, Stats, Tally, ALL};
use std::collections::BTreeSet;

#[test]
fn names_are_unique_and_in_the_order_of_the_enum() {
    let names: BTreeSet<_> = ALL.iter().map(|(_, name)| *name).collect();
    assert_eq!(names.len(), ALL.len());
    for (n, (counter, _)) in ALL.iter().enumerate() {
        assert_eq!(*counter as usize, n);
    }
}

#[test]
fn a_tally_is_added_and_reset_forgets() {
    let stats = Stats::new();
    let mut tally = Tally::new();
    tally.add(Counter::ServedPages, 2);
    tally.add(Counter::ServedPages, 3);
    tally.add(Counter::VerifyMismatches, 1);
    stats.add(&tally);
    stats.add(&tally);
    assert_eq!(stats.get(Counter::ServedPages), 10);
    assert_eq!(stats.get(Counter::VerifyMismatches), 2);
    assert_eq!(stats.get(Counter::MissPages), 0);
    stats.reset();
    assert_eq!(stats.get(Counter::ServedPages), 0);
}

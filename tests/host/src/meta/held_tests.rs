// SPDX-License-Identifier: GPL-2.0

//! Held chunks against a model: which are held, in how few ranges, and that only `room` needs memory.

use super::held::*;
use crate::drr::platform;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u64),
    Remove(usize),
    Unwant(usize),
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..200u64, 1..5u64).prop_map(|(b, n)| Step::Add(b, b + n)),
        4 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Unwant),
        1 => Just(Step::Forget),
    ]
}

/// Ranges of as many chunks in a row as possible.
fn merged(pieces: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for (b, e) in pieces {
        match out.last_mut() {
            Some(last) if last.1 == b => last.1 = e,
            _ => out.push((b, e)),
        }
    }
    out
}

fn shown(ranges: impl Iterator<Item = Range>) -> Vec<(u64, u64)> {
    ranges.map(|r| (r.begin, r.end)).collect()
}

proptest! {
    #[test]
    fn is_the_model(steps in prop::collection::vec(step(), 0..300)) {
        let mut held = Held::new();
        let mut wanted = BTreeMap::new();
        let mut unwanted = BTreeMap::new();
        for step in steps {
            let piece = |i: usize| {
                let n = wanted.len();
                (n > 0).then(|| wanted.iter().nth(i % n).map(|(b, e)| (*b, *e)).unwrap())
            };
            match step {
                Step::Add(b, e) => {
                    let all = wanted.iter().chain(unwanted.iter());
                    if all.into_iter().any(|(&pb, &pe)| pb < e && b < pe) {
                        continue;
                    }
                    prop_assert!(held.room(1));
                    platform::set_out_of_memory(true);
                    prop_assert!(held.add(b, e));
                    wanted.insert(b, e);
                }
                Step::Remove(i) => if let Some((b, e)) = piece(i) {
                    held.remove(b, e);
                    wanted.remove(&b);
                },
                Step::Unwant(i) => if let Some((b, e)) = piece(i) {
                    held.unwant(b, e);
                    wanted.remove(&b);
                    unwanted.insert(b, e);
                },
                Step::Forget => {
                    held.forget_unwanted();
                    unwanted.clear();
                }
            }
            platform::set_out_of_memory(false);
            let model = merged(wanted.iter().map(|(b, e)| (*b, *e)));
            prop_assert_eq!(shown(held.wanted()), model.clone());
            let rest = merged(unwanted.iter().map(|(b, e)| (*b, *e)));
            prop_assert_eq!(shown(held.all()), [model, rest].concat());
            prop_assert_eq!(held.is_empty(), wanted.is_empty() && unwanted.is_empty());
        }
    }
}

#[test]
fn what_is_not_held_is_not_removed() {
    let mut held = Held::new();
    held.remove(0, 1);
    assert!(held.room(2));
    assert!(held.add(10, 20));
    for (b, e) in [(9, 11), (19, 21), (0, 10), (20, 30), (5, 25)] {
        held.remove(b, e);
        held.unwant(b, e);
        assert_eq!(shown(held.all()), [(10, 20)]);
    }
    held.clear();
    assert!(held.is_empty());
}

#[test]
fn what_overlaps_or_has_no_room_is_refused() {
    let mut held = Held::new();
    assert!(!held.add(1, 2));
    assert!(held.room(4));
    assert!(held.add(10, 20) && held.add(30, 40));
    for (b, e) in [
        (10, 11),
        (19, 20),
        (15, 35),
        (20, 31),
        (5, 11),
        (39, 41),
        (12, 12),
    ] {
        assert!(!held.add(b, e), "{b} {e}");
    }
    assert!(held.add(20, 30));
    assert_eq!(shown(held.all()), [(10, 40)]);
    platform::set_out_of_memory(true);
    assert!(!held.room(1000));
    platform::set_out_of_memory(false);
}

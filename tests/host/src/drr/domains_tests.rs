// SPDX-License-Identifier: GPL-2.0

use super::domains::{Domains, Refused, DEFAULT, DEFAULT_TAG, TAGS_MAX, TAG_MAX};
use super::platform::set_out_of_memory;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TAGS: [&str; 4] = [DEFAULT_TAG, "a", "b", "tenant-3"];

#[derive(Clone, Debug)]
enum Op {
    Put(u32, usize),
    Create(u32, Option<u32>),
    Delete(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..9u32, 0..TAGS.len()).prop_map(|(id, t)| Op::Put(id, t)),
        (0..9u32, proptest::option::of(0..9u32)).prop_map(|(id, p)| Op::Create(id, p)),
        (0..9u32).prop_map(Op::Delete),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_tags(ops in proptest::collection::vec(op(), 0..60)) {
        let mut domains = Domains::default();
        let mut model: BTreeMap<u32, &str> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put(id, t) => {
                    prop_assert!(domains.put(id, TAGS[t]).is_ok());
                    model.insert(id, TAGS[t]);
                }
                Op::Create(id, parent) => {
                    prop_assert!(domains.created(id, parent));
                    let tag = parent.and_then(|p| model.get(&p).copied()).unwrap_or(DEFAULT_TAG);
                    model.insert(id, tag);
                }
                Op::Delete(id) => {
                    domains.deleted(id);
                    model.remove(&id);
                }
            }
            for a in 0..9 {
                let tag = |id: u32| model.get(&id).copied().unwrap_or(DEFAULT_TAG);
                prop_assert_eq!(domains.tag(domains.of(a)), tag(a));
                for b in 0..9 {
                    prop_assert_eq!(domains.of(a) == domains.of(b), tag(a) == tag(b));
                }
            }
        }
    }
}

#[test]
fn tags_that_are_none_are_refused_and_change_nothing() {
    let mut domains = Domains::default();
    assert_eq!(domains.put(1, "a"), Ok(1));
    let long = "x".repeat(TAG_MAX + 1);
    for tag in ["", "two words", "caf\u{e9}", "tab\t", &long] {
        assert_eq!(domains.put(1, tag), Err(Refused::Tag), "{tag:?}");
        assert_eq!(domains.tag(domains.of(1)), "a");
    }
    assert!(domains.put(1, &long[1..]).is_ok());
}

#[test]
fn a_tag_keeps_its_number_and_numbers_run_out() {
    let mut domains = Domains::default();
    for n in 0..TAGS_MAX {
        assert!(domains.put(1, &format!("t{n}")).is_ok());
    }
    assert_eq!(domains.put(1, "t0"), Ok(1));
    assert_eq!(domains.put(1, "one-more"), Err(Refused::TooMany));
    assert_eq!(domains.put(1, DEFAULT_TAG), Ok(DEFAULT));
}

#[test]
fn without_memory_nothing_is_inherited_unnoticed() {
    let mut domains = Domains::default();
    assert!(domains.put(1, "a").is_ok());
    set_out_of_memory(true);
    assert!(!domains.created(2, Some(1)));
    assert_eq!(domains.put(3, "b"), Err(Refused::NoMemory));
    assert_eq!(domains.put(3, "a"), Err(Refused::NoMemory));
    // The default domain needs none.
    assert!(domains.created(4, None));
    assert_eq!(domains.put(1, DEFAULT_TAG), Ok(DEFAULT));
    set_out_of_memory(false);
    assert_eq!(domains.of(3), DEFAULT);
}

#[test]
fn a_device_can_be_put_back_without_memory() {
    let mut d = Domains::default();
    let red = d.put(1, "red").unwrap();
    // The default domain never lacks anything that would send a device back from there.
    for (id, before, tag) in [(1, red, "blue"), (2, DEFAULT, "red")] {
        assert_eq!(d.of(id), before);
        assert_ne!(d.put(id, tag), Ok(before));
        set_out_of_memory(true);
        d.put_back(id, before);
        set_out_of_memory(false);
        assert_eq!(d.of(id), before);
    }
}

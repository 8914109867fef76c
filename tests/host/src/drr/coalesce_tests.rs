// SPDX-License-Identifier: GPL-2.0

//! Leaders and followers: each follower comes back once, by its leader's end or by losing patience.

use super::coalesce::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

impl Waiters for Vec<u32> {
    type Item = u32;
    fn push(&mut self, item: u32) {
        Vec::push(self, item);
    }
    fn append(&mut self, mut others: Self) {
        Vec::append(self, &mut others);
    }
}

type Waiting = Reads<Vec<u32>>;

const MS: u64 = 1_000_000;

/// A read that waits for nobody.
fn lead(r: &Waiting, first: u64, pages: u64, domain: u32, now: u64) -> Option<Lead> {
    match r.start(first, pages, domain, now, false) {
        Start::Lead(lead) => Some(lead),
        Start::Alone => None,
        Start::Follow(..) => panic!("told to follow"),
    }
}

fn reads() -> Waiting {
    Reads::new().unwrap()
}

#[test]
fn a_follower_waits_for_the_pages_that_its_leader_reads() {
    let r = reads();
    assert!(!r.any());
    let lead = lead(&r, 100, 8, 0, 0).unwrap();
    assert!(r.any());
    // 100 is place 4 of key 6; 104 begins nothing new, 112 is in key 7.
    assert_eq!(r.leader(99, 4, 0), None);
    let (place, n) = r.leader(100, 16, 0).unwrap();
    assert_eq!(n, 8);
    assert_eq!(r.leader(105, 2, 0).unwrap().1, 2);
    assert_eq!(r.leader(108, 1, 0), None);
    assert_eq!(r.in_flight(96, 0), 0xff << 4);
    assert_eq!(r.follow(place, 1), Ok(()));
    assert_eq!(r.follow(place, 2), Ok(()));
    assert_eq!(r.end(lead, 5 * MS, false), vec![1, 2]);
    assert!(!r.any());
    assert_eq!(r.follow(place, 3), Err(3));
    assert_eq!(r.leader(100, 1, 0), None);
}

#[test]
fn a_long_read_is_followed_in_each_of_its_groups() {
    let r = reads();
    let lead = lead(&r, 8, 40, 0, 0).unwrap();
    let first = r.leader(8, 100, 0).unwrap();
    let second = r.leader(16, 100, 0).unwrap();
    let third = r.leader(32, 100, 0).unwrap();
    assert_eq!((first.1, second.1, third.1), (8, 16, 16));
    for (n, (place, _)) in [first, second, third].into_iter().enumerate() {
        r.follow(place, n as u32).unwrap();
    }
    assert_eq!(r.end(lead, 0, false), vec![0, 1, 2]);
}

#[test]
fn nobody_follows_into_another_domain() {
    let r = reads();
    let lead = lead(&r, 0, 16, 7, 0).unwrap();
    assert_eq!(r.leader(0, 1, 0), None);
    assert_eq!(r.in_flight(0, 0), 0);
    assert!(r.leader(0, 1, 7).is_some());
    assert_eq!(r.end(lead, 0, false), vec![]);
}

#[test]
fn who_waits_too_long_goes_on_and_nobody_comes_after() {
    let r = reads();
    let lead = lead(&r, 0, 16, 0, 1000 * MS).unwrap();
    let (place, _) = r.leader(0, 4, 0).unwrap();
    r.follow(place, 1).unwrap();
    let patience = r.patience();
    assert_eq!(r.detach(1000 * MS + patience), (vec![], 0, true));
    assert_eq!(r.detach(1000 * MS + patience + 1), (vec![1], 1, false));
    assert_eq!(r.leader(0, 4, 0), None);
    assert_eq!(r.follow(place, 2), Err(2));
    // The leader ends after all.
    assert_eq!(r.end(lead, 9000 * MS, false), vec![]);
    assert!(!r.any());
}

#[test]
fn patience_follows_long_reads_at_once_and_short_ones_slowly() {
    let r = reads();
    let least = r.patience();
    let took = |ns| {
        let lead = lead(&r, 0, 1, 0, 0).unwrap();
        r.end(lead, ns, false);
        r.patience()
    };
    assert_eq!(took(10 * MS), least);
    assert_eq!(took(40 * MS), 80 * MS);
    assert_eq!(took(75 * MS), 150 * MS);
    let after = took(0);
    assert!(after < 150 * MS && after > 120 * MS, "{after}");
    // A read that is throttled counts as one that was waited for in vain.
    assert_eq!(took(60_000 * MS), 2 * after);
    // What is short by nature does not make anybody less patient, but more it does.
    let before = r.patience();
    let short = |ns| {
        let lead = lead(&r, 0, 1, 0, 0).unwrap();
        r.end(lead, ns, true);
        r.patience()
    };
    assert_eq!(short(0), before);
    assert!(short(before) > before);
    // It has a bound, and comes back down.
    let mut most = 0;
    for _ in 0..20 {
        most = took(60_000 * MS);
    }
    assert!(most < 10_000 * MS, "{most}");
    for _ in 0..200 {
        took(0);
    }
    assert_eq!(r.patience(), least);
}

#[test]
fn a_full_bucket_only_means_that_nobody_follows() {
    let r = reads();
    // Far more leaders than there is room for, all of them at the same page.
    let leads: Vec<_> = (0..2000).map(|_| lead(&r, 0, 1, 0, 0)).collect();
    assert!(leads.iter().any(Option::is_some));
    assert!(leads.iter().any(Option::is_none));
    for lead in leads.into_iter().flatten() {
        assert_eq!(r.end(lead, 0, false), vec![]);
    }
    assert!(!r.any());
}

#[test]
fn of_two_that_begin_at_once_one_leads() {
    let r = reads();
    let Start::Lead(first) = r.start(4, 8, 0, 0, true) else {
        panic!("nobody else is there");
    };
    let Start::Follow(place, 6) = r.start(6, 30, 0, 0, true) else {
        panic!("the first one has six of these pages");
    };
    r.follow(place, 1).unwrap();
    // It has none of these, of this domain; and who may not follow leads.
    for start in [
        r.start(12, 4, 0, 0, true),
        r.start(4, 8, 1, 0, true),
        r.start(4, 8, 0, 0, false),
    ] {
        let Start::Lead(other) = start else {
            panic!("told to follow");
        };
        assert_eq!(r.end(other, 0, false), vec![]);
    }
    assert_eq!(r.end(first, 0, false), vec![1]);
    assert!(!r.any());
}

#[test]
fn without_memory_there_are_no_reads() {
    super::platform::set_out_of_memory(true);
    let r = Waiting::new();
    super::platform::set_out_of_memory(false);
    assert!(r.is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Lead { first: u64, pages: u64, domain: u32 },
    Follow { ppn: u64, pages: u64, domain: u32 },
    End { nth: usize },
    Detach,
    Time { ns: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0u64..100, 1u64..40, 0u32..2)
            .prop_map(|(first, pages, domain)| Step::Lead { first, pages, domain }),
        4 => (0u64..140, 1u64..20, 0u32..2)
            .prop_map(|(ppn, pages, domain)| Step::Follow { ppn, pages, domain }),
        1 => (0usize..8).prop_map(|nth| Step::End { nth }),
        1 => Just(Step::Detach),
        1 => (0u64..100 * MS).prop_map(|ns| Step::Time { ns }),
    ]
}

proptest! {
    #[test]
    fn every_follower_comes_back_once(steps in prop::collection::vec(step(), 1..200)) {
        let r = reads();
        let mut now = 0;
        let mut next = 0u32;
        let mut leads: Vec<(Lead, u64, u64, u32)> = Vec::new();
        let mut waiting: BTreeMap<u32, u64> = BTreeMap::new();
        let mut back: BTreeSet<u32> = BTreeSet::new();
        let mut come = |waiting: &mut BTreeMap<u32, u64>, who: Vec<u32>| {
            who.into_iter().all(|w| waiting.remove(&w).is_some() && back.insert(w))
        };
        for s in steps {
            match s {
                Step::Lead { first, pages, domain } => {
                    if let Some(l) = lead(&r, first, pages, domain, now) {
                        leads.push((l, first, pages, domain));
                    }
                }
                Step::Follow { ppn, pages, domain } => {
                    let found = r.leader(ppn, pages, domain);
                    let covers = |l: &(Lead, u64, u64, u32)| {
                        l.3 == domain && l.1 <= ppn && ppn < l.1 + l.2
                    };
                    // Whoever leads has the page; a stalled leader is not offered.
                    prop_assert!(found.is_none() || leads.iter().any(covers));
                    if let Some((place, n)) = found {
                        prop_assert!(n >= 1 && n <= pages);
                        prop_assert!(leads.iter().any(|l| covers(l) && ppn + n <= l.1 + l.2));
                        prop_assert_eq!(r.follow(place, next), Ok(()));
                        waiting.insert(next, now);
                        next += 1;
                    }
                }
                Step::End { nth } => {
                    if nth < leads.len() {
                        let (lead, ..) = leads.swap_remove(nth);
                        prop_assert!(come(&mut waiting, r.end(lead, now, false)));
                    }
                }
                Step::Detach => {
                    let patience = r.patience();
                    let (late, n, more) = r.detach(now);
                    prop_assert_eq!(late.len(), n as usize);
                    prop_assert!(come(&mut waiting, late));
                    prop_assert_eq!(more, !waiting.is_empty());
                    // Whoever waits longer than that has gone.
                    prop_assert!(waiting.values().all(|since| now - since <= patience));
                }
                Step::Time { ns } => now += ns,
            }
        }
        for (lead, ..) in leads {
            prop_assert!(come(&mut waiting, r.end(lead, now, false)));
        }
        prop_assert!(waiting.is_empty());
        prop_assert!(!r.any());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Each domain has reads and an account of its own, from when it gets a layer.

use super::coalesce::{Lead, Start};
use super::domains::TAGS_MAX;
use super::peers::AllPeers;
use super::platform::{array_bytes, set_out_of_memory};

type All = AllPeers<Vec<u32>>;

const MS: u64 = 1_000_000;

fn all() -> All {
    let all = All::new(500, true).unwrap();
    for domain in [1, 7, TAGS_MAX as u32] {
        assert!(all.join(domain));
    }
    all
}

fn lead(all: &All, domain: u32, first: u64, by: u64, now: u64) -> Option<Lead> {
    match all
        .of(domain)
        .unwrap()
        .reads
        .start(first, 16, by, now, false)
    {
        Start::Lead(lead) => Some(lead),
        Start::Alone => None,
        Start::Follow(..) => panic!("told to follow"),
    }
}

#[test]
fn a_domain_is_there_once_it_has_had_a_layer() {
    let all = all();
    for (domain, there) in [
        (0, true),
        (1, true),
        (2, false),
        (7, true),
        (TAGS_MAX as u32, true),
    ] {
        assert_eq!(all.of(domain).is_some(), there, "{domain}");
    }
    assert!(!all.join(TAGS_MAX as u32 + 1));
    // It is the same when others join.
    let lead = lead(&all, 7, 0, 1, 0).unwrap();
    assert!(all.join(7));
    assert!(all.of(7).unwrap().reads.any());
    assert_eq!(all.of(7).unwrap().reads.end(lead, 0, false), vec![]);
}

#[test]
fn without_memory_a_domain_has_no_layer() {
    let all = all();
    set_out_of_memory(true);
    assert!(!all.join(2));
    assert!(all.join(1));
    assert!(All::new(500, true).is_none());
    set_out_of_memory(false);
    assert!(all.of(2).is_none());
    assert!(all.join(2));
}

#[test]
fn nobody_follows_into_another_domain_and_no_number_of_leaders_there_leaves_no_room_for_one_here() {
    let all = all();
    let others: Vec<_> = (0..2000)
        .map(|n| lead(&all, 1, 16 * (n % 64), n, 0))
        .collect();
    assert!(others.iter().any(Option::is_none));
    let here = &all.of(7).unwrap().reads;
    assert_eq!(here.leader(0, 1, 0), None);
    assert_eq!(here.in_flight(0, 0), 0);
    let leads: Vec<_> = (0..8).map(|_| lead(&all, 7, 0, 1, 0).unwrap()).collect();
    assert!(here.leader(0, 1, 0).is_some());
    for lead in leads {
        assert_eq!(here.end(lead, 0, false), vec![]);
    }
}

#[test]
fn patience_and_who_stalled_are_each_domains_own() {
    let all = all();
    let patience = all.of(7).unwrap().reads.patience();
    for by in 0..20 {
        let stalled = lead(&all, 1, 0, by, 0).unwrap();
        all.of(1).unwrap().reads.end(stalled, 60_000 * MS, false);
    }
    assert!(all.of(1).unwrap().reads.patience() > patience);
    assert_eq!(all.of(7).unwrap().reads.patience(), patience);
    let lead = lead(&all, 7, 0, 19, 0).unwrap();
    assert!(all.of(7).unwrap().reads.leader(0, 1, 0).is_some());
    all.of(7).unwrap().reads.end(lead, 0, false);
}

#[test]
fn those_who_have_waited_long_enough_are_found_in_all_domains() {
    let all = all();
    let mut leads = Vec::new();
    for (n, domain) in [1, 7, TAGS_MAX as u32].into_iter().enumerate() {
        leads.push(lead(&all, domain, 0, 1, n as u64 * MS).unwrap());
        let reads = &all.of(domain).unwrap().reads;
        let (place, _) = reads.leader(0, 1, 2 * MS).unwrap();
        reads.follow(place, domain, u64::MAX, 2 * MS).unwrap();
    }
    let patience = all.of(0).unwrap().reads.patience();
    let late = all.detach(patience + 2 * MS);
    assert_eq!((late.stalled, late.count), (vec![1, 7], 2));
    assert_eq!(late.next, Some(1));
    for lead in leads {
        let domain = lead.domain();
        all.of(domain).unwrap().reads.end(lead, 0, false);
    }
    assert_eq!(all.detach(u64::MAX).next, None);
}

#[test]
fn whether_recording_pays_is_each_domains_own() {
    let all = all();
    let account = &all.of(1).unwrap().sampling;
    let mut n = 0;
    while account.wants(n * 16) {
        account.recorded(n * 16, 16, 16);
        n += 1;
    }
    assert!(account.is_sampled() && all.is_any_sampled());
    assert!((0..1000).all(|n| all.of(7).unwrap().sampling.wants(n)));
    all.set_sampling(false);
    assert!(!all.is_any_sampled() && !all.is_sampling());
    // Who comes later is told, too.
    assert!(all.join(9));
    assert!(!all.of(9).unwrap().sampling.is_enabled());
}

/// They stay until the pool goes, so all of them together have to be small.
#[test]
fn what_thousands_of_domains_leave_behind_is_bounded() {
    let all = All::new(500, true).unwrap();
    let bytes = array_bytes(|| (0..=TAGS_MAX as u32).for_each(|d| assert!(all.join(d))));
    assert!(bytes <= 32 << 20, "{bytes} bytes");
    // The last one has room for as many reads as a few containers begin at once.
    let last = TAGS_MAX as u32;
    let leads: Vec<_> = (0..100)
        .filter_map(|n| lead(&all, last, n * 16, 1, 0))
        .collect();
    assert_eq!(leads.len(), 64);
    let reads = &all.of(last).unwrap().reads;
    for lead in leads {
        let (first, pages, _) = lead.read();
        let (place, n) = reads.leader(first, 16, 0).unwrap();
        assert_eq!(n, pages);
        reads.follow(place, 7, u64::MAX, 0).unwrap();
        assert_eq!(reads.end(lead, 0, false), [7]);
    }
    assert!(!reads.any());
}

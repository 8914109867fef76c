// SPDX-License-Identifier: GPL-2.0

//! One image in thousands of domains: what is kept of a key, whose it is, and what a walk along its bucket costs.

use super::bucket::MAX_GROUPS_OF_KEY;
use super::domains::TAGS_MAX;
use super::group::{Batch, Frames, Known, Page, Source, GROUP_BYTES, GROUP_PAGES, MAX_SOURCES};
use super::platform::steps_taken;
use super::table::{Presence, Published, Table};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

const ROOMY: usize = 1 << 26;
/// Looks at a group for each group of a walk, in all walks of an operation together.
const WALKS: usize = 24;
const KEY: u64 = 3;

static ALIVE: LazyLock<Presence> = LazyLock::new(|| Presence::new(4096).unwrap());

fn page(domain: u32, layer: u64, ppn: u64) -> Page {
    let layer = u64::from(domain) * 1000 + layer;
    Page {
        pfn: layer as u32 * 16 + ppn as u32 % 16,
        mapping: 64 * layer as usize,
        index: ppn,
        layer,
        domain,
        hash: ppn,
    }
}

fn publish(table: &Table, domain: u32, layer: u64, slots: std::ops::Range<u64>) {
    let mut batch = Batch::empty();
    for slot in slots.clone() {
        assert!(batch.add(KEY * 16 + slot, &page(domain, layer, KEY * 16 + slot)));
    }
    let ticket = table.ticket(KEY * 16, 16);
    let pages = slots.count() as u32;
    assert_eq!(
        table.publish(&batch, &ticket, &ALIVE),
        Published::Recorded(pages)
    );
}

fn sources(table: &Table, ppn: u64, domain: u32) -> Vec<Source> {
    table.sources(ppn, domain).iter().copied().collect()
}

/// The layers that a domain has records of, of each page of the key.
fn layers(table: &Table, domain: u32) -> Vec<Vec<u64>> {
    (KEY * 16..KEY * 16 + 16)
        .map(|ppn| {
            let sources = sources(table, ppn, domain);
            sources.iter().map(|s| s.layer % 1000).collect()
        })
        .collect()
}

#[test]
fn a_key_has_a_bounded_number_of_groups_in_however_many_domains() {
    let table = Table::new(ROOMY, 1).unwrap();
    for domain in 0..=TAGS_MAX as u32 {
        for layer in 0..MAX_SOURCES as u64 {
            publish(&table, domain, layer, 0..16);
        }
        let groups = (domain as usize + 1) * MAX_SOURCES;
        assert_eq!(table.groups(), groups.min(MAX_GROUPS_OF_KEY));
    }
    let kept = (0..=TAGS_MAX as u32).map(|domain| sources(&table, KEY * 16, domain).len());
    assert_eq!(kept.sum::<usize>(), MAX_GROUPS_OF_KEY);
    // Those who came last have theirs.
    assert!(!sources(&table, KEY * 16, TAGS_MAX as u32).is_empty());
    let gone = (TAGS_MAX + 1) * MAX_SOURCES - MAX_GROUPS_OF_KEY;
    assert_eq!(table.evicted(), gone as u64 * GROUP_PAGES as u64);
}

#[test]
fn a_domain_that_has_little_of_a_key_keeps_it_whatever_others_record() {
    let table = Table::new(ROOMY, 1).unwrap();
    // A share is five groups.
    let domains = MAX_GROUPS_OF_KEY as u32 / 5;
    for layer in 0..MAX_SOURCES as u64 {
        publish(&table, 50, layer, 0..16);
    }
    let before = layers(&table, 50);
    // Many small files: each page is one's own.
    for round in 0..2 {
        for domain in (0..domains).filter(|domain| *domain != 50) {
            for layer in 0..8 {
                publish(
                    &table,
                    domain,
                    100 * round + layer,
                    2 * layer..2 * layer + 2,
                );
            }
        }
    }
    assert_eq!(table.groups(), MAX_GROUPS_OF_KEY);
    assert_eq!(layers(&table, 50), before);
}

#[test]
fn of_a_full_key_the_oldest_group_of_the_domain_that_has_most_leaves() {
    let table = Table::new(ROOMY, 1).unwrap();
    for layer in 0..16 {
        publish(&table, 9, layer, layer..layer + 1);
    }
    for domain in 0..(MAX_GROUPS_OF_KEY as u32 - 16) / 2 {
        let domain = 100 + domain;
        publish(&table, domain, 1, 0..16);
        publish(&table, domain, 2, 0..16);
    }
    assert_eq!((table.groups(), table.evicted()), (MAX_GROUPS_OF_KEY, 0));
    for n in 0..14 {
        publish(&table, 10, n, n..n + 1);
        let left = layers(&table, 9).iter().filter(|l| !l.is_empty()).count() as u64;
        let own = layers(&table, 10).iter().filter(|l| !l.is_empty()).count() as u64;
        // Those of a page each leave in the order in which they came.
        assert_eq!(left + own, 16);
        assert_eq!(own, (n + 1).min(8));
        let left = layers(&table, 9).iter().position(|l| !l.is_empty());
        assert_eq!(left, Some(16 - left_of(&table, 9)));
    }
    // The others have less than anybody who lost something.
    for domain in 100..100 + (MAX_GROUPS_OF_KEY as u32 - 16) / 2 {
        assert_eq!(sources(&table, KEY * 16, domain).len(), 2);
    }
}

fn left_of(table: &Table, domain: u32) -> usize {
    layers(table, domain)
        .iter()
        .filter(|l| !l.is_empty())
        .count()
}

/// An operation on a page costs what its bucket has, once for each of a few walks, and that is bounded.
#[test]
fn what_an_operation_costs_is_bounded_in_thousands_of_domains() {
    let table = Table::new(ROOMY, 1).unwrap();
    for domain in 0..=TAGS_MAX as u32 {
        for layer in 0..MAX_SOURCES as u64 {
            publish(&table, domain, layer, 0..16);
        }
    }
    let bounded = |what: &str, f: &mut dyn FnMut()| {
        let steps = steps_taken(f);
        println!("{what}: {steps} steps");
        assert!(steps <= WALKS * MAX_GROUPS_OF_KEY, "{what}: {steps} steps");
    };
    let (ppn, last) = (KEY * 16 + 5, TAGS_MAX as u32);
    let source = sources(&table, ppn, last)[0];
    let folio = Frames::of(ppn, &source, 0, 1, last).unwrap();
    let bucket = table.next_bucket(0).unwrap();
    bounded("present", &mut || {
        table.present(ppn, last);
    });
    bounded("sources", &mut || {
        table.sources(ppn, last);
    });
    bounded("look_up", &mut || {
        table.look_up(ppn, last, &mut Known::nothing());
    });
    bounded("copied", &mut || {
        table.copied(bucket, 0, None);
    });
    bounded("copied, the last ones", &mut || {
        table.copied(bucket, 1, Some((KEY, last - 1)));
    });
    bounded("bucket_with_copies", &mut || {
        table.bucket_with_copies(KEY, last, 1);
    });
    bounded("all_have_others", &mut || {
        table.all_have_others(&folio);
    });
    bounded("count_records", &mut || {
        table.count_records(&mut [(1, 0), (2, 0)]);
    });
    // Which may be in an interrupt: one look, one walk to the place, and those for what has to leave.
    let published = |what: &str, walks: usize, domain: u32, layer: u64| {
        let steps = steps_taken(|| publish(&table, domain, layer, 0..16));
        println!("{what}: {steps} steps");
        assert!(steps <= walks * MAX_GROUPS_OF_KEY, "{what}: {steps} steps");
    };
    published("publish again", 6, last, 1);
    published("publish another", 6, last, 9);
    published("publish a newcomer", 2, 7, 1);
    bounded("forget", &mut || table.forget(ppn, &source));
    bounded("forget_folio", &mut || table.forget_folio(&folio));
    bounded("shrink", &mut || assert_eq!(table.shrink(1), 1));
    bounded("drop_layer_range", &mut || {
        table.drop_layer_range(source.layer, KEY * 16, 16);
    });
    bounded("drop_range", &mut || table.drop_range(ppn, 1));
    assert!(table.groups() > MAX_GROUPS_OF_KEY / 2);
    bounded("drop_range of all", &mut || table.drop_range(KEY * 16, 16));
    assert_eq!(table.groups(), 0);
}

/// Records a page of `key` for a layer of `domain`.
fn publish_at(table: &Table, key: u64, domain: u32, layer: u64, slot: u64) -> Published {
    let mut batch = Batch::empty();
    assert!(batch.add(key * 16 + slot, &page(domain, layer, key * 16 + slot)));
    table.publish(&batch, &table.ticket(key * 16, 16), &ALIVE)
}

/// A full table whose buckets have hundreds of groups each, few of them of a domain that has its share: an insertion looks
/// at some only, and the next one goes on.
#[test]
fn making_room_looks_at_few_groups_wherever_those_are_that_may_go() {
    const ROOM: usize = 32768;
    let table = Table::new(ROOM * GROUP_BYTES, 1).unwrap();
    let mut key = 0;
    // The hoarder: 64 groups of each of 10 keys.
    while key < 10 {
        for n in 0..64 {
            assert_eq!(
                publish_at(&table, key, 9, n, n % 16),
                Published::Recorded(1)
            );
        }
        key += 1;
    }
    // The others have less than a share, and full keys.
    'full: loop {
        for domain in 0..MAX_GROUPS_OF_KEY as u32 {
            let domain = 100 + domain;
            if publish_at(&table, key, domain, 1, 0) != Published::Recorded(1)
                || table.evicted() != 0
            {
                break 'full;
            }
        }
        key += 1;
    }
    println!("{} groups of {key} keys", table.groups());
    let (mut recorded, mut most) = (0, 0);
    for n in 0..400 {
        let steps = steps_taken(|| match publish_at(&table, 1000 + n, 50, 1, 0) {
            Published::Recorded(_) => recorded += 1,
            other => assert_eq!(other, Published::NoMemory),
        });
        most = most.max(steps);
    }
    println!("{recorded} of 400 recorded, {most} steps at most");
    assert!(most <= 5 * MAX_GROUPS_OF_KEY, "{most} steps");
    assert!(recorded >= 20, "{recorded} of 400 have found room");
}

/// How many records each layer has, in ascending order of their numbers.
fn counts(table: &Table, layers: &[u64]) -> Vec<(u64, u64)> {
    let mut counts: Vec<_> = layers.iter().map(|layer| (*layer, 0)).collect();
    table.count_records(&mut counts);
    counts
}

/// How many groups each domain has: one for each layer that has records.
fn groups_of(counts: &[(u64, u64)]) -> BTreeMap<u64, usize> {
    let mut groups = BTreeMap::new();
    for (layer, _) in counts.iter().filter(|(_, records)| *records != 0) {
        *groups.entry(layer / 1000).or_default() += 1;
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Who has less of a key than its share of that loses nothing when others record.
    #[test]
    fn a_publication_takes_from_nobody_who_has_less_than_its_share_of_the_key(
        seed: u64,
        domains in prop_oneof![12..30u32, 50..700u32],
        records in prop::collection::vec((any::<u32>(), 0..60u64, 0..16u64, 1..5u64), 650..900),
    ) {
        let table = Table::new(ROOMY, seed).unwrap();
        let layers = (0..domains).flat_map(|d| (0..60).map(move |n| u64::from(d) * 1000 + n));
        let used: BTreeSet<u64> = records
            .iter()
            .map(|(domain, layer, ..)| u64::from(domain % domains) * 1000 + layer)
            .collect();
        let layers: Vec<_> = layers.filter(|layer| used.contains(layer)).collect();
        let mut before = counts(&table, &layers);
        for (domain, layer, first, len) in records {
            let domain = domain % domains;
            publish(&table, domain, layer, first..(first + len).min(16));
            prop_assert!(table.groups() <= MAX_GROUPS_OF_KEY);
            let after = counts(&table, &layers);
            let mut lost = before.iter().zip(&after).filter(|((layer, had), (_, has))| {
                layer / 1000 != u64::from(domain) && has < had
            });
            if let Some(((layer, _), (_, has))) = lost.next() {
                let had = groups_of(&before);
                let holders = had.len() + usize::from(!had.contains_key(&domain.into()));
                prop_assert!(had[&(layer / 1000)] >= MAX_GROUPS_OF_KEY / holders);
                prop_assert_eq!(*has, 0);
                prop_assert_eq!(table.groups(), MAX_GROUPS_OF_KEY);
                prop_assert!(lost.next().is_none());
            }
            before = after;
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

use super::group::{Batch, Frames, Known, Page, Source, GROUP_BYTES, GROUP_PAGES, MAX_SOURCES};
use super::platform::{locks_taken, locks_without_pause, set_out_of_memory, while_allocating};
use super::table::{Presence, Published, Table, COPIED};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{mpsc, Arc, LazyLock};
use std::time::Duration;

/// Pages of the model's data device: a few groups.
const PAGES: u64 = 80;
const ROOMY: usize = 1 << 22;

/// All the layers' of all the tests' tables.
static ALIVE: LazyLock<Presence> = LazyLock::new(|| Presence::new(4096).unwrap());
static DEAD: LazyLock<Presence> = LazyLock::new(|| {
    let presence = Presence::new(4096).unwrap();
    presence.end();
    presence
});

/// The model: for each group key the layers' groups, newest first; written down as the rules say,
/// without buckets, bits or lists.
#[derive(Default)]
struct Model {
    keys: BTreeMap<u64, Vec<ModelGroup>>,
}

#[derive(Clone, Debug)]
struct ModelGroup {
    mapping: usize,
    base: u64,
    layer: u64,
    domain: u32,
    /// Page number to (frame, hash).
    pages: BTreeMap<u64, (u32, u64)>,
}

impl Model {
    fn publish(&mut self, ppns: &[u64], page: Page) {
        let key = ppns[0] / 16;
        let groups = self.keys.entry(key).or_default();
        let base = page.index.wrapping_sub(ppns[0] % 16);
        let old = groups.iter().position(|g| {
            (g.mapping, g.base, g.layer, g.domain) == (page.mapping, base, page.layer, page.domain)
        });
        let mut group = match old {
            Some(n) => groups.remove(n),
            None => ModelGroup {
                mapping: page.mapping,
                base,
                layer: page.layer,
                domain: page.domain,
                pages: BTreeMap::new(),
            },
        };
        for ppn in ppns {
            group
                .pages
                .insert(*ppn, (page.pfn + *ppn as u32, page.hash ^ ppn));
        }
        groups.insert(0, group);
        for ppn in ppns {
            let with = groups
                .iter_mut()
                .filter(|g| g.domain == page.domain && g.pages.contains_key(ppn));
            for surplus in with.skip(MAX_SOURCES) {
                surplus.pages.remove(ppn);
            }
        }
        groups.retain(|g| !g.pages.is_empty());
    }

    fn drop_where(&mut self, gone: impl Fn(&ModelGroup, u64) -> bool) {
        for groups in self.keys.values_mut() {
            for group in groups.iter_mut() {
                let g = group.clone();
                group.pages.retain(|ppn, _| !gone(&g, *ppn));
            }
            groups.retain(|g| !g.pages.is_empty());
        }
    }

    fn sources(&self, ppn: u64, domain: u32) -> Vec<Source> {
        let groups = self.keys.get(&(ppn / 16)).into_iter().flatten();
        groups
            .filter(|g| g.domain == domain)
            .filter_map(|g| {
                g.pages.get(&ppn).map(|(pfn, hash)| Source {
                    pfn: *pfn,
                    mapping: g.mapping,
                    index: g.base.wrapping_add(ppn % 16),
                    layer: g.layer,
                    hash: *hash,
                })
            })
            .collect()
    }

    fn groups(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }
}

/// The pages of one batch: a run inside one group.
fn run(first: u64, len: u64) -> Vec<u64> {
    (first..first + len)
        .take_while(|p| p / 16 == first / 16)
        .collect()
}

fn batch(ppns: &[u64], page: Page) -> Batch {
    let one = |ppn: u64| Page {
        pfn: page.pfn + ppn as u32,
        hash: page.hash ^ ppn,
        index: page.index.wrapping_add(ppn - ppns[0]),
        ..page
    };
    let mut batch = Batch::empty();
    for ppn in ppns {
        assert!(batch.add(*ppn, &one(*ppn)));
    }
    batch
}

fn page(layer: u64) -> Page {
    Page {
        pfn: 1000 * layer as u32,
        mapping: 0x1000 * layer as usize,
        index: 77,
        layer,
        domain: 0,
        hash: layer << 32,
    }
}

fn publish(table: &Table, ppns: &[u64], page: Page) -> Published {
    let ticket = table.ticket(ppns[0], ppns.len() as u64);
    table.publish(&batch(ppns, page), &ticket, &ALIVE)
}

fn sources(table: &Table, ppn: u64) -> Vec<Source> {
    table.sources(ppn, 0).iter().copied().collect()
}

#[derive(Clone, Debug)]
enum Op {
    Publish {
        first: u64,
        len: u64,
        page: Page,
    },
    /// A write comes between the read and its publication.
    Overtaken {
        first: u64,
        len: u64,
        page: Page,
        write: (u64, u64),
    },
    Forget {
        ppn: u64,
        nth: usize,
    },
    /// A folio leaves, in which that page has `before` others before it and `after` after it.
    Folio {
        ppn: u64,
        nth: usize,
        before: u32,
        after: u32,
    },
    DropRange(u64, u64),
    DropLayerRange(u64, u64, u64),
    DropLayer(u64),
    DropAll,
}

fn any_page() -> impl Strategy<Value = Page> {
    // Index 0 with a page in the middle of a group: the group's base wraps below zero.
    (
        0..1000u32,
        1..4usize,
        0..3u64,
        1..7u64,
        0..2u32,
        any::<u64>(),
    )
        .prop_map(|(pfn, mapping, index, layer, domain, hash)| Page {
            pfn,
            mapping: mapping << 12,
            index,
            layer,
            domain,
            hash,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let range = || (0..PAGES, 0..40u64);
    prop_oneof![
        12 => (0..PAGES, 1..17u64, any_page())
            .prop_map(|(first, len, page)| Op::Publish { first, len, page }),
        3 => (0..PAGES, 1..17u64, any_page(), range())
            .prop_map(|(first, len, page, write)| Op::Overtaken { first, len, page, write }),
        2 => (0..PAGES, 0..4usize).prop_map(|(ppn, nth)| Op::Forget { ppn, nth }),
        4 => (0..PAGES, 0..4usize, 0..6u32, 0..40u32)
            .prop_map(|(ppn, nth, before, after)| Op::Folio { ppn, nth, before, after }),
        3 => range().prop_map(|(a, n)| Op::DropRange(a, n)),
        3 => (1..7u64, range()).prop_map(|(l, (a, n))| Op::DropLayerRange(l, a, n)),
        1 => (1..7u64).prop_map(Op::DropLayer),
        1 => Just(Op::DropAll),
    ]
}

fn in_range(ppn: u64, first: u64, len: u64) -> bool {
    ppn >= first && ppn - first < len
}

proptest! {
    #[test]
    fn agrees_with_the_model(
        seed: u64,
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let table = Table::new(ROOMY, seed).unwrap();
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Publish { first, len, page } => {
                    let ppns = run(first, len);
                    prop_assert_eq!(
                        publish(&table, &ppns, page),
                        Published::Recorded(ppns.len() as u32)
                    );
                    model.publish(&ppns, page);
                }
                Op::Overtaken { first, len, page, write } => {
                    let ppns = run(first, len);
                    let ticket = table.ticket(first, ppns.len() as u64);
                    table.drop_range(write.0, write.1);
                    model.drop_where(|_, p| in_range(p, write.0, write.1));
                    let done = table.publish(&batch(&ppns, page), &ticket, &ALIVE);
                    if ppns.iter().any(|p| in_range(*p, write.0, write.1)) {
                        prop_assert_eq!(done, Published::Cancelled);
                    } else if done != Published::Cancelled {
                        // A neighbour's write may cancel needlessly, never the other way round.
                        model.publish(&ppns, page);
                    }
                }
                Op::Forget { ppn, nth } => {
                    if let Some(s) = sources(&table, ppn).get(nth).copied() {
                        table.forget(ppn, &s);
                        model.drop_where(|g, p| {
                            p == ppn && g.domain == 0 && g.layer == s.layer
                                && g.mapping == s.mapping
                                && g.base.wrapping_add(ppn % 16) == s.index
                        });
                        // The other domain may hold the same record: it names the same memory.
                        model.drop_where(|g, p| {
                            p == ppn && g.layer == s.layer && g.mapping == s.mapping
                                && g.base.wrapping_add(ppn % 16) == s.index
                                && g.pages[&p] == (s.pfn, s.hash)
                        });
                    }
                }
                Op::Folio { ppn, nth, before, after } => {
                    let Some(s) = sources(&table, ppn).get(nth).copied() else { continue };
                    let pages = before + 1 + after;
                    let wanted = (u64::from(before) <= ppn.min(s.index) && before <= s.pfn).then(|| {
                        let at = |n: u64| Source {
                            pfn: (s.pfn + n as u32) - before,
                            index: (s.index + n) - u64::from(before),
                            ..s
                        };
                        let place = |s: &Source| (s.layer, s.mapping, s.index);
                        (0..u64::from(pages)).map(|n| (ppn + n - u64::from(before), at(n))).map(|(ppn, here)| {
                            let all = model.sources(ppn, 0);
                            (ppn, here, all.iter().any(|s| place(s) == place(&here) && s.pfn == here.pfn)
                                && all.iter().any(|s| place(s) != place(&here)))
                        }).collect::<Vec<_>>()
                    });
                    let folio = Frames::of(ppn, &s, before, pages, 0);
                    prop_assert_eq!(folio.is_some(), wanted.is_some());
                    let (Some(folio), Some(wanted)) = (folio, wanted) else { continue };
                    prop_assert_eq!(
                        table.all_have_others(&folio),
                        wanted.iter().all(|(_, _, others)| *others),
                        "{:?}", wanted
                    );
                    table.forget_folio(&folio);
                    model.drop_where(|g, p| g.domain == 0 && wanted.iter().any(|(ppn, s, _)| {
                        p == *ppn && g.layer == s.layer && g.mapping == s.mapping
                            && g.base.wrapping_add(p % 16) == s.index && g.pages[&p].0 == s.pfn
                    }));
                }
                Op::DropRange(first, len) => {
                    table.drop_range(first, len);
                    model.drop_where(|_, p| in_range(p, first, len));
                }
                Op::DropLayerRange(layer, first, len) => {
                    table.drop_layer_range(layer, first, len);
                    model.drop_where(|g, p| g.layer == layer && in_range(p, first, len));
                }
                Op::DropLayer(layer) => {
                    table.drop_layer(layer, &ALIVE);
                    model.drop_where(|g, _| g.layer == layer);
                }
                Op::DropAll => {
                    table.drop_all();
                    model.drop_where(|_, _| true);
                }
            }
            prop_assert_eq!(table.groups(), model.groups());
            let mut known = Known::nothing();
            for domain in 0..2 {
                for ppn in 0..PAGES + 16 {
                    let got: Vec<_> = table.sources(ppn, domain).iter().copied().collect();
                    prop_assert_eq!(&got, &model.sources(ppn, domain), "page {}", ppn);
                    table.look_up(ppn, domain, &mut known);
                    // The newest, or another one that the page before had one of.
                    match known.source() {
                        Some(source) => prop_assert!(got.contains(&source), "page {}", ppn),
                        None => prop_assert!(got.is_empty(), "page {}", ppn),
                    }
                    known = Known::nothing();
                    table.look_up(ppn, domain, &mut known);
                    prop_assert_eq!(known.source(), got.first().copied(), "page {}", ppn);
                    let present = table.present(ppn, domain) & (1 << (ppn % 16)) != 0;
                    prop_assert_eq!(present, !got.is_empty());
                }
            }
            // Which keys have copies, asked by key and by bucket.
            for key in 0..=PAGES / 16 + 4 {
                for domain in 0..2 {
                    for n in 1..MAX_SOURCES {
                        let copied = (key * 16..key * 16 + 16)
                            .any(|ppn| model.sources(ppn, domain).len() > n);
                        let bucket = table.bucket_with_copies(key, domain, n);
                        prop_assert_eq!(bucket.is_some(), copied, "key {} in domain {}", key, domain);
                        if let Some(b) = bucket {
                            prop_assert!(table.copied(b, n, None).contains(&Some((key, domain))));
                        }
                    }
                }
            }
            let mut counts: Vec<_> = (1..7).map(|layer| (layer, 0)).collect();
            table.count_records(&mut counts);
            for (layer, counted) in counts {
                let n: usize = model.keys.values().flatten()
                    .filter(|g| g.layer == layer).map(|g| g.pages.len()).sum();
                prop_assert_eq!(counted, n as u64);
            }
        }
    }

    /// In a table that is too small, everything offered is still the latest that was recorded.
    #[test]
    fn a_full_table_forgets_but_never_lies(
        seed: u64,
        room in 1..12usize,
        ops in proptest::collection::vec((0..4000u64, 1..17u64, 1..7u64, any::<u64>()), 1..200),
    ) {
        let empty = Table::new(0, seed).unwrap().bytes();
        let max = empty + room * GROUP_BYTES;
        let table = Table::new(max, seed).unwrap();
        let mut latest = BTreeMap::new();
        for (first, len, layer, hash) in ops {
            let ppns = run(first, len);
            let page = Page { hash, ..page(layer) };
            publish(&table, &ppns, page);
            prop_assert!(table.bytes() <= max);
            for ppn in ppns {
                let index = page.index + (ppn - first);
                latest.insert((ppn, layer, index), hash ^ ppn);
            }
        }
        for ppn in 0..4016 {
            for s in sources(&table, ppn) {
                prop_assert_eq!(latest.get(&(ppn, s.layer, s.index)), Some(&s.hash));
            }
        }
    }
}

#[test]
fn the_newest_source_comes_first() {
    let table = Table::new(ROOMY, 1).unwrap();
    for layer in 1..=3 {
        publish(&table, &[5], page(layer));
    }
    publish(&table, &[5], page(2));
    let layers: Vec<_> = sources(&table, 5).iter().map(|s| s.layer).collect();
    assert_eq!(layers, [2, 3, 1]);
}

#[test]
fn what_is_known_of_a_key_is_asked_once_for_the_pages_of_a_group() {
    let table = Table::new(ROOMY, 1).unwrap();
    // Each layer has one page of the key.
    for layer in 1..=MAX_SOURCES as u64 + 3 {
        publish(&table, &[layer], page(layer));
        let mut known = Known::nothing();
        for ppn in 1..=layer {
            table.look_up(ppn, 0, &mut known);
            assert_eq!(known.source().map(|s| s.layer), Some(ppn));
        }
    }
    let fresh = Table::new(ROOMY, 1).unwrap();
    publish(&fresh, &[1, 2], page(1));
    let mut known = Known::nothing();
    fresh.look_up(1, 0, &mut known);
    fresh.drop_all();
    fresh.look_up(2, 0, &mut known);
    assert!(known.source().is_some(), "asked once");
    fresh.look_up(3, 0, &mut known);
    assert!(known.source().is_none(), "the group has no such page");
    fresh.look_up(2, 0, &mut known);
    assert!(known.source().is_none(), "asked again");
}

#[test]
fn a_page_is_copied_when_it_has_two_sources_in_one_domain() {
    let table = Table::new(ROOMY, 1).unwrap();
    publish(&table, &[5], page(1));
    publish(&table, &[6], page(2));
    let elsewhere = Page {
        domain: 1,
        ..page(3)
    };
    publish(&table, &[5], elsewhere);
    assert_eq!(table.bucket_with_copies(0, 0, 1), None);
    publish(&table, &[5], page(2));
    let bucket = table.bucket_with_copies(0, 0, 1).unwrap();
    assert_eq!(
        table
            .copied(bucket, 1, None)
            .iter()
            .flatten()
            .collect::<Vec<_>>(),
        [&(0, 0)]
    );
    assert_eq!(table.bucket_with_copies(0, 1, 1), None);
}

#[test]
fn all_keys_of_a_bucket_with_copies_are_told_of_however_many_of_other_domains_there_are() {
    let table = Table::new(ROOMY, 1).unwrap();
    // Of one key, so in one bucket.
    for domain in 0..3 * COPIED as u32 + 1 {
        for layer in 1..=2 {
            let page = Page {
                domain,
                ..page(layer)
            };
            publish(&table, &[5], page);
        }
    }
    let bucket = table.bucket_with_copies(0, 7, 1).unwrap();
    let mut all = Vec::new();
    loop {
        let some: Vec<_> = (table.copied(bucket, 1, all.last().copied()).into_iter())
            .flatten()
            .collect();
        all.extend(&some);
        if some.len() < COPIED {
            break;
        }
    }
    let every: Vec<_> = (0..3 * COPIED as u32 + 1).map(|d| (0, d)).collect();
    assert_eq!(all, every);
}

#[test]
fn sources_of_one_page_are_bounded_inside_each_domain() {
    let table = Table::new(ROOMY, 1).unwrap();
    for layer in 1..=MAX_SOURCES as u64 {
        publish(&table, &[5], page(layer));
    }
    for domain in 1..=9 {
        for layer in 1..=MAX_SOURCES as u64 + 2 {
            let page = Page {
                domain,
                ..page(layer)
            };
            publish(&table, &[5], page);
        }
    }
    for domain in 0..=9 {
        assert_eq!(table.sources(5, domain).iter().count(), MAX_SOURCES);
    }
    assert_eq!(table.groups(), 10 * MAX_SOURCES);
}

/// A table that has room for that many groups.
fn table_of(room: usize, seed: u64) -> Table {
    let empty = Table::new(0, seed).unwrap().bytes();
    Table::new(empty + room * GROUP_BYTES, seed).unwrap()
}

fn groups_of(table: &Table, domain: u32, keys: std::ops::Range<u64>) -> usize {
    keys.filter(|key| table.sources(key * 16, domain).iter().next().is_some())
        .count()
}

#[test]
fn a_full_table_takes_from_the_domain_that_has_most() {
    let room = 60;
    for seed in 0..40 {
        let table = table_of(room, seed);
        let put = |domain, key: u64| {
            let page = Page { domain, ..page(1) };
            assert_eq!(publish(&table, &[key * 16], page), Published::Recorded(1));
        };
        for key in 0..10 {
            put(1, key);
        }
        for key in 0..20 {
            put(2, key);
        }
        // The table is full after thirty of these, and what comes then displaces its own.
        for key in 0..500 {
            put(3, key);
        }
        let has = |domain, keys| groups_of(&table, domain, 0..keys);
        assert_eq!((has(1, 10), has(2, 20), has(3, 500)), (10, 20, 30));
        // Another one that has little takes from who has most, and gets all that it puts in.
        for key in 10..20 {
            put(1, key);
        }
        assert_eq!((has(1, 20), has(2, 20), has(3, 500)), (20, 20, 20));
        // Who already has a share gets no more.
        for key in 20..500 {
            put(1, key);
        }
        assert!(has(1, 500) <= 21, "{}", has(1, 500));
        assert!(has(2, 20) >= 19 && has(3, 500) >= 19);
    }
}

#[test]
fn a_domain_with_less_than_its_share_loses_nothing_to_thousands_of_others() {
    let room = 4000;
    let table = table_of(room, 5);
    let put = |domain, key: u64| {
        let page = Page { domain, ..page(1) };
        publish(&table, &[key * 16], page)
    };
    // 1,000 domains: a share is three, for the buckets take some of the room.
    for key in 0..2 {
        assert_eq!(put(7, key), Published::Recorded(1));
    }
    for round in 0..20 {
        for domain in (8..1007).rev() {
            // Each key is read by so few that there is room for all of them.
            let key = round * 3 + u64::from(domain % 3);
            assert_eq!(put(domain, key), Published::Recorded(1));
        }
    }
    assert_eq!(groups_of(&table, 7, 0..2), 2);
    assert!(table.groups() <= room);
}

#[test]
fn memory_pressure_takes_from_domains_that_have_their_share() {
    let table = Table::new(ROOMY, 9).unwrap();
    let put = |domain, key: u64| {
        let page = Page { domain, ..page(1) };
        publish(&table, &[key * 16], page);
    };
    (0..10).for_each(|key| put(1, key));
    (0..300).for_each(|key| put(2, key));
    assert_eq!(table.shrink(200), 200);
    assert_eq!(groups_of(&table, 1, 0..10), 10);
    let gone: usize = (0..5).map(|_| table.shrink(1000)).sum();
    assert_eq!((gone, table.groups()), (110, 0));
}

#[test]
fn sources_of_one_page_are_bounded_and_the_oldest_goes() {
    let table = Table::new(ROOMY, 1).unwrap();
    for layer in 1..=MAX_SOURCES as u64 + 2 {
        publish(&table, &[5], page(layer));
    }
    let layers: Vec<_> = sources(&table, 5).iter().map(|s| s.layer).collect();
    assert_eq!(layers, [6, 5, 4, 3]);
    assert_eq!(table.groups(), MAX_SOURCES);
    assert_eq!(table.evicted(), 2);
}

#[test]
fn copies_displace_others_than_what_they_were_copied_from() {
    let table = Table::new(ROOMY, 1).unwrap();
    publish(&table, &[5, 6], page(1));
    for layer in 2..=MAX_SOURCES as u64 + 4 {
        let ticket = table.ticket(5, 2);
        let mut copied = batch(&[5, 6], page(layer));
        copied.copied_from(1);
        assert_eq!(
            table.publish(&copied, &ticket, &ALIVE),
            Published::Recorded(2)
        );
    }
    let layers = |ppn| -> Vec<_> { sources(&table, ppn).iter().map(|s| s.layer).collect() };
    assert_eq!(layers(5), [8, 7, 6, 1]);
    assert_eq!(layers(6), [8, 7, 6, 1]);
    assert_eq!(table.evicted(), 8);
    // What has come from the disk displaces the oldest one.
    publish(&table, &[5], page(9));
    assert_eq!(layers(5), [9, 8, 7, 6]);
    assert_eq!(layers(6), [8, 7, 6, 1]);
}

#[test]
fn every_page_of_many_small_files_keeps_its_record() {
    let table = Table::new(ROOMY, 1).unwrap();
    for ppn in 0..16 {
        let page = Page {
            mapping: 0x1000 * (ppn as usize + 1),
            index: 0,
            ..page(1)
        };
        publish(&table, &[ppn], page);
    }
    assert_eq!(table.present(0, 0), 0xffff);
}

#[test]
fn a_write_cancels_a_record_in_the_making() {
    let table = Table::new(ROOMY, 1).unwrap();
    let ticket = table.ticket(0, 16);
    table.drop_range(3, 1);
    let done = table.publish(&batch(&[3], page(1)), &ticket, &ALIVE);
    assert_eq!(done, Published::Cancelled);
    assert!(sources(&table, 3).is_empty());
}

#[test]
fn a_long_write_cancels_too() {
    let table = Table::new(ROOMY, 1).unwrap();
    let ticket = table.ticket(3, 1);
    table.drop_range(0, u64::MAX);
    let done = table.publish(&batch(&[3], page(1)), &ticket, &ALIVE);
    assert_eq!(done, Published::Cancelled);
}

#[test]
fn dropping_everything_cancels_too() {
    let table = Table::new(ROOMY, 1).unwrap();
    let ticket = table.ticket(3, 1);
    table.drop_all();
    let done = table.publish(&batch(&[3], page(1)), &ticket, &ALIVE);
    assert_eq!(done, Published::Cancelled);
}

#[test]
fn a_removed_layer_records_nothing() {
    let table = Table::new(ROOMY, 1).unwrap();
    let ticket = table.ticket(3, 1);
    let done = table.publish(&batch(&[3], page(1)), &ticket, &DEAD);
    assert_eq!(done, Published::Cancelled);
    assert_eq!(table.groups(), 0);
}

#[test]
fn a_write_far_away_cancels_nothing() {
    let table = Table::new(ROOMY, 1).unwrap();
    let ticket = table.ticket(3, 1);
    // Not the same bucket: one of several keys must miss it.
    let far = (1..100u64).filter(|k| {
        table.drop_range(k * 16, 16);
        table.publish(&batch(&[3], page(1)), &ticket, &ALIVE) != Published::Cancelled
    });
    assert!(far.count() > 0);
}

#[test]
fn without_memory_nothing_is_recorded_and_nothing_breaks() {
    let table = Table::new(ROOMY, 1).unwrap();
    set_out_of_memory(true);
    assert_eq!(publish(&table, &[1], page(1)), Published::NoMemory);
    set_out_of_memory(false);
    assert_eq!(table.groups(), 0);
    assert_eq!(publish(&table, &[1], page(1)), Published::Recorded(1));
    set_out_of_memory(true);
    assert!(Table::new(ROOMY, 1).is_none());
    // What is there already is renewed without memory.
    assert_eq!(publish(&table, &[1], page(1)), Published::Recorded(1));
    set_out_of_memory(false);
}

#[test]
fn a_batch_refuses_what_is_not_its_own() {
    let mut batch = Batch::empty();
    assert!(batch.add(17, &page(1)));
    let next = Page {
        index: 78,
        ..page(1)
    };
    assert!(batch.add(18, &next));
    assert!(!batch.add(15, &page(1)), "another group");
    assert!(!batch.add(19, &next), "not in line");
    let other = Page { layer: 2, ..next };
    assert!(!batch.add(18, &other), "another layer");
    let other = Page { mapping: 1, ..next };
    assert!(!batch.add(18, &other), "another mapping");
    batch.clear();
    assert!(batch.is_empty());
    assert!(batch.add(15, &other), "empty, it takes any");
}

#[test]
fn a_batch_takes_its_pages_hashes_in_their_order() {
    let table = Table::new(ROOMY, 1).unwrap();
    let mut batch = Batch::empty();
    for (ppn, pages) in [(33, 2), (38, 1), (47, 1)] {
        let page = Page {
            index: ppn,
            pfn: 1000 + ppn as u32,
            ..page(1)
        };
        assert!(batch.add_run(ppn, &page, pages));
    }
    assert_eq!(batch.pages(), 4);
    batch.set_hashes(&[1, 2, 3, 4, 0, 0]);
    let ticket = table.ticket(33, 15);
    assert_eq!(
        table.publish(&batch, &ticket, &ALIVE),
        Published::Recorded(4)
    );
    for (ppn, hash) in [(33, 1), (34, 2), (38, 3), (47, 4)] {
        let source = sources(&table, ppn)[0];
        let there = (source.hash, source.index, u64::from(source.pfn));
        assert_eq!(there, (hash, ppn, 1000 + ppn));
    }
}

#[test]
fn a_sequential_file_takes_at_most_24_bytes_a_page() {
    let pages = 64 * 1024u64;
    let table = Table::new(ROOMY, 0x1234_5678_9abc_def1).unwrap();
    for first in (0..pages).step_by(GROUP_PAGES) {
        let page = Page {
            index: first,
            ..page(1)
        };
        publish(&table, &run(first, 16), page);
    }
    assert_eq!(table.evicted(), 0);
    let grown = table.bytes() - Table::new(ROOMY, 1).unwrap().bytes();
    assert!(
        grown as u64 <= 24 * pages,
        "{grown} bytes for {pages} pages"
    );
}

/// The first publication of all, between its look at the generations and its being counted: the
/// table says that it is empty, and yet the layer's records must go.
#[test]
fn a_layer_that_moves_beside_the_first_publication_leaves_nothing_behind() {
    let table = Arc::new(Table::new(ROOMY, 3).unwrap());
    let (begun, has_begun) = mpsc::channel();
    let (mover, handle) = mpsc::channel();
    let other = table.clone();
    while_allocating(move || {
        mover
            .send(std::thread::spawn(move || {
                other.cancel_all();
                begun.send(()).unwrap();
                other.drop_layer(1, &ALIVE);
            }))
            .unwrap();
        has_begun.recv().unwrap();
        // Time enough for a removal that does not wait for this publication.
        std::thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(publish(&table, &[5], page(1)), Published::Recorded(1));
    handle.recv().unwrap().join().unwrap();
    assert_eq!(table.groups(), 0);
    assert_eq!(table.sources(5, 0).iter().count(), 0);
}

#[test]
fn a_shrunk_table_has_given_back_what_it_says_and_lost_its_oldest_groups_first() {
    let table = Table::new(ROOMY, 1).unwrap();
    // One bucket's list: groups of one page, the first published the oldest.
    for layer in 1..=3 {
        publish(&table, &[5], page(layer));
    }
    assert_eq!(table.shrink(1), 1);
    let layers: Vec<_> = sources(&table, 5).iter().map(|s| s.layer).collect();
    assert_eq!(layers, [3, 2]);
    for ppn in (16..160).step_by(16) {
        publish(&table, &[ppn], page(1));
    }
    assert_eq!(table.groups(), 11);
    assert_eq!(table.shrink(4), 4);
    assert_eq!(table.groups(), 7);
    // However few of the buckets have any.
    let mut gone = 0;
    for _ in 0..3 {
        gone += table.shrink(100);
    }
    assert_eq!((gone, table.groups()), (7, 0));
    assert_eq!(table.evicted(), 12);
    assert_eq!(table.shrink(1), 0);
}

/// What is done to a table costs what is in it, and what the layer has recorded: not how large the table is.
#[test]
fn a_table_is_looked_through_only_where_records_are() {
    let table = Table::new(1 << 26, 5).unwrap();
    assert!(table.buckets() >= 1 << 16);
    let few = table.presence().unwrap();
    let none = table.presence().unwrap();
    let many = table.presence().unwrap();
    let record = |layer: u64, owner: &Presence, key: u64| {
        let ticket = table.ticket(key * 16, 1);
        let done = table.publish(&batch(&[key * 16], page(layer)), &ticket, owner);
        assert_eq!(done, Published::Recorded(1));
    };
    for key in 0..1000 {
        record(1, &many, key);
    }
    for key in 0..3 {
        record(2, &few, key * 100);
    }
    assert_eq!(table.groups(), 1003);
    // Those of its blocks of buckets that have groups.
    let block = table.buckets() / 4096;
    let taken = locks_taken(|| table.drop_layer(3, &none));
    assert_eq!(taken, 0);
    let taken = locks_taken(|| table.drop_layer(2, &few));
    assert!((3..=3 * block).contains(&taken), "{taken} locks");
    assert_eq!(table.groups(), 1000);
    // A bucket for each group, or less.
    let taken = locks_taken(|| {
        table.count_records(&mut [(1, 0), (2, 0)]);
    });
    assert!(taken <= 1000, "{taken} locks");
    let taken = locks_taken(|| assert_eq!(table.shrink(8), 8));
    assert_eq!(taken, 8);
    let taken = locks_taken(|| table.drop_all());
    assert!(taken <= 992, "{taken} locks");
    assert_eq!(table.groups(), 0);
    let taken = locks_taken(|| {
        table.drop_all();
        assert_eq!(table.shrink(8), 0);
        assert_eq!(table.next_bucket(0), None);
    });
    assert_eq!(taken, 0);
}

/// A discard may be as long as the device: what forgets it lets others run, with the table full or nearly empty.
#[test]
fn forgetting_what_a_layer_had_of_a_long_range_pauses() {
    let table = Table::new(1 << 24, 5).unwrap();
    let buckets = table.buckets() as u64;
    assert!(buckets >= 1 << 14);
    let put = || {
        for key in 0..buckets {
            publish(&table, &[key * 16], page(1 + key % 2));
        }
        table.groups()
    };
    // As long as the table is wide, and longer.
    for pages in [buckets * 16, buckets * 64] {
        let all = put();
        let most = locks_without_pause(|| table.drop_layer_range(1, 0, pages));
        assert!(most <= 256, "{most} locks without a pause");
        assert_eq!(table.groups(), all / 2);
    }
    // Everything, because another layer might have some of it.
    let most = locks_without_pause(|| table.drop_all());
    assert!(most <= 256, "{most} locks without a pause");
}

// SPDX-License-Identifier: GPL-2.0

use super::bucket::MAX_GROUPS_OF_KEY;
use super::domains::TAGS_MAX;
use super::metapages::{sectors_of, Kept, MetaPages};
use super::platform::{holds_lock, locks_without_pause, set_out_of_memory, steps_taken};
use super::table::Ticket;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Pages of the model's data device, in few buckets.
const PAGES: u64 = 96;
const DOMAINS: u32 = 2;

/// A page: what was read into each of its sectors.
type Page = [u64; 8];

#[derive(Clone, Debug)]
enum Op {
    /// Reads sectors of a page of a domain, as `begin` and `count`, a write to some page coming between or not.
    Read(u64, u32, u32, u32, Option<u64>),
    /// Writes a range of pages.
    Write(u64, u64),
    DropAll,
    Shrink(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..PAGES, 0..DOMAINS, 0..8u32, 1..9u32, proptest::option::weighted(0.2, 0..PAGES))
            .prop_map(|(p, d, b, n, w)| Op::Read(p, d, b, n.min(8 - b), w)),
        3 => (0..PAGES, 1..40u64).prop_map(|(p, n)| Op::Write(p, n)),
        1 => Just(Op::DropAll),
        1 => (0..40usize).prop_map(Op::Shrink),
    ]
}

/// What the disk has: each write of a page changes what all of its sectors have.
struct Disk([u64; 200]);

impl Disk {
    fn write(&mut self, pages: &MetaPages<Page>, first: u64, n: u64) {
        pages.drop_range(first, n);
        for p in first..first + n {
            self.0[p as usize] += 1;
        }
    }

    fn sector(&self, ppn: u64, sector: u64) -> u64 {
        self.0[ppn as usize] * 1000 + sector
    }
}

fn read(
    pages: &MetaPages<Page>,
    disk: &Disk,
    ppn: u64,
    domain: u32,
    sectors: u8,
    ticket: &Ticket,
) -> Kept {
    pages.keep(
        ppn,
        domain,
        sectors,
        ticket,
        || Some([u64::MAX; 8]),
        |page| {
            for n in (0..8).filter(|n| sectors >> n & 1 != 0) {
                page[n as usize] = disk.sector(ppn, n);
            }
            true
        },
    )
}

fn bits(begin: u32, count: u32) -> u8 {
    sectors_of(begin * 512, count * 512)
}

proptest! {
    /// Whatever is found was kept, has not been written since, and is of the domain.
    #[test]
    fn nothing_is_found_that_the_disk_does_not_have(seed: u64, room in 0..70usize, ops in proptest::collection::vec(op(), 1..200)) {
        let pages = MetaPages::<Page>::new(room * 4096, seed).unwrap();
        let mut disk = Disk([1; 200]);
        // What was kept and not written since; it may have been given up meanwhile.
        let mut model: BTreeMap<(u64, u32), u8> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Read(ppn, domain, begin, count, write) => {
                    let sectors = bits(begin, count);
                    let ticket = pages.ticket(ppn, 1);
                    // What the disk returned is from before the write.
                    let returned = Disk(disk.0);
                    if let Some(at) = write {
                        disk.write(&pages, at, 1);
                        model.retain(|(p, _), _| *p != at);
                    }
                    let kept = read(&pages, &returned, ppn, domain, sectors, &ticket);
                    if write == Some(ppn) {
                        prop_assert_ne!(kept, Kept::Done);
                    }
                    if kept == Kept::Done {
                        *model.entry((ppn, domain)).or_default() |= sectors;
                    }
                }
                Op::Write(first, n) => {
                    disk.write(&pages, first, n);
                    model.retain(|(p, _), _| !(first..first + n).contains(p));
                }
                Op::DropAll => {
                    pages.drop_all();
                    prop_assert_eq!(pages.pages(), 0);
                    model.clear();
                }
                Op::Shrink(n) => {
                    let before = pages.pages();
                    let gone = pages.shrink(n);
                    prop_assert_eq!(pages.pages(), before - gone);
                    prop_assert!(gone >= n.min(before));
                }
            }
            // A group at a time is given up, and one is made.
            prop_assert!(pages.pages() <= room + 16);
        }
        for ppn in 0..PAGES {
            for domain in 0..DOMAINS {
                for n in 0..8u32 {
                    let found = pages.with_page(ppn, domain, bits(n, 1), |page| page[n as usize]);
                    if let Some(found) = found {
                        let known = model.get(&(ppn, domain)).copied().unwrap_or(0);
                        prop_assert!(known >> n & 1 != 0, "sector {} of page {} is none", n, ppn);
                        prop_assert_eq!(found, disk.sector(ppn, n.into()));
                    }
                }
            }
        }
    }

    /// With room for everything, everything is found.
    #[test]
    fn with_room_all_is_kept(seed: u64, reads in proptest::collection::vec((0..16u64, 0..8u32, 1..9u32), 1..60)) {
        let pages = MetaPages::<Page>::new(1 << 20, seed).unwrap();
        let disk = Disk([1; 200]);
        let mut model: BTreeMap<u64, u8> = BTreeMap::new();
        for (ppn, begin, count) in reads {
            let sectors = bits(begin, count.min(8 - begin));
            let kept = read(&pages, &disk, ppn, 0, sectors, &pages.ticket(ppn, 1));
            prop_assert_eq!(kept, Kept::Done);
            *model.entry(ppn).or_default() |= sectors;
        }
        prop_assert_eq!(pages.pages(), model.len());
        for (ppn, sectors) in model {
            prop_assert!(pages.with_page(ppn, 0, sectors, |_| ()).is_some());
            // Not one sector more, and nothing for others.
            if sectors != 0xff {
                prop_assert!(pages.with_page(ppn, 0, 0xff, |_| ()).is_none());
            }
            prop_assert!(pages.with_page(ppn, 1, sectors, |_| ()).is_none());
        }
    }
}

#[test]
fn sectors_are_whole_ones() {
    assert_eq!(sectors_of(0, 4096), 0xff);
    assert_eq!(sectors_of(512, 512), 0b10);
    assert_eq!(sectors_of(1024, 1024), 0b1100);
    assert_eq!(sectors_of(100, 1024), 0b10);
    assert_eq!(sectors_of(4096, 512), 0);
    assert_eq!(sectors_of(0, u32::MAX), 0xff);
    assert_eq!(sectors_of(0, 0), 0);
}

#[test]
fn what_is_used_stays_longer() {
    let pages = MetaPages::<Page>::new(1 << 20, 1).unwrap();
    let disk = Disk([1; 200]);
    for ppn in 0..128 {
        read(&pages, &disk, ppn, 0, 0xff, &pages.ticket(ppn, 1));
    }
    for ppn in 32..48 {
        assert!(pages.with_page(ppn, 0, 1, |_| ()).is_some());
    }
    // All but one group.
    assert_eq!(pages.shrink(112), 112);
    assert!(pages.with_page(32, 0, 0xff, |_| ()).is_some());
}

#[test]
fn without_memory_nothing_is_kept_and_nothing_lost() {
    let pages = MetaPages::<Page>::new(1 << 20, 1).unwrap();
    let disk = Disk([1; 200]);
    read(&pages, &disk, 1, 0, 1, &pages.ticket(1, 1));
    set_out_of_memory(true);
    assert_eq!(
        read(&pages, &disk, 40, 0, 1, &pages.ticket(40, 1)),
        Kept::NoMemory
    );
    assert!(MetaPages::<Page>::new(1 << 20, 1).is_none());
    set_out_of_memory(false);
    let none = pages.keep(2, 0, 1, &pages.ticket(2, 1), || None, |_| true);
    assert_eq!(none, Kept::NoMemory);
    let none = pages.keep(60, 0, 1, &pages.ticket(60, 1), || Some([0; 8]), |_| false);
    assert_eq!(none, Kept::NoMemory);
    assert_eq!(pages.pages(), 1);
    assert!(pages.with_page(1, 0, 1, |_| ()).is_some());
}

#[test]
fn without_room_nothing_is_kept() {
    let pages = MetaPages::<Page>::new(0, 1).unwrap();
    let disk = Disk([1; 200]);
    assert_eq!(
        read(&pages, &disk, 1, 0, 1, &pages.ticket(1, 1)),
        Kept::NoMemory
    );
    assert_eq!(pages.pages(), 0);
}

fn read_one(pages: &MetaPages<Page>, ppn: u64, domain: u32) -> Kept {
    let disk = Disk([1; 200]);
    let ticket = pages.ticket(ppn, 1);
    read(pages, &disk, ppn, domain, 0xff, &ticket)
}

#[test]
fn what_one_domain_keeps_of_a_place_displaces_nothing_of_another() {
    let pages = MetaPages::<Page>::new(1 << 20, 1).unwrap();
    // Of one key, so in one bucket.
    for domain in 0..100 {
        assert_eq!(read_one(&pages, 5, domain), Kept::Done);
    }
    for domain in 0..100 {
        assert!(pages.with_page(5, domain, 0xff, |_| ()).is_some());
    }
    assert_eq!(pages.evicted(), 0);
}

#[test]
fn without_room_the_domain_that_has_most_gives_way() {
    for seed in 0..40 {
        let room = 160;
        let pages = MetaPages::<Page>::new(room * 4096, seed).unwrap();
        let keep = |domain, keys: std::ops::Range<u64>| {
            for key in keys {
                assert_eq!(
                    read_one(&pages, key * 16 % 192 + key / 12, domain),
                    Kept::Done
                );
            }
        };
        let has = |domain| {
            (0..200)
                .filter(|ppn| pages.with_page(*ppn, domain, 0xff, |_| ()).is_some())
                .count()
        };
        keep(1, 0..20);
        keep(2, 0..130);
        let before = has(2);
        keep(1, 20..40);
        assert_eq!(has(1), 40);
        assert!(has(2) < before);
        // One that used all it has gives way nevertheless.
        has(2);
        keep(3, 0..20);
        assert_eq!((has(1), has(3)), (40, 20));
        assert!(pages.pages() <= room);
        // And under memory pressure.
        assert!(pages.shrink(20) >= 20);
        assert_eq!((has(1), has(3)), (40, 20));
    }
}

/// One image in thousands of domains: a place is kept for a bounded number of them, and no walk is longer.
#[test]
fn a_place_is_kept_for_a_bounded_number_of_domains() {
    let pages = MetaPages::<u64>::new(64 << 20, 3).unwrap();
    let keep = |domain: u32, ppn| {
        let ticket = pages.ticket(ppn, 1);
        pages.keep(ppn, domain, 0xff, &ticket, || Some(domain.into()), |_| true)
    };
    let found = |domain: u32| pages.with_page(5, domain, 0xff, |page| *page) == Some(domain.into());
    // Up to there nobody loses anything.
    for domain in 0..MAX_GROUPS_OF_KEY as u32 {
        assert_eq!(keep(domain, 5), Kept::Done);
        assert_eq!(keep(domain, 6), Kept::Done);
    }
    assert!((0..MAX_GROUPS_OF_KEY as u32).all(found));
    assert_eq!(pages.evicted(), 0);
    for domain in MAX_GROUPS_OF_KEY as u32..=TAGS_MAX as u32 {
        let steps = steps_taken(|| assert_eq!(keep(domain, 5), Kept::Done));
        assert!(steps <= 16 * MAX_GROUPS_OF_KEY, "{steps} steps");
        assert!(found(domain), "the newest is there");
    }
    let kept = (0..=TAGS_MAX as u32).filter(|d| found(*d)).count();
    assert_eq!(kept, MAX_GROUPS_OF_KEY);
    assert_eq!(pages.pages(), MAX_GROUPS_OF_KEY);
    assert_eq!(
        pages.evicted(),
        (TAGS_MAX + 1) as u64,
        "two pages of each of the first ones"
    );
    let steps = steps_taken(|| pages.drop_range(5, 1));
    // Some of them without the lock.
    assert!(steps <= 8 * MAX_GROUPS_OF_KEY, "{steps} steps");
    assert_eq!(pages.pages(), 0);
}

#[test]
fn dropping_everything_pauses() {
    let pages = MetaPages::<u64>::new(64 << 20, 3).unwrap();
    let ticket = pages.ticket(5, 1);
    let kept = pages.keep(5, 0, 0xff, &ticket, || Some(1), |_| true);
    assert_eq!(kept, Kept::Done);
    let most = locks_without_pause(|| pages.drop_all());
    assert!(most <= 256, "{most} locks without a pause");
    assert_eq!(pages.pages(), 0);
}

/// A page that counts when it is freed, unless a lock is held then.
struct Watched(Rc<Cell<usize>>);

impl Drop for Watched {
    fn drop(&mut self) {
        if !holds_lock() {
            self.0.set(self.0.get() + 1);
        }
    }
}

/// Freeing the pages of hundreds of domains takes long.
#[test]
fn pages_are_freed_without_a_lock() {
    let freed = Rc::new(Cell::new(0));
    let pages = MetaPages::new(8 << 20, 3).unwrap();
    let keep = |domains: u32| {
        freed.set(0);
        for domain in 0..domains {
            for ppn in 16..20 {
                let fresh = || Some(Watched(freed.clone()));
                let kept = pages.keep(ppn, domain, 0xff, &pages.ticket(ppn, 1), fresh, |_| true);
                assert_eq!(kept, Kept::Done);
            }
        }
        assert_eq!(pages.pages(), domains as usize * 4);
    };
    for (first, n) in [(16, 16), (0, 512), (0, 1 << 30)] {
        keep(100);
        pages.drop_range(first, n);
        assert_eq!((pages.pages(), freed.get()), (0, 400));
    }
    keep(3);
    pages.drop_all();
    assert_eq!((pages.pages(), freed.get()), (0, 12));
}

#[test]
fn nobody_gives_way_at_a_place_for_a_page_without_memory() {
    let pages = MetaPages::<u64>::new(64 << 20, 3).unwrap();
    let keep = |domain: u32, fresh: Option<u64>, copied: bool| {
        let ticket = pages.ticket(5, 1);
        pages.keep(5, domain, 0xff, &ticket, || fresh, |_| copied)
    };
    let full = MAX_GROUPS_OF_KEY as u32;
    for domain in 0..full {
        assert_eq!(keep(domain, Some(1), true), Kept::Done);
    }
    assert_eq!(keep(full, None, true), Kept::NoMemory);
    assert_eq!(keep(full, Some(1), false), Kept::NoMemory);
    assert_eq!((pages.pages(), pages.evicted()), (MAX_GROUPS_OF_KEY, 0));
    assert_eq!(keep(full, Some(1), true), Kept::Done);
    assert_eq!((pages.pages(), pages.evicted()), (MAX_GROUPS_OF_KEY, 1));
}

// SPDX-License-Identifier: GPL-2.0

//! Leaders and followers: each follower comes back once, by its leader's end or by losing patience, and no chain of
//! stalled leaders makes it wait longer than that.

use super::coalesce::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
/// A time that nobody waits until.
const FOREVER: u64 = u64::MAX;

/// A read of layer `by` that waits for nobody.
fn lead_by(r: &Waiting, first: u64, pages: u64, by: u64, now: u64) -> Option<Lead> {
    match r.start(first, pages, by, now, false) {
        Start::Lead(lead) => Some(lead),
        Start::Alone => None,
        Start::Follow(..) => panic!("told to follow"),
    }
}

fn lead(r: &Waiting, first: u64, pages: u64, now: u64) -> Option<Lead> {
    lead_by(r, first, pages, 1, now)
}

fn reads() -> Waiting {
    Reads::new(3).unwrap()
}

/// All that have waited long enough.
fn detached(r: &Waiting, now: u64) -> (Vec<u32>, Option<u64>) {
    let all = r.detach(now);
    let who: Vec<u32> = [all.stalled, all.due].concat();
    assert_eq!(who.len(), all.count as usize);
    (who, all.next)
}

#[test]
fn a_follower_waits_for_the_pages_that_its_leader_reads() {
    let r = reads();
    assert!(!r.any());
    let lead = lead(&r, 100, 8, 0).unwrap();
    assert_eq!(lead.domain(), 3);
    assert!(r.any());
    // 100 is place 4 of key 6; 104 begins nothing new, 112 is in key 7.
    assert_eq!(r.leader(99, 4, 0), None);
    let (place, n) = r.leader(100, 16, 0).unwrap();
    assert_eq!((place.domain(), n), (3, 8));
    assert_eq!(r.leader(105, 2, 0).unwrap().1, 2);
    assert_eq!(r.leader(108, 1, 0), None);
    assert_eq!(r.in_flight(96, 0), 0xff << 4);
    assert_eq!(r.follow(place, 1, FOREVER, 0), Ok(()));
    assert_eq!(r.follow(place, 2, FOREVER, 0), Ok(()));
    assert_eq!(r.end(lead, 5 * MS, false), vec![1, 2]);
    assert!(!r.any());
    assert_eq!(r.follow(place, 3, FOREVER, 0), Err(3));
    assert_eq!(r.leader(100, 1, 0), None);
}

#[test]
fn a_long_read_is_followed_in_each_of_its_groups() {
    let r = reads();
    let lead = lead(&r, 8, 40, 0).unwrap();
    let first = r.leader(8, 100, 0).unwrap();
    let second = r.leader(16, 100, 0).unwrap();
    let third = r.leader(32, 100, 0).unwrap();
    assert_eq!((first.1, second.1, third.1), (8, 16, 16));
    for (n, (place, _)) in [first, second, third].into_iter().enumerate() {
        r.follow(place, n as u32, FOREVER, 0).unwrap();
    }
    assert_eq!(r.end(lead, 0, false), vec![0, 1, 2]);
}

#[test]
fn who_waits_too_long_goes_on_and_nobody_comes_after() {
    let r = reads();
    let lead = lead(&r, 0, 16, 1000 * MS).unwrap();
    let (place, _) = r.leader(0, 4, 1000 * MS).unwrap();
    r.follow(place, 1, FOREVER, 1000 * MS).unwrap();
    let patience = r.patience();
    assert_eq!(detached(&r, 1000 * MS + patience), (vec![], Some(1)));
    assert_eq!(detached(&r, 1000 * MS + patience + 1), (vec![1], None));
    // Whatever time it is thought to be.
    assert_eq!(r.leader(0, 4, 1000 * MS), None);
    assert_eq!(r.follow(place, 2, FOREVER, 1000 * MS), Err(2));
    // The leader ends after all.
    assert_eq!(r.end(lead, 9000 * MS, false), vec![]);
    assert!(!r.any());
}

/// A read that stalled long ago would cost another patience.
#[test]
fn a_leader_older_than_patience_is_not_followed() {
    let r = reads();
    let now = 1000 * MS;
    let old = lead(&r, 0, 16, now).unwrap();
    let (place, _) = r.leader(0, 4, now + r.patience()).unwrap();
    let late = now + r.patience() + 1;
    assert_eq!(r.leader(0, 4, late), None);
    assert_eq!(r.in_flight(0, late), 0);
    assert_eq!(r.follow(place, 1, FOREVER, late), Err(1));
    // Who comes now leads itself.
    let Start::Lead(new) = r.start(0, 4, 2, late, true) else {
        panic!("told to follow the old one");
    };
    assert!(r.leader(0, 4, late).is_some());
    assert_eq!(r.end(new, late, false), vec![]);
    assert_eq!(r.end(old, late, false), vec![]);
}

/// A stalled read of 1 MiB costs the reader of its pages one wait, and not one for each 64 KiB.
#[test]
fn all_of_a_stalled_read_is_left_alone_at_once() {
    let r = reads();
    let lead = lead(&r, 0, 256, 0).unwrap();
    let (place, _) = r.leader(0, 16, 0).unwrap();
    r.follow(place, 1, FOREVER, 0).unwrap();
    let late = r.patience() + 1;
    assert_eq!(detached(&r, late).0, [1]);
    for ppn in (0..256).step_by(16) {
        assert_eq!(r.leader(ppn, 16, 0), None, "page {ppn}");
        assert_eq!(r.in_flight(ppn, 0), 0);
    }
    assert_eq!(r.end(lead, late, false), vec![]);
}

/// Seven leaders of the same page that stall one after the other hold a follower up for one patience in all.
#[test]
fn any_number_of_stalled_leaders_costs_one_patience() {
    let r = reads();
    let mut now = 1000 * MS;
    let begun = now;
    let until = now + r.patience();
    let mut leads = Vec::new();
    let mut waits = 0;
    for by in 1..=7 {
        leads.push(lead_by(&r, 0, 16, by, now).unwrap());
        let Some((place, _)) = r.leader(0, 16, now) else {
            panic!("a read that has just begun can be followed");
        };
        // As the module does: it asks for the time that is left first.
        if !may_wait(until, now) {
            break;
        }
        r.follow(place, 1, until, now).unwrap();
        waits += 1;
        let (none, next) = detached(&r, now);
        assert_eq!(none, []);
        now += next.unwrap();
        assert_eq!(detached(&r, now).0, [1]);
    }
    assert_eq!(waits, 1);
    assert!(now - begun <= r.patience() + 1, "{}", now - begun);
    for lead in leads {
        assert_eq!(r.end(lead, now, false), vec![]);
    }
}

#[test]
fn who_brings_less_time_along_goes_on_sooner_and_its_leader_can_be_followed_all_the_same() {
    let r = reads();
    let lead = lead(&r, 0, 16, 0).unwrap();
    let (place, _) = r.leader(0, 16, 0).unwrap();
    r.follow(place, 1, 10 * MS, 0).unwrap();
    assert_eq!(detached(&r, 9 * MS), (vec![], Some(MS)));
    let all = r.detach(10 * MS);
    assert_eq!((all.stalled, all.due), (vec![], vec![1]));
    let (place, _) = r.leader(0, 16, 10 * MS).unwrap();
    r.follow(place, 2, FOREVER, 10 * MS).unwrap();
    assert_eq!(r.end(lead, 11 * MS, false), vec![2]);
}

/// Until it has ended a read in time.
#[test]
fn a_layer_that_stalled_last_is_not_followed() {
    let r = reads();
    let stalled = lead_by(&r, 0, 16, 7, 0).unwrap();
    let (place, _) = r.leader(0, 16, 0).unwrap();
    r.follow(place, 1, FOREVER, 0).unwrap();
    let mut now = r.patience() + 1;
    assert_eq!(detached(&r, now).0, [1]);
    // Its next read is noted, and left alone.
    let next = lead_by(&r, 32, 16, 7, now).unwrap();
    assert_eq!(r.leader(32, 16, now), None);
    // Others are followed as before.
    let other = lead_by(&r, 64, 16, 8, now).unwrap();
    assert!(r.leader(64, 16, now).is_some());
    assert_eq!(r.end(other, now, false), vec![]);
    // It ends in time.
    assert_eq!(r.end(next, now + MS, false), vec![]);
    now += MS;
    let good = lead_by(&r, 32, 16, 7, now).unwrap();
    assert!(r.leader(32, 16, now).is_some());
    // The end of what has stalled takes that back.
    assert_eq!(r.end(stalled, now, false), vec![]);
    assert_eq!(r.end(good, now, false), vec![]);
}

#[test]
fn layers_that_stalled_are_forgotten_rather_than_all_others_when_there_are_many() {
    let r = reads();
    let mut now = 0;
    for by in 1..100 {
        let lead = lead_by(&r, 0, 16, by, now).unwrap();
        now += r.patience() + 1;
        assert_eq!(r.end(lead, now, false), vec![]);
        // Whoever stalled last is known.
        let next = lead_by(&r, 0, 16, by, now).unwrap();
        assert_eq!(r.leader(0, 16, now), None);
        now += r.patience() + 1;
        assert_eq!(r.end(next, now, false), vec![]);
    }
    let lead = lead_by(&r, 0, 16, 1000, now).unwrap();
    assert!(r.leader(0, 16, now).is_some());
    assert_eq!(r.end(lead, now, false), vec![]);
}

#[test]
fn patience_follows_long_reads_at_once_and_short_ones_slowly() {
    let r = reads();
    let least = r.patience();
    let took = |ns| {
        let lead = lead(&r, 0, 1, 0).unwrap();
        r.end(lead, ns, false);
        r.patience()
    };
    assert_eq!(took(10 * MS), least);
    assert_eq!(took(40 * MS), 80 * MS);
    assert_eq!(took(75 * MS), 150 * MS);
    let after = took(0);
    assert!(after < 150 * MS && after > 120 * MS, "{after}");
    // What is short by nature does not make anybody less patient, but more it does.
    let short = |ns| {
        let lead = lead(&r, 0, 1, 0).unwrap();
        r.end(lead, ns, true);
        r.patience()
    };
    assert_eq!(short(0), after);
    assert!(short(after) > after);
    for _ in 0..200 {
        took(0);
    }
    assert_eq!(r.patience(), least);
}

#[test]
fn what_stalled_reads_of_one_layer_took_teaches_nothing() {
    let r = reads();
    let patience = r.patience();
    for n in 0..50 {
        for short in [false, true] {
            let stalled = lead_by(&r, 0, 1, 7, 0).unwrap();
            r.end(stalled, 60_000 * MS, short);
            assert_eq!(r.patience(), patience, "after {n}");
        }
    }
    // Nor do two that stall, if another one ends in time between them: the disk is not slow.
    for by in 8..50 {
        for (by, ns) in [(1, MS), (by, 60_000 * MS)] {
            let stalled = lead_by(&r, 0, 1, by, 0).unwrap();
            r.end(stalled, ns, false);
        }
        assert_eq!(r.patience(), patience);
    }
}

#[test]
fn a_disk_that_is_slow_for_everybody_is_waited_for() {
    let r = reads();
    let mut reads = 0;
    // Twice as long as anybody would wait.
    while r.patience() < 200 * MS {
        for by in [1, 2] {
            let lead = lead_by(&r, 0, 1, by, 0).unwrap();
            r.end(lead, 100 * MS, false);
            reads += 1;
        }
        assert!(reads < 20, "patience is {}", r.patience());
    }
    // It has a bound, however slow.
    for by in 0..100 {
        let lead = lead_by(&r, 0, 1, by, 0).unwrap();
        r.end(lead, 60_000 * MS, false);
    }
    assert_eq!(r.patience(), 2_000 * MS);
}

#[test]
fn a_full_bucket_only_means_that_nobody_follows() {
    let r = reads();
    // Far more leaders than there is room for, all of them at the same page.
    let leads: Vec<_> = (0..2000).map(|_| lead(&r, 0, 1, 0)).collect();
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
    let Start::Lead(first) = r.start(4, 8, 1, 0, true) else {
        panic!("nobody else is there");
    };
    let Start::Follow(place, 6) = r.start(6, 30, 2, 0, true) else {
        panic!("the first one has six of these pages");
    };
    r.follow(place, 1, FOREVER, 0).unwrap();
    // It has none of these; and who may not follow leads.
    for start in [r.start(12, 4, 2, 0, true), r.start(4, 8, 2, 0, false)] {
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
    let r = Waiting::new(0);
    super::platform::set_out_of_memory(false);
    assert!(r.is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Lead { first: u64, pages: u64, by: u64 },
    Follow { ppn: u64, pages: u64 },
    End { nth: usize },
    Detach,
    Time { ns: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0u64..100, 1u64..40, 1u64..4)
            .prop_map(|(first, pages, by)| Step::Lead { first, pages, by }),
        4 => (0u64..140, 1u64..20).prop_map(|(ppn, pages)| Step::Follow { ppn, pages }),
        1 => (0usize..8).prop_map(|nth| Step::End { nth }),
        2 => Just(Step::Detach),
        1 => (0u64..60 * MS).prop_map(|ns| Step::Time { ns }),
    ]
}

/// A follower as the module has them: it waits until `until`, from its first wait on.
#[derive(Clone, Copy, Debug)]
struct Follower {
    until: u64,
    /// Its first patience.
    patience: u64,
    since: u64,
    waited: u64,
    /// The longest that it may have been late: nobody looked.
    slack: u64,
}

proptest! {
    /// And waits for its first patience in all, but for what nobody looked; `detach` is asked when it says so, and
    /// at other times, too.
    #[test]
    fn every_follower_comes_back_once_and_in_time(steps in prop::collection::vec(step(), 1..200)) {
        let r = reads();
        let mut now = 0;
        let mut next = 0u32;
        let mut leads: Vec<(Lead, u64, u64, u64)> = Vec::new();
        let mut waiting: BTreeMap<u32, Follower> = BTreeMap::new();
        // Those who came back without their leader, and still have time.
        let mut again: Vec<Follower> = Vec::new();
        let mut back: BTreeSet<u32> = BTreeSet::new();
        let mut due = None;
        let mut come = |waiting: &mut BTreeMap<u32, Follower>, who: Vec<u32>, now: u64| {
            let mut out = Vec::new();
            for w in who {
                let mut f = waiting.remove(&w)?;
                if !back.insert(w) {
                    return None;
                }
                f.waited += now - f.since;
                out.push(f);
            }
            Some(out)
        };
        for s in steps {
            match s {
                Step::Lead { first, pages, by } => {
                    if let Some(l) = lead_by(&r, first, pages, by, now) {
                        leads.push((l, first, pages, now));
                    }
                }
                Step::Follow { ppn, pages } => {
                    let found = r.leader(ppn, pages, now);
                    let patience = r.patience();
                    let covers = |l: &(Lead, u64, u64, u64)| {
                        l.1 <= ppn && ppn < l.1 + l.2 && now - l.3 <= patience
                    };
                    // Whoever leads has the page; a stalled leader is not offered.
                    prop_assert!(found.is_none() || leads.iter().any(covers));
                    if let Some((place, n)) = found {
                        prop_assert!(n >= 1 && n <= pages);
                        prop_assert!(leads.iter().any(|l| covers(l) && ppn + n <= l.1 + l.2));
                        let new = Follower { until: now + patience, patience, since: now, waited: 0, slack: 0 };
                        let before = again.pop().filter(|f| may_wait(f.until, now));
                        let f = Follower { since: now, ..before.unwrap_or(new) };
                        prop_assert_eq!(r.follow(place, next, f.until, now), Ok(()));
                        waiting.insert(next, f);
                        next += 1;
                        // The module has a timer that goes off sooner.
                        let tick = now + PATIENCE_MIN;
                        due = Some(due.map_or(tick, |d: u64| d.min(tick)));
                    }
                }
                Step::End { nth } => {
                    if nth < leads.len() {
                        let (lead, ..) = leads.swap_remove(nth);
                        let who = come(&mut waiting, r.end(lead, now, false), now);
                        prop_assert!(who.is_some());
                    }
                }
                Step::Detach => {
                    let all = r.detach(now);
                    let stalled = come(&mut waiting, all.stalled, now);
                    let others = come(&mut waiting, all.due, now);
                    prop_assert!(stalled.is_some() && others.is_some());
                    let others = others.unwrap();
                    for f in stalled.unwrap().iter().chain(&others) {
                        prop_assert!(f.waited <= f.patience + f.slack, "{:?}", f);
                    }
                    again.extend(&others);
                    prop_assert_eq!(all.next.is_some(), !waiting.is_empty());
                    // Whoever has waited long enough has gone.
                    prop_assert!(waiting.values().all(|f| now < f.until || f.slack == 0));
                    due = all.next.map(|ns| now + ns.min(PATIENCE_MIN));
                }
                Step::Time { ns } => {
                    now += ns;
                    for f in waiting.values_mut() {
                        f.slack += now.saturating_sub(due.unwrap_or(now).max(f.since));
                    }
                }
            }
        }
        for (lead, ..) in leads {
            prop_assert!(come(&mut waiting, r.end(lead, now, false), now).is_some());
        }
        prop_assert!(waiting.is_empty());
        prop_assert!(!r.any());
    }
}

thread_local! {
    /// What happens when this thread notes a follower the next time.
    static WHILE_NOTING: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Those who wait, the first of whom another one overtakes.
#[derive(Default)]
struct Overtaken(Vec<u32>);

impl Waiters for Overtaken {
    type Item = u32;
    fn push(&mut self, item: u32) {
        if let Some(f) = WHILE_NOTING.take() {
            f();
        }
        self.0.push(item);
    }
    fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }
}

/// The first one to wait has been counted when the second comes, which has less time: it goes on in time all the same.
#[test]
fn who_begins_to_wait_beside_the_first_one_goes_on_in_time() {
    let r: Arc<Reads<Overtaken>> = Arc::new(Reads::new(3).unwrap());
    let mut places = Vec::new();
    let mut leads = Vec::new();
    for first in [0, 16] {
        let Start::Lead(lead) = r.start(first, 16, 1, 0, false) else {
            panic!("there is room");
        };
        places.push(r.leader(first, 16, 0).unwrap().0);
        leads.push(lead);
    }
    let (other, place) = (r.clone(), places[1]);
    WHILE_NOTING.set(Some(Box::new(move || {
        let second = std::thread::spawn(move || other.follow(place, 2, 10 * MS, 0));
        assert!(second.join().unwrap().is_ok());
    })));
    assert!(r.follow(places[0], 1, FOREVER, 0).is_ok());
    let all = r.detach(10 * MS);
    assert_eq!((all.stalled.0, all.due.0), (vec![], vec![2]));
    for lead in leads {
        r.end(lead, 20 * MS, false);
    }
}

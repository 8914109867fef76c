// SPDX-License-Identifier: GPL-2.0

//! Coalescing: who waits for a read is woken, once, when what it waits for is published, and not too late.
//!
//! drr/coalesce.rs runs as it is. Leaders do what record.rs does, followers what `Drr::follow` does. The reference is a list of
//! those that were sent on their way.

use crate::check::{finds, holds, three_hold};
use crate::drr::platform::atomic::{AtomicBool, Ordering::Relaxed};
use crate::drr::{coalesce, mutants};
use coalesce::PATIENCE_MIN;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// A domain that has few buckets.
const DOMAIN: u32 = 300;
const PPN: u64 = 35;
const EARLY: &str = "a follower is woken before the records are there";
const TWICE: &str = "a follower is not sent on its way exactly once";
const TWO_LEAD: &str = "of two reads of one page not one leads and one follows";
const LATE: &str = "a follower waits too long";
/// What loom says of threads that all wait.
const ASLEEP: &str = "deadlock";

/// Followers by numbers.
#[derive(Default)]
struct List(Vec<u32>);

macro_rules! waiters {
    ($($($file:ident)::+;)*) => {
        $(impl $($file)::+::Waiters for List {
            type Item = u32;

            fn push(&mut self, item: u32) {
                self.0.push(item);
            }

            fn append(&mut self, others: Self) {
                self.0.extend(others.0);
            }
        })*
    };
}

/// drr/coalesce.rs, or a mutant of it.
trait Reads: Sized + 'static {
    type Lead;
    type Place: Copy;
    fn new() -> Arc<Self>;
    /// Begins a read by a layer: `Ok` leads, `Err` follows.
    fn start(&self, by: u64, may_follow: bool) -> Result<Self::Lead, Option<Self::Place>>;
    fn leader(&self, now: u64) -> Option<Self::Place>;
    fn follow(&self, place: Self::Place, item: u32, until: u64, now: u64) -> Result<(), u32>;
    fn end(&self, lead: Self::Lead, now: u64) -> Vec<u32>;
    /// Who goes on, and in how many nanoseconds to look again.
    fn detach(&self, now: u64) -> (Vec<u32>, Option<u64>);
    fn any(&self) -> bool;
}

macro_rules! reads {
    ($($($file:ident)::+;)*) => {
        $(impl Reads for $($file)::+::Reads<List> {
            type Lead = $($file)::+::Lead;
            type Place = $($file)::+::Place;

            fn new() -> Arc<Self> {
                Arc::new(Self::new(DOMAIN).unwrap())
            }

            fn start(&self, by: u64, may_follow: bool) -> Result<Self::Lead, Option<Self::Place>> {
                match self.start(PPN, 1, by, 0, may_follow) {
                    $($file)::+::Start::Lead(lead) => Ok(lead),
                    $($file)::+::Start::Follow(place, _) => Err(Some(place)),
                    $($file)::+::Start::Alone => Err(None),
                }
            }

            fn leader(&self, now: u64) -> Option<Self::Place> {
                self.leader(PPN, 1, now).map(|(place, _)| place)
            }

            fn follow(&self, place: Self::Place, item: u32, until: u64, now: u64) -> Result<(), u32> {
                self.follow(place, item, until, now)
            }

            fn end(&self, lead: Self::Lead, now: u64) -> Vec<u32> {
                self.end(lead, now, false).0
            }

            fn detach(&self, now: u64) -> (Vec<u32>, Option<u64>) {
                let out = self.detach(now);
                let mut all = out.stalled.0;
                all.extend(out.due.0);
                assert_eq!(all.len(), out.count as usize);
                (all, out.next)
            }

            fn any(&self) -> bool {
                self.any()
            }
        })*
    };
}

macro_rules! subjects {
    ($($all:tt)*) => {
        waiters!($($all)*);
        reads!($($all)*);
    };
}

subjects! {
    coalesce;
    mutants::leader_is_looked_for_before::coalesce;
    mutants::follower_does_not_look::coalesce;
    mutants::look_is_forgotten_late::coalesce;
    mutants::two_are_counted_at_once::coalesce;
    mutants::look_is_told_of_early::coalesce;
}

type Real = coalesce::Reads<List>;

/// Those who were sent on their way; a follower is one of the device's work, which sleeps until then.
struct Woken {
    list: Mutex<Vec<u32>>,
    more: Condvar,
}

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            list: Mutex::new(Vec::new()),
            more: Condvar::new(),
        })
    }

    fn wake(&self, items: Vec<u32>) {
        self.list.lock().unwrap().extend(items);
        self.more.notify_all();
    }

    fn wait(&self, item: u32) {
        let mut list = self.list.lock().unwrap();
        while !list.contains(&item) {
            list = self.more.wait(list).unwrap();
        }
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.list.lock().unwrap())
    }
}

/// One follows while its leader ends. The leader publishes first, or wakes first.
fn ended<R: Reads>(publishes_first: bool) {
    let reads = R::new();
    let woken = Woken::new();
    let published = Arc::new(AtomicBool::new(false));
    let Ok(lead) = reads.start(1, false) else {
        panic!("nobody else reads");
    };
    let follower = thread::spawn({
        let (reads, woken, published) = (reads.clone(), woken.clone(), published.clone());
        move || {
            let Some(place) = reads.leader(0) else {
                return;
            };
            if reads.follow(place, 7, PATIENCE_MIN, 0).is_ok() {
                woken.wait(7);
            }
            assert!(published.load(Relaxed), "{EARLY}");
        }
    });
    if publishes_first {
        published.store(true, Relaxed);
    }
    woken.wake(reads.end(lead, 1));
    if !publishes_first {
        published.store(true, Relaxed);
    }
    follower.join().unwrap();
    assert!(woken.take().len() <= 1, "{TWICE}");
    assert!(!reads.any(), "a leader that has ended is still noted");
}

#[test]
fn follower_is_woken_when_the_records_are_there() {
    holds(|| ended::<Real>(true));
}

#[test]
fn finds_a_follower_that_is_woken_first() {
    finds(EARLY, || ended::<Real>(false));
}

#[test]
fn finds_a_follower_of_nobody() {
    finds(ASLEEP, || {
        ended::<mutants::follower_does_not_look::coalesce::Reads<List>>(true);
    });
}

/// Two reads of the same page begin.
fn begun<R: Reads>() {
    let reads = R::new();
    let begin = |by| {
        let reads = reads.clone();
        thread::spawn(move || match reads.start(by, true) {
            Ok(lead) => (1, Some(lead)),
            Err(Some(_)) => (10, None),
            Err(None) => (100, None),
        })
    };
    let (one, two) = (begin(1), begin(2));
    let (one, two) = (one.join().unwrap(), two.join().unwrap());
    assert_eq!(one.0 + two.0, 11, "{TWO_LEAD}");
}

#[test]
fn of_two_that_begin_one_leads() {
    holds(begun::<Real>);
}

#[test]
fn finds_a_look_for_leaders_in_another_hold() {
    finds(
        TWO_LEAD,
        begun::<mutants::leader_is_looked_for_before::coalesce::Reads<List>>,
    );
}

/// The timer sends a follower on its way while its leader ends.
#[test]
fn follower_is_sent_on_its_way_once() {
    holds(|| {
        let reads = Real::new(DOMAIN).map(Arc::new).unwrap();
        let woken = Woken::new();
        let Ok(lead) = Reads::start(&*reads, 1, false) else {
            panic!("nobody else reads");
        };
        let place = Reads::leader(&*reads, 0).unwrap();
        reads.follow(place, 7, PATIENCE_MIN, 0).unwrap();
        let timer = thread::spawn({
            let (reads, woken) = (reads.clone(), woken.clone());
            move || woken.wake(Reads::detach(&*reads, PATIENCE_MIN).0)
        });
        woken.wake(Reads::end(&*reads, lead, PATIENCE_MIN));
        timer.join().unwrap();
        assert_eq!(woken.take(), [7], "{TWICE}");
        assert_eq!(Reads::detach(&*reads, u64::MAX), (vec![], None));
    });
}

/// The work `Pool::follower_watch`, and the time that it is queued for.
struct Watch(Mutex<Option<u64>>);

impl Watch {
    /// As `queue_delayed_work`: what is queued stays as it is.
    fn queue_at(&self, time: u64) {
        self.0.lock().unwrap().get_or_insert(time);
    }

    fn take(&self) -> Option<u64> {
        self.0.lock().unwrap().take()
    }

    /// As `worker::watch_followers`, at `now`. Who goes on.
    fn run<R: Reads>(&self, reads: &R, now: u64) -> Vec<u32> {
        let (gone, next) = reads.detach(now);
        if let Some(next) = next {
            self.queue_at(now.saturating_add(next.min(PATIENCE_MIN)));
        }
        gone
    }

    /// Runs as often as it is queued from now on; all have gone on afterwards, none long after its time.
    fn run_out<R: Reads>(&self, reads: &R, mut waiting: Vec<(u32, u64)>) {
        while let Some(now) = self.take() {
            for (_, until) in &waiting {
                assert!(now <= until.saturating_add(PATIENCE_MIN), "{LATE}");
            }
            let gone = self.run(reads, now);
            waiting.retain(|(item, _)| !gone.contains(item));
        }
        assert!(waiting.is_empty(), "{LATE}");
    }
}

/// As `thin::map::map` with a read that follows: who is refused goes on at once.
fn follow<R: Reads>(reads: &R, watch: &Watch, place: R::Place, item: (u32, u64), now: u64) -> bool {
    let waits = reads.follow(place, item.0, item.1, now).is_ok();
    watch.queue_at(now.saturating_add(PATIENCE_MIN));
    waits
}

/// The timer goes off for one follower while another one begins to wait.
fn timed<R: Reads>() {
    let reads = R::new();
    let watch = Arc::new(Watch(Mutex::new(None)));
    // It reads for as long as this lasts.
    let Ok(_lead) = reads.start(1, false) else {
        panic!("nobody else reads");
    };
    let place = reads.leader(0).unwrap();
    assert!(follow(&*reads, &watch, place, (1, PATIENCE_MIN), 0));
    let now = watch.take().unwrap();
    let second = (2, now.saturating_add(PATIENCE_MIN));
    let follower = thread::spawn({
        let (reads, watch) = (reads.clone(), watch.clone());
        move || follow(&*reads, &watch, place, second, now)
    });
    let gone = watch.run(&*reads, now);
    let mut waiting = vec![(1, PATIENCE_MIN)];
    if follower.join().unwrap() {
        waiting.push(second);
    }
    waiting.retain(|(item, _)| !gone.contains(item));
    watch.run_out(&*reads, waiting);
    assert_eq!(reads.detach(u64::MAX), (vec![], None), "{LATE}");
}

#[test]
fn follower_that_comes_beside_the_timer_is_not_forgotten() {
    holds(timed::<Real>);
}

#[test]
fn finds_a_look_that_is_forgotten_late() {
    finds(
        LATE,
        timed::<mutants::look_is_forgotten_late::coalesce::Reads<List>>,
    );
}

#[test]
fn finds_a_look_that_is_told_of_early() {
    finds(
        LATE,
        timed::<mutants::look_is_told_of_early::coalesce::Reads<List>>,
    );
}

/// One follows, and another one is refused, for its leader has ended.
fn refused<R: Reads>() {
    let reads = R::new();
    let watch = Arc::new(Watch(Mutex::new(None)));
    let Ok(gone) = reads.start(2, false) else {
        panic!("nobody else reads");
    };
    let place_of_gone = reads.leader(0).unwrap();
    reads.end(gone, 0);
    let Ok(_lead) = reads.start(1, false) else {
        panic!("nobody else reads");
    };
    let place = reads.leader(0).unwrap();
    let other = thread::spawn({
        let (reads, watch) = (reads.clone(), watch.clone());
        move || {
            assert!(!follow(
                &*reads,
                &watch,
                place_of_gone,
                (3, 2 * PATIENCE_MIN),
                0
            ))
        }
    });
    assert!(follow(&*reads, &watch, place, (2, PATIENCE_MIN), 0));
    other.join().unwrap();
    watch.run_out(&*reads, vec![(2, PATIENCE_MIN)]);
}

#[test]
fn follower_is_not_forgotten_for_one_that_is_refused() {
    holds(refused::<Real>);
}

#[test]
fn finds_two_that_are_counted_at_once() {
    finds(
        LATE,
        refused::<mutants::two_are_counted_at_once::coalesce::Reads<List>>,
    );
}

/// A leader ends, one follows and the timer goes off, all at once: three threads.
#[test]
fn follower_among_three_is_sent_on_its_way_once() {
    three_hold(|| {
        let reads = <Real as Reads>::new();
        let watch = Arc::new(Watch(Mutex::new(None)));
        let woken = Woken::new();
        let Ok(lead) = Reads::start(&*reads, 1, false) else {
            panic!("nobody else reads");
        };
        let place = Reads::leader(&*reads, 0).unwrap();
        assert!(follow(&*reads, &watch, place, (1, PATIENCE_MIN), 0));
        let now = watch.take().unwrap();
        let follower = thread::spawn({
            let (reads, watch, woken) = (reads.clone(), watch.clone(), woken.clone());
            move || {
                if !follow(&*reads, &watch, place, (2, 2 * now), now) {
                    woken.wake(vec![2]);
                }
            }
        });
        let timer = thread::spawn({
            let (reads, watch, woken) = (reads.clone(), watch.clone(), woken.clone());
            move || woken.wake(watch.run(&*reads, now))
        });
        woken.wake(Reads::end(&*reads, lead, now));
        follower.join().unwrap();
        timer.join().unwrap();
        let mut all = woken.take();
        all.sort_unstable();
        assert_eq!(all, [1, 2], "{TWICE}");
        assert_eq!(Reads::detach(&*reads, u64::MAX), (vec![], None));
    });
}

// SPDX-License-Identifier: GPL-2.0

//! Epochs and the freed filter: no chunk gets a new owner while I/O of its old one is under way.
//!
//! dm/epoch.rs, meta/freed.rs and meta/recent.rs run as they are. The metadata is one mapping under one lock. A reader
//! does what `thin::map::map` and `end_io` do; an owner what `meta::Metadata` does when it unmaps, commits and allocates, and
//! `Pool::alloc_chunk` after that. The reference is the chunk: it holds the old owner's data until all readers have left.

use crate::check::{finds, holds, three_hold};
use crate::dm::{epoch::Epochs, pdata::FreedFilter};
use crate::drr::platform::atomic::{AtomicU64, Ordering::Relaxed};
use crate::meta::{freed::Filter, mutants, recent};
use loom::sync::RwLock;
use loom::thread;
use std::sync::Arc;

const OLD: u64 = 1;
const NEW: u64 = 2;
/// The chunk, and another one.
const CHUNK: u64 = 5;
const OTHER: u64 = 6;
const REUSED: &str = "a reader has the data of the next owner";

/// meta/recent.rs, or a mutant of it.
trait Recent: 'static {
    fn new(pending: FreedFilter) -> Self;
    fn committed(&mut self, filling: &mut FreedFilter, epochs: &Epochs);
    fn contains(&mut self, chunk: u64, epochs: &Epochs) -> bool;
}

macro_rules! recent {
    ($($file:path)*) => {
        $(impl Recent for $file {
            fn new(pending: FreedFilter) -> Self {
                Self::new(pending)
            }

            fn committed(&mut self, filling: &mut FreedFilter, epochs: &Epochs) {
                self.committed(filling, epochs);
            }

            fn contains(&mut self, chunk: u64, epochs: &Epochs) -> bool {
                self.contains(chunk, epochs)
            }
        })*
    };
}

recent!(recent::Recent mutants::cookie_is_not_renewed::recent::Recent);
recent!(mutants::chunks_are_forgotten_early::recent::Recent);

/// What is wrong with a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    ReaderEntersLate,
    ReaderLeavesEarly,
    FreeingIsNotNoted,
    WaitComesFirst,
}

/// What the metadata lock protects.
struct State<R> {
    mapped: bool,
    filling: FreedFilter,
    recent: R,
}

struct Pool<R> {
    epochs: Epochs,
    meta: RwLock<State<R>>,
    chunk: AtomicU64,
}

fn filter() -> FreedFilter {
    Filter::new(vec![0; 1]).unwrap()
}

impl<R: Recent> Pool<R> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            epochs: Epochs::new().unwrap(),
            meta: RwLock::new(State {
                mapped: true,
                filling: filter(),
                recent: R::new(filter()),
            }),
            chunk: AtomicU64::new(OLD),
        })
    }

    fn looks_up(&self) -> bool {
        self.meta.read().unwrap().mapped
    }

    /// A read: from before its lookup until its end it is in an epoch (E1).
    fn read(&self, mistake: Mistake) {
        let late = mistake == Mistake::ReaderEntersLate && self.looks_up();
        let token = self.epochs.enter();
        let found = late || self.looks_up();
        let early = mistake == Mistake::ReaderLeavesEarly;
        let token = if early {
            self.epochs.leave(token);
            None
        } else {
            Some(token)
        };
        if found {
            assert_eq!(self.chunk.load(Relaxed), OLD, "{REUSED}");
        }
        if let Some(token) = token {
            self.epochs.leave(token);
        }
    }

    /// The mapping goes, and the chunk's count with it (E2, E3).
    fn unmap(&self, mistake: Mistake) {
        let mut s = self.meta.write().unwrap();
        s.mapped = false;
        if mistake != Mistake::FreeingIsNotNoted {
            s.filling.record(CHUNK, CHUNK + 1);
        }
    }

    /// As `State::committed`.
    fn commit(&self) {
        let mut s = self.meta.write().unwrap();
        let State {
            filling, recent, ..
        } = &mut *s;
        recent.committed(filling, &self.epochs);
    }

    /// As `State::is_recent`.
    fn is_recent(&self) -> bool {
        let mut s = self.meta.write().unwrap();
        s.filling.contains(CHUNK) || s.recent.contains(CHUNK, &self.epochs)
    }

    /// The chunk is allocated anew, and written (E4).
    fn reuse(&self, mistake: Mistake) {
        if self.is_recent() && mistake != Mistake::WaitComesFirst {
            self.epochs.wait();
        }
        self.chunk.store(NEW, Relaxed);
    }
}

/// Freed and allocated in one transaction.
fn within_a_transaction(mistake: Mistake) {
    let pool = Pool::<recent::Recent>::new();
    let reader = thread::spawn({
        let pool = pool.clone();
        move || pool.read(mistake)
    });
    if mistake == Mistake::WaitComesFirst {
        pool.epochs.wait();
    }
    pool.unmap(mistake);
    pool.reuse(mistake);
    reader.join().unwrap();
}

/// Freed in one transaction, and allocated in a later one, after any number of looks at the older filter.
fn across_a_commit<R: Recent>(mistake: Mistake) {
    let pool = Pool::<R>::new();
    let reader = thread::spawn({
        let pool = pool.clone();
        move || pool.read(mistake)
    });
    pool.unmap(mistake);
    pool.commit();
    pool.commit();
    pool.reuse(mistake);
    reader.join().unwrap();
}

/// Another chunk was freed and committed before, under I/O that ends meanwhile.
fn across_two_commits<R: Recent>() {
    let pool = Pool::<R>::new();
    let token = pool.epochs.enter();
    pool.meta.write().unwrap().filling.record(OTHER, OTHER + 1);
    pool.commit();
    let reader = thread::spawn({
        let pool = pool.clone();
        move || pool.read(Mistake::Nothing)
    });
    pool.unmap(Mistake::Nothing);
    pool.commit();
    pool.epochs.leave(token);
    pool.reuse(Mistake::Nothing);
    reader.join().unwrap();
}

#[test]
fn chunk_is_not_reused_under_a_reader() {
    holds(|| within_a_transaction(Mistake::Nothing));
}

#[test]
fn chunk_of_an_earlier_transaction_is_not_reused_under_a_reader() {
    holds(|| across_a_commit::<recent::Recent>(Mistake::Nothing));
    holds(across_two_commits::<recent::Recent>);
}

/// One frees, one commits, one looks for a chunk.
#[test]
fn chunk_is_not_reused_whoever_commits() {
    three_hold(|| {
        let pool = Pool::<recent::Recent>::new();
        let reader = thread::spawn({
            let pool = pool.clone();
            move || pool.read(Mistake::Nothing)
        });
        let committer = thread::spawn({
            let pool = pool.clone();
            move || pool.commit()
        });
        pool.unmap(Mistake::Nothing);
        pool.reuse(Mistake::Nothing);
        reader.join().unwrap();
        committer.join().unwrap();
    });
}

#[test]
fn finds_a_reader_that_enters_after_its_lookup() {
    finds(REUSED, || within_a_transaction(Mistake::ReaderEntersLate));
}

#[test]
fn finds_a_reader_that_leaves_before_its_end() {
    finds(REUSED, || within_a_transaction(Mistake::ReaderLeavesEarly));
}

#[test]
fn finds_a_wait_before_the_freeing() {
    finds(REUSED, || within_a_transaction(Mistake::WaitComesFirst));
}

#[test]
fn finds_a_freeing_that_is_not_noted() {
    finds(REUSED, || within_a_transaction(Mistake::FreeingIsNotNoted));
}

#[test]
fn finds_a_cookie_from_before_the_freeing() {
    finds(REUSED, cookie_before_the_freeing);
}

/// The lock is given back between the cookie and the freeing.
fn cookie_before_the_freeing() {
    let pool = Pool::<recent::Recent>::new();
    let reader = thread::spawn({
        let pool = pool.clone();
        move || pool.read(Mistake::Nothing)
    });
    pool.meta.write().unwrap().filling.record(CHUNK, CHUNK + 1);
    pool.commit();
    pool.unmap(Mistake::FreeingIsNotNoted);
    pool.reuse(Mistake::Nothing);
    reader.join().unwrap();
}

#[test]
fn finds_a_filter_that_forgets_too_early() {
    type Mutant = mutants::chunks_are_forgotten_early::recent::Recent;
    finds(REUSED, || across_a_commit::<Mutant>(Mistake::Nothing));
}

#[test]
fn finds_a_cookie_that_is_not_renewed() {
    type Mutant = mutants::cookie_is_not_renewed::recent::Recent;
    finds(REUSED, across_two_commits::<Mutant>);
}

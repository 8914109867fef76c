// SPDX-License-Identifier: GPL-2.0

//! Modes: a pool that has failed is not written to again, and nothing waits for what does not come.
//!
//! pool/mode.rs runs as it is; the functions of the same names below stand for those of pool/space.rs, `unserviceable` for that
//! of thin/change.rs. The mode is read without its lock, relaxed, as there. The references are the flags of the metadata, and the list
//! of writes that wait for space.

use super::mode::Mode;
use crate::check::{finds, holds, three_hold};
use crate::drr::platform::{
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    IrqLock,
};
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;

const WRITABLE: &str = "the mode and the metadata disagree";
const BETTER: &str = "a pool is better off than it may be";
const WAITS: &str = "a write waits for space in a pool that has space, or waits for none";
const CLOCK: &str = "the clock does not run as the mode wants it";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// Whether the metadata is to be checked is asked without the lock.
    CheckIsAskedFirst,
    /// A commit that finds space does not look whether the mode is the same still.
    AnyModeBecomesWrite,
    /// The mode is told when the metadata has been rolled back.
    ModeComesLast,
    /// A write that waits does not look again at what it waits for.
    NoLookAfterTheList,
    /// Nor who starts or stops the clock at the mode.
    NoLookAfterTheClock,
}

/// What the metadata lock protects.
#[derive(Default)]
struct Metadata {
    needs_check: bool,
    read_only: bool,
    has_space: bool,
}

struct Pool {
    mistake: Mistake,
    mode: AtomicU32,
    mode_lock: Mutex<()>,
    error_if_no_space: AtomicBool,
    meta: Mutex<Metadata>,
    /// Writes that wait for space, that are to be looked at again, and that have failed.
    retry: IrqLock<u32>,
    deferred: IrqLock<u32>,
    failed: IrqLock<u32>,
    /// `Pool::no_space_timeout` is queued.
    clock: IrqLock<bool>,
}

impl Pool {
    fn new(mode: Mode, mistake: Mistake) -> Arc<Self> {
        Arc::new(Self {
            mistake,
            mode: AtomicU32::new(mode.to_u32()),
            mode_lock: Mutex::new(()),
            error_if_no_space: AtomicBool::new(false),
            meta: Mutex::new(Metadata {
                has_space: true,
                ..Metadata::default()
            }),
            retry: IrqLock::new(0),
            deferred: IrqLock::new(0),
            failed: IrqLock::new(0),
            clock: IrqLock::new(false),
        })
    }

    fn spawn<R: 'static>(self: &Arc<Self>, f: fn(&Self) -> R) -> thread::JoinHandle<R> {
        let pool = self.clone();
        thread::spawn(move || f(&pool))
    }

    fn mode(&self) -> Mode {
        Mode::from_u32(self.mode.load(Relaxed))
    }

    fn store_mode(&self, mode: Mode) {
        self.mode.store(mode.to_u32(), Relaxed);
    }

    fn needs_check(&self) -> bool {
        self.meta.lock().unwrap().needs_check
    }

    fn set_read_only(&self, on: bool) {
        self.meta.lock().unwrap().read_only = on;
    }

    fn set_mode(&self, wanted: Mode) {
        self.set_mode_from(None, wanted);
    }

    fn set_mode_from(&self, from: Option<Mode>, wanted: Mode) {
        let early = self.mistake == Mistake::CheckIsAskedFirst && self.needs_check();
        let new = {
            let _serial = self.mode_lock.lock().unwrap();
            let old = self.mode();
            if from.is_some_and(|from| from != old) {
                return;
            }
            let needs_check = match self.mistake {
                Mistake::CheckIsAskedFirst => early,
                _ => self.needs_check(),
            };
            let new = old.transition(wanted, needs_check);
            match new {
                Mode::Write => {
                    self.error_if_no_space.store(false, Relaxed);
                    self.set_read_only(false);
                }
                Mode::OutOfDataSpace => {}
                _ => self.set_read_only(true),
            }
            self.store_mode(new);
            new
        };
        self.entered(new);
    }

    fn metadata_failed(&self) {
        {
            let _serial = self.mode_lock.lock().unwrap();
            if !self.mode().metadata_writable() {
                return;
            }
            if self.mistake != Mistake::ModeComesLast {
                self.store_mode(Mode::ReadOnly);
            }
            // As `Metadata::abort`.
            *self.meta.lock().unwrap() = Metadata {
                needs_check: true,
                read_only: true,
                has_space: false,
            };
            if self.mistake == Mistake::ModeComesLast {
                self.store_mode(Mode::ReadOnly);
            }
        }
        self.entered(self.mode());
    }

    fn entered(&self, new: Mode) {
        match new {
            Mode::Write | Mode::OutOfDataSpace => self.set_no_space_clock(),
            _ => self.fail_waiting(),
        }
    }

    fn set_no_space_clock(&self) {
        loop {
            let mode = self.mode();
            if mode == Mode::OutOfDataSpace && !self.error_if_no_space.load(Relaxed) {
                self.clock.with(|on| *on = true);
            } else if mode == Mode::Write {
                self.clock.with(|on| *on = false);
            }
            if self.mode() == mode || self.mistake == Mistake::NoLookAfterTheClock {
                return;
            }
        }
    }

    /// What follows a commit in `Pool::commit_for_flushes`.
    fn commit(&self) {
        if self.mode() == Mode::OutOfDataSpace && self.meta.lock().unwrap().has_space {
            let from = match self.mistake {
                Mistake::AnyModeBecomesWrite => None,
                _ => Some(Mode::OutOfDataSpace),
            };
            self.set_mode_from(from, Mode::Write);
            self.retry_waiting();
        }
    }

    fn stop_queueing(&self) {
        {
            let _serial = self.mode_lock.lock().unwrap();
            if self.mode() != Mode::OutOfDataSpace {
                return;
            }
            self.error_if_no_space.store(true, Relaxed);
        }
        self.fail_waiting();
    }

    fn retry_waiting(&self) {
        let moved = self.retry.with(std::mem::take);
        self.deferred.with(|n| *n += moved);
    }

    fn fail_waiting(&self) {
        let moved = self.retry.with(std::mem::take);
        self.failed.with(|n| *n += moved);
    }

    fn unserviceable(&self) {
        let mode = self.mode();
        if mode == Mode::Write {
            self.deferred.with(|n| *n += 1);
        } else if mode == Mode::OutOfDataSpace && !self.error_if_no_space.load(Relaxed) {
            self.retry.with(|n| *n += 1);
            if self.mistake == Mistake::NoLookAfterTheList {
                return;
            }
            if self.mode() != Mode::OutOfDataSpace {
                self.retry_waiting();
            } else if self.error_if_no_space.load(Relaxed) {
                self.fail_waiting();
            }
        } else {
            self.failed.with(|n| *n += 1);
        }
    }

    /// When nothing changes any more.
    fn check_waiting(&self) {
        let queues = self.mode() == Mode::OutOfDataSpace && !self.error_if_no_space.load(Relaxed);
        let waiting = self.retry.with(|n| *n);
        assert!(queues || waiting == 0, "{WAITS}");
        let all = waiting + self.deferred.with(|n| *n) + self.failed.with(|n| *n);
        assert_eq!(all, 1, "{WAITS}");
    }
}

/// The metadata fails while the pool comes back to write mode, or is told to.
fn failing(mistake: Mistake) {
    let pool = Pool::new(Mode::OutOfDataSpace, mistake);
    let fails = pool.spawn(Pool::metadata_failed);
    // A mistake is found without it, in fewer steps.
    let commits = (mistake == Mistake::Nothing).then(|| pool.spawn(Pool::commit));
    pool.set_mode(Mode::Write);
    fails.join().unwrap();
    if let Some(commits) = commits {
        commits.join().unwrap();
    }
    assert_eq!(pool.mode(), Mode::ReadOnly, "{BETTER}");
    assert!(pool.meta.lock().unwrap().read_only, "{WRITABLE}");
}

/// Somebody who finds the metadata rolled back does not find a mode in which that is success.
fn rolled_back(mistake: Mistake) {
    let pool = Pool::new(Mode::Write, mistake);
    let fails = pool.spawn(Pool::metadata_failed);
    let read_only = pool.meta.lock().unwrap().read_only;
    assert!(!read_only || !pool.mode().metadata_writable(), "{WRITABLE}");
    fails.join().unwrap();
}

/// An administrator makes a full pool read-only while a commit finds space.
fn made_read_only(mistake: Mistake) {
    let pool = Pool::new(Mode::OutOfDataSpace, mistake);
    let commits = pool.spawn(Pool::commit);
    pool.set_mode(Mode::ReadOnly);
    commits.join().unwrap();
    // It was in write mode before, or not at all.
    assert_eq!(pool.mode(), Mode::ReadOnly, "{BETTER}");
    assert!(pool.meta.lock().unwrap().read_only, "{WRITABLE}");
}

/// A write finds no space while something ends that: space comes, the metadata fails, or the clock.
fn waiting(ends: fn(&Pool), mistake: Mistake) {
    let pool = Pool::new(Mode::OutOfDataSpace, mistake);
    let write = pool.spawn(Pool::unserviceable);
    ends(&pool);
    write.join().unwrap();
    pool.check_waiting();
}

/// A pool is full, and has space again.
fn timed(mistake: Mistake) {
    let pool = Pool::new(Mode::Write, mistake);
    let full = pool.spawn(|pool| pool.set_mode(Mode::OutOfDataSpace));
    pool.commit();
    full.join().unwrap();
    let wanted = pool.mode() == Mode::OutOfDataSpace;
    assert_eq!(pool.clock.with(|on| *on), wanted, "{CLOCK}");
}

#[test]
fn pool_that_has_failed_is_not_written_to() {
    three_hold(|| failing(Mistake::Nothing));
}

#[test]
fn roll_back_is_not_taken_for_success() {
    holds(|| rolled_back(Mistake::Nothing));
}

#[test]
fn commit_does_not_undo_read_only() {
    holds(|| made_read_only(Mistake::Nothing));
}

#[test]
fn no_write_waits_for_space_in_vain() {
    holds(|| waiting(Pool::commit, Mistake::Nothing));
    holds(|| waiting(Pool::metadata_failed, Mistake::Nothing));
    holds(|| waiting(Pool::stop_queueing, Mistake::Nothing));
}

#[test]
fn no_write_waits_for_space_while_several_end_that() {
    three_hold(|| {
        let pool = Pool::new(Mode::OutOfDataSpace, Mistake::Nothing);
        let write = pool.spawn(Pool::unserviceable);
        let commits = pool.spawn(Pool::commit);
        pool.stop_queueing();
        write.join().unwrap();
        commits.join().unwrap();
        pool.check_waiting();
    });
}

#[test]
fn clock_of_a_full_pool_runs_as_the_mode_wants_it() {
    holds(|| timed(Mistake::Nothing));
}

#[test]
fn finds_a_needs_check_that_is_asked_before_the_lock() {
    finds(BETTER, || failing(Mistake::CheckIsAskedFirst));
}

#[test]
fn finds_a_mode_that_is_told_after_the_roll_back() {
    finds(WRITABLE, || rolled_back(Mistake::ModeComesLast));
}

#[test]
fn finds_a_commit_that_undoes_read_only() {
    finds(BETTER, || made_read_only(Mistake::AnyModeBecomesWrite));
}

#[test]
fn finds_a_write_that_does_not_look_again() {
    finds(WAITS, || waiting(Pool::commit, Mistake::NoLookAfterTheList));
    finds(WAITS, || {
        waiting(Pool::metadata_failed, Mistake::NoLookAfterTheList)
    });
    finds(WAITS, || {
        waiting(Pool::stop_queueing, Mistake::NoLookAfterTheList)
    });
}

#[test]
fn finds_a_clock_that_is_not_looked_at_again() {
    finds(CLOCK, || timed(Mistake::NoLookAfterTheClock));
}

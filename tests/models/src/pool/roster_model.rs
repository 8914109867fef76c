// SPDX-License-Identifier: GPL-2.0

//! Rosters: whatever a device has to be done is done, and nobody keeps a device that is gone.
//!
//! pool/roster.rs runs as it is. Who adds does what `Thin::all_wait_for` does, who serves what `worker::run` and `Thin::go_on` do.

use crate::check::{finds, holds, three_hold};
use crate::drr::bar::Bar;
use crate::drr::platform::IrqLock;
use crate::pool::roster::{Place, Roster, Seat};
use loom::thread;
use std::sync::Arc;

const LOST: &str = "something to be done is lost";
const KEPT: &str = "a place refers to a device that is closed";

/// What is under one lock of a device (`thin::Waiting`).
struct Waiting {
    todo: u32,
    seat: Seat<Arc<()>>,
}

struct Pool {
    waiting: IrqLock<Waiting>,
    roster: Roster<Arc<()>>,
    /// The worker is to run. A work that is queued while it runs runs again.
    queued: IrqLock<bool>,
    /// Counts the references to the device.
    device: Arc<()>,
}

/// Whether the place is given back in the hold of the lock in which the bios are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    One,
    Two,
}

impl Pool {
    fn new() -> Arc<Self> {
        let device = Arc::new(());
        Arc::new(Self {
            waiting: IrqLock::new(Waiting {
                todo: 0,
                seat: Seat::Home(Box::new(Place::new(device.clone()))),
            }),
            roster: Roster::new(),
            queued: IrqLock::new(false),
            device,
        })
    }

    fn wake(&self) {
        self.queued.with(|queued| *queued = true);
    }

    /// Lets something wait that is to be done at the next run.
    fn list(&self) {
        let place = self.waiting.with(|w| {
            w.todo += 1;
            w.seat.take()
        });
        if let Some(place) = place {
            self.roster.list(place);
        }
    }

    fn add(&self) {
        self.list();
        self.wake();
    }

    /// Runs the worker, if it is queued. How many it has found to be done.
    fn serve(&self, holds: Holds) -> u32 {
        let mut done = 0;
        if !self.queued.with(std::mem::take) {
            return done;
        }
        let mut listed = self.roster.take();
        while let Some(place) = listed.pop() {
            let closed = match holds {
                Holds::One => self.waiting.with(|w| {
                    done += std::mem::take(&mut w.todo);
                    w.seat.give_back(place)
                }),
                Holds::Two => {
                    done += self.waiting.with(|w| std::mem::take(&mut w.todo));
                    self.waiting.with(|w| w.seat.give_back(place))
                }
            };
            drop(closed);
        }
        done
    }

    /// As `Thin::disarm`.
    fn close(&self, wakes: bool) {
        let closed = self.waiting.with(|w| w.seat.close());
        if closed.is_err() && wakes {
            self.wake();
        }
    }
}

/// A write waits for a snapshot (`Thin::wait_for_snapshot`), which becomes complete meanwhile (`Pool::end_snapshot`).
fn waits_for_snapshot(looks_last: bool) {
    let pool = Pool::new();
    let bar = Arc::new(Bar::default());
    bar.raise();
    let write = thread::spawn({
        let (pool, bar) = (pool.clone(), bar.clone());
        move || {
            let up = bar.is_up();
            pool.list();
            let up = if looks_last { bar.is_up() } else { up };
            if !up {
                pool.wake();
            }
        }
    });
    bar.lower();
    pool.wake();
    let mut done = pool.serve(Holds::One);
    write.join().unwrap();
    done += pool.serve(Holds::One);
    assert_eq!(done, 1, "{LOST}");
}

#[test]
fn write_that_waits_for_a_snapshot_is_looked_at_again() {
    holds(|| waits_for_snapshot(true));
}

#[test]
fn finds_a_look_at_the_bar_before_the_list() {
    finds(LOST, || waits_for_snapshot(false));
}

/// Two add, and the worker runs beside them, and afterwards for as long as it is queued.
fn added(holds: Holds) {
    let pool = Pool::new();
    let adders: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || pool.add())
        })
        .collect();
    let mut done = pool.serve(holds);
    for adder in adders {
        adder.join().unwrap();
    }
    while pool.queued.with(|queued| *queued) {
        done += pool.serve(holds);
    }
    assert_eq!(done, 2, "{LOST}");
}

/// A device is closed beside who adds and who serves.
fn closed(wakes: bool) {
    let pool = Pool::new();
    let adder = thread::spawn({
        let pool = pool.clone();
        move || {
            let place = pool.waiting.with(|w| w.seat.take());
            if let Some(place) = place {
                pool.roster.list(place);
            }
        }
    });
    pool.close(wakes);
    adder.join().unwrap();
    pool.serve(Holds::One);
    assert_eq!(Arc::strong_count(&pool.device), 1, "{KEPT}");
}

#[test]
fn nothing_that_is_added_is_lost() {
    three_hold(|| added(Holds::One));
}

#[test]
fn finds_a_place_that_is_given_back_in_another_hold() {
    finds(LOST, || added(Holds::Two));
}

#[test]
fn closed_device_has_no_place_left() {
    holds(|| closed(true));
}

#[test]
fn finds_a_close_that_wakes_nobody() {
    finds(KEPT, || closed(false));
}

// SPDX-License-Identifier: GPL-2.0

//! Rosters from many threads: nothing that is to be done is forgotten, nobody is listed twice, and nothing is left of who has gone.

use super::roster::*;
use crate::drr::platform::{boxed, IrqLock};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::Arc;

struct Device {
    waiting: IrqLock<(u64, Seat<Arc<Device>>)>,
    done: AtomicU64,
}

impl Device {
    fn new() -> Arc<Self> {
        let device = Arc::new(Self {
            waiting: IrqLock::new((0, Seat::Closed)),
            done: AtomicU64::new(0),
        });
        let place = boxed(Place::new(device.clone())).unwrap();
        device.waiting.with(|w| w.1 = Seat::Home(place));
        device
    }

    fn add(&self, roster: &Roster<Arc<Self>>) {
        let place = self.waiting.with(|w| {
            w.0 += 1;
            w.1.take()
        });
        if let Some(place) = place {
            roster.list(place);
        }
    }
}

fn serve(roster: &Roster<Arc<Device>>) -> usize {
    let mut listed = roster.take();
    let n = listed.iter().count();
    while let Some(place) = listed.pop() {
        let device = place.who.clone();
        let (found, closed) = device
            .waiting
            .with(|w| (std::mem::take(&mut w.0), w.1.give_back(place)));
        drop(closed);
        device.done.fetch_add(found, SeqCst);
    }
    assert!(listed.is_empty());
    n
}

#[test]
fn only_who_has_something_to_be_done_is_visited_and_once() {
    let roster = Roster::new();
    let devices: Vec<_> = (0..1000).map(|_| Device::new()).collect();
    assert_eq!(serve(&roster), 0);
    for _ in 0..3 {
        devices[7].add(&roster);
        devices[900].add(&roster);
    }
    assert_eq!(serve(&roster), 2);
    assert_eq!(serve(&roster), 0);
    let done: Vec<u64> = devices.iter().map(|d| d.done.load(SeqCst)).collect();
    assert_eq!(done.iter().sum::<u64>(), 6);
    assert_eq!((done[7], done[900]), (3, 3));
}

#[test]
fn nothing_is_forgotten_whoever_runs_beside() {
    let roster = Roster::new();
    let devices: Vec<_> = (0..8).map(|_| Device::new()).collect();
    let end = AtomicBool::new(false);
    std::thread::scope(|s| {
        let server = s.spawn(|| {
            while !end.load(SeqCst) {
                serve(&roster);
            }
        });
        let adders: Vec<_> = (0..4)
            .map(|n| {
                let (devices, roster) = (&devices, &roster);
                s.spawn(move || {
                    for i in 0..20_000 {
                        devices[(i * 7 + n) % devices.len()].add(roster);
                    }
                })
            })
            .collect();
        for a in adders {
            a.join().unwrap();
        }
        end.store(true, SeqCst);
        server.join().unwrap();
    });
    serve(&roster);
    assert_eq!(
        devices.iter().map(|d| d.done.load(SeqCst)).sum::<u64>(),
        80_000
    );
}

#[test]
fn nothing_refers_to_a_closed_device_once_the_roster_was_served() {
    let roster = Roster::new();
    let (home, away) = (Device::new(), Device::new());
    away.add(&roster);
    drop(home.waiting.with(|w| w.1.close()).unwrap());
    assert_eq!(Arc::strong_count(&home), 1);
    assert!(away.waiting.with(|w| w.1.close()).is_err());
    assert_eq!(Arc::strong_count(&away), 2);
    serve(&roster);
    assert_eq!(Arc::strong_count(&away), 1);
    for d in [home, away] {
        d.add(&roster);
        assert!(d.waiting.with(|w| w.1.close()).unwrap().is_none());
    }
    assert_eq!(serve(&roster), 0);
}

#[test]
fn a_long_roster_is_dropped_without_recursion() {
    let roster = Roster::new();
    for _ in 0..200_000 {
        roster.list(boxed(Place::new(())).unwrap());
    }
    drop(roster);
}

// SPDX-License-Identifier: GPL-2.0

//! Snapshots without suspending the origin: no write is lost, and a snapshot that is complete does not change.
//!
//! dm/epoch.rs and drr/bar.rs run as they are. The origin has one virtual chunk of two pages, which two writes go to. A write does
//! what `thin::map::map` does in place, and `thin::change::write` and `fill` where the chunk is shared; the snapshot what
//! `Pool::make_active_snapshot` and its work do. The reference is the contents of both chunks at the end.

use crate::check::{finds, holds};
use crate::dm::epoch::Epochs;
use crate::drr::bar::Bar;
use crate::drr::platform::atomic::{AtomicU64, Ordering::Relaxed};
use loom::sync::{Mutex, RwLock};
use loom::thread;
use std::sync::Arc;

const OLD: u64 = 1;
const NEW: u64 = 2;
const LOST: &str = "a write is lost to the origin";
const CHANGED: &str = "a snapshot changes after it is complete";
const WRONG: &str = "a record is not what the page holds";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    WriterEntersLate,
    /// The bar is asked before the lookup.
    BarIsAskedFirst,
    BarIsNotAsked,
    BarIsRaisedLate,
    /// Before the writers have ended.
    BarIsLoweredEarly,
    /// For writers from before the change of the metadata alone.
    WaitComesFirst,
    /// A write to a new mapping enters when that has been inserted.
    NewMappingFirst,
}

/// What the metadata says of the virtual chunk.
#[derive(Clone, Copy)]
struct Mapping {
    /// None: it is not mapped.
    chunk: Option<usize>,
    shared: bool,
}

struct Device {
    writes: Epochs,
    bar: Bar,
    meta: RwLock<Mapping>,
    /// The virtual chunk's cell.
    cell: Mutex<()>,
    chunks: [[AtomicU64; 2]; 2],
}

impl Device {
    fn new(chunk: Option<usize>) -> Arc<Self> {
        let page = || AtomicU64::new(OLD);
        Arc::new(Self {
            writes: Epochs::new().unwrap(),
            bar: Bar::default(),
            meta: RwLock::new(Mapping {
                chunk,
                shared: false,
            }),
            cell: Mutex::new(()),
            chunks: [[page(), page()], [page(), page()]],
        })
    }

    fn look_up(&self) -> Mapping {
        *self.meta.read().unwrap()
    }

    fn page(&self, chunk: usize, n: usize) -> &AtomicU64 {
        &self.chunks[chunk][n]
    }

    fn contents(&self, chunk: usize) -> [u64; 2] {
        [0, 1].map(|n| self.page(chunk, n).load(Relaxed))
    }

    /// Writes a page. `false`: a snapshot is being made, and the write waits for that; or the mapping has changed.
    fn write(&self, n: usize, mistake: Mistake) -> bool {
        let asked = mistake == Mistake::BarIsAskedFirst && !self.bar.is_up();
        let late = mistake == Mistake::WriterEntersLate;
        let early = late.then(|| self.look_up());
        let token = self.writes.enter();
        let m = early.unwrap_or_else(|| self.look_up());
        if let (Some(chunk), false) = (m.chunk, m.shared) {
            self.page(chunk, n).store(NEW, Relaxed);
            self.writes.leave(token);
            return true;
        }
        self.writes.leave(token);
        let _cell = self.cell.lock().unwrap();
        self.copy(n, mistake, asked)
    }

    /// Breaks the sharing: the other page is copied. The cell is held. `asked`: the bar was down before.
    fn copy(&self, n: usize, mistake: Mistake, asked: bool) -> bool {
        let m = self.look_up();
        let (Some(old), true) = (m.chunk, m.shared) else {
            return false;
        };
        let goes_on = match mistake {
            Mistake::BarIsAskedFirst => asked,
            Mistake::BarIsNotAsked => true,
            _ => !self.bar.is_up(),
        };
        if !goes_on {
            return false;
        }
        let new = 1 - old;
        for (n, data) in self.contents(old).into_iter().enumerate() {
            self.page(new, n).store(data, Relaxed);
        }
        self.insert(new, n, mistake);
        true
    }

    /// As `Job::insert` and the write to the new chunk.
    fn insert(&self, chunk: usize, n: usize, mistake: Mistake) {
        let late = mistake == Mistake::NewMappingFirst;
        let token = (!late).then(|| self.writes.enter());
        *self.meta.write().unwrap() = Mapping {
            chunk: Some(chunk),
            shared: false,
        };
        let token = token.unwrap_or_else(|| self.writes.enter());
        self.page(chunk, n).store(NEW, Relaxed);
        self.writes.leave(token);
    }

    /// Makes a snapshot; what it holds of which chunk when it is complete.
    fn snapshot(&self, mistake: Mistake) -> Option<(usize, [u64; 2])> {
        if mistake == Mistake::WaitComesFirst {
            self.writes.wait();
        }
        if mistake != Mistake::BarIsRaisedLate {
            self.bar.raise();
        }
        let chunk = {
            let mut m = self.meta.write().unwrap();
            m.shared = m.chunk.is_some();
            m.chunk
        };
        if mistake == Mistake::BarIsRaisedLate {
            self.bar.raise();
        }
        if mistake == Mistake::BarIsLoweredEarly {
            self.bar.lower();
        }
        if mistake != Mistake::WaitComesFirst {
            self.writes.wait();
        }
        let contents = chunk.map(|chunk| (chunk, self.contents(chunk)));
        if mistake != Mistake::BarIsLoweredEarly {
            self.bar.lower();
        }
        contents
    }

    fn check(&self, snapshot: Option<(usize, [u64; 2])>) {
        if let Some((chunk, contents)) = snapshot {
            assert_eq!(self.contents(chunk), contents, "{CHANGED}");
        }
    }
}

/// Two writes to one chunk, beside a snapshot.
fn two_writes(mistake: Mistake) {
    let device = Device::new(Some(0));
    let writers = [0, 1].map(|n| {
        let device = device.clone();
        thread::spawn(move || device.write(n, mistake))
    });
    let snapshot = device.snapshot(mistake);
    for (n, writer) in writers.into_iter().enumerate() {
        let mut done = writer.join().unwrap();
        // What has waited, or has found the mapping changed, is looked at again.
        while !done {
            done = device.write(n, mistake);
        }
    }
    let chunk = device.look_up().chunk.unwrap();
    assert_eq!(device.contents(chunk), [NEW, NEW], "{LOST}");
    device.check(snapshot);
}

/// A write to a mapping that is made for it, beside a snapshot.
fn new_mapping(mistake: Mistake) {
    let device = Device::new(None);
    let writer = thread::spawn({
        let device = device.clone();
        move || device.insert(0, 0, mistake)
    });
    let snapshot = device.snapshot(mistake);
    writer.join().unwrap();
    device.check(snapshot);
}

/// A write in place and a read that would be recorded, beside a snapshot.
fn recorded(mistake: Mistake) {
    let device = Device::new(Some(0));
    let writer = thread::spawn({
        let device = device.clone();
        move || {
            let token = device.writes.enter();
            if !device.look_up().shared {
                device.page(0, 0).store(NEW, Relaxed);
            }
            device.writes.leave(token);
        }
    });
    // As `Drr::wanted`, after the lookup in `thin::map::map`.
    let reader = thread::spawn({
        let device = device.clone();
        move || {
            let asked = mistake == Mistake::BarIsAskedFirst && !device.bar.is_up();
            let shared = device.look_up().shared;
            let wanted = match mistake {
                Mistake::BarIsAskedFirst => asked,
                _ => !device.bar.is_up(),
            };
            (shared && wanted).then(|| device.page(0, 0).load(Relaxed))
        }
    });
    device.snapshot(mistake);
    writer.join().unwrap();
    if let Some(record) = reader.join().unwrap() {
        assert_eq!(record, device.page(0, 0).load(Relaxed), "{WRONG}");
    }
}

#[test]
fn no_write_is_lost_beside_a_snapshot() {
    holds(|| two_writes(Mistake::Nothing));
}

#[test]
fn complete_snapshot_does_not_change() {
    holds(|| new_mapping(Mistake::Nothing));
}

#[test]
fn no_page_is_recorded_that_is_being_written() {
    holds(|| recorded(Mistake::Nothing));
}

#[test]
fn finds_a_writer_that_enters_after_its_lookup() {
    finds(CHANGED, || two_writes(Mistake::WriterEntersLate));
}

#[test]
fn finds_a_copy_that_asks_before_its_lookup() {
    finds(LOST, || two_writes(Mistake::BarIsAskedFirst));
}

#[test]
fn finds_a_copy_that_does_not_ask() {
    finds(LOST, || two_writes(Mistake::BarIsNotAsked));
}

#[test]
fn finds_a_bar_that_is_raised_after_the_change() {
    finds(LOST, || two_writes(Mistake::BarIsRaisedLate));
}

#[test]
fn finds_a_bar_that_is_lowered_before_the_writers_have_ended() {
    finds(LOST, || two_writes(Mistake::BarIsLoweredEarly));
}

#[test]
fn finds_a_wait_for_writers_before_the_change() {
    finds(CHANGED, || two_writes(Mistake::WaitComesFirst));
}

#[test]
fn finds_a_write_that_enters_after_its_mapping_is_inserted() {
    finds(CHANGED, || new_mapping(Mistake::NewMappingFirst));
}

#[test]
fn finds_a_read_that_asks_before_its_lookup() {
    finds(WRONG, || recorded(Mistake::BarIsAskedFirst));
}

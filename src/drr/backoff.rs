// SPDX-License-Identifier: GPL-2.0

//! Of which files it does not pay to record what is read: those that change a page in place when it has come, as fscrypt
//! does when it decrypts and EROFS when it decompresses.
//!
//! The record of such a page fails by its hash when a sibling tries it, having cost two hashes and a copy. When
//! [`FILE_ROW`] records of a mapping have failed and none was right in between, one group in [`SAMPLE`] of
//! that mapping is recorded. So it is for a device whose records have failed [`DEVICE_ROW`] times, for files may be small. The first
//! record that is right ends that, and so does [`RETRY_NS`].
//!
//! Rows are kept in a few places that mappings share by chance: who loses his place begins anew. Each domain has its
//! own (peers.rs), and is told of what its own reads have tried.
//!
//! This decides about time only, never about what is served. Any context but NMI: atomics, no lock; of two who account
//! at once one may be forgotten.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbours: serve.rs (who tries records), record.rs (who makes them).

use super::group::key_of;
use super::platform::{array, boxed_waiting, Array, Boxed};
use super::spread::{is_in_sample, spread};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Failures in a row after which a mapping is not recorded for a while.
pub(crate) const FILE_ROW: u64 = 32;
/// ... and a device.
pub(crate) const DEVICE_ROW: u64 = 256;
/// One of so many groups is recorded meanwhile: a power of two.
pub(crate) const SAMPLE: u64 = 16;
/// How long that lasts, in nanoseconds.
pub(crate) const RETRY_NS: u64 = 30_000_000_000;

/// Places for rows of files and of devices: powers of two.
const FILES: usize = 64;
const DEVICES: usize = 32;
/// Of a place: the failures in a row, above them the time, above that whose they are.
const COUNT_BITS: u32 = 12;
const TIME_BITS: u32 = 28;
/// log2 of the nanoseconds that time is counted in.
const TICK_SHIFT: u32 = 27;

/// One place's contents.
#[derive(Clone, Copy)]
struct Row {
    tag: u64,
    tick: u64,
    count: u64,
}

impl Row {
    fn from_word(word: u64) -> Self {
        Self {
            tag: word >> (COUNT_BITS + TIME_BITS),
            tick: (word >> COUNT_BITS) & ((1 << TIME_BITS) - 1),
            count: word & ((1 << COUNT_BITS) - 1),
        }
    }

    fn word(self) -> u64 {
        (self.tag << (COUNT_BITS + TIME_BITS)) | (self.tick << COUNT_BITS) | self.count
    }

    fn tick_of(now_ns: u64) -> u64 {
        (now_ns >> TICK_SHIFT) & ((1 << TIME_BITS) - 1)
    }

    fn is_over(self, now_ns: u64) -> bool {
        let age = Self::tick_of(now_ns).wrapping_sub(self.tick) & ((1 << TIME_BITS) - 1);
        age >= RETRY_NS >> TICK_SHIFT
    }
}

/// Where a row is.
struct Place<'a> {
    word: &'a AtomicU64,
    /// Never 0, which an empty place has.
    tag: u64,
    /// The length of a full row.
    most: u64,
}

impl<'a> Place<'a> {
    fn of(places: &'a Array<AtomicU64>, hash: u64, most: u64) -> Option<Self> {
        let h = spread(hash);
        let h = spread(h ^ (h >> 32));
        Some(Self {
            word: places.get((h >> 32) as usize & places.len().saturating_sub(1))?,
            tag: (h >> (COUNT_BITS + TIME_BITS)) | 1,
            most,
        })
    }

    /// The row, if nobody else has the place.
    fn row(&self) -> Option<Row> {
        let row = Row::from_word(self.word.load(Ordering::Relaxed));
        (row.tag == self.tag).then_some(row)
    }

    /// One failure more; of a full row the time stays until it is over.
    fn count(&self, now_ns: u64) {
        let count = match self.row() {
            Some(row) if row.count < self.most => row.count.saturating_add(1),
            Some(row) if !row.is_over(now_ns) => return,
            _ => 1,
        };
        let row = Row {
            tag: self.tag,
            tick: Row::tick_of(now_ns),
            count,
        };
        self.word.store(row.word(), Ordering::Relaxed);
    }
}

/// The rows of one domain.
pub(crate) struct Backoff {
    files: Array<AtomicU64>,
    devices: Array<AtomicU64>,
    /// Some record has failed: until then nothing is looked at.
    any: AtomicBool,
}

impl Backoff {
    /// Everything is recorded. `None` without memory. Process context.
    pub(crate) fn new() -> Option<Boxed<Self>> {
        boxed_waiting(Self {
            files: array(FILES, |_| AtomicU64::new(0))?,
            devices: array(DEVICES, |_| AtomicU64::new(0))?,
            any: AtomicBool::new(false),
        })
    }

    /// The places of a mapping of a layer and of the layer itself, their tags there, and how long their rows become.
    fn rows(&self, mapping: usize, layer: u64) -> [Option<Place<'_>>; 2] {
        let device = spread(layer);
        let file = mapping as u64 ^ device;
        [
            Place::of(&self.files, file, FILE_ROW),
            Place::of(&self.devices, device, DEVICE_ROW),
        ]
    }

    /// A record of the mapping, which is of the layer, has failed by its hash.
    pub(crate) fn failed(&self, mapping: usize, layer: u64, now_ns: u64) {
        self.any.store(true, Ordering::Relaxed);
        for place in self.rows(mapping, layer).into_iter().flatten() {
            place.count(now_ns);
        }
    }

    /// A record of the mapping, which is of the layer, was right.
    pub(crate) fn proven(&self, mapping: usize, layer: u64) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        for place in self.rows(mapping, layer).into_iter().flatten() {
            if place.row().is_some() {
                place.word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Whether page `ppn`, which the layer has in the mapping, is to be recorded.
    pub(crate) fn wants(
        &self,
        mapping: usize,
        layer: u64,
        ppn: u64,
        now_ns: impl Fn() -> u64,
    ) -> bool {
        if !self.any.load(Ordering::Relaxed) || is_in_sample(key_of(ppn), SAMPLE) {
            return true;
        }
        let mut rows = self.rows(mapping, layer).into_iter().flatten();
        !rows.any(|place| {
            let row = place.row().filter(|row| row.count >= place.most);
            row.is_some_and(|row| !row.is_over(now_ns()))
        })
    }
}

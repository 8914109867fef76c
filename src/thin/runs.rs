// SPDX-License-Identifier: GPL-2.0

//! Runs of chunks as the data device is told of them: neighbours joined, none longer than one bio.
//!
//! Pure: compiled by the kernel and by the host tests.

use crate::units::Chunk;

/// A run of chunks: the first, and one past the last.
pub(crate) type Run = (Chunk, Chunk);

/// The most sectors that a bio can have: it counts bytes in 32 bits (include/linux/blk_types.h).
pub(crate) const BIO_SECTORS_MAX: u64 = (u32::MAX >> 9) as u64;

/// Joins runs that follow each other, and cuts what becomes longer than a bound.
pub(crate) struct Joined<'a> {
    rest: core::slice::Iter<'a, Run>,
    /// What has been joined so far and not been given out.
    now: Option<Run>,
    longest: u64,
}

impl<'a> Joined<'a> {
    /// Sorts `runs`, of which no two have a chunk in common, and joins them. What comes out has at
    /// most `longest` chunks, or one.
    pub(crate) fn new(runs: &'a mut [Run], longest: u64) -> Self {
        sort(runs);
        let mut rest = runs.iter();
        Self {
            now: rest.next().copied(),
            rest,
            longest: longest.max(1),
        }
    }
}

/// Sorts in place, as a heap: the library's sorts can panic.
fn sort(runs: &mut [Run]) {
    for at in (0..runs.len() / 2).rev() {
        sink(runs, at);
    }
    for end in (1..runs.len()).rev() {
        if let Some(heap) = runs.get_mut(..=end) {
            exchange(heap, 0, end);
        }
        if let Some(heap) = runs.get_mut(..end) {
            sink(heap, 0);
        }
    }
}

/// Puts the run at `at` where it belongs in the heap below it, whose top is its largest.
fn sink(heap: &mut [Run], mut at: usize) {
    loop {
        let left = at.saturating_mul(2).saturating_add(1);
        let mut largest = at;
        for child in [left, left.saturating_add(1)] {
            // A child that is not there is less than all that are.
            if heap.get(child) > heap.get(largest) {
                largest = child;
            }
        }
        if largest == at {
            return;
        }
        exchange(heap, at, largest);
        at = largest;
    }
}

fn exchange(runs: &mut [Run], a: usize, b: usize) {
    if let (Some(&x), Some(&y)) = (runs.get(a), runs.get(b)) {
        for (at, run) in [(a, y), (b, x)] {
            if let Some(place) = runs.get_mut(at) {
                *place = run;
            }
        }
    }
}

impl Iterator for Joined<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (begin, mut end) = self.now?;
        loop {
            let most = Chunk(begin.0.saturating_add(self.longest));
            if end > most {
                self.now = Some((most, end));
                return Some((begin, most));
            }
            match self.rest.next().copied() {
                Some((b, e)) if b == end => end = e.max(end),
                next => {
                    self.now = next;
                    return Some((begin, end));
                }
            }
        }
    }
}

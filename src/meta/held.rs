// SPDX-License-Identifier: GPL-2.0

//! Chunks that are counted but mapped by nobody: allocated and being filled, or unmapped and being
//! discarded.
//!
//! They come and go in *pieces*. Pieces that touch are kept as one range, so that a commit, which
//! takes all of them off the counts and puts them back, has few ranges to go through.
//!
//! Invariants:
//!
//! 1. The ranges of a list are in order, and none touches another.
//! 2. Every range is made of whole pieces, so that a list has no more ranges than pieces. Both lists
//!    have memory for as many ranges as there are pieces: only [`Held::room`] allocates.
//!
//! Neighbours: `meta::State`, which counts the chunks. Pure: compiled by the kernel and by the host
//! tests.

use crate::drr::platform::{insert_within, remove, reserve, Array};

/// Chunks in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) begin: u64,
    /// One past the last.
    pub(crate) end: u64,
}

/// Ranges in order, none of which touches another, and the pieces that they are made of.
struct Ranges {
    list: Array<Range>,
    pieces: usize,
}

impl Ranges {
    const fn new() -> Self {
        Self {
            list: Array::new(),
            pieces: 0,
        }
    }

    /// Ranges that end before `chunk`.
    fn before(&self, chunk: u64) -> usize {
        self.list.partition_point(|r| r.end < chunk)
    }

    /// Adds a piece that no range overlaps. `false`: there is no room, or it overlaps; nothing is
    /// changed.
    fn add(&mut self, begin: u64, end: u64) -> bool {
        let at = self.before(begin);
        // The one that the piece touches or comes before.
        let next = self.list.get(at).copied();
        let free = match next {
            Some(r) if r.end == begin => {
                let after = at.checked_add(1).and_then(|i| self.list.get(i)).copied();
                match after {
                    Some(after) if after.begin < end => return false,
                    Some(after) if after.begin == end => {
                        self.set(at, r.begin, after.end);
                        at.checked_add(1)
                            .is_some_and(|i| remove(&mut self.list, i).is_some())
                    }
                    _ => self.set(at, r.begin, end),
                }
            }
            Some(r) if r.begin < end => return false,
            Some(r) if r.begin == end => self.set(at, begin, r.end),
            _ => insert_within(&mut self.list, at, Range { begin, end }),
        };
        if free {
            self.pieces = self.pieces.saturating_add(1);
        }
        free
    }

    fn set(&mut self, at: usize, begin: u64, end: u64) -> bool {
        let place = self.list.get_mut(at);
        place.is_some_and(|r| {
            *r = Range { begin, end };
            true
        })
    }

    /// Takes a piece out. `false`: it is not there; nothing is changed.
    fn remove(&mut self, begin: u64, end: u64) -> bool {
        // A range that ends where the piece begins is not the one.
        let at = self.list.partition_point(|r| r.end <= begin);
        let Some(r) = self.list.get(at).copied() else {
            return false;
        };
        if r.begin > begin || r.end < end {
            return false;
        }
        let done = match (r.begin < begin, end < r.end) {
            (false, false) => remove(&mut self.list, at).is_some(),
            (true, false) => self.set(at, r.begin, begin),
            (false, true) => self.set(at, end, r.end),
            (true, true) => {
                // There is room by the second invariant: the piece was not the only one.
                insert_within(
                    &mut self.list,
                    at,
                    Range {
                        begin: r.begin,
                        end: begin,
                    },
                ) && at.checked_add(1).is_some_and(|i| self.set(i, end, r.end))
            }
        };
        if done {
            self.pieces = self.pieces.saturating_sub(1);
        }
        done
    }

    fn clear(&mut self) {
        self.list.clear();
        self.pieces = 0;
    }
}

/// The held chunks.
pub(crate) struct Held {
    wanted: Ranges,
    /// Nobody wants them any more, but the metadata could not be changed: the next commit takes
    /// them off the counts for good.
    unwanted: Ranges,
}

impl Held {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            wanted: Ranges::new(),
            unwanted: Ranges::new(),
        }
    }

    /// Whether no chunk is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.list.is_empty() && self.unwanted.list.is_empty()
    }

    /// Makes room for `n` more pieces. `false`: no memory. Process context.
    pub(crate) fn room(&mut self, n: usize) -> bool {
        let all = self
            .wanted
            .pieces
            .saturating_add(self.unwanted.pieces)
            .saturating_add(n);
        [&mut self.wanted.list, &mut self.unwanted.list]
            .into_iter()
            .all(|list| {
                let more = all.saturating_sub(list.len());
                reserve(list, more)
            })
    }

    /// Holds a piece that is not held. `false`: no room was made for it.
    pub(crate) fn add(&mut self, begin: u64, end: u64) -> bool {
        begin < end && self.wanted.add(begin, end)
    }

    /// Holds a piece no more, if it is held: it is mapped now, or not counted any more.
    pub(crate) fn remove(&mut self, begin: u64, end: u64) {
        self.wanted.remove(begin, end);
    }

    /// Nobody wants the piece any more, if it is held. It stays so until [`Self::forget_unwanted`].
    pub(crate) fn unwant(&mut self, begin: u64, end: u64) {
        if self.wanted.remove(begin, end) {
            // There is room by the second invariant.
            self.unwanted.add(begin, end);
        }
    }

    /// What is held and wanted.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Range> + '_ {
        self.wanted.list.iter().copied()
    }

    /// All that is held.
    pub(crate) fn all(&self) -> impl Iterator<Item = Range> + '_ {
        self.wanted().chain(self.unwanted.list.iter().copied())
    }

    /// Holds no more what nobody wants.
    pub(crate) fn forget_unwanted(&mut self) {
        self.unwanted.clear();
    }

    /// Holds nothing any more.
    pub(crate) fn clear(&mut self) {
        self.wanted.clear();
        self.unwanted.clear();
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Which blocks of a disk are in memory: runs of neighbours that were read at once.
//!
//! A window is such a run. No two have a block in common, and all together have no more than so many
//! blocks: what has not been used for long makes room for what comes.
//!
//! Neighbours: `dm::rawdisk` reads the windows. Pure: compiled by the kernel and by the host tests.

use crate::drr::platform::{insert, remove, Array};

/// A window; `what` has the bytes.
struct Window<W> {
    first: u64,
    blocks: u64,
    /// When it was used last.
    used: u64,
    what: W,
}

/// Windows, by ascending blocks.
pub(crate) struct Windows<W> {
    list: Array<Window<W>>,
    /// Blocks in all windows.
    blocks: u64,
    limit: u64,
    /// Rises with each use.
    clock: u64,
}

impl<W> Windows<W> {
    /// None yet, and never more than `limit` blocks unless one window has more.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            list: Array::new(),
            blocks: 0,
            limit,
            clock: 0,
        }
    }

    /// The window that `block` would be in.
    fn place(&self, block: u64) -> Option<usize> {
        let after = self.list.partition_point(|w| w.first <= block);
        let at = after.checked_sub(1)?;
        let w = self.list.get(at)?;
        (block.saturating_sub(w.first) < w.blocks).then_some(at)
    }

    /// The window that has `block`, and the block's place in it.
    pub(crate) fn find(&mut self, block: u64) -> Option<(&W, u64)> {
        let at = self.place(block)?;
        self.clock = self.clock.saturating_add(1);
        let w = self.list.get_mut(at)?;
        w.used = self.clock;
        Some((&w.what, block.saturating_sub(w.first)))
    }

    /// The first run of blocks in `[first, end)` that no window has: its first block, and the one after it.
    pub(crate) fn missing(&self, mut first: u64, end: u64) -> Option<(u64, u64)> {
        let at = self.list.partition_point(|w| w.first <= first);
        let from = at.saturating_sub(1);
        for w in self.list.get(from..).unwrap_or(&[]) {
            if first >= end || w.first > first {
                let end = end.min(w.first);
                return (first < end).then_some((first, end));
            }
            first = first.max(w.first.saturating_add(w.blocks));
        }
        (first < end).then_some((first, end))
    }

    /// Adds a window of blocks that no other has. `false`: no memory, and it is dropped.
    pub(crate) fn add(&mut self, first: u64, blocks: u64, what: W) -> bool {
        while self.blocks.saturating_add(blocks) > self.limit && !self.list.is_empty() {
            self.make_room();
        }
        self.clock = self.clock.saturating_add(1);
        let at = self.list.partition_point(|w| w.first <= first);
        let window = Window {
            first,
            blocks,
            used: self.clock,
            what,
        };
        let added = insert(&mut self.list, at, window);
        if added {
            self.blocks = self.blocks.saturating_add(blocks);
        }
        added
    }

    /// Drops the window that has `block`.
    pub(crate) fn forget(&mut self, block: u64) {
        if let Some(at) = self.place(block) {
            self.drop_at(at);
        }
    }

    fn drop_at(&mut self, at: usize) {
        if let Some(w) = remove(&mut self.list, at) {
            self.blocks = self.blocks.saturating_sub(w.blocks);
        }
    }

    /// Drops those that were used in the first half of the time since the oldest was. So many go at
    /// once, and windows of one block each do not cost a search each.
    fn make_room(&mut self) {
        let oldest = self.list.iter().map(|w| w.used).min().unwrap_or(0);
        let half = oldest.saturating_add(self.clock.saturating_sub(oldest) / 2);
        let mut at = 0;
        while let Some(w) = self.list.get(at) {
            if w.used <= half {
                self.drop_at(at);
            } else {
                at = at.saturating_add(1);
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! How far a space map's own figure of free places can be trusted.
//!
//! The library takes that figure from the map's root, and looks for free places where the index
//! of the bitmaps says that there are some. Neither need agree with the bitmaps:
//! thin-provisioning-tools 0.9.0 counts a metadata block too many, its index leaves out the places
//! past the map's end, which growth adds, and thin_check 1.1.0 frees leaked places without telling
//! either. `meta::check` finds out by how much, once; from then on the library's figure moves with
//! what it allocates and frees.
//!
//! Growth changes a correction, and is a change of the transaction: [`Versions`] keeps what goes with each commit.
//!
//! Pure: compiled by the kernel and by the host tests.

/// What makes the library's figure of free places that of places that it can find.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Correction {
    /// To be added to the library's figure.
    shift: i64,
    /// Places past the map's end that the library will not find once growth has added them.
    lost_to_growth: u64,
}

impl Correction {
    /// For a map whose root tells of `told` free places, of which the library can find `usable`.
    pub(crate) fn new(told: u64, usable: u64, lost_to_growth: u64) -> Self {
        // A root that counts more than there are tells of a negative number.
        let shift = (usable as i64).wrapping_sub(told as i64);
        Self {
            shift,
            lost_to_growth,
        }
    }

    /// Free places of a map of `places`, of which the library tells `told`.
    pub(crate) fn free(self, told: u64, places: u64) -> u64 {
        let free = (told as i64).saturating_add(self.shift).max(0);
        (free as u64).min(places)
    }

    /// The library's figure when `free` places are free.
    pub(crate) fn told(self, free: u64) -> u64 {
        let free = i64::try_from(free).unwrap_or(i64::MAX);
        free.saturating_sub(self.shift).max(0) as u64
    }

    /// Notes that the map has grown by so many places.
    pub(crate) fn grown(&mut self, places: u64) {
        let lost = places.min(self.lost_to_growth);
        self.lost_to_growth -= lost;
        self.shift = self
            .shift
            .saturating_sub(i64::try_from(lost).unwrap_or(i64::MAX));
    }
}

/// What goes with the superblocks that the device may have: of the last commit, and of one that was begun.
pub(crate) struct Versions<T> {
    committed: T,
    written: T,
}

impl<T: Copy> Versions<T> {
    /// `now` goes with the superblock that was read.
    pub(crate) fn new(now: T) -> Self {
        Self {
            committed: now,
            written: now,
        }
    }

    /// A commit of `now` begins; nothing changes before it ends.
    pub(crate) fn committing(&mut self, now: T) {
        self.written = now;
    }

    /// It has succeeded.
    pub(crate) fn committed(&mut self) {
        self.committed = self.written;
    }

    /// What goes with the superblock that was found on the device: that of the last commit, or, `newer`, that of
    /// one which was begun since and did not succeed, but whose superblock the device has.
    pub(crate) fn go_back(&mut self, newer: bool) -> T {
        let found = if newer { self.written } else { self.committed };
        *self = Self::new(found);
        found
    }
}

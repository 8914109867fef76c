// SPDX-License-Identifier: GPL-2.0

//! How long the worker's insertions hold the metadata's lock: bounded by time, because one insertion takes some
//! microseconds, or fifty times that where a snapshot shares the leaf that it goes to.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbour: change.rs (the insertions).

/// The longest hold, in nanoseconds, but for what its last insertion takes beyond.
pub(crate) const HOLD_NS: u64 = 2_000_000;

/// Takes one step after the other, one at least, until a step finds nothing to do (`false`) or [`HOLD_NS`] are over.
pub(crate) fn steps_of_one_hold(clock: impl Fn() -> u64, mut step: impl FnMut() -> bool) {
    let until = clock().saturating_add(HOLD_NS);
    while step() && clock() < until {}
}

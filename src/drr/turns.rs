// SPDX-License-Identifier: GPL-2.0

//! Two duties of one background work, so that neither starves the other, and both together leave the processor to
//! others.
//!
//! A *run* lasts [`RUN_NS`] at most, and what the last step of it takes beyond, which counts. Each duty goes first in every other run, for half of
//! the time; the other one has the rest. After a run the work *rests* for [`REST`] times as long. So it takes
//! one part in `REST` + 1 of one processor at most, whatever there is to be done and however often it is asked.
//!
//! Pure: compiled by the kernel and by the host tests. Neighbour: cache.rs (the work).

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How long a run may last, in nanoseconds.
pub(crate) const RUN_NS: u64 = 2_000_000;
/// What a run is taken to have used of the processor at most: a step that is seen to last longer was kept from it.
const USED_MAX_NS: u64 = 20 * RUN_NS;
/// How many times as long as a run the rest after it lasts.
pub(crate) const REST: u64 = 3;

/// Whose turn it is. One thread at a time runs.
pub(crate) struct Turns {
    second_first: AtomicBool,
    /// The end of the rest.
    rested: AtomicU64,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            second_first: AtomicBool::new(false),
            rested: AtomicU64::new(0),
        }
    }

    /// A run at the time of `clock`, in nanoseconds, unless the last one is to be rested from. Each duty is told
    /// when to end, and says whether nothing is left to do. `Some`: in how many nanoseconds to run again.
    pub(crate) fn run(
        &self,
        clock: impl Fn() -> u64,
        first: impl FnOnce(u64) -> bool,
        second: impl FnOnce(u64) -> bool,
    ) -> Option<u64> {
        let begun = clock();
        let rest = self.rested.load(Ordering::Relaxed).saturating_sub(begun);
        if rest != 0 {
            return Some(rest);
        }
        let half = begun.saturating_add(RUN_NS / 2);
        let end = begun.saturating_add(RUN_NS);
        let done = if self.second_first.fetch_not(Ordering::Relaxed) {
            let done = second(half);
            first(end) && done
        } else {
            let done = first(half);
            second(end) && done
        };
        let ended = clock();
        let used = ended.saturating_sub(begun).clamp(1, USED_MAX_NS);
        let rest = used.saturating_mul(REST);
        self.rested
            .store(ended.saturating_add(rest), Ordering::Relaxed);
        (!done).then_some(rest)
    }
}

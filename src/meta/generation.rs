// SPDX-License-Identifier: GPL-2.0

//! Roots of devices' mappings, remembered for as long as nothing can have moved them.
//!
//! The tree of devices says on which block a device's own tree hangs. Nearly all lookups would find the
//! same there again, for one of the two trees that they walk. But any change of the store may move that
//! root: by copy-on-write, by a deletion, by a transaction that is thrown away.
//!
//! Invariants:
//!
//! 1. Whoever gets the state exclusively makes a new generation ([`Guarded::write`], the only way to
//!    change it). Generations are never used again.
//! 2. A remembered root was read from the store in the generation that stands beside it.
//!
//! So a root whose generation is that of the state, as a holder of the shared lock sees it, is what the
//! store would say. A root is written before its generation, and all that write at the same time are of
//! one generation, for they hold the lock shared: they write the same root.
//!
//! Neighbours: `meta::State`, and `meta::devices`, whose devices remember.

use crate::dm::sync::{ReadGuard, RwSem, WriteGuard};
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed, Release};

/// What counts its exclusive holders.
pub(super) trait Generations {
    /// Goes on to the next generation.
    fn next_generation(&mut self);
}

/// The lock around the state.
pub(super) struct Guarded<T>(RwSem<T>);

impl<T: Generations> Guarded<T> {
    /// Allocates the lock (`GFP_KERNEL`).
    #[track_caller]
    pub(super) fn new(state: T) -> Result<Self> {
        Ok(Self(RwSem::new(state)?))
    }

    /// Shared access; sleeps.
    pub(super) fn read(&self) -> ReadGuard<'_, T> {
        self.0.read()
    }

    /// Exclusive access, in a generation of its own; sleeps.
    pub(super) fn write(&self) -> WriteGuard<'_, T> {
        let mut state = self.0.write();
        state.next_generation();
        state
    }

    /// Access without locking, when nobody else can look any more.
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// A root, and the generation in which it was one. Generations begin with 1.
pub(super) struct KnownRoot {
    generation: Atomic<u64>,
    root: Atomic<u64>,
}

impl KnownRoot {
    /// None is known.
    pub(super) fn new() -> Self {
        Self {
            generation: Atomic::new(0),
            root: Atomic::new(0),
        }
    }

    /// The root in `generation`, if it is known. The lock is held, shared at least.
    pub(super) fn get(&self, generation: u64) -> Option<u64> {
        (self.generation.load(Acquire) == generation).then(|| self.root.load(Relaxed))
    }

    /// Remembers what the store says in `generation`. The lock is held, shared at least.
    pub(super) fn set(&self, generation: u64, root: u64) {
        self.root.store(root, Relaxed);
        self.generation.store(generation, Release);
    }
}

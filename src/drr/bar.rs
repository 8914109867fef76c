// SPDX-License-Identifier: GPL-2.0

//! What keeps reads of a device from being recorded while a snapshot of it is being made.
//!
//! Pure: compiled by the kernel and by the models. Any context. Neighbours: pool/snapshots.rs (who raises it), serve.rs
//! and metadata.rs (who records), thin/change.rs (whose copies wait).

use super::platform::atomic::{AtomicU32, Ordering};

/// Bars new records of a device's reads: while chunks of it have become shared to which writes in place
/// may still be in flight. A read might be answered before such a write. Counts who has raised it.
#[derive(Default)]
pub(crate) struct Bar(AtomicU32);

impl Bar {
    /// Of reads whose mapping is looked up from now on nothing is recorded. Any context.
    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets records be made again, once for each time it was raised. Any context.
    pub(crate) fn lower(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether it is up. Any context.
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }
}

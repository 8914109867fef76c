// SPDX-License-Identifier: GPL-2.0

//! Epochs: which I/O may still rely on a mapping that it looked up earlier.
//!
//! Every bio of a thin device enters an epoch before its mapping is looked up, and leaves when
//! nothing relies on the mapping any more (end_io, or the end of a served copy and of the
//! publication of its record). What must outlast those bios waits: a freed chunk is used again
//! only when a [`Cookie`] taken after its freeing is past. Backed by SRCU, whose
//! semaphore-like readers (`srcu_down_read`, include/linux/srcu.h) may end in another context.

use super::bindings;
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::prelude::*;

/// A point in time after which all earlier I/O can be known to have ended.
#[derive(Clone, Copy)]
pub(crate) struct Cookie(usize);

/// Evidence that an epoch was entered; to be given back to [`Epochs::leave`].
#[must_use]
pub(crate) struct Token(i32);

/// The epochs of one pool.
///
/// # Invariants
///
/// `raw` points to an initialised `srcu_struct` that this value owns.
pub(crate) struct Epochs {
    raw: NonNull<bindings::srcu_struct>,
    /// A grace period was begun that nobody need have waited for.
    polled: AtomicBool,
}

// SAFETY: SRCU may be used from any thread.
unsafe impl Send for Epochs {}
// SAFETY: as above; all operations take `&self` and synchronise inside.
unsafe impl Sync for Epochs {}

impl Epochs {
    /// Allocates (`GFP_KERNEL`, per-CPU counters).
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: an allocation without requirements; NULL on failure.
        let raw = NonNull::new(unsafe { bindings::drr_srcu_new() }).ok_or(ENOMEM)?;
        // INVARIANT: initialised above, owned by the new value.
        Ok(Self {
            raw,
            polled: AtomicBool::new(false),
        })
    }

    /// Enters the current epoch. Any context but NMI; does not sleep.
    pub(crate) fn enter(&self) -> Token {
        // SAFETY: by the type invariant `raw` is live.
        Token(unsafe { bindings::drr_srcu_down_read(self.raw.as_ptr()) })
    }

    /// Leaves the epoch that `token` stands for. Any context but NMI, also another than `enter`'s.
    pub(crate) fn leave(&self, token: Token) {
        // SAFETY: by the type invariant `raw` is live; the token came from `enter` and is
        // consumed here, so every entry is left at most once.
        unsafe { bindings::drr_srcu_up_read(self.raw.as_ptr(), token.0) };
    }

    /// Marks this moment: all I/O that has entered by now must end before the cookie is past.
    /// Does not sleep; starts the grace period.
    pub(crate) fn cookie(&self) -> Cookie {
        self.polled.store(true, Ordering::Relaxed);
        // SAFETY: by the type invariant `raw` is live.
        Cookie(unsafe { bindings::start_poll_synchronize_srcu(self.raw.as_ptr()) })
    }

    /// Whether everything that had entered when the cookie was made has left. Does not sleep.
    pub(crate) fn is_past(&self, cookie: Cookie) -> bool {
        // SAFETY: by the type invariant `raw` is live.
        unsafe { bindings::poll_state_synchronize_srcu(self.raw.as_ptr(), cookie.0) }
    }

    /// Waits until everything that has entered by now has left. Sleeps; the caller must hold
    /// no lock that I/O inside an epoch takes (the metadata lock above all), and must not be
    /// inside an epoch itself.
    pub(crate) fn wait(&self) {
        // SAFETY: by the type invariant `raw` is live.
        unsafe { bindings::synchronize_srcu_expedited(self.raw.as_ptr()) };
    }
}

impl Drop for Epochs {
    fn drop(&mut self) {
        let polled = *self.polled.get_mut();
        // SAFETY: owned by the type invariant; the owner of the epochs drops them after its last
        // I/O, so there are no readers left. Whoever began a grace period without waiting has said so.
        unsafe { bindings::drr_srcu_free(self.raw.as_ptr(), polled) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A spinlock that may be taken in any context, which the kernel crate lacks.

use super::bindings;
use core::cell::UnsafeCell;
use kernel::types::Opaque;

/// Data under a spinlock that disables interrupts. Any context but NMI.
///
/// Nothing that sleeps may be done inside; the data should be small, for interrupts wait.
///
/// # Invariants
///
/// `lock` was initialised before the first use. A lock that nobody holds may be moved.
pub(crate) struct IrqLock<T> {
    lock: Opaque<bindings::spinlock_t>,
    data: UnsafeCell<T>,
}

// SAFETY: the lock may be used from any thread; the data moves with it.
unsafe impl<T: Send> Send for IrqLock<T> {}
// SAFETY: the data is only reached by the holder of the lock, one at a time.
unsafe impl<T: Send> Sync for IrqLock<T> {}

impl<T> IrqLock<T> {
    /// An unlocked lock around `data`.
    pub(crate) fn new(data: T) -> Self {
        let lock = Opaque::uninit();
        // SAFETY: the memory is large enough for a lock and nobody else has it. A spinlock holds no
        // pointer to itself, so it may be moved until it is used.
        unsafe { bindings::drr_irqlock_init(lock.get()) };
        // INVARIANT: initialised above.
        Self {
            lock,
            data: UnsafeCell::new(data),
        }
    }

    /// Runs `f` with the lock held and interrupts off. `f` must not take the same lock again.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: initialised by the type invariant.
        let flags = unsafe { bindings::drr_irqlock(self.lock.get()) };
        // SAFETY: the lock is held until after `f`, so this is the only reference.
        let out = f(unsafe { &mut *self.data.get() });
        // SAFETY: taken above, by this context.
        unsafe { bindings::drr_irqunlock(self.lock.get(), flags) };
        out
    }
}

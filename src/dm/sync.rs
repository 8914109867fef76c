// SPDX-License-Identifier: GPL-2.0

//! Locks that the kernel crate lacks: a reader-writer semaphore, a spin lock for interrupts; and a
//! completion that can be waited for until one is killed.

use super::bindings;
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    ops::{Deref, DerefMut},
    panic::Location,
    ptr::NonNull,
};
use kernel::{error::to_result, prelude::*, types::NotThreadSafe};

/// The key of the caller's lockdep class: a constant of this module, one for each place that
/// makes a lock or a work. Lockdep uses the address alone.
#[track_caller]
pub(super) fn lock_class() -> *const c_void {
    core::ptr::from_ref(Location::caller()).cast()
}

/// Lets others run, whom a long work would keep from it. Process context; may sleep.
pub(crate) fn pause() {
    // SAFETY: no requirements beyond the context.
    unsafe { bindings::drr_pause() };
}

/// Begins a grace period of RCU that somebody is about to wait for, so that it is under way by then.
/// Does not wait. Any context.
///
/// Without it the callback of a waiter lies about until a timer's tick finds it, and only then does
/// a grace period begin (kernel/rcu/tree.c, `call_rcu`, 7.2).
pub(crate) fn begin_grace_period() {
    // SAFETY: no requirements.
    unsafe { bindings::start_poll_synchronize_rcu() };
}

/// A sleeping lock: many readers or one writer. Process context only.
///
/// # Invariants
///
/// `raw` points to an initialised `rw_semaphore` that this value owns.
pub(crate) struct RwSem<T> {
    raw: NonNull<bindings::rw_semaphore>,
    data: UnsafeCell<T>,
}

// SAFETY: the semaphore may be used from any thread; the data moves with it.
unsafe impl<T: Send> Send for RwSem<T> {}
// SAFETY: readers share `&T` (hence `Sync`), the single writer has `&mut T` (hence `Send`).
unsafe impl<T: Send + Sync> Sync for RwSem<T> {}

impl<T> RwSem<T> {
    /// Allocates the semaphore (`GFP_KERNEL`).
    #[track_caller]
    pub(crate) fn new(data: T) -> Result<Self> {
        // SAFETY: an allocation; NULL on failure. The key is a constant of the module.
        let raw = unsafe { bindings::drr_rwsem_new(lock_class()) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // INVARIANT: freshly allocated and initialised, owned by the new value.
        Ok(Self {
            raw,
            data: UnsafeCell::new(data),
        })
    }

    /// Shared access; sleeps.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: by the type invariant `raw` is a live semaphore.
        unsafe { bindings::down_read(self.raw.as_ptr()) };
        ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Exclusive access; sleeps.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: by the type invariant `raw` is a live semaphore.
        unsafe { bindings::down_write(self.raw.as_ptr()) };
        WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Exclusive access, unless the thread is killed: EINTR. Sleeps.
    pub(crate) fn write_killable(&self) -> Result<WriteGuard<'_, T>> {
        // SAFETY: by the type invariant `raw` is a live semaphore.
        to_result(unsafe { bindings::down_write_killable(self.raw.as_ptr()) })
            .map_err(|_| EINTR)?;
        Ok(WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Access without locking, by right of the exclusive borrow.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

impl<T> Drop for RwSem<T> {
    fn drop(&mut self) {
        // SAFETY: by the type invariant this value owns the semaphore; `&mut self` shows that
        // no guard, which would borrow it, is left.
        unsafe { bindings::drr_rwsem_free(self.raw.as_ptr()) };
    }
}

/// Evidence of shared access.
pub(crate) struct ReadGuard<'a, T> {
    lock: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: while this guard lives the lock is held shared, so no `&mut T` exists.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this guard's creation took the lock shared.
        unsafe { bindings::up_read(self.lock.raw.as_ptr()) };
    }
}

/// Evidence of exclusive access.
pub(crate) struct WriteGuard<'a, T> {
    lock: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: while this guard lives the lock is held exclusively.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while this guard lives the lock is held exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this guard's creation took the lock exclusively.
        unsafe { bindings::up_write(self.lock.raw.as_ptr()) };
    }
}

/// A spin lock that also keeps interrupts off, for data that end_io touches. Any context.
///
/// # Invariants
///
/// `raw` points to an initialised `drr_spin` that this value owns.
pub(crate) struct IrqLock<T> {
    raw: NonNull<bindings::drr_spin>,
    data: UnsafeCell<T>,
}

// SAFETY: the lock may be used from any thread; the data moves with it.
unsafe impl<T: Send> Send for IrqLock<T> {}
// SAFETY: one holder at a time has `&mut T`.
unsafe impl<T: Send> Sync for IrqLock<T> {}

impl<T> IrqLock<T> {
    /// Allocates the lock (`GFP_KERNEL`).
    #[track_caller]
    pub(crate) fn new(data: T) -> Result<Self> {
        // SAFETY: an allocation; NULL on failure. The key is a constant of the module.
        let raw = NonNull::new(unsafe { bindings::drr_spin_new(lock_class()) }).ok_or(ENOMEM)?;
        // INVARIANT: freshly allocated and initialised, owned by the new value.
        Ok(Self {
            raw,
            data: UnsafeCell::new(data),
        })
    }

    /// Runs `f` with the lock held. `f` must neither sleep nor take the lock again.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: `raw` is live by the type invariant.
        let flags = unsafe { bindings::drr_spin_lock(self.raw.as_ptr()) };
        // SAFETY: the lock is held, so this is the only access.
        let r = f(unsafe { &mut *self.data.get() });
        // SAFETY: locked above with these flags.
        unsafe { bindings::drr_spin_unlock(self.raw.as_ptr(), flags) };
        r
    }
}

impl<T> Drop for IrqLock<T> {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; nobody holds it, as `&mut self` shows.
        unsafe { bindings::drr_spin_free(self.raw.as_ptr()) };
    }
}

/// As the kernel crate's, which can only be waited for without an end.
///
/// # Invariants
///
/// `raw` points to an initialised completion that this value owns.
pub(crate) struct Completion {
    raw: NonNull<bindings::completion>,
}

// SAFETY: completions are synchronised inside.
unsafe impl Send for Completion {}
// SAFETY: as above.
unsafe impl Sync for Completion {}

impl Completion {
    /// Allocates the completion (`GFP_KERNEL`).
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: an allocation; NULL on failure.
        let raw = unsafe { bindings::drr_completion_new() };
        // INVARIANT: freshly allocated and initialised, owned by the new value.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// Lets all who wait go on, now and later. Any context.
    pub(crate) fn complete(&self) {
        // SAFETY: live by the type invariant.
        unsafe { bindings::complete_all(self.raw.as_ptr()) };
    }

    /// Whether it is complete. Any context.
    pub(crate) fn is_complete(&self) -> bool {
        // SAFETY: live by the type invariant.
        unsafe { bindings::completion_done(self.raw.as_ptr()) }
    }

    /// Waits for it, unless the thread is killed: EINTR. Sleeps.
    pub(crate) fn wait_killable(&self) -> Result {
        // SAFETY: live by the type invariant.
        to_result(unsafe { bindings::wait_for_completion_killable(self.raw.as_ptr()) })
            .map_err(|_| EINTR)
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; nobody waits, as `&mut self` shows.
        unsafe { bindings::drr_completion_free(self.raw.as_ptr()) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Workqueues and works that own a reference to what they work on while they are armed.

use super::{bindings, sync::lock_class};
use core::{ffi::c_void, marker::PhantomData, ptr::NonNull};
use kernel::{prelude::*, sync::Arc, types::ForeignOwnable};

/// A workqueue that makes progress under memory pressure (`WQ_MEM_RECLAIM`).
///
/// # Invariants
///
/// `raw` is a workqueue that this value owns.
pub(crate) struct WorkQueue {
    raw: NonNull<bindings::workqueue_struct>,
}

// SAFETY: workqueues are synchronised inside.
unsafe impl Send for WorkQueue {}
// SAFETY: as above.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Allocates a queue that runs one work at a time, in order (`GFP_KERNEL`).
    pub(crate) fn ordered(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a string that lives for ever; NULL on failure.
        let raw = unsafe { bindings::drr_workqueue_new_ordered(name.as_char_ptr()) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// Allocates a queue whose works run beside each other, on any CPU (`GFP_KERNEL`). Under
    /// memory pressure they may run one after the other: none may wait for another.
    pub(crate) fn parallel(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a string that lives for ever; NULL on failure.
        let raw = unsafe { bindings::drr_workqueue_new_parallel(name.as_char_ptr()) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.raw.as_ptr()
    }

    /// Waits until everything queued so far has run. Sleeps.
    pub(crate) fn flush(&self) {
        // SAFETY: live by the type invariant.
        unsafe { bindings::drr_workqueue_flush(self.raw.as_ptr()) };
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; works queued here are cancelled or done first, as
        // destroying drains the queue.
        unsafe { bindings::destroy_workqueue(self.raw.as_ptr()) };
    }
}

/// A work, possibly delayed, on a `T`.
///
/// While armed it holds a reference to the `T`; whoever arms it must disarm it, or the `T`
/// lives for ever.
///
/// # Invariants
///
/// `raw` is owned; its context is null, or an `Arc<T>` given up by `arm`.
pub(crate) struct Work<T: Send + Sync + 'static> {
    raw: NonNull<bindings::drr_work>,
    func: fn(&Arc<T>),
    _type: PhantomData<fn(&T)>,
}

// SAFETY: the C side is synchronised by the workqueue.
unsafe impl<T: Send + Sync> Send for Work<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Work<T> {}

/// What the C side hands back to the trampoline.
struct Armed<T> {
    target: Arc<T>,
    func: fn(&Arc<T>),
}

impl<T: Send + Sync + 'static> Work<T> {
    /// Allocates a work that will call `func` in process context.
    #[track_caller]
    pub(crate) fn new(func: fn(&Arc<T>)) -> Result<Self> {
        // SAFETY: an allocation; the trampoline takes contexts of this `T`, and the key is a
        // constant of the module.
        let raw = unsafe { bindings::drr_work_new(Some(Self::trampoline), lock_class()) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            func,
            _type: PhantomData,
        })
    }

    extern "C" fn trampoline(ctx: *mut c_void) {
        if ctx.is_null() {
            return;
        }
        // SAFETY: a non-null context is an `Armed<T>` that lives until `disarm` has waited for
        // this function to return.
        let armed = unsafe { &*ctx.cast::<Armed<T>>() };
        (armed.func)(&armed.target);
    }

    /// Gives the work its target. Until then queueing it does nothing.
    pub(crate) fn arm(&self, target: Arc<T>) -> Result {
        let armed = KBox::new(
            Armed {
                target,
                func: self.func,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: the work is live. The box is given up here and taken back by `disarm`.
        unsafe { bindings::drr_work_set_ctx(self.raw.as_ptr(), armed.into_foreign().cast()) };
        Ok(())
    }

    /// Cancels the work, waits for a running one, and lets go of the target. Sleeps; must not be
    /// called from the work itself. Queueing afterwards does nothing.
    pub(crate) fn disarm(&self) {
        // SAFETY: the work is live; after the call no run is left and none will start.
        let ctx = unsafe { bindings::drr_work_disable(self.raw.as_ptr()) };
        if !ctx.is_null() {
            // SAFETY: the context came from `arm`, and the C side has forgotten it.
            drop(unsafe { <KBox<Armed<T>> as ForeignOwnable>::from_foreign(ctx.cast()) });
        }
    }

    /// Queues the work to run at once, unless it is queued already. Any context.
    pub(crate) fn queue(&self, wq: &WorkQueue) {
        // SAFETY: both are live by their invariants.
        unsafe { bindings::drr_work_queue(wq.raw.as_ptr(), self.raw.as_ptr(), 0) };
    }

    /// Queues the work to run after `ms` milliseconds, unless it is queued already. Any context.
    pub(crate) fn queue_after(&self, wq: &WorkQueue, ms: u32) {
        // SAFETY: both are live by their invariants.
        unsafe { bindings::drr_work_queue(wq.raw.as_ptr(), self.raw.as_ptr(), ms) };
    }

    /// Takes the work off the queue and waits for a running one. Sleeps.
    pub(crate) fn cancel(&self) {
        // SAFETY: live by the type invariant.
        unsafe { bindings::drr_work_cancel(self.raw.as_ptr()) };
    }
}

impl<T: Send + Sync + 'static> Drop for Work<T> {
    fn drop(&mut self) {
        self.disarm();
        // SAFETY: owned; disarmed above, so the C side has no run left.
        unsafe { bindings::drr_work_free(self.raw.as_ptr()) };
    }
}

/// A work that runs once: `f`, in process context. Dropped before it is queued, it does not run.
///
/// # Invariants
///
/// `raw` is owned, not queued, and calls [`run_once`] of the same `F`.
pub(crate) struct Once<F: FnOnce() + Send + 'static> {
    raw: NonNull<bindings::drr_once>,
    f: Option<KBox<F>>,
}

extern "C" fn run_once<F: FnOnce() + Send + 'static>(ctx: *mut c_void) {
    // SAFETY: the context is the box that `queue` gave up, and a work runs once.
    let f = unsafe { <KBox<F> as ForeignOwnable>::from_foreign(ctx.cast()) };
    KBox::into_inner(f)();
}

impl<F: FnOnce() + Send + 'static> Once<F> {
    /// Allocates the work (`GFP_KERNEL`).
    #[track_caller]
    pub(crate) fn new(f: F) -> Result<Self> {
        let f = KBox::new(f, GFP_KERNEL)?;
        // SAFETY: an allocation; the key is a constant of the module. NULL on failure.
        let raw = unsafe { bindings::drr_once_new(Some(run_once::<F>), lock_class()) };
        // INVARIANT: freshly allocated for this `F`.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            f: Some(f),
        })
    }

    /// Queues the work. The owner of `wq` flushes it before it lets go of what `f` keeps alive, if that
    /// would end `wq`. Process context.
    pub(crate) fn queue(mut self, wq: &WorkQueue) {
        let Some(f) = self.f.take() else { return };
        let raw = self.raw;
        // Has nothing left to drop: the memory goes with the run.
        core::mem::forget(self);
        // SAFETY: the work is owned and not queued by the type invariant; the box is given up to it.
        unsafe { bindings::drr_once_queue(wq.raw.as_ptr(), raw.as_ptr(), f.into_foreign().cast()) };
    }
}

impl<F: FnOnce() + Send + 'static> Drop for Once<F> {
    fn drop(&mut self) {
        // SAFETY: owned and not queued by the type invariant.
        unsafe { bindings::drr_once_free(self.raw.as_ptr()) };
    }
}

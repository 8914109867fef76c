// SPDX-License-Identifier: GPL-2.0

//! Memory that is given back when the system needs it (mm/shrinker.c).

use super::bindings;
use crate::drr::demand::Group;
use core::{ffi::c_void, ptr::NonNull};
use kernel::{prelude::*, sync::Arc};

/// What can be made smaller under memory pressure.
///
/// Called by whoever allocates, in the middle of file systems and of block drivers, with their locks
/// held, and by kswapd: an implementation takes spinlocks only. It may let others run between them (`pause`), but
/// neither waits nor allocates.
pub(crate) trait Shrink: Send + Sync + 'static {
    /// Things that could be given back now.
    fn count(&self) -> usize;

    /// Gives back `n` of them, the least useful first; how many were.
    fn shrink(&self, n: usize) -> usize;
}

/// A registration for as long as it lives.
///
/// # Invariants
///
/// `raw` is registered with `_what`'s address as its context.
pub(crate) struct Shrinker<T: Shrink> {
    raw: NonNull<bindings::drr_shrinker>,
    /// Outlives the registration: it is dropped after it.
    _what: Arc<T>,
}

// SAFETY: the registration may be ended from any thread, and `T` may be dropped in any.
unsafe impl<T: Shrink> Send for Shrinker<T> {}
// SAFETY: no method takes `&self`.
unsafe impl<T: Shrink> Sync for Shrinker<T> {}

impl<T: Shrink> Shrinker<T> {
    /// Offers `what`, of a pool, under a name for administrators. Process context; sleeps.
    pub(crate) fn new(pool: &str, name: &CStr, what: Arc<T>) -> Result<Self> {
        let ctx = core::ptr::from_ref::<T>(&what).cast_mut().cast::<c_void>();
        // SAFETY: the names are copied; the context stays valid until the registration ends, for `_what`
        // is dropped after that, and the callbacks are those of its type.
        let raw = unsafe {
            bindings::drr_shrinker_new(
                pool.as_ptr().cast(),
                pool.len(),
                name.as_char_ptr(),
                Some(count::<T>),
                Some(scan::<T>),
                ctx,
            )
        };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // INVARIANT: registered above.
        Ok(Self { raw, _what: what })
    }
}

impl<T: Shrink> Drop for Shrinker<T> {
    fn drop(&mut self) {
        // SAFETY: registered by the type invariant. Waits for callbacks that are running.
        unsafe { bindings::drr_shrinker_free(self.raw.as_ptr()) };
    }
}

/// # Safety
///
/// `ctx` is the address of a live `T`.
unsafe extern "C" fn count<T: Shrink>(ctx: *mut c_void) -> usize {
    // SAFETY: the function's contract, kept by `Shrinker`.
    unsafe { &*ctx.cast::<T>() }.count()
}

/// # Safety
///
/// `ctx` is the address of a live `T`.
unsafe extern "C" fn scan<T: Shrink>(ctx: *mut c_void, n: usize) -> usize {
    // SAFETY: the function's contract, kept by `Shrinker`.
    unsafe { &*ctx.cast::<T>() }.shrink(n)
}

/// The same, for what is charged to memory control groups: they ask when they are at limits of their own. And for what
/// only somebody else can give back, later.
pub(crate) trait ShrinkGroups: Send + Sync + 'static {
    /// Things that can be asked for, now, by `group` if it asks. What was asked for already does not count.
    fn count(&self, group: Option<Group>) -> usize;

    /// Has `n` of them given back soon, of those charged to `group` if it asks; whether more may be asked for.
    fn ask(&self, n: usize, group: Option<Group>) -> bool;
}

/// A registration for as long as it lives.
///
/// # Invariants
///
/// `raw` is registered with `_what`'s address as its context.
pub(crate) struct GroupShrinker<T: ShrinkGroups> {
    raw: NonNull<bindings::drr_cgroup_shrinker>,
    /// Outlives the registration: it is dropped after it.
    _what: Arc<T>,
}

// SAFETY: the registration may be ended from any thread, and `T` may be dropped in any.
unsafe impl<T: ShrinkGroups> Send for GroupShrinker<T> {}
// SAFETY: groups may be noted from any thread.
unsafe impl<T: ShrinkGroups> Sync for GroupShrinker<T> {}

impl<T: ShrinkGroups> GroupShrinker<T> {
    /// Offers `what`, of a pool, under a name for administrators. Process context; sleeps.
    pub(crate) fn new(pool: &str, name: &CStr, what: Arc<T>) -> Result<Self> {
        let ctx = core::ptr::from_ref::<T>(&what).cast_mut().cast::<c_void>();
        // SAFETY: the names are copied; the context stays valid until the registration ends, for `_what`
        // is dropped after that, and the callbacks are those of its type.
        let raw = unsafe {
            bindings::drr_cgroup_shrinker_new(
                pool.as_ptr().cast(),
                pool.len(),
                name.as_char_ptr(),
                Some(count_groups::<T>),
                Some(ask_groups::<T>),
                ctx,
            )
        };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // INVARIANT: registered above.
        Ok(Self { raw, _what: what })
    }

    /// The running task's group has something that could be given back: it is asked from now on.
    /// Process context; does not sleep, and without memory it does nothing.
    pub(crate) fn note_group(&self) {
        // SAFETY: registered by the type invariant.
        unsafe { bindings::drr_cgroup_shrinker_note(self.raw.as_ptr()) };
    }
}

impl<T: ShrinkGroups> Drop for GroupShrinker<T> {
    fn drop(&mut self) {
        // SAFETY: registered by the type invariant. Waits for callbacks that are running.
        unsafe { bindings::drr_cgroup_shrinker_free(self.raw.as_ptr()) };
    }
}

/// # Safety
///
/// `ctx` is the address of a live `T`.
unsafe extern "C" fn count_groups<T: ShrinkGroups>(ctx: *mut c_void, group: usize) -> usize {
    let group = Some(group).filter(|g| *g != 0);
    // SAFETY: the function's contract, kept by `GroupShrinker`.
    unsafe { &*ctx.cast::<T>() }.count(group)
}

/// # Safety
///
/// `ctx` is the address of a live `T`.
unsafe extern "C" fn ask_groups<T: ShrinkGroups>(ctx: *mut c_void, n: usize, group: usize) -> bool {
    let group = Some(group).filter(|g| *g != 0);
    // SAFETY: the function's contract, kept by `GroupShrinker`.
    unsafe { &*ctx.cast::<T>() }.ask(n, group)
}

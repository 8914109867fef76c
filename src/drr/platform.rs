// SPDX-License-Identifier: GPL-2.0

//! What the pure parts of DRR need from the kernel: memory that can fail, a lock, atomics, and vector registers.
//!
//! The host tests have a file of the same name and interface over std, the models (tests/models) one over loom.

use kernel::alloc::flags::{__GFP_NOWARN, GFP_KERNEL, GFP_NOWAIT};
use kernel::prelude::*;
use kernel::time::{ClockSource, Monotonic};

pub(crate) use crate::dm::clnh::{
    is_available as has_carry_less, is_usable as is_carry_less_usable, sums as carry_less_sums,
};
pub(crate) use crate::dm::irqlock::IrqLock;
/// Atomics: the models of the protocols put their own in this place.
pub(crate) use core::sync::atomic;
/// A place that is filled once.
pub(crate) use kernel::sync::SetOnce as Once;

/// A growable array that may come from vmalloc.
pub(crate) type Array<T> = KVVec<T>;
/// A thing on the heap.
pub(crate) type Boxed<T> = KBox<T>;

/// An array of `n` items. Process context.
// Large items are no part of the caller's frame.
#[inline(never)]
pub(crate) fn array<T>(n: usize, mut f: impl FnMut(usize) -> T) -> Option<Array<T>> {
    let mut out = KVVec::with_capacity(n, GFP_KERNEL).ok()?;
    for i in 0..n {
        out.push(f(i), GFP_KERNEL).ok()?;
    }
    Some(out)
}

/// Puts `value` at `at`; `false` without memory. Process context.
pub(crate) fn insert<T>(array: &mut Array<T>, at: usize, value: T) -> bool {
    array.reserve(1, GFP_KERNEL).is_ok() && array.insert_within_capacity(at, value).is_ok()
}

/// Makes room for `n` more items; `false` without memory. Process context.
pub(crate) fn reserve<T>(array: &mut Array<T>, n: usize) -> bool {
    array.reserve(n, GFP_KERNEL).is_ok()
}

/// Puts `value` at `at`; `false` without room. Any context.
pub(crate) fn insert_within<T>(array: &mut Array<T>, at: usize, value: T) -> bool {
    array.insert_within_capacity(at, value).is_ok()
}

/// Takes the item at `at` out.
pub(crate) fn remove<T>(array: &mut Array<T>, at: usize) -> Option<T> {
    array.remove(at).ok()
}

/// Memory for a thing. Any context: never waits, never warns.
pub(crate) fn boxed<T>(value: T) -> Option<Boxed<T>> {
    KBox::new(value, GFP_NOWAIT | __GFP_NOWARN).ok()
}

/// Memory for a thing. Process context; sleeps.
pub(crate) fn boxed_waiting<T>(value: T) -> Option<Boxed<T>> {
    KBox::new(value, GFP_KERNEL).ok()
}

/// The monotonic clock, in nanoseconds. Any context but NMI.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(Monotonic::ktime_get()).unwrap_or(0)
}

/// Lets others run, whom a long work would keep from it. Process context; may sleep.
pub(crate) fn pause() {
    crate::dm::sync::pause();
}

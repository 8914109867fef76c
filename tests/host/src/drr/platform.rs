// SPDX-License-Identifier: GPL-2.0

//! src/drr/platform.rs for the host: memory that can be told to fail, and a lock.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, PoisonError};

pub(crate) type Array<T> = Vec<T>;
pub(crate) type Boxed<T> = Box<T>;

thread_local! {
    static OUT_OF_MEMORY: Cell<bool> = const { Cell::new(false) };
    static WHILE_ALLOCATING: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    static LOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Lets every allocation of this thread fail, or succeed again.
pub(crate) fn set_out_of_memory(on: bool) {
    OUT_OF_MEMORY.set(on);
}

/// Runs `f` in the middle of this thread's next allocation of a thing.
pub(crate) fn while_allocating(f: impl FnOnce() + 'static) {
    WHILE_ALLOCATING.set(Some(Box::new(f)));
}

fn has_memory() -> bool {
    !OUT_OF_MEMORY.get()
}

pub(crate) fn array<T>(n: usize, f: impl FnMut(usize) -> T) -> Option<Array<T>> {
    has_memory().then(|| (0..n).map(f).collect())
}

pub(crate) fn insert<T>(array: &mut Array<T>, at: usize, value: T) -> bool {
    if !has_memory() || at > array.len() {
        return false;
    }
    array.insert(at, value);
    true
}

pub(crate) fn remove<T>(array: &mut Array<T>, at: usize) -> Option<T> {
    (at < array.len()).then(|| array.remove(at))
}

pub(crate) fn boxed<T>(value: T) -> Option<Boxed<T>> {
    if let Some(f) = WHILE_ALLOCATING.take() {
        f();
    }
    has_memory().then(|| Box::new(value))
}

pub(crate) fn now_ns() -> u64 {
    thread_local!(static BEGUN: std::time::Instant = std::time::Instant::now());
    BEGUN.with(|b| u64::try_from(b.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) struct IrqLock<T>(Mutex<T>);

impl<T> IrqLock<T> {
    pub(crate) fn new(data: T) -> Self {
        Self(Mutex::new(data))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // Two at once are a bug: fail instead of hanging, now or one day.
        assert!(!LOCKED.replace(true), "this thread holds a lock already");
        let r = f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        LOCKED.set(false);
        r
    }
}

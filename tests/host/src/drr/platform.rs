// SPDX-License-Identifier: GPL-2.0

//! src/drr/platform.rs for the host: memory that can be told to fail, a lock, atomics, and vector registers that are told what to answer.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) use std::sync::atomic;

pub(crate) type Array<T> = Vec<T>;

/// A thing on the heap. Whoever looks at it takes a step.
pub(crate) struct Boxed<T>(Box<T>);

impl<T> Deref for Boxed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        STEPS.set(STEPS.get() + 1);
        &self.0
    }
}

impl<T> DerefMut for Boxed<T> {
    fn deref_mut(&mut self) -> &mut T {
        STEPS.set(STEPS.get() + 1);
        &mut self.0
    }
}

thread_local! {
    static OUT_OF_MEMORY: Cell<bool> = const { Cell::new(false) };
    static WHILE_ALLOCATING: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    static VECTORS: Cell<Vectors> = const { Cell::new(Vectors::Absent) };
    static LOCKED: Cell<bool> = const { Cell::new(false) };
    static LOCKS: Cell<usize> = const { Cell::new(0) };
    static STEPS: Cell<usize> = const { Cell::new(0) };
    /// Most locks without a pause, and all up to the last one.
    static UNPAUSED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    static ARRAY_BYTES: Cell<usize> = const { Cell::new(0) };
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
    ARRAY_BYTES.set(ARRAY_BYTES.get() + n * size_of::<T>());
    has_memory().then(|| (0..n).map(f).collect())
}

pub(crate) fn insert<T>(array: &mut Array<T>, at: usize, value: T) -> bool {
    if !has_memory() || at > array.len() {
        return false;
    }
    array.insert(at, value);
    true
}

pub(crate) fn reserve<T>(array: &mut Array<T>, n: usize) -> bool {
    if has_memory() {
        array.reserve_exact(n);
    }
    array.capacity() - array.len() >= n
}

pub(crate) fn insert_within<T>(array: &mut Array<T>, at: usize, value: T) -> bool {
    if array.len() == array.capacity() || at > array.len() {
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
    has_memory().then(|| Boxed(Box::new(value)))
}

pub(crate) fn boxed_waiting<T>(value: T) -> Option<Boxed<T>> {
    has_memory().then(|| Boxed(Box::new(value)))
}

/// A place that is filled once.
pub(crate) struct Once<T>(OnceLock<T>);

impl<T> Once<T> {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(crate) fn as_ref(&self) -> Option<&T> {
        self.0.get()
    }

    pub(crate) fn populate(&self, value: T) -> bool {
        self.0.set(value).is_ok()
    }
}

pub(crate) fn now_ns() -> u64 {
    thread_local!(static BEGUN: std::time::Instant = std::time::Instant::now());
    BEGUN.with(|b| u64::try_from(b.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn pause() {
    assert!(!LOCKED.get(), "this thread holds a lock");
    note_pause();
}

/// What stands for the vector registers of this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// The processor has none.
    Absent,
    /// In use by somebody else.
    Busy,
    /// They compute something else than what they should.
    Wrong,
}

/// Says what this thread's vector registers are like.
pub(crate) fn set_vectors(vectors: Vectors) {
    VECTORS.set(vectors);
}

pub(crate) fn has_carry_less() -> bool {
    VECTORS.get() != Vectors::Absent
}

pub(crate) fn is_carry_less_usable() -> bool {
    VECTORS.get() != Vectors::Busy
}

pub(crate) fn carry_less_sums(
    pages: &[&[u64; 512]],
    key: &[u64; 512],
    out: &mut [[u64; 2]],
) -> bool {
    if VECTORS.get() != Vectors::Wrong {
        return false;
    }
    for (page, out) in pages.iter().zip(out) {
        *out = [page[0] ^ key[0], 0];
    }
    true
}

/// Whether this thread holds a lock.
pub(crate) fn holds_lock() -> bool {
    LOCKED.get()
}

/// How often this thread takes a lock while `f` runs.
pub(crate) fn locks_taken(f: impl FnOnce()) -> usize {
    let before = LOCKS.get();
    f();
    LOCKS.get() - before
}

/// Bytes of the arrays that this thread makes while `f` runs.
pub(crate) fn array_bytes(f: impl FnOnce()) -> usize {
    let before = ARRAY_BYTES.get();
    f();
    ARRAY_BYTES.get() - before
}

/// Notes how often a lock was taken since the last pause.
fn note_pause() {
    let (most, last) = UNPAUSED.get();
    UNPAUSED.set((most.max(LOCKS.get() - last), LOCKS.get()));
}

/// How often at most this thread takes a lock without a pause while `f` runs.
pub(crate) fn locks_without_pause(f: impl FnOnce()) -> usize {
    UNPAUSED.set((0, LOCKS.get()));
    f();
    note_pause();
    UNPAUSED.get().0
}

/// How often this thread looks at things on the heap while `f` runs.
pub(crate) fn steps_taken(f: impl FnOnce()) -> usize {
    let before = STEPS.get();
    f();
    STEPS.get() - before
}

pub(crate) struct IrqLock<T>(Mutex<T>);

impl<T> IrqLock<T> {
    pub(crate) fn new(data: T) -> Self {
        Self(Mutex::new(data))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // Two at once are a bug: fail instead of hanging, now or one day.
        assert!(!LOCKED.replace(true), "this thread holds a lock already");
        LOCKS.set(LOCKS.get() + 1);
        let r = f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        LOCKED.set(false);
        r
    }
}

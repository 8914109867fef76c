// SPDX-License-Identifier: GPL-2.0

//! Objects from a mempool, and a queue that links them without allocating.
//!
//! What the I/O path needs to make progress under memory pressure comes from here: while nothing
//! is free, elements that are in use come back and are taken again. There are never more elements
//! than the mempool holds in reserve: so an element that is counted in can always be had.

use super::bindings;
use crate::pool::quota::Quota;
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::size_of,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};
use kernel::{prelude::*, sync::Arc};

/// The mempool itself, shared by the [`Mempool`] and everything allocated from it.
///
/// # Invariants
///
/// `raw` is a mempool of elements large enough for the type of the [`Mempool`], owned here.
struct Reserve {
    raw: NonNull<bindings::mempool_t>,
    /// Elements that there are, of as many as the mempool keeps.
    quota: Quota,
}

impl Reserve {
    /// Gives an element's memory back.
    ///
    /// # Safety
    ///
    /// `p` came from this mempool and was counted in; it is not used any more.
    unsafe fn free(&self, p: *mut c_void) {
        // SAFETY: the caller's promise.
        unsafe { bindings::mempool_free(p, self.raw.as_ptr()) };
        // Last, so that who counts the next one in finds the memory.
        self.quota.give_back();
    }
}

// SAFETY: mempools are synchronised inside.
unsafe impl Send for Reserve {}
// SAFETY: as above.
unsafe impl Sync for Reserve {}

impl Drop for Reserve {
    fn drop(&mut self) {
        // SAFETY: owned by the invariant; every element holds a reference to the reserve, so none
        // is outstanding.
        unsafe { bindings::mempool_destroy(self.raw.as_ptr()) };
    }
}

struct Node<T> {
    next: Option<NonNull<Node<T>>>,
    reserve: Arc<Reserve>,
    value: T,
}

/// A pool of so many `T`s.
pub(crate) struct Mempool<T> {
    reserve: Arc<Reserve>,
    _type: PhantomData<fn() -> T>,
}

impl<T> Mempool<T> {
    /// Makes a pool of `most` elements, which it keeps memory for (`GFP_KERNEL`).
    pub(crate) fn new(most: u32) -> Result<Self> {
        let min = i32::try_from(most).map_err(|_| EINVAL)?;
        // SAFETY: an allocation without requirements; NULL on failure.
        let raw = unsafe { bindings::drr_mempool_new(min, size_of::<Node<T>>()) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let quota = Quota::new(most);
        // INVARIANT: elements have the size of a node; kmalloc aligns them sufficiently.
        let reserve = Arc::new(Reserve { raw, quota }, GFP_KERNEL)?;
        Ok(Self {
            reserve,
            _type: PhantomData,
        })
    }

    /// Takes memory for an element for somebody who has `own` of them; `None` while that is as many as
    /// the [`Quota`] allows. Does not sleep.
    pub(crate) fn room(&self, own: u32) -> Option<Room<T>> {
        let reserve = self.reserve.clone();
        if !reserve.quota.take(own) {
            return None;
        }
        // SAFETY: the mempool is live; NULL when nothing is free.
        let p = unsafe { bindings::drr_mempool_alloc_nowait(reserve.raw.as_ptr()) };
        let Some(node) = NonNull::new(p.cast::<Node<T>>()) else {
            // Not while all elements are counted, but then nothing is lost either.
            reserve.quota.give_back();
            return None;
        };
        // INVARIANT: fresh memory of a node's size and alignment, counted in, owned by the new value.
        Some(Room { node, reserve })
    }

    /// How many more elements somebody may have who has `own` of them ([`Quota::left_for`]). Does not
    /// sleep.
    pub(crate) fn left_for(&self, own: u32) -> u32 {
        self.reserve.quota.left_for(own)
    }
}

/// Memory for one element.
///
/// # Invariants
///
/// `node` is uninitialised memory of a node's size from `reserve`, counted there, owned by this value.
pub(crate) struct Room<T> {
    node: NonNull<Node<T>>,
    reserve: Arc<Reserve>,
}

impl<T> Room<T> {
    /// Makes the element.
    pub(crate) fn fill(self, value: T) -> Pooled<T> {
        let node = self.node;
        let reserve = self.reserve.clone();
        // SAFETY: uninitialised memory of the right size by the type invariant.
        unsafe {
            node.as_ptr().write(Node {
                next: None,
                reserve,
                value,
            })
        };
        let mut this = core::mem::ManuallyDrop::new(self);
        // SAFETY: the field is dropped once: `this` itself is not.
        unsafe { core::ptr::drop_in_place(&mut this.reserve) };
        // INVARIANT: just initialised; the memory passes to the new value.
        Pooled { node }
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        // SAFETY: the memory came from this mempool by the type invariant, and holds nothing.
        unsafe { self.reserve.free(self.node.as_ptr().cast()) };
    }
}

/// An owned element of a [`Mempool`].
///
/// # Invariants
///
/// `node` is initialised, counted in its `reserve`, owned, and in no queue.
pub(crate) struct Pooled<T> {
    node: NonNull<Node<T>>,
}

// SAFETY: owns its value like a box.
unsafe impl<T: Send> Send for Pooled<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Pooled<T> {}

impl<T> Pooled<T> {
    pub(super) fn into_raw(self) -> *mut c_void {
        let p = self.node.as_ptr().cast();
        core::mem::forget(self);
        p
    }

    /// # Safety
    ///
    /// `p` came from [`Self::into_raw`] of the same `T` and is not used again.
    pub(super) unsafe fn from_raw(p: *mut c_void) -> Self {
        // SAFETY: `into_raw` gave out a non-null pointer, by the caller's promise.
        let node = unsafe { NonNull::new_unchecked(p.cast()) };
        // INVARIANT: ownership comes back.
        Self { node }
    }
}

impl<T> Deref for Pooled<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised and owned by the type invariant.
        unsafe { &self.node.as_ref().value }
    }
}

impl<T> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised and owned by the type invariant.
        unsafe { &mut self.node.as_mut().value }
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        // SAFETY: initialised and owned; read out once and not used after.
        let node = unsafe { self.node.as_ptr().read() };
        let Node { reserve, value, .. } = node;
        drop(value);
        // SAFETY: the memory came from this mempool, and its contents have been moved out.
        unsafe { reserve.free(self.node.as_ptr().cast()) };
    }
}

/// A first-in first-out queue of [`Pooled`] values; never allocates.
///
/// # Invariants
///
/// The nodes from `head` along `next` are owned by the queue, `tail` is the last of them.
pub(crate) struct Queue<T> {
    head: Option<NonNull<Node<T>>>,
    tail: Option<NonNull<Node<T>>>,
}

// SAFETY: owns its values.
unsafe impl<T: Send> Send for Queue<T> {}

impl<T> Queue<T> {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
        }
    }

    /// Appends a value.
    pub(crate) fn push(&mut self, value: Pooled<T>) {
        let mut node = value.node;
        core::mem::forget(value);
        // SAFETY: the value's node was owned and in no queue.
        unsafe { node.as_mut().next = None };
        match self.tail {
            // SAFETY: the tail is owned by the queue by the type invariant.
            Some(mut t) => unsafe { t.as_mut().next = Some(node) },
            None => self.head = Some(node),
        }
        // INVARIANT: linked behind the former tail, or alone.
        self.tail = Some(node);
    }

    /// Takes the first value.
    pub(crate) fn pop(&mut self) -> Option<Pooled<T>> {
        let mut node = self.head?;
        // SAFETY: the head is owned by the queue by the type invariant.
        self.head = unsafe { node.as_mut().next.take() };
        if self.head.is_none() {
            self.tail = None;
        }
        // INVARIANT: the queue has let go of it.
        Some(Pooled { node })
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> Queue<T> {
        core::mem::replace(self, Queue::new())
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

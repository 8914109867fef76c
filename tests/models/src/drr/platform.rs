// SPDX-License-Identifier: GPL-2.0

//! src/drr/platform.rs for the models: a lock and atomics of loom's, and memory that never fails.
//!
//! A lock comes into being in loom when it is used first. So a table with hundreds of buckets costs a model little more than
//! those that it uses.

use loom::sync::Mutex;
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

pub(crate) type Array<T> = Vec<T>;
pub(crate) type Boxed<T> = Box<T>;

pub(crate) fn array<T>(n: usize, f: impl FnMut(usize) -> T) -> Option<Array<T>> {
    Some((0..n).map(f).collect())
}

pub(crate) fn insert<T>(array: &mut Array<T>, at: usize, value: T) -> bool {
    array.insert(at, value);
    true
}

pub(crate) fn remove<T>(array: &mut Array<T>, at: usize) -> Option<T> {
    Some(array.remove(at))
}

pub(crate) fn boxed<T>(value: T) -> Option<Boxed<T>> {
    Some(Box::new(value))
}

/// A model need not be told to let others run.
pub(crate) fn pause() {}

thread_local! {
    static FENCED: Cell<bool> = const { Cell::new(true) };
}

/// A mistake: accesses that should be sequentially consistent are acquire-release ones in this test.
pub(crate) fn forget_sequential_consistency() {
    FENCED.set(false);
}

/// A lock whose holder has the data alone.
pub(crate) struct IrqLock<T> {
    lock: OnceLock<Mutex<()>>,
    data: RefCell<T>,
}

impl<T> IrqLock<T> {
    pub(crate) fn new(data: T) -> Self {
        Self {
            lock: OnceLock::new(),
            data: RefCell::new(data),
        }
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let lock = self.lock.get_or_init(|| Mutex::new(()));
        let _held = lock.lock().unwrap();
        f(&mut self.data.borrow_mut())
    }
}

pub(crate) mod atomic {
    //! The types of `core::sync::atomic`, as far as the files use them.
    //!
    //! Loom takes a sequentially consistent access for an acquire-release one. With a fence before and after it, it is
    //! in one order with all others of its kind. On x86-64, the one processor of the module, it has no less order:
    //! there a sequentially consistent store or read-modify-write is a full fence.
    //!
    //! Loom looks for another order of a store and of the last access before it, not of those before that: a load by one
    //! thread is forgotten once another thread has loaded the same value, and stores to it afterwards. So each access begins
    //! with a relaxed read-modify-write of a number of its own: all accesses of an atomic are taken in all orders. It orders
    //! nothing else.

    use super::FENCED;
    use loom::sync::atomic as real;
    pub(crate) use loom::sync::atomic::Ordering;

    fn in_order<R>(order: Ordering, f: impl FnOnce() -> R) -> R {
        let fenced = order == Ordering::SeqCst && FENCED.get();
        if fenced {
            real::fence(Ordering::SeqCst);
        }
        let r = f();
        if fenced {
            real::fence(Ordering::SeqCst);
        }
        r
    }

    macro_rules! atomic {
        ($name:ident, $value:ty, $($op:ident)*) => {
            pub(crate) struct $name {
                value: real::$name,
                turns: real::AtomicU32,
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(Default::default())
                }
            }

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    let turns = real::AtomicU32::new(0);
                    Self { value: real::$name::new(value), turns }
                }

                fn in_turn<R>(&self, order: Ordering, f: impl FnOnce(&real::$name) -> R) -> R {
                    self.turns.fetch_add(1, Ordering::Relaxed);
                    in_order(order, || f(&self.value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.in_turn(order, |it| it.load(order))
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.in_turn(order, |it| it.store(value, order))
                }

                $(pub(crate) fn $op(&self, value: $value, order: Ordering) -> $value {
                    self.in_turn(order, |it| it.$op(value, order))
                })*
            }
        };
    }

    atomic!(AtomicBool, bool, swap);
    atomic!(AtomicU32, u32, swap fetch_add fetch_sub);
    atomic!(AtomicU64, u64, swap fetch_add fetch_sub fetch_min fetch_and fetch_or);
    atomic!(AtomicUsize, usize, swap fetch_add fetch_sub);
}

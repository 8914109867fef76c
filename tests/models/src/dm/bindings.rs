// SPDX-License-Identifier: GPL-2.0

//! SRCU as src/dm/epoch.rs calls it: what include/linux/srcu.h promises, in the simplest form.
//!
//! A grace period that begins at some moment is over when all readers have left that had entered by then. Entering, leaving
//! and asking are under one lock. That is no more order than SRCU promises: a reader that is not waited for sees
//! all that came before the grace period, and who has waited sees all that the reader has done.

#![allow(non_camel_case_types)]

use loom::sync::{Condvar, Mutex};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ptr;
use std::sync::Arc;

/// Stands for one of the structures below; never looked at.
pub(crate) struct srcu_struct;

struct Srcu {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// Readers that have entered so far.
    entered: i32,
    /// Those of them that have not left.
    inside: BTreeSet<i32>,
}

impl State {
    fn is_over(&self, entered: i32) -> bool {
        self.inside.first().is_none_or(|first| *first >= entered)
    }
}

thread_local! {
    /// By addresses. One test is one thread of the system, whatever the number of loom's threads.
    static ALL: RefCell<Vec<Option<Arc<Srcu>>>> = const { RefCell::new(Vec::new()) };
}

fn of(raw: *mut srcu_struct) -> Arc<Srcu> {
    let all = ALL.with_borrow(|all| all.get(raw.addr() - 1).cloned().flatten());
    all.expect("an SRCU structure that is in use")
}

pub(crate) fn drr_srcu_new() -> *mut srcu_struct {
    let srcu = Srcu {
        state: Mutex::new(State::default()),
        left: Condvar::new(),
    };
    ALL.with_borrow_mut(|all| {
        if all.iter().all(Option::is_none) {
            all.clear();
        }
        all.push(Some(Arc::new(srcu)));
        ptr::without_provenance_mut(all.len())
    })
}

pub(crate) fn drr_srcu_free(raw: *mut srcu_struct, _polled: bool) {
    ALL.with_borrow_mut(|all| all[raw.addr() - 1] = None);
}

pub(crate) fn drr_srcu_down_read(raw: *mut srcu_struct) -> i32 {
    let srcu = of(raw);
    let mut state = srcu.state.lock().unwrap();
    let token = state.entered;
    state.entered += 1;
    state.inside.insert(token);
    token
}

pub(crate) fn drr_srcu_up_read(raw: *mut srcu_struct, token: i32) {
    let srcu = of(raw);
    let left = srcu.state.lock().unwrap().inside.remove(&token);
    assert!(left, "an epoch is left twice");
    srcu.left.notify_all();
}

pub(crate) fn start_poll_synchronize_srcu(raw: *mut srcu_struct) -> usize {
    of(raw).state.lock().unwrap().entered as usize
}

pub(crate) fn poll_state_synchronize_srcu(raw: *mut srcu_struct, cookie: usize) -> bool {
    of(raw).state.lock().unwrap().is_over(cookie as i32)
}

pub(crate) fn synchronize_srcu_expedited(raw: *mut srcu_struct) {
    let srcu = of(raw);
    let mut state = srcu.state.lock().unwrap();
    let entered = state.entered;
    while !state.is_over(entered) {
        state = srcu.left.wait(state).unwrap();
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A hold takes what it has time for, at least one step, and no more.

use super::hold::*;
use std::cell::Cell;

/// The steps of one hold, each of which takes `ns`, with `there` to be done.
fn steps(ns: u64, there: u32) -> u32 {
    let (time, done) = (Cell::new(1_000), Cell::new(0));
    steps_of_one_hold(
        || time.get(),
        || {
            if done.get() == there {
                return false;
            }
            done.set(done.get() + 1);
            time.set(time.get() + ns);
            true
        },
    );
    done.get()
}

#[test]
fn quick_insertions_go_in_one_hold() {
    assert_eq!(steps(5_000, 64), 64);
    assert_eq!(steps(5_000, 0), 0);
}

#[test]
fn slow_insertions_give_the_lock_back_between() {
    assert_eq!(steps(300_000, 64), 7);
    assert_eq!(steps(HOLD_NS, 64), 1);
}

#[test]
fn one_insertion_is_done_however_long_it_takes() {
    assert_eq!(steps(u64::MAX - 2_000, 64), 1);
}

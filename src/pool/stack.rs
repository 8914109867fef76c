// SPDX-License-Identifier: GPL-2.0

//! The thin devices' part in the suspension of their pool.
//!
//! The suspension of a device waits for its I/O in flight, and a suspended device holds I/O up. A
//! thin device with an external origin sends reads to it, and the origin may stand on thin devices
//! of the same pool, with other devices between. So whatever stands on others is suspended before
//! them, by the tables that are in force at the time, and resumed after them. Thin devices without an
//! origin stand on no other.

use super::Pool;
use crate::thin::Thin;
use core::cmp::Reverse;
use kernel::{prelude::*, sync::Arc};

impl Pool {
    /// Suspends all active thin devices. Sleeps; while no thin device can come.
    pub(crate) fn suspend_thins(&self) {
        self.each_thin(|t| {
            if t.origin.is_some() && t.measure_reach().is_err() {
                pr_warn!(
                    "{}: no memory to find what thin device {} stands on\n",
                    self.name(),
                    t.id.0
                );
            }
        });
        self.each_over_origin(|t| Reverse(t.place()), |t| t.suspend_with_pool());
        self.each_thin(|t| {
            if t.origin.is_none() {
                t.suspend_with_pool();
            }
        });
    }

    /// Undoes [`Self::suspend_thins`], as far as it was done. Sleeps.
    pub(crate) fn resume_thins(&self) {
        self.each_thin(|t| {
            if t.origin.is_none() {
                t.resume_with_pool();
            }
        });
        self.each_over_origin(Thin::place, |t| t.resume_with_pool());
    }

    /// Calls `f` for each active thin device with an external origin, by ascending `key`, without a
    /// lock held. No two have the same key.
    fn each_over_origin<K: Ord>(&self, key: impl Fn(&Thin) -> K, mut f: impl FnMut(&Arc<Thin>)) {
        let mut done: Option<K> = None;
        loop {
            let next = {
                let thins = self.thins.read();
                let left = thins.iter().filter(|t| {
                    t.origin.is_some() && done.as_ref().is_none_or(|done| key(t) > *done)
                });
                left.min_by_key(|t| key(t)).cloned()
            };
            let Some(t) = next else { return };
            done = Some(key(&t));
            f(&t);
        }
    }
}

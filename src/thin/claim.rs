// SPDX-License-Identifier: GPL-2.0

//! How many chunks a device may be filling at once.
//!
//! Something below may hold up what fills them for as long as it likes: an external origin that hangs,
//! or a control group that is throttled. So no device gets all jobs of its pool ([`Quota`]), and all
//! copies from external origins together get a quarter of them, for many devices may have one origin.
//!
//! A write that is refused waits in a list of its device. The end of any job runs the pool's worker,
//! which puts it back to work ([`Thin::go_on`]). A claim that is given up otherwise must wake it.
//!
//! [`Quota`]: crate::pool::quota::Quota
//! [`Thin::go_on`]: super::Thin::go_on

use super::{Job, Thin};
use crate::dm::pooled::Room;
use kernel::sync::{
    atomic::{Atomic, Relaxed},
    Arc,
};

/// The jobs of one device. Only its work makes them more.
pub(super) struct Claims {
    all: Atomic<u32>,
    /// Those that copy from the external origin.
    from_origin: Atomic<u32>,
}

impl Claims {
    pub(super) const fn new() -> Self {
        Self {
            all: Atomic::new(0),
            from_origin: Atomic::new(0),
        }
    }
}

/// A job that is counted; its end when dropped.
pub(super) struct Claim {
    thin: Arc<Thin>,
    from_origin: bool,
}

/// Why a write gets no job.
pub(super) enum Refused {
    /// The device has as many as it may.
    Jobs,
    /// The device has as many as it may that copy from an external origin.
    FromOrigin,
}

impl Claim {
    /// Claims a job, and the memory for it. The device's work only; does not sleep.
    ///
    /// Who is refused has had nothing meanwhile, which others could have missed.
    pub(super) fn new(thin: &Arc<Thin>, from_origin: bool) -> Result<(Self, Room<Job>), Refused> {
        let pool = &thin.pool;
        let own = &thin.claims;
        if !thin.may_have_a_job() {
            return Err(Refused::Jobs);
        }
        if from_origin && !pool.origin_copies.take(own.from_origin.load(Relaxed)) {
            return Err(Refused::FromOrigin);
        }
        let Some(room) = pool.jobs.room(own.all.load(Relaxed)) else {
            // Another device was quicker.
            if from_origin {
                pool.origin_copies.give_back();
                pool.wake();
            }
            return Err(Refused::Jobs);
        };
        own.all.fetch_add(1, Relaxed);
        if from_origin {
            own.from_origin.fetch_add(1, Relaxed);
        }
        let thin = thin.clone();
        Ok((Self { thin, from_origin }, room))
    }

    /// Whether it is one for a copy from the external origin.
    pub(super) fn is_from_origin(&self) -> bool {
        self.from_origin
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let own = &self.thin.claims;
        own.all.fetch_sub(1, Relaxed);
        if self.from_origin {
            own.from_origin.fetch_sub(1, Relaxed);
            self.thin.pool.origin_copies.give_back();
        }
    }
}

impl Thin {
    /// Whether the device may have another job. Any context.
    pub(super) fn may_have_a_job(&self) -> bool {
        self.pool.jobs.has_room(self.claims.all.load(Relaxed))
    }

    /// How many more chunks of the device may be copied from its external origin at once. Any context.
    pub(super) fn origin_copies_left(&self) -> u32 {
        if self.origin.is_none() {
            return 0;
        }
        let own = self.claims.from_origin.load(Relaxed);
        self.pool.origin_copies.left_for(own)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! How many chunks a device may be filling at once.
//!
//! Something below may hold up what fills them for as long as it likes: an external origin that hangs,
//! or a control group that is throttled. So no device gets all jobs of its pool ([`Quota`]), and all
//! copies from external origins together get a quarter of them, for many devices may have one origin.
//!
//! A write that is refused waits in a list of its device. The end of any job runs the pool's worker,
//! which wakes the works of those that may have one now ([`Thin::go_on`]). They look at as many writes
//! again as there are jobs for. So a device that has all that it may costs next to nothing, however
//! many of its writes wait. A claim that is given up otherwise must wake the worker. One that is given
//! up for want of memory does not: its write would be tried again at once, and again. Others that wait
//! for it hear of it from the next run, within a second.
//!
//! [`Quota`]: crate::pool::quota::Quota
//! [`Thin::go_on`]: super::Thin::go_on

use super::{Job, Thin};
use crate::{dm::pooled::Room, pool::mode::Mode};
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

/// How many of the writes that wait may try again.
pub(super) enum Turns {
    All,
    /// So many that wait for a job, and so many that wait for one that copies from the external origin.
    Some {
        jobs: u32,
        copies: u32,
    },
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
        if pool.jobs.left_for(own.all.load(Relaxed)) == 0 {
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
    /// How many of those that wait for jobs are to be looked at again. Any context.
    ///
    /// Only a pool in write mode refuses anybody a job. In another mode all that wait are served, fail or
    /// wait for space: none of them comes back into a list that has turns.
    pub(super) fn turns(&self) -> Turns {
        let pool = &self.pool;
        if pool.mode() != Mode::Write {
            return Turns::All;
        }
        let copies = if self.origin.is_some() {
            let own = self.claims.from_origin.load(Relaxed);
            pool.origin_copies.left_for(own)
        } else {
            0
        };
        let jobs = pool.jobs.left_for(self.claims.all.load(Relaxed));
        Turns::Some { jobs, copies }
    }
}

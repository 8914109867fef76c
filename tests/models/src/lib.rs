// SPDX-License-Identifier: GPL-2.0

//! Models of the module's concurrent protocols, run by loom through all schedules.
//!
//! Each model is two or three threads of a few steps each. It runs the module's own files, compiled from
//! the same sources as by the kernel; what these need from the kernel stands in files of the same names here, over
//! loom. Where a protocol is in a file that needs more of the kernel, the model repeats its steps, and says
//! which function they stand for. docs/invariants.md has a table of all models.
//!
//! Every model is proven: with a known mistake it must fail. A mistake is a switch of the model, or a *mutant*, a copy of
//! the module's file with the mistake in it (build.rs).
//!
//! What is bounded: the number of times that a thread is interrupted where it need not be (`check::holds`).
//! Loom takes sequentially consistent accesses for acquire-release ones; `drr::platform` puts fences around them.

#![cfg(test)]
#![allow(dead_code)]
#![allow(
    clippy::arc_with_non_send_sync,
    reason = "one thread of the system runs all of loom's"
)]

extern crate self as kernel;

mod check;

#[path = "../../../src/units.rs"]
pub mod units;

/// What the module's files use of the kernel crate's prelude.
pub mod prelude {
    pub(crate) use crate::dm::{Result, ENOMEM};
}

pub mod dm {
    //! src/dm as far as the files below use it.
    pub(crate) mod bindings;

    // What is C there is safe here.
    #[allow(unused_unsafe)]
    #[path = "../../../../src/dm/epoch.rs"]
    pub mod epoch;

    pub mod pdata {
        //! The filter of src/dm/pdata.rs.
        pub(crate) type FreedFilter = crate::meta::freed::Filter<Vec<u64>>;
    }

    /// An errno.
    #[derive(Debug)]
    pub struct Errno;
    pub(crate) const ENOMEM: Errno = Errno;
    pub(crate) type Result<T = (), E = Errno> = core::result::Result<T, E>;
}

pub mod drr {
    //! The files of src/drr that the models run, and what these use.
    pub mod platform;

    #[path = "../../../../src/drr/bar.rs"]
    pub mod bar;
    #[path = "../../../../src/drr/bits.rs"]
    pub mod bits;
    #[path = "../../../../src/drr/bucket.rs"]
    pub mod bucket;
    #[path = "../../../../src/drr/coalesce.rs"]
    pub mod coalesce;
    #[path = "../../../../src/drr/domains.rs"]
    pub mod domains;
    #[path = "../../../../src/drr/group.rs"]
    pub mod group;
    #[path = "../../../../src/drr/list.rs"]
    mod list;
    #[path = "../../../../src/drr/metapages.rs"]
    pub mod metapages;
    #[path = "../../../../src/drr/shares.rs"]
    pub mod shares;
    #[path = "../../../../src/drr/spread.rs"]
    pub mod spread;
    #[path = "../../../../src/drr/table.rs"]
    pub mod table;

    pub mod mutants;

    mod coalesce_model;
    mod records_model;
}

pub mod meta {
    //! The files of src/meta that the models run.
    #[path = "../../../../src/meta/freed.rs"]
    pub mod freed;
    #[path = "../../../../src/meta/recent.rs"]
    pub mod recent;

    pub mod mutants;

    mod chunks_model;
}

pub mod pool {
    //! The files of src/pool that the models run.
    #[path = "../../../../src/pool/mode.rs"]
    pub mod mode;
    #[path = "../../../../src/pool/roster.rs"]
    pub mod roster;

    mod mode_model;
    mod roster_model;
    mod snapshots_model;
}

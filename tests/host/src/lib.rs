// SPDX-License-Identifier: GPL-2.0

//! The module's pure parts, compiled for the host from the files that the kernel builds.
//!
//! What they need from the kernel (memory that can fail, locks) stands in files of the same name
//! and interface here, over std. The tests sit beside: one file per part.

#![forbid(unsafe_code)]
#![allow(dead_code)]

#[path = "../../../src/units.rs"]
pub mod units;

pub mod drr {
    //! The pure files of src/drr.
    pub mod platform;

    #[path = "../../../../src/drr/backoff.rs"]
    pub mod backoff;
    #[path = "../../../../src/drr/bits.rs"]
    pub mod bits;
    #[path = "../../../../src/drr/bucket.rs"]
    pub mod bucket;
    #[path = "../../../../src/drr/coalesce.rs"]
    pub mod coalesce;
    #[path = "../../../../src/drr/demand.rs"]
    pub mod demand;
    #[path = "../../../../src/drr/domains.rs"]
    pub mod domains;
    #[path = "../../../../src/drr/group.rs"]
    pub mod group;
    #[path = "../../../../src/drr/hash.rs"]
    pub mod hash;
    #[path = "../../../../src/drr/heatmap.rs"]
    pub mod heatmap;
    #[path = "../../../../src/drr/layers.rs"]
    pub mod layers;
    #[path = "../../../../src/drr/list.rs"]
    mod list;
    #[path = "../../../../src/drr/metapages.rs"]
    pub mod metapages;
    #[path = "../../../../src/drr/peers.rs"]
    pub mod peers;
    #[path = "../../../../src/drr/sampling.rs"]
    pub mod sampling;
    #[path = "../../../../src/drr/shares.rs"]
    pub mod shares;
    #[path = "../../../../src/drr/spread.rs"]
    pub mod spread;
    #[path = "../../../../src/drr/stats.rs"]
    pub mod stats;
    #[path = "../../../../src/drr/table.rs"]
    pub mod table;
    #[path = "../../../../src/drr/turns.rs"]
    pub mod turns;

    #[cfg(test)]
    mod backoff_tests;
    #[cfg(test)]
    mod bits_tests;
    #[cfg(test)]
    mod coalesce_tests;
    #[cfg(test)]
    mod demand_tests;
    #[cfg(test)]
    mod domains_tests;
    #[cfg(test)]
    mod hash_tests;
    #[cfg(test)]
    mod heatmap_tests;
    #[cfg(test)]
    mod isolation_tests;
    #[cfg(test)]
    mod layers_tests;
    #[cfg(test)]
    mod metapages_tests;
    #[cfg(test)]
    mod peers_tests;
    #[cfg(test)]
    mod sampling_tests;
    #[cfg(test)]
    mod shares_tests;
    #[cfg(test)]
    mod stats_tests;
    #[cfg(test)]
    mod table_bounds_tests;
    #[cfg(test)]
    mod table_tests;
    #[cfg(test)]
    mod turns_tests;
}

pub mod meta {
    //! The pure files of src/meta.
    #[path = "../../../../src/meta/check.rs"]
    pub mod check;
    #[path = "../../../../src/meta/counts.rs"]
    pub mod counts;
    #[path = "../../../../src/meta/descent.rs"]
    pub mod descent;
    #[path = "../../../../src/meta/figures.rs"]
    pub mod figures;
    #[path = "../../../../src/meta/format.rs"]
    pub mod format;
    #[path = "../../../../src/meta/freed.rs"]
    pub mod freed;
    #[path = "../../../../src/meta/held.rs"]
    pub mod held;
    #[path = "../../../../src/meta/pieces.rs"]
    pub mod pieces;
    #[path = "../../../../src/meta/windows.rs"]
    pub mod windows;

    #[cfg(test)]
    mod check_tests;
    #[cfg(test)]
    mod counts_tests;
    #[cfg(test)]
    mod descent_tests;
    #[cfg(test)]
    mod figures_tests;
    #[cfg(test)]
    mod format_tests;
    #[cfg(test)]
    mod freed_tests;
    #[cfg(test)]
    mod held_tests;
    #[cfg(test)]
    mod pieces_tests;
    #[cfg(test)]
    mod windows_tests;
}

pub mod pool {
    //! The pure files of src/pool.
    #[path = "../../../../src/pool/args.rs"]
    pub mod args;
    #[path = "../../../../src/pool/mode.rs"]
    pub mod mode;
    #[path = "../../../../src/pool/quota.rs"]
    pub mod quota;
    #[path = "../../../../src/pool/roster.rs"]
    pub mod roster;

    #[cfg(test)]
    mod args_tests;
    #[cfg(test)]
    mod mode_tests;
    #[cfg(test)]
    mod quota_tests;
    #[cfg(test)]
    mod roster_tests;
}

pub mod thin {
    //! The pure files of src/thin.
    #[path = "../../../../src/thin/hold.rs"]
    pub mod hold;
    #[path = "../../../../src/thin/runs.rs"]
    pub mod runs;

    #[cfg(test)]
    mod hold_tests;
    #[cfg(test)]
    mod runs_tests;
}

#[cfg(test)]
mod units_tests;

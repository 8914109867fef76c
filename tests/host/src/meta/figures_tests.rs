// SPDX-License-Identifier: GPL-2.0

//! The library's figures, put right, follow what can really be found.

use super::figures::{Correction, Versions};
use proptest::prelude::*;

#[test]
fn a_root_that_counts_too_many_leaves_no_gap_at_the_end() {
    // As thin_restore 0.9.0 writes it: 512 blocks, 13 used, 14 counted, 498 in the index.
    let c = Correction::new(512 - 14, 498, 0);
    assert_eq!(c.free(512 - 14, 512), 498);
    // A root that counts 20 of 16 places tells of -4.
    let told = 16u64.wrapping_sub(20);
    let c = Correction::new(told, 3, 0);
    assert_eq!(c.free(told, 16), 3);
    assert_eq!(c.free(told.wrapping_sub(3), 16), 0);
    assert_eq!(c.told(3), 0);
}

#[test]
fn growth_that_the_index_does_not_know_is_not_promised() {
    let mut c = Correction::new(498, 498, 16320 - 512);
    c.grown(1536);
    assert_eq!(c.free(498 + 1536, 2048), 498);
    assert_eq!(c.told(100), 100 + 1536);
    // Beyond the bitmap's end the library makes new ones.
    c.grown(20000);
    assert_eq!(
        c.free(498 + 1536 + 20000, 22048),
        498 + 1536 + 20000 - (16320 - 512)
    );
}

#[test]
fn growth_goes_with_the_transaction_that_it_was_part_of() {
    let mut now = Correction::new(498, 498, 16320 - 512);
    let opened = now;
    let mut versions = Versions::new(now);
    // Rolled back before any commit.
    now.grown(1536);
    assert_ne!(now, opened);
    now = versions.go_back(false);
    assert_eq!(now, opened);
    assert_eq!(now.free(498, 512), 498);
    // Committed: a roll-back of what comes later keeps it.
    now.grown(1536);
    versions.committing(now);
    versions.committed();
    let committed = now;
    now.grown(100);
    assert_ne!(now, committed);
    now = versions.go_back(false);
    assert_eq!(now, committed);
    // A commit that failed: it depends on which superblock the device has.
    now.grown(100);
    versions.committing(now);
    let tried = now;
    assert_eq!(versions.go_back(true), tried);
    now.grown(100);
    versions.committing(now);
    assert_eq!(versions.go_back(false), tried);
}

proptest! {
    /// Whatever the root says, allocations take the figure from what is usable to nothing.
    #[test]
    fn the_figure_moves_with_allocations(
        blocks in 1u64..1 << 32, counted in 0u64..1 << 33, usable in any::<u64>(), taken in any::<u64>(),
    ) {
        let usable = usable % (blocks + 1);
        let taken = taken % (usable + 1);
        let told = blocks.wrapping_sub(counted);
        let c = Correction::new(told, usable, 0);
        prop_assert_eq!(c.free(told.wrapping_sub(taken), blocks), usable - taken);
        // And back.
        prop_assert_eq!(c.free(told, blocks), usable);
    }
}

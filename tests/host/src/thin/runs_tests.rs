// SPDX-License-Identifier: GPL-2.0

//! Runs of all kinds: what is joined is what was given, in order, as long as it may be and no longer.

use super::runs::*;
use crate::units::Chunk;
use proptest::prelude::*;

fn joined(runs: &[(u64, u64)], longest: u64) -> Vec<(u64, u64)> {
    let mut runs: Vec<Run> = runs.iter().map(|&(b, e)| (Chunk(b), Chunk(e))).collect();
    Joined::new(&mut runs, longest)
        .map(|(b, e)| (b.0, e.0))
        .collect()
}

#[test]
fn neighbours_are_joined_in_whatever_order_they_come() {
    assert_eq!(joined(&[], 8), []);
    assert_eq!(joined(&[(5, 6)], 8), [(5, 6)]);
    assert_eq!(joined(&[(4, 6), (9, 12), (1, 4)], 8), [(1, 6), (9, 12)]);
}

#[test]
fn nothing_is_longer_than_a_bio_can_be() {
    assert_eq!(joined(&[(0, 7)], 3), [(0, 3), (3, 6), (6, 7)]);
    assert_eq!(joined(&[(0, 2), (2, 4), (4, 5)], 3), [(0, 3), (3, 5)]);
    // A chunk is never cut.
    assert_eq!(joined(&[(0, 2)], 0), [(0, 1), (1, 2)]);
}

#[test]
fn the_end_of_all_numbers_is_reached() {
    assert_eq!(
        joined(&[(u64::MAX - 2, u64::MAX)], 8),
        [(u64::MAX - 2, u64::MAX)]
    );
}

proptest! {
    #[test]
    fn every_chunk_comes_once(
        gaps in proptest::collection::vec((0u64..3, 1u64..40), 0..60),
        longest in 1u64..50,
        turn in any::<prop::sample::Index>(),
    ) {
        let mut at = 0;
        let mut given = Vec::new();
        for (gap, len) in gaps {
            at += gap;
            given.push((at, at + len));
            at += len;
        }
        let want: Vec<u64> = given.iter().flat_map(|&(b, e)| b..e).collect();
        if !given.is_empty() {
            let n = turn.index(given.len());
            given.rotate_left(n);
        }
        let got = joined(&given, longest);
        let chunks: Vec<u64> = got.iter().flat_map(|&(b, e)| b..e).collect();
        prop_assert_eq!(chunks, want);
        for &(b, e) in &got {
            prop_assert!(b < e && e - b <= longest);
        }
        for pair in got.windows(2) {
            // Neighbours remain only where one is as long as it may be.
            let full = pair[0].1 - pair[0].0 == longest;
            prop_assert!(pair[0].1 < pair[1].0 || full);
        }
    }
}

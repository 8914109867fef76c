// SPDX-License-Identifier: GPL-2.0

//! Chunk arithmetic, with and without shifts.

use super::units::{Geometry, Sectors};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_sector_is_where_its_chunk_says(steps in 1u64..16_385, sector in 0u64..1 << 50) {
        let size = steps * 128;
        let g = Geometry::new(size).unwrap();
        let (chunk, off) = g.split(Sectors(sector));
        prop_assert!(off < size);
        prop_assert_eq!(g.start(chunk).0 + off, sector);
    }
}

#[test]
fn a_chunk_of_nothing_does_not_exist() {
    assert!(Geometry::new(0).is_none());
}

// SPDX-License-Identifier: GPL-2.0

use super::heatmap::{Heatmap, SOURCES};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn every_page_is_counted_once(served in proptest::collection::vec((1..40u64, 1..17u64), 0..200)) {
        let map = Heatmap::new();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut first = Vec::new();
        for (source, pages) in served {
            map.served(source, pages, pages * 4096);
            *model.entry(source).or_default() += pages;
            if !first.contains(&source) {
                first.push(source);
            }
        }
        first.truncate(SOURCES);
        let row = map.row();
        let told: Vec<u64> = row.heats.iter().map(|h| h.source).filter(|s| *s != 0).collect();
        prop_assert_eq!(&told, &first);
        for heat in row.heats.iter().filter(|h| h.source != 0) {
            prop_assert_eq!(heat.pages, model[&heat.source]);
            prop_assert_eq!(heat.bytes, heat.pages * 4096);
        }
        let others: u64 = model.iter().filter(|(s, _)| !first.contains(s)).map(|(_, n)| n).sum();
        prop_assert_eq!((row.other.pages, row.other.bytes), (others, others * 4096));
        map.reset();
        prop_assert_eq!(map.row(), Heatmap::new().row());
    }
}

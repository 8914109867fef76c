// SPDX-License-Identifier: GPL-2.0

use super::counts::{Chunks, Word, WORD_ENTRIES};
use proptest::prelude::*;

/// The count at place `i` of a bitmap, as the library reads it (dm-space-map-common.c, sm_lookup_bitmap).
fn count(word: u64, i: u64) -> u64 {
    let bits = word >> (2 * i);
    (bits & 1) << 1 | bits >> 1 & 1
}

proptest! {
    #[test]
    fn a_word_says_what_its_places_say(
        word in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)],
        at in 0u64..3,
        limit in 0u64..120,
        none_free_before in 0u64..120,
    ) {
        let at = at * WORD_ENTRIES;
        let (mut used, mut many, mut free, mut past, mut counts) = (0, 0, 0, 0, 0);
        for i in 0..WORD_ENTRIES {
            let (place, c) = (at + i, count(word, i));
            let late = place >= none_free_before;
            if place < limit {
                used += u32::from(c > 0);
                many += u32::from(c == 3);
                free += u32::from(c == 0 && late);
                counts |= c << (2 * i);
            } else {
                past += u32::from(c == 0 && late);
            }
        }
        let wanted = Word { used, many, free, free_past: past, counts };
        prop_assert_eq!(Word::new(word, at, limit, none_free_before), wanted);
    }

    #[test]
    fn chunks_may_be_mapped_as_often_as_they_are_counted(
        words in prop::collection::vec(any::<u64>(), 1..4),
        cut in 0u64..32,
        maps in prop::collection::vec(0u64..128, 0..200),
    ) {
        let n = words.len() as u64 * WORD_ENTRIES - cut;
        let mut chunks = Chunks::none();
        prop_assert!(chunks.begin(n, true));
        let mut left = Vec::new();
        for (k, word) in words.iter().enumerate() {
            let at = k as u64 * WORD_ENTRIES;
            chunks.set_counts(at, Word::new(*word, at, n, 0).counts);
            left.extend((at..n.min(at + WORD_ENTRIES)).map(|c| count(*word, c - at)));
        }
        for (c, counted) in left.iter().enumerate() {
            prop_assert_eq!(u64::from(chunks.count_of(c as u64)), *counted);
        }
        for c in maps.into_iter().filter(|c| *c < n) {
            let left = &mut left[c as usize];
            // Three stands for any number above two.
            let may = *left > 0;
            prop_assert_eq!(chunks.map(c), may);
            if may && count(words[(c / WORD_ENTRIES) as usize], c % WORD_ENTRIES) < 3 {
                *left -= 1;
            }
        }
    }
}

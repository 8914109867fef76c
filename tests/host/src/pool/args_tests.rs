// SPDX-License-Identifier: GPL-2.0

//! Table lines: what is read comes back as it was, and each wrong argument is named.

use super::args::{
    parse_count, parse_dev_id, parse_pool, parse_u64, write_features, Names, PoolArgsError,
    CHUNK_MAX_SECTORS, CHUNK_STEP_SECTORS,
};
use proptest::prelude::*;

const FEATURES: [&str; 8] = [
    "skip_block_zeroing",
    "ignore_discard",
    "no_discard_passdown",
    "read_only",
    "error_if_no_space",
    "drr",
    "no_drr",
    "no_fine_cow",
];

fn shown(args: &[&str], names: Names) -> String {
    let mut out = String::new();
    write_features(&parse_pool(args, names).unwrap().features, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn numbers_are_decimal_and_do_not_overflow(v: u64) {
        prop_assert_eq!(parse_u64(&v.to_string()), Some(v));
        prop_assert_eq!(parse_u64(&format!("+{v}")), Some(v));
        prop_assert_eq!(parse_u64(&format!("-{v}")), None);
        prop_assert_eq!(parse_u64(&format!("{v}x")), None);
        // One digit more than the largest value of its length cannot fit.
        prop_assert_eq!(parse_u64(&format!("{}0", u64::MAX)), None);
    }

    #[test]
    fn text_never_panics(s: String) {
        let _ = parse_u64(&s);
        let _ = parse_pool(&[&s, "b", &s, &s, &s, &s], Names::Own);
    }

    #[test]
    fn shown_features_read_back_the_same(picked in proptest::sample::subsequence(&FEATURES[..], 0..=7)) {
        prop_assume!(!(picked.contains(&"drr") && picked.contains(&"no_drr")));
        let count = picked.len().to_string();
        let mut line = vec!["a", "b", "128", "0", &count];
        line.extend(picked.iter().copied());
        let text = shown(&line, Names::Own);
        let mut again = vec!["a", "b", "128", "0"];
        again.extend(text.split_whitespace());
        prop_assert_eq!(&shown(&again, Names::Own), &text);
        for name in &picked {
            prop_assert!(text.split_whitespace().any(|w| w == *name));
        }
        prop_assert!(text.ends_with(' '));
    }

    #[test]
    fn chunk_sizes_are_steps_within_bounds(n in 0u64..3 * CHUNK_MAX_SECTORS) {
        let good = (CHUNK_STEP_SECTORS..=CHUNK_MAX_SECTORS).contains(&n)
            && n % CHUNK_STEP_SECTORS == 0;
        let text = n.to_string();
        let r = parse_pool(&["a", "b", &text, "0"], Names::DropIn).unwrap().sizes;
        prop_assert_eq!(r.is_ok(), good);
        if !good {
            prop_assert_eq!(r.unwrap_err(), PoolArgsError::ChunkSize);
        }
    }
}

#[test]
fn each_wrong_argument_is_named() {
    use PoolArgsError::*;
    let cases: [(&[&str], Names, PoolArgsError); 13] = [
        (&[], Names::Own, Count),
        (&["a", "b", "128"], Names::Own, Count),
        (&["a", "a", "128", "0"], Names::Own, SameDevice),
        (&["a", "b", "129", "0"], Names::Own, ChunkSize),
        (&["a", "b", "128", "low"], Names::Own, LowWater),
        (&["a", "b", "128", "0", "x"], Names::Own, FeatureCount),
        (
            &["a", "b", "128", "0", "2", "read_only"],
            Names::Own,
            FeatureCount,
        ),
        (
            &["a", "b", "128", "0", "5", "1", "2", "3", "4", "5"],
            Names::DropIn,
            FeatureCount,
        ),
        (&["a", "b", "128", "0", "1", "sparse"], Names::Own, Feature),
        (
            &["a", "b", "128", "0", "1", "no_drr"],
            Names::DropIn,
            OwnFeature,
        ),
        (
            &["a", "b", "128", "0", "1", "fine_cow"],
            Names::Own,
            FineCow,
        ),
        (
            &["a", "b", "128", "0", "2", "drr", "no_drr"],
            Names::Own,
            DrrTwice,
        ),
        (
            &["a", "b", "128", "0", "1", "fine_cow"],
            Names::DropIn,
            OwnFeature,
        ),
    ];
    for (args, names, want) in cases {
        let r = parse_pool(args, names).and_then(|a| a.sizes);
        assert_eq!(r.unwrap_err(), want, "{args:?}");
    }
}

#[test]
fn wrong_sizes_do_not_hide_the_devices() {
    let a = parse_pool(&["a", "b", "x", "y"], Names::DropIn).unwrap();
    assert_eq!((a.metadata, a.data), ("a", "b"));
    assert_eq!(a.sizes, Err(PoolArgsError::ChunkSize));
}

#[test]
fn counts_are_read_as_sscanf_reads_them() {
    assert_eq!(parse_count("007"), Some(7));
    assert_eq!(parse_count("4294967298"), Some(2));
    assert_eq!(parse_count("18446744073709551618"), Some(u32::MAX));
    for text in ["", "+1", "-1", "1x", " 1", "x"] {
        assert_eq!(parse_count(text), None, "{text:?}");
    }
}

#[test]
fn device_ids_have_24_bits() {
    assert_eq!(parse_dev_id("0").unwrap().0, 0);
    assert_eq!(parse_dev_id("16777215").unwrap().0, 16_777_215);
    assert!(parse_dev_id("16777216").is_none());
    assert!(parse_dev_id("").is_none());
}

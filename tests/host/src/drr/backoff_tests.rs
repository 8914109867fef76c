// SPDX-License-Identifier: GPL-2.0

use super::backoff::{Backoff, DEVICE_ROW, FILE_ROW, RETRY_NS, SAMPLE};

const GROUP: u64 = 16;
const GROUPS: u64 = 4096;

/// How many of the groups of the data device are recorded.
fn recorded(backoff: &Backoff, mapping: usize, layer: u64, now: u64) -> u64 {
    let wanted = |group: &u64| backoff.wants(mapping, layer, group * GROUP, || now);
    (0..GROUPS).filter(wanted).count() as u64
}

fn fail(backoff: &Backoff, mapping: usize, layer: u64, times: u64, now: u64) {
    for _ in 0..times {
        backoff.failed(mapping, layer, now);
    }
}

fn about_a_sample(recorded: u64) -> bool {
    (GROUPS / SAMPLE / 2..GROUPS / SAMPLE * 2).contains(&recorded)
}

#[test]
fn what_fails_again_and_again_is_sampled_until_one_is_right() {
    let backoff = Backoff::new().unwrap();
    fail(&backoff, 0x1000, 7, FILE_ROW - 1, 5);
    assert_eq!(recorded(&backoff, 0x1000, 7, 5), GROUPS);
    fail(&backoff, 0x1000, 7, 1, 5);
    assert!(about_a_sample(recorded(&backoff, 0x1000, 7, 6)));
    assert_eq!(recorded(&backoff, 0x2000, 7, 6), GROUPS, "another file");
    assert_eq!(recorded(&backoff, 0x1000, 8, 6), GROUPS, "another layer");
    backoff.proven(0x1000, 7);
    assert_eq!(recorded(&backoff, 0x1000, 7, 6), GROUPS);
    fail(&backoff, 0x1000, 7, FILE_ROW - 1, 6);
    assert_eq!(recorded(&backoff, 0x1000, 7, 6), GROUPS, "a row of its own");
}

#[test]
fn failures_between_which_one_is_right_are_no_row() {
    let backoff = Backoff::new().unwrap();
    for _ in 0..100 {
        fail(&backoff, 0x1000, 7, FILE_ROW - 1, 5);
        backoff.proven(0x1000, 7);
    }
    assert_eq!(recorded(&backoff, 0x1000, 7, 5), GROUPS);
}

#[test]
fn it_is_tried_again_after_a_time_whatever_the_sample_says() {
    let backoff = Backoff::new().unwrap();
    let mut now = 12_345;
    for _ in 0..3 {
        fail(&backoff, 0x1000, 7, FILE_ROW, now);
        assert!(about_a_sample(recorded(&backoff, 0x1000, 7, now)));
        fail(&backoff, 0x1000, 7, 3, now + RETRY_NS / 2);
        assert!(about_a_sample(recorded(
            &backoff,
            0x1000,
            7,
            now + RETRY_NS / 2
        )));
        now += RETRY_NS + RETRY_NS / 10;
        assert_eq!(recorded(&backoff, 0x1000, 7, now), GROUPS);
    }
}

#[test]
fn a_device_of_small_files_backs_off_as_one() {
    let backoff = Backoff::new().unwrap();
    for n in 0..DEVICE_ROW {
        assert_eq!(recorded(&backoff, 0x100_0000, 7, 5), GROUPS);
        backoff.failed(0x1000 + n as usize * 0x400, 7, 5);
    }
    assert!(about_a_sample(recorded(&backoff, 0x100_0000, 7, 5)));
    assert_eq!(recorded(&backoff, 0x100_0000, 8, 5), GROUPS, "another one");
    backoff.proven(0x200_0000, 7);
    assert_eq!(recorded(&backoff, 0x100_0000, 7, 5), GROUPS);
}

#[test]
fn places_are_shared_without_harm() {
    let backoff = Backoff::new().unwrap();
    for n in 1..5000usize {
        fail(&backoff, n * 0x1000, n as u64, FILE_ROW, 5);
        assert!(about_a_sample(recorded(&backoff, n * 0x1000, n as u64, 5)));
        backoff.proven(n * 0x1000, n as u64);
    }
    assert_eq!(recorded(&backoff, 0x1000, 1, 5), GROUPS);
}

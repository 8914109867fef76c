// SPDX-License-Identifier: GPL-2.0

use super::hash::Key;
use super::platform::set_out_of_memory;
use super::sampling::{cost_of, Sampling};

const HASH_NS: u64 = 500;
const STRETCH: u64 = 16;

/// Reads stretches from disk, a page in `page_ns`, as far as they are recorded; how many were.
fn read(s: &Sampling, stretches: std::ops::Range<u64>, page_ns: u64) -> u64 {
    stretches
        .filter(|n| s.wants(n * STRETCH))
        .map(|n| s.recorded(n * STRETCH, STRETCH, STRETCH * page_ns))
        .count() as u64
}

/// Stretches that are recorded before it is switched down, when nobody reads them again.
fn patience(page_ns: u64) -> u64 {
    let s = Sampling::with_cost(HASH_NS, true);
    (0..)
        .take_while(|n| {
            read(&s, *n..n + 1, page_ns);
            !s.is_sampled()
        })
        .count() as u64
}

#[test]
fn is_switched_down_where_nobody_reads_again_and_later_on_a_slow_disk() {
    let (nvme, ssd, hdd) = (patience(1_500), patience(8_000), patience(100_000));
    // 16 MiB at least; the gain of 64 MiB, a page for what the disk takes less the cost of serving.
    assert!(
        nvme.abs_diff(256) <= 1 || nvme.abs_diff(1024) <= 1,
        "{nvme}"
    );
    assert!(
        ssd.abs_diff(16_384 * 7_000 / HASH_NS / STRETCH) <= 16,
        "{ssd}"
    );
    assert!(hdd > 10 * ssd, "{hdd}");
}

#[test]
fn a_disk_as_quick_as_memory_gets_the_least_budget() {
    assert!(patience(100).abs_diff(4_096 / STRETCH) <= 1);
}

#[test]
fn everything_is_recorded_while_hits_pay() {
    let s = Sampling::with_cost(HASH_NS, true);
    for n in 0..200_000 {
        read(&s, n..n + 1, 8_000);
        // Every second stretch is read once more, by a sibling.
        if n % 2 == 0 {
            s.served(n * STRETCH, STRETCH);
        }
        assert!(!s.is_sampled(), "stretch {n}");
    }
}

#[test]
fn hits_that_do_not_pay_do_not_keep_it_up() {
    let s = Sampling::with_cost(HASH_NS, true);
    let recorded = (0..10_000u64)
        .filter(|n| {
            let recorded = read(&s, *n..n + 1, 700) == 1;
            // A page from this disk costs less than a copy that is proven.
            s.served(n * STRETCH, STRETCH);
            recorded
        })
        .count();
    assert!(s.is_sampled());
    assert!(recorded < 1_000, "{recorded}");
}

#[test]
fn the_sample_is_one_of_64_and_the_same_ones_again() {
    let s = Sampling::with_cost(HASH_NS, true);
    read(&s, 0..2_000, 700);
    assert!(s.is_sampled());
    let chosen = |from: u64| -> Vec<u64> {
        (from..from + 64_000)
            .filter(|n| s.wants(n * STRETCH))
            .collect()
    };
    for from in [0, 1 << 20, 1 << 40] {
        let sample = chosen(from);
        assert!(sample.len().abs_diff(1_000) < 20, "{}", sample.len());
        assert_eq!(sample, chosen(from));
        // All pages of a stretch, or none.
        for n in &sample {
            assert!((0..STRETCH).all(|i| s.wants(n * STRETCH + i)));
        }
    }
}

#[test]
fn siblings_that_come_later_bring_it_back() {
    let s = Sampling::with_cost(HASH_NS, true);
    read(&s, 0..20_000, 8_000);
    assert!(s.is_sampled());
    let mut read_again = 0u64;
    while s.is_sampled() {
        assert!(read_again < 4 * 16_384 / STRETCH, "it does not come back");
        // Only what is recorded can be served.
        if s.wants(read_again * STRETCH) {
            s.served(read_again * STRETCH, STRETCH);
        }
        read_again += 1;
    }
    // As many as gain half of the budget, as far as a sample can tell.
    assert!(read_again.abs_diff(8_192 / STRETCH) < 128, "{read_again}");
    assert!(s.wants(1) && s.wants(17 * STRETCH));
}

#[test]
fn switched_off_it_records_everything() {
    let s = Sampling::with_cost(HASH_NS, false);
    assert_eq!(read(&s, 0..20_000, 100), 20_000);
    s.set_enabled(true);
    read(&s, 0..20_000, 100);
    assert!(s.is_sampled());
    s.set_enabled(false);
    assert_eq!(read(&s, 0..20_000, 100), 20_000);
}

#[test]
fn measures_what_a_hash_costs() {
    let key = Key::new(|to| to.fill(0x1234_5678_9abc_def1), false).expect("memory");
    let cost = cost_of(&key).expect("memory");
    assert!(cost < 1_000_000_000);
    set_out_of_memory(true);
    assert_eq!(cost_of(&key), None);
    set_out_of_memory(false);
}

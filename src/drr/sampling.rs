// SPDX-License-Identifier: GPL-2.0

//! Whether it pays to record what is read from disk.
//!
//! A record costs the time of a content hash. It is worth that when a sibling reads the page later
//! and the disk would have taken longer: always so on a slow disk with siblings, never on a fast one
//! without. Which of the two it is, an account tells, in nanoseconds: recording is paid from it,
//! and each page that is served pays in what the disk took for a page lately, less what serving costs.
//!
//! The account may be overdrawn up to a *budget*, the gain from [`BUDGET_PAGES`] served pages: a new
//! image is recorded although nobody else reads it yet, and the slower the disk is, the longer. Beyond
//! that only a *sample* is recorded, one of [`SAMPLE`] stretches of the data device, which
//! counts that many times. So siblings that come later are noticed: when recording all would have earned half of
//! the budget, it is done again.
//!
//! This decides about time only, never about what is served. Any context but NMI: atomics, no lock; two
//! that account at once may forget one of them.
//!
//! Pure: compiled by the kernel and by the host tests.

use super::hash::{Key, PAGE_WORDS};
use super::platform::{array, now_ns};
use super::spread::is_in_sample;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Pages that may be recorded, in terms of what serving them would gain, before hits have to pay for more.
const BUDGET_PAGES: u64 = 16_384;
/// ... and at least, in terms of their cost, however little there is to gain.
const BUDGET_PAGES_MIN: u64 = 4_096;
/// One of so many stretches is in the sample.
const SAMPLE: u64 = 64;
/// Pages of a stretch: those of a chunk of the usual size, which a read rarely leaves.
const STRETCH_SHIFT: u32 = 4;
/// How often the cost of a hash is measured; the least counts.
const TRIES: u32 = 8;

/// The account of one domain.
pub(crate) struct Sampling {
    /// What the hash of a page costs, ns; at least 1.
    hash_ns: u64,
    /// What a page from the disk took lately, ns.
    read_ns: AtomicU64,
    /// While all is recorded, what has been spent, at most 0: what hits earn is not kept for bad times. While
    /// a sample is, what that would have earned, at least 0.
    balance: AtomicI64,
    sampled: AtomicBool,
    enabled: AtomicBool,
}

impl Sampling {
    /// Everything is recorded to begin with; a hash costs so many nanoseconds ([`cost_of`]).
    pub(crate) fn with_cost(hash_ns: u64, enabled: bool) -> Self {
        Self {
            hash_ns: hash_ns.max(1),
            read_ns: AtomicU64::new(0),
            balance: AtomicI64::new(0),
            sampled: AtomicBool::new(false),
            enabled: AtomicBool::new(enabled),
        }
    }

    /// Switches it: off, everything is recorded.
    pub(crate) fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Ordering::Relaxed);
        self.sampled.store(false, Ordering::Relaxed);
        self.balance.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Whether no more than a sample is recorded at the moment.
    pub(crate) fn is_sampled(&self) -> bool {
        self.sampled.load(Ordering::Relaxed)
    }

    /// Whether a read that begins at page `ppn` is to be recorded.
    pub(crate) fn wants(&self, ppn: u64) -> bool {
        !self.is_sampled() || in_sample(ppn)
    }

    /// That many pages, from `ppn` on, were read in `ns` nanoseconds, and recorded.
    pub(crate) fn recorded(&self, ppn: u64, pages: u64, ns: u64) {
        if pages == 0 || !self.is_enabled() {
            return;
        }
        let page = ns / pages;
        let before = self.read_ns.load(Ordering::Relaxed);
        let lately = match before {
            0 => page,
            _ => before - before / 8 + page / 8,
        };
        self.read_ns.store(lately, Ordering::Relaxed);
        let cost = pages.saturating_mul(self.hash_ns);
        self.account(ppn, (cost as i64).saturating_neg());
    }

    /// That many pages, from `ppn` on, were served.
    pub(crate) fn served(&self, ppn: u64, pages: u64) {
        if self.is_enabled() {
            self.account(ppn, pages.saturating_mul(self.gain()) as i64);
        }
    }

    /// What is gained by serving a page, ns: it is copied and hashed instead of being read.
    fn gain(&self) -> u64 {
        let lately = self.read_ns.load(Ordering::Relaxed);
        lately.saturating_sub(self.hash_ns.saturating_mul(2))
    }

    fn budget(&self) -> i64 {
        let gain = self.gain().saturating_mul(BUDGET_PAGES);
        let least = self.hash_ns.saturating_mul(BUDGET_PAGES_MIN);
        i64::try_from(gain.max(least)).unwrap_or(i64::MAX)
    }

    fn account(&self, ppn: u64, ns: i64) {
        let sampled = self.is_sampled();
        if sampled && !in_sample(ppn) {
            return;
        }
        let budget = self.budget();
        let before = self.balance.load(Ordering::Relaxed);
        let (balance, switch) = if sampled {
            let weighted = ns.saturating_mul(SAMPLE as i64);
            let balance = before.saturating_add(weighted).max(0);
            (balance, balance >= budget / 2)
        } else {
            let balance = before.saturating_add(ns).min(0);
            (balance, balance <= budget.saturating_neg())
        };
        if switch {
            self.balance.store(0, Ordering::Relaxed);
            self.sampled.store(!sampled, Ordering::Relaxed);
        } else {
            self.balance.store(balance, Ordering::Relaxed);
        }
    }
}

/// What a hash costs with `key`, in nanoseconds. `None` without memory. Process context.
pub(crate) fn cost_of(key: &Key) -> Option<u64> {
    let page = array(PAGE_WORDS, |i| i as u64)?;
    let page: &[u64; PAGE_WORDS] = page.get(..)?.try_into().ok()?;
    let mut least = u64::MAX;
    let mut sum = 0u64;
    for _ in 0..TRIES {
        let begun = now_ns();
        sum ^= key.hash(page);
        least = least.min(now_ns().saturating_sub(begun));
    }
    // Without a use the hashes would not be computed.
    core::hint::black_box(sum);
    Some(least)
}

/// Whether a page is in a stretch of the sample. Not every 64th stretch: files lie in patterns.
fn in_sample(ppn: u64) -> bool {
    is_in_sample(ppn >> STRETCH_SHIFT, SAMPLE)
}

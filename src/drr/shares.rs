// SPDX-License-Identifier: GPL-2.0

//! A budget that all domains of a pool use, and who gives way when it is used up.
//!
//! Each domain has a *share*: the budget divided by the number of domains that have something of it. A
//! domain may use more for as long as there is room. When there is none, the domain that has most
//! gives way, or another one that has its share at least. So a domain that has less than its share loses
//! nothing to others, whatever they do; and a budget that is used up always has a domain that gives way.
//!
//! Counts and choices only; what is given up, and where it is found, is the users' business (table.rs,
//! metapages.rs). Atomics, no lock; any context but NMI. Who counts and chooses beside others may see counts
//! that are a few behind.
//!
//! Pure: compiled by the kernel and by the host tests.

use super::domains::TAGS_MAX;
use super::platform::{array, Array};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Up to so many domains are compared each time.
const FEW: usize = 64;
/// ... and where there are more, once in sixteen times.
const SELDOM_MASK: u32 = 15;

/// What the domains of a pool have of one budget.
///
/// # Invariants
///
/// 1. `total` is the sum of `of`, but for those who are just counting.
/// 2. Every domain that has something has a number below `end`.
pub(crate) struct Shares {
    total: AtomicUsize,
    /// By the numbers of domains.
    of: Array<AtomicU32>,
    /// Domains that have something.
    holders: AtomicU32,
    end: AtomicUsize,
    /// The domain that had most when that was looked up last.
    most: AtomicU32,
    looks: AtomicU32,
}

/// A share at one moment: a domain that has so much may lose some.
#[derive(Clone, Copy)]
pub(crate) struct Share(u32);

impl Shares {
    /// Nobody has anything. `None` without memory. Process context.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            total: AtomicUsize::new(0),
            // The default domain, and those that have a tag.
            of: array(TAGS_MAX + 1, |_| AtomicU32::new(0))?,
            holders: AtomicU32::new(0),
            end: AtomicUsize::new(0),
            most: AtomicU32::new(0),
            looks: AtomicU32::new(0),
        })
    }

    /// The bytes that the counts take.
    pub(crate) fn bytes(&self) -> usize {
        self.of
            .len()
            .saturating_mul(core::mem::size_of::<AtomicU32>())
    }

    /// What all domains have together.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// What a domain has.
    pub(crate) fn of(&self, domain: u32) -> u32 {
        self.of
            .get(domain as usize)
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// A domain has one more.
    pub(crate) fn add(&self, domain: u32) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let Some(count) = self.of.get(domain as usize) else {
            return;
        };
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.holders.fetch_add(1, Ordering::Relaxed);
            let end = (domain as usize).saturating_add(1);
            if self.end.load(Ordering::Relaxed) < end {
                self.end.fetch_max(end, Ordering::Relaxed);
            }
        }
    }

    /// A domain has `n` less; it had as many.
    pub(crate) fn sub(&self, domain: u32, n: u32) {
        if n == 0 {
            return;
        }
        self.total.fetch_sub(n as usize, Ordering::Relaxed);
        let Some(count) = self.of.get(domain as usize) else {
            return;
        };
        if count.fetch_sub(n, Ordering::Relaxed) == n {
            self.holders.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A share of a budget of `room` when `domain` is about to have one more, or nobody in particular. Costs the same for
    /// any number of domains.
    pub(crate) fn share(&self, room: usize, domain: Option<u32>) -> Share {
        let comes = domain.is_some_and(|d| self.of(d) == 0);
        let holders = self.holders.load(Ordering::Relaxed);
        let holders = holders.saturating_add(comes.into()).max(1);
        let share = room.checked_div(holders as usize).unwrap_or(room).max(1);
        Share(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Whether a domain has its `share`, and so gives way.
    pub(crate) fn gives(&self, domain: u32, share: Share) -> bool {
        self.of(domain) >= share.0
    }

    /// The domain that has most; where there are many, one that had a while ago and still has more than
    /// `share`. May look at all domains: to be asked once for each thing that comes, not in each place that is looked at.
    pub(crate) fn most(&self, Share(share): Share) -> u32 {
        let end = self.end.load(Ordering::Relaxed);
        let before = self.most.load(Ordering::Relaxed);
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        if end > FEW && looks & SELDOM_MASK != 0 && self.of(before) > share {
            return before;
        }
        let domains = self.of.iter().take(end).enumerate();
        let most = domains
            .map(|(domain, n)| (n.load(Ordering::Relaxed), domain as u32))
            .max()
            .map_or(0, |(_, domain)| domain);
        self.most.store(most, Ordering::Relaxed);
        most
    }
}

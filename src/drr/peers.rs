// SPDX-License-Identifier: GPL-2.0

//! What the layers of a domain have in common with each other, and with nobody else: who reads what just now
//! (coalesce.rs), whether recording pays (sampling.rs),
//! and of which files it never does (backoff.rs).
//!
//! Each domain has its own, so that nothing in there can tell one domain of another. It is made when the domain gets
//! its first layer, and stays: the number of domains is bounded (domains.rs), and records carry their numbers. Reads that
//! are under way look their domain up with no lock, so what is theirs is not freed before the pool goes; it is
//! small where there are many (coalesce.rs).
//!
//! Pure: compiled by the kernel and by the host tests. Neighbours: serve.rs, record.rs (users).

use super::backoff::Backoff;
use super::coalesce::{Detached, Reads, Waiters};
use super::domains::{DEFAULT, TAGS_MAX};
use super::platform::{array, boxed_waiting, Array, Boxed, Once};
use super::sampling::Sampling;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is one domain's.
pub(crate) struct Peers<W> {
    pub(crate) reads: Reads<W>,
    pub(crate) sampling: Sampling,
    pub(crate) backoff: Boxed<Backoff>,
}

impl<W: Waiters> Peers<W> {
    /// `None` without memory. Process context.
    fn new(domain: u32, hash_ns: u64, sampling: bool) -> Option<Boxed<Self>> {
        boxed_waiting(Self {
            reads: Reads::new(domain)?,
            sampling: Sampling::with_cost(hash_ns, sampling),
            backoff: Backoff::new()?,
        })
    }
}

/// The peers of all domains of a pool.
pub(crate) struct AllPeers<W> {
    /// By the numbers of domains.
    of: Array<Once<Boxed<Peers<W>>>>,
    /// Domains from this number on have none.
    end: AtomicUsize,
    /// What the hash of a page costs, in nanoseconds.
    hash_ns: u64,
    /// Whether recording is switched down where it does not pay.
    sampling: AtomicBool,
}

impl<W: Waiters> AllPeers<W> {
    /// Those of the default domain. `None` without memory. Process context.
    pub(crate) fn new(hash_ns: u64, sampling: bool) -> Option<Self> {
        let all = Self {
            of: array(TAGS_MAX + 1, |_| Once::new())?,
            end: AtomicUsize::new(0),
            hash_ns,
            sampling: AtomicBool::new(sampling),
        };
        all.join(DEFAULT).then_some(all)
    }

    /// `domain` is about to have a layer; `false` without memory. The caller serialises. Process context.
    #[must_use]
    pub(crate) fn join(&self, domain: u32) -> bool {
        let Some(place) = self.of.get(domain as usize) else {
            return false;
        };
        if place.as_ref().is_some() {
            return true;
        }
        let on = self.sampling.load(Ordering::Relaxed);
        let Some(peers) = Peers::new(domain, self.hash_ns, on) else {
            return false;
        };
        place.populate(peers);
        self.end
            .fetch_max((domain as usize).saturating_add(1), Ordering::Release);
        true
    }

    /// Those of a domain that has, or had, a layer. Any context.
    pub(crate) fn of(&self, domain: u32) -> Option<&Peers<W>> {
        Some(&**self.of.get(domain as usize)?.as_ref()?)
    }

    fn all(&self) -> impl Iterator<Item = &Peers<W>> {
        let end = self.end.load(Ordering::Acquire);
        let made = self.of.iter().take(end);
        made.filter_map(|peers| Some(&**peers.as_ref()?))
    }

    /// Those who have waited long enough, in all domains. Any context but NMI.
    pub(crate) fn detach(&self, now: u64) -> Detached<W> {
        let mut out = Detached::nobody();
        for peers in self.all() {
            out.append(peers.reads.detach(now));
        }
        out
    }

    /// Switches sampling in all domains; off, everything is recorded. The caller serialises.
    pub(crate) fn set_sampling(&self, on: bool) {
        self.sampling.store(on, Ordering::Relaxed);
        for peers in self.all() {
            peers.sampling.set_enabled(on);
        }
    }

    pub(crate) fn is_sampling(&self) -> bool {
        self.sampling.load(Ordering::Relaxed)
    }

    /// Whether no more than a sample is recorded in some domain at the moment.
    pub(crate) fn is_any_sampled(&self) -> bool {
        self.all().any(|peers| peers.sampling.is_sampled())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A bucket of the access table (table.rs): its groups in their order, and who gives way when a key has too many.
//!
//! Pure: compiled by the kernel and by the host tests. The bucket's lock is held.

use super::group::{Batch, Group, MAX_SOURCES};
use super::list::{List, Node};
use super::platform::Boxed;
use super::shares::Shares;
use core::cmp::Reverse;

/// Groups that are kept of one key, in all domains: what a walk along a bucket's list costs at most, but for other
/// keys, of which few are in one bucket. The whole of what a domain may have of a key, a record in each group
/// ([`MAX_SOURCES`] of 16 pages), has room eight times.
pub(crate) const MAX_GROUPS_OF_KEY: usize = 512;

/// Groups in the order of invariant 1.
pub(super) struct Bucket {
    pub(super) groups: List<Group>,
}

impl Bucket {
    /// Drops every group for which `keep` says no, and takes it off `groups`.
    pub(super) fn retain(&mut self, groups: &Shares, keep: impl FnMut(&mut Group) -> bool) {
        self.retain_up_to(groups, (u64::MAX, u32::MAX), keep);
    }

    /// The same for the groups up to those of a key and domain.
    pub(super) fn retain_up_to(
        &mut self,
        groups: &Shares,
        place: (u64, u32),
        mut keep: impl FnMut(&mut Group) -> bool,
    ) {
        let past = |g: &Group| g.place() > place;
        self.groups.retain_before(past, |group| {
            let stays = keep(group);
            if !stays {
                groups.sub(group.id.domain, 1);
            }
            stays
        });
    }

    /// Puts a group in, as the newest of its key and domain.
    pub(super) fn push(&mut self, group: Boxed<Node<Group>>) {
        let place = group.item.place();
        self.groups.insert(group, |g| g.place() >= place);
    }

    /// The groups of `key` inside `domain`, newest first.
    pub(super) fn of(&self, key: u64, domain: u32) -> impl Iterator<Item = &Group> {
        let place = (key, domain);
        let up_to = self.groups.iter().take_while(move |g| g.place() <= place);
        up_to.filter(move |g| g.place() == place)
    }

    /// Whether some page of key `key` has more than `n` records inside `domain`.
    pub(super) fn has_copies(&self, key: u64, domain: u32, n: usize) -> bool {
        let mut copies = Copies::default();
        self.of(key, domain).for_each(|g| copies.add(g.valid));
        copies.are_more_than(n)
    }

    /// Takes the oldest group that `may_go` out.
    pub(super) fn take_oldest(
        &mut self,
        mut may_go: impl FnMut(&Group) -> bool,
    ) -> Option<Boxed<Node<Group>>> {
        let old = self.groups.iter().filter(|g| may_go(g));
        let oldest = old.map(|g| g.age).min()?;
        self.groups.take(|g| g.age == oldest)
    }

    /// One walk over the groups of a key to which `batch` is about to come.
    pub(super) fn survey(&self, batch: &Batch) -> Survey {
        let mut out = Survey::default();
        let place = (batch.key, batch.id.domain);
        let mut run: (u32, usize) = (0, 0);
        let mut most = None;
        for g in self.groups.iter().take_while(|g| g.key <= batch.key) {
            if g.key != batch.key {
                continue;
            }
            if g.place() == place {
                out.of_domain = out.of_domain.saturating_add(1);
                out.known |= g.id == batch.id;
                if g.id.layer == batch.from {
                    out.origin |= g.valid;
                }
            }
            out.of_key = out.of_key.saturating_add(1);
            if run.0 != g.id.domain || run.1 == 0 {
                // The one that comes is of this domain, too.
                run = (g.id.domain, usize::from(g.place() == place));
            }
            run.1 = run.1.saturating_add(1);
            // The last one of a domain is its oldest, and counts for all of them.
            most = most.max(Some((run.1, Reverse(g.age))));
        }
        if batch.id.layer == batch.from {
            out.origin |= batch.valid;
        }
        if !out.known {
            out.of_domain = out.of_domain.saturating_add(1);
            out.of_key = out.of_key.saturating_add(1);
        }
        out.gives_way = most.map(|(_, Reverse(age))| age);
        out
    }

    /// Takes the group of `batch` out that has the same identity.
    pub(super) fn take_known(&mut self, batch: &Batch) -> Option<Boxed<Node<Group>>> {
        self.groups.take(|g| g.key == batch.key && g.id == batch.id)
    }
}

/// The groups of a key when another one has come, or one of them is renewed.
#[derive(Default)]
pub(super) struct Survey {
    /// There is a group of the same identity.
    pub(super) known: bool,
    pub(super) of_domain: usize,
    pub(super) of_key: usize,
    /// Pages that have a record of the layer in the domain which they were copied from.
    pub(super) origin: u16,
    /// The age of who gives way if the key has too many: the oldest one of the domain that has most of them. Of
    /// two that have as many, that with the older one gives way.
    gives_way: Option<u64>,
}

impl Survey {
    /// The age of the group of the key that is to leave, if none has since.
    pub(super) fn surplus(&self) -> Option<u64> {
        self.gives_way.filter(|_| self.of_key > MAX_GROUPS_OF_KEY)
    }
}

/// Which pages of a key have more than 0, 1, ... records.
#[derive(Default)]
pub(super) struct Copies([u16; MAX_SOURCES]);

impl Copies {
    pub(super) fn add(&mut self, mut valid: u16) {
        for pages in &mut self.0 {
            let carry = *pages & valid;
            *pages |= valid;
            valid = carry;
        }
    }

    pub(super) fn are_more_than(&self, n: usize) -> bool {
        self.0.get(n).is_some_and(|pages| *pages != 0)
    }
}

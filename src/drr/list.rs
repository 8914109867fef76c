// SPDX-License-Identifier: GPL-2.0

//! A list of things that are each in memory of their own: what a bucket of the access table (table.rs) and one of
//! the metadata pages (metapages.rs) holds.
//!
//! Everything is one walk along the list. Nothing here allocates but [`node`]; the owner has a lock.
//!
//! Pure: compiled by the kernel and by the host tests. Any context.

use super::platform::{boxed, Boxed};

type Link<T> = Option<Boxed<Node<T>>>;

/// An item, and who comes after it.
pub(super) struct Node<T> {
    pub(super) item: T,
    next: Link<T>,
}

pub(super) struct List<T> {
    head: Link<T>,
}

/// Memory for an item of a list, with that in it. `None` without memory. Any context: never waits.
pub(super) fn node<T>(item: T) -> Option<Boxed<Node<T>>> {
    boxed(Node { item, next: None })
}

impl<T> List<T> {
    /// An empty list.
    pub(super) fn new() -> Self {
        Self { head: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(super) fn iter(&self) -> Iter<'_, T> {
        Iter {
            next: self.head.as_deref(),
        }
    }

    pub(super) fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            next: self.head.as_deref_mut(),
        }
    }

    /// Puts an item before the first one that is `behind` it, or at the end. It is in no list.
    pub(super) fn insert(&mut self, mut node: Boxed<Node<T>>, behind: impl Fn(&T) -> bool) {
        let mut link = &mut self.head;
        while link.as_ref().is_some_and(|here| !behind(&here.item)) {
            match link {
                Some(here) => link = &mut here.next,
                None => return,
            }
        }
        node.next = link.take();
        *link = Some(node);
    }

    /// Takes all items out that `wanted` accepts. Nothing is dropped.
    pub(super) fn take_all(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Self {
        let mut out = Self::new();
        let mut link = &mut self.head;
        loop {
            let taken = match link.as_ref() {
                Some(node) => wanted(&node.item),
                None => return out,
            };
            if taken {
                if let Some(mut node) = link.take() {
                    *link = node.next.take();
                    node.next = out.head.take();
                    out.head = Some(node);
                }
                continue;
            }
            match link {
                Some(node) => link = &mut node.next,
                None => return out,
            }
        }
    }

    /// Takes the first item out that `wanted` accepts.
    pub(super) fn take(
        &mut self,
        mut wanted: impl FnMut(&mut T) -> bool,
    ) -> Option<Boxed<Node<T>>> {
        let mut link = &mut self.head;
        loop {
            if wanted(&mut link.as_mut()?.item) {
                let mut found = link.take();
                if let Some(node) = found.as_mut() {
                    *link = node.next.take();
                }
                return found;
            }
            match link {
                Some(node) => link = &mut node.next,
                None => return None,
            }
        }
    }

    /// Drops every item for which `keep` says no.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        self.retain_before(|_| false, keep);
    }

    /// The same for the items before the first one that is `past`, where they have an order.
    pub(super) fn retain_before(
        &mut self,
        past: impl Fn(&T) -> bool,
        mut keep: impl FnMut(&mut T) -> bool,
    ) {
        let mut link = &mut self.head;
        loop {
            let stays = match link.as_mut() {
                Some(node) if !past(&node.item) => keep(&mut node.item),
                _ => return,
            };
            if !stays {
                let next = link.as_mut().and_then(|node| node.next.take());
                // The old one goes here, alone: its link was taken.
                *link = next;
                continue;
            }
            match link {
                Some(node) => link = &mut node.next,
                None => return,
            }
        }
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        // One by one: the list must not be dropped by recursion.
        self.retain(|_| false);
    }
}

pub(super) struct Iter<'a, T> {
    next: Option<&'a Node<T>>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        let node = self.next?;
        self.next = node.next.as_deref();
        Some(&node.item)
    }
}

pub(super) struct IterMut<'a, T> {
    next: Option<&'a mut Node<T>>,
}

impl<'a, T> Iterator for IterMut<'a, T> {
    type Item = &'a mut T;

    fn next(&mut self) -> Option<&'a mut T> {
        let node = self.next.take()?;
        self.next = node.next.as_deref_mut();
        Some(&mut node.item)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The layer tree: which thin device was made from which.
//!
//! It names source and target in reports; correctness never depends on it. A device that the
//! tree does not know (made before the pool was loaded) is a root without parent.
//!
//! # Invariants
//!
//! `nodes` is sorted by id, each id once. A parent's id is a node of the tree or unknown.
//!
//! Pure: compiled by the kernel and by the host tests. The owner serialises (messages come one
//! by one).

use super::platform::{array, insert, remove, Array};

/// One device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) parent: Option<u32>,
}

/// All devices whose making or descent is known.
#[derive(Default)]
pub(crate) struct LayerTree {
    nodes: Array<Node>,
}

impl LayerTree {
    fn find(&self, id: u32) -> Result<usize, usize> {
        self.nodes.binary_search_by_key(&id, |n| n.id)
    }

    /// Notes that `id` exists, made from `parent`. Without memory the parent stays unknown:
    /// `false`.
    pub(crate) fn created(&mut self, id: u32, parent: Option<u32>) -> bool {
        // An origin of itself would be a cycle.
        let parent = parent.filter(|p| *p != id);
        if let Some(p) = parent {
            if self.find(p).is_err() && !self.created(p, None) {
                return false;
            }
        }
        match self.find(id) {
            Ok(n) => {
                if let Some(node) = self.nodes.get_mut(n) {
                    node.parent = parent;
                }
                true
            }
            Err(n) => insert(&mut self.nodes, n, Node { id, parent }),
        }
    }

    /// Notes that `id` is gone: its children descend from its parent now.
    pub(crate) fn deleted(&mut self, id: u32) {
        let Ok(n) = self.find(id) else { return };
        let Some(node) = remove(&mut self.nodes, n) else {
            return;
        };
        for child in self.nodes.iter_mut().filter(|c| c.parent == Some(id)) {
            child.parent = node.parent;
        }
    }

    /// A copy to be walked through without the owner's lock. `None` without memory. Process context.
    pub(crate) fn listing(&self) -> Option<Listing> {
        let copy = |n: usize| self.nodes.get(n).copied().unwrap_or_default();
        let nodes = array(self.nodes.len(), copy)?;
        let mut by_parent = array(self.nodes.len(), copy)?;
        by_parent.sort_unstable_by_key(place);
        Some(Listing {
            nodes,
            by_parent,
            last: None,
            depth: 0,
        })
    }
}

/// Where a node stands among all: roots first, then by parent, those of one parent by id.
fn place(node: &Node) -> (Option<u32>, u32) {
    (node.parent, node.id)
}

/// A walk through all devices depth first, parents before children, children by id. Each step costs a search among
/// them, on the way up one for each level.
pub(crate) struct Listing {
    /// Sorted by id.
    nodes: Array<Node>,
    /// Sorted by [`place`].
    by_parent: Array<Node>,
    /// Who came last, and the steps from it up to a root.
    last: Option<Node>,
    depth: u32,
}

impl Listing {
    /// The first node of `parent`.
    fn first_of(&self, parent: Option<u32>) -> Option<Node> {
        let at = self.by_parent.partition_point(|n| n.parent < parent);
        let first = self.by_parent.get(at).copied();
        first.filter(|n| n.parent == parent)
    }

    /// The node of `id`.
    pub(crate) fn get(&self, id: u32) -> Option<Node> {
        let n = self.nodes.binary_search_by_key(&id, |n| n.id).ok()?;
        self.nodes.get(n).copied()
    }

    /// The next node of the same parent.
    fn sibling(&self, node: &Node) -> Option<Node> {
        let at = self.by_parent.partition_point(|n| place(n) <= place(node));
        let next = self.by_parent.get(at).copied();
        next.filter(|n| n.parent == node.parent)
    }

    /// The next node, and its steps up to a root.
    pub(crate) fn step(&mut self) -> Option<(Node, u32)> {
        let mut node = self.last;
        let mut next = self.first_of(node.map(|n| n.id));
        if next.is_some() && node.is_some() {
            self.depth = self.depth.saturating_add(1);
        }
        // Up until there is a younger sibling: there is no cycle, for a parent is older than its children.
        while let (None, Some(here)) = (next, node) {
            next = self.sibling(&here);
            if next.is_none() {
                node = here.parent.and_then(|p| self.get(p));
                self.depth = self.depth.saturating_sub(1);
            }
        }
        self.last = next;
        next.map(|node| (node, self.depth))
    }
}

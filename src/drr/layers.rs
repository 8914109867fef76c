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
        let place = |n: usize| Place {
            node: self.nodes.get(n).copied().unwrap_or_default(),
            parent: None,
            child: None,
            sibling: None,
        };
        let mut places = array(self.nodes.len(), place)?;
        let mut root = None;
        // Backwards, so that each comes before its siblings of larger ids.
        for (n, node) in self.nodes.iter().enumerate().rev() {
            let parent = node.parent.and_then(|p| self.find(p).ok());
            let first = match parent.and_then(|p| places.get_mut(p)) {
                Some(parent) => &mut parent.child,
                None => &mut root,
            };
            let sibling = first.replace(n);
            if let Some(place) = places.get_mut(n) {
                place.parent = parent;
                place.sibling = sibling;
            }
        }
        Some(Listing {
            places,
            next: root,
            depth: 0,
        })
    }
}

/// A node in a listing, and where its parent, its first child and its next sibling are.
struct Place {
    node: Node,
    parent: Option<usize>,
    child: Option<usize>,
    sibling: Option<usize>,
}

/// A walk through all devices depth first, parents before children, children by id.
pub(crate) struct Listing {
    /// Sorted by id.
    places: Array<Place>,
    /// Who comes next, and the steps from it up to a root.
    next: Option<usize>,
    depth: u32,
}

impl Listing {
    /// The node of `id`.
    pub(crate) fn get(&self, id: u32) -> Option<Node> {
        let n = self.places.binary_search_by_key(&id, |p| p.node.id).ok()?;
        self.places.get(n).map(|p| p.node)
    }

    /// The next node, and its steps up to a root.
    pub(crate) fn step(&mut self) -> Option<(Node, u32)> {
        let here = self.places.get(self.next?)?;
        let out = (here.node, self.depth);
        if here.child.is_some() {
            self.next = here.child;
            self.depth = self.depth.saturating_add(1);
            return Some(out);
        }
        // Up until there is a younger sibling: there is no cycle, for a parent is older than its children.
        let mut at = Some(here);
        self.next = None;
        while let Some(place) = at {
            if place.sibling.is_some() {
                self.next = place.sibling;
                break;
            }
            at = place.parent.and_then(|p| self.places.get(p));
            self.depth = self.depth.saturating_sub(1);
        }
        Some(out)
    }
}

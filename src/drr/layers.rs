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

use super::platform::{insert, remove, Array};

/// One device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) parent: Option<u32>,
}

/// All devices whose making or descent is known.
#[derive(Default)]
pub(crate) struct LayerTree {
    nodes: Array<Node>,
}

/// Depth beyond which a chain of snapshots is reported as that deep.
const MAX_DEPTH: u32 = 1 << 16;

impl LayerTree {
    fn find(&self, id: u32) -> Result<usize, usize> {
        self.nodes.binary_search_by_key(&id, |n| n.id)
    }

    /// The node of `id`.
    pub(crate) fn get(&self, id: u32) -> Option<Node> {
        self.find(id).ok().and_then(|n| self.nodes.get(n)).copied()
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

    /// Steps from `id` up to a root; `None` when `id` is not known.
    pub(crate) fn depth(&self, id: u32) -> Option<u32> {
        let mut node = self.get(id)?;
        let mut depth: u32 = 0;
        while let Some(parent) = node.parent.and_then(|p| self.get(p)) {
            if depth >= MAX_DEPTH {
                break;
            }
            node = parent;
            depth = depth.saturating_add(1);
        }
        Some(depth)
    }

    /// Direct children of `id` (`None`: the roots), by id.
    pub(crate) fn children(&self, id: Option<u32>) -> impl Iterator<Item = u32> + '_ {
        self.nodes
            .iter()
            .filter(move |n| n.parent == id)
            .map(|n| n.id)
    }

    /// The node that follows `after` when the tree is walked depth first, parents before
    /// children, children by id; `None` at the end. `after: None` gives the first.
    pub(crate) fn next(&self, after: Option<u32>) -> Option<u32> {
        let Some(mut at) = after else {
            return self.children(None).next();
        };
        if let Some(child) = self.children(Some(at)).next() {
            return Some(child);
        }
        // Up until there is a younger sibling; bounded as in `depth`.
        for _ in 0..MAX_DEPTH {
            let parent = self.get(at)?.parent;
            if let Some(sibling) = self.children(parent).find(|c| *c > at) {
                return Some(sibling);
            }
            at = parent?;
        }
        None
    }
}

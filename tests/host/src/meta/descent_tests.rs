// SPDX-License-Identifier: GPL-2.0

//! Trees of all shapes, of which more and more blocks come into memory: what is missing is asked for once, level by level, and
//! in the end the lookup has all that it needs and nothing else was read.

use super::check::{capacity, INTERNAL, LEAF, NODE_HEADER};
use super::descent::*;
use super::format::BLOCK_SIZE;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
struct Tree {
    disk: HashMap<u64, Vec<u8>>,
    memory: BTreeSet<u64>,
}

impl InMemory for Tree {
    fn show<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.memory.contains(&block).then(|| f(&self.disk[&block]))
    }
}

impl Tree {
    fn node(&mut self, kind: u32, entries: &[(u64, u64)]) -> u64 {
        let mut b = vec![0; BLOCK_SIZE];
        b[4..8].copy_from_slice(&kind.to_le_bytes());
        b[16..20].copy_from_slice(&(entries.len() as u32).to_le_bytes());
        for (i, (key, value)) in entries.iter().enumerate() {
            let (k, v) = (NODE_HEADER + 8 * i, NODE_HEADER + 8 * (capacity(8) + i));
            b[k..k + 8].copy_from_slice(&key.to_le_bytes());
            b[v..v + 8].copy_from_slice(&value.to_le_bytes());
        }
        let block = self.disk.len() as u64 + 1;
        self.disk.insert(block, b);
        block
    }

    /// A tree of these entries with nodes of `width` entries at most: its root, and each node with its level and keys.
    fn grow(
        &mut self,
        entries: &BTreeMap<u64, u64>,
        width: usize,
    ) -> (u64, Vec<(u64, usize, u64, u64)>) {
        let mut nodes = Vec::new();
        let mut level: Vec<(u64, u64)> = entries.iter().map(|(k, v)| (*k, *v)).collect();
        let mut kind = LEAF;
        for height in 0.. {
            let mut above = Vec::new();
            for part in level.chunks(width) {
                let block = self.node(kind, part);
                above.push((part[0].0, block));
                nodes.push((block, height, part[0].0, 0));
            }
            if level.is_empty() {
                let block = self.node(LEAF, &[]);
                nodes.push((block, height, 0, 0));
                return (block, nodes);
            }
            if above.len() == 1 {
                break;
            }
            (level, kind) = (above, INTERNAL);
        }
        // A node ends where the next of its level begins.
        for i in 0..nodes.len() {
            let (_, height, ..) = nodes[i];
            nodes[i].3 = match nodes.get(i + 1) {
                Some((_, h, begin, _)) if *h == height => *begin,
                _ => u64::MAX,
            };
        }
        let root = nodes.last().unwrap().0;
        (root, nodes)
    }
}

proptest! {
    #[test]
    fn all_that_a_lookup_needs_is_read_and_no_more(
        keys in prop::collection::btree_map(0..500u64, 1..u64::MAX, 0..200),
        width in 2..9usize,
        begin in 0..510u64,
        len in 1..100u64,
        others in 0..4u64,
        few in any::<bool>(),
    ) {
        let mut tree = Tree::default();
        let (subtree, nodes) = tree.grow(&keys, width);
        let devices: BTreeMap<u64, u64> = (0..=others).map(|i| (2 * i, if i == others { subtree } else { 77 })).collect();
        let (root, top) = tree.grow(&devices, 2);
        let (end, device) = (begin + len, 2 * others);
        let mut rounds = 0;
        loop {
            let mut wants = Vec::new();
            missing(&mut tree, root, device, begin, end, |block| {
                wants.push(block);
                !few
            });
            if wants.is_empty() {
                break;
            }
            prop_assert!(!few || wants.len() == 1);
            for block in wants {
                prop_assert!(tree.disk.contains_key(&block));
                prop_assert!(tree.memory.insert(block), "asked for twice");
            }
            rounds += 1;
        }
        let heights = top.last().unwrap().1 + nodes.last().unwrap().1 + 2;
        prop_assert!(few || rounds <= heights, "{rounds} rounds for {heights} levels");
        // The device's nodes that are needed, by hand.
        let needed: BTreeSet<u64> = nodes
            .iter()
            .filter(|(_, height, first, until)| {
                let lowest = nodes.iter().find(|n| n.1 == *height).unwrap().2;
                let first = if *first == lowest { 0 } else { *first };
                first < end && begin < *until || nodes.len() == 1
            })
            .map(|n| n.0)
            .collect();
        let read: BTreeSet<u64> = nodes.iter().map(|n| n.0).filter(|b| tree.memory.contains(b)).collect();
        prop_assert_eq!(read, needed);
        // A device that is not there needs nothing of another.
        let before = tree.memory.clone();
        missing(&mut tree, root, device + 1, begin, end, |_| true);
        prop_assert_eq!(before, tree.memory.clone());
    }

    #[test]
    fn garbage_ends_the_walk(bytes in prop::collection::vec(any::<u8>(), BLOCK_SIZE), n in 0..300u32, kind in 0..4u32, key in any::<u64>()) {
        let mut block = bytes;
        block[4..8].copy_from_slice(&kind.to_le_bytes());
        block[16..20].copy_from_slice(&n.to_le_bytes());
        let mut tree = Tree::default();
        tree.disk.insert(1, block.clone());
        tree.memory.insert(1);
        let mut asked = 0;
        missing(&mut tree, 1, key, 0, u64::MAX, |_| {
            asked += 1;
            asked < 1000
        });
        // As the device's own tree.
        let root = tree.node(LEAF, &[(0, 1)]);
        let root = if root == 1 { 0 } else { root };
        tree.memory.insert(root);
        missing(&mut tree, root, 0, 0, u64::MAX, |_| {
            asked += 1;
            asked < 2000
        });
    }
}

#[test]
fn a_loop_ends_the_walk() {
    let mut tree = Tree::default();
    let root = tree.node(INTERNAL, &[(0, 1)]);
    assert_eq!(root, 1);
    tree.memory.insert(root);
    missing(&mut tree, root, 0, 0, 10, |_| panic!("nothing is missing"));
}

// SPDX-License-Identifier: GPL-2.0

//! Trees of all shapes: what `cut` leaves together is little, and nothing is lost or counted twice.

use super::check::{capacity, INTERNAL, LEAF, NODE_HEADER};
use super::format::BLOCK_SIZE;
use super::pieces::*;
use crate::drr::platform;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    Walk(Flaw),
    Read,
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        Self::Walk(flaw)
    }
}

/// A tree in memory: each node's block, and which are shared.
#[derive(Default)]
struct Memory {
    blocks: HashMap<u64, Vec<u8>>,
    shared: HashMap<u64, bool>,
    reads: Vec<u64>,
}

impl Nodes for Memory {
    type Error = Failure;

    fn show<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R, Failure> {
        self.reads.push(block);
        self.blocks.get(&block).map(|b| f(b)).ok_or(Failure::Read)
    }

    fn own(&mut self, children: &mut platform::Array<Child>) -> Result<(), Failure> {
        for c in children {
            c.own = !self.shared[&c.block];
        }
        Ok(())
    }
}

/// What a test says of a node.
#[derive(Clone, Debug)]
enum Shape {
    Leaf { shared: bool, entries: usize },
    Inner { shared: bool, below: Vec<Shape> },
}

impl Shape {
    fn mappings(&self) -> u64 {
        match self {
            Self::Leaf { entries, .. } => *entries as u64,
            Self::Inner { below, .. } => below.iter().map(Self::mappings).sum(),
        }
    }

    fn shared(&self) -> bool {
        match self {
            Self::Leaf { shared, .. } | Self::Inner { shared, .. } => *shared,
        }
    }

    /// Leaves that go when this node's parent is deleted.
    fn own_leaves(&self) -> usize {
        match self {
            _ if self.shared() => 0,
            Self::Leaf { .. } => 1,
            Self::Inner { below, .. } => below.iter().map(Self::own_leaves).sum(),
        }
    }
}

impl Memory {
    fn add(&mut self, shape: &Shape) -> u64 {
        let (flags, pointers, entries) = match shape {
            Shape::Leaf { entries, .. } => (LEAF, Vec::new(), *entries),
            Shape::Inner { below, .. } => {
                let pointers: Vec<u64> = below.iter().map(|s| self.add(s)).collect();
                let n = pointers.len();
                (INTERNAL, pointers, n)
            }
        };
        let at = self.blocks.len() as u64 + 1000;
        let mut block = vec![0; BLOCK_SIZE];
        block[4..8].copy_from_slice(&flags.to_le_bytes());
        block[16..20].copy_from_slice(&(entries as u32).to_le_bytes());
        for (i, p) in pointers.iter().enumerate() {
            let to = NODE_HEADER + 8 * (capacity(8) + i);
            block[to..to + 8].copy_from_slice(&p.to_le_bytes());
        }
        self.blocks.insert(at, block);
        self.shared.insert(at, shape.shared());
        at
    }

    fn of(shape: &Shape) -> (Self, u64) {
        let mut memory = Self::default();
        let root = memory.add(shape);
        (memory, root)
    }
}

fn leaf(shared: bool, entries: usize) -> Shape {
    Shape::Leaf { shared, entries }
}

fn inner(shared: bool, below: Vec<Shape>) -> Shape {
    Shape::Inner { shared, below }
}

/// A root over `nodes` nodes of `leaves` leaves each.
fn two_levels(nodes: usize, leaves: usize, shared: impl Fn(usize, usize) -> bool) -> Shape {
    let node = |n| (0..leaves).map(|l| leaf(shared(n, l), 100 + l)).collect();
    inner(false, (0..nodes).map(|n| inner(false, node(n))).collect())
}

#[test]
fn what_has_few_own_leaves_is_deleted_as_it_is() {
    for shape in [
        leaf(false, 0),
        leaf(false, 252),
        inner(false, vec![leaf(false, 100); LEAVES]),
        inner(false, vec![leaf(true, 100); 252]),
    ] {
        let (mut memory, root) = Memory::of(&shape);
        assert_eq!(cut(&mut memory, root), Ok(vec![]));
    }
}

#[test]
fn a_tree_of_many_own_leaves_is_cut_with_exact_counts() {
    let shape = two_levels(10, LEAVES / 2, |_, _| false);
    let (mut memory, root) = Memory::of(&shape);
    let pieces = cut(&mut memory, root).unwrap();
    // Two of the ten stay.
    assert_eq!(pieces.len(), 8);
    let each: usize = (0..LEAVES / 2).map(|l| 100 + l).sum();
    assert!(pieces.iter().all(|p| p.mapped == each as u64));
}

#[test]
fn leaves_become_pieces_of_their_own() {
    let shape = inner(false, (0..252).map(|n| leaf(n % 2 == 0, n + 1)).collect());
    let (mut memory, root) = Memory::of(&shape);
    let pieces = cut(&mut memory, root).unwrap();
    assert_eq!(pieces.len(), 126 - LEAVES);
    let mapped: Vec<u64> = pieces.iter().map(|p| p.mapped).collect();
    let odd = (2 * LEAVES as u64..252).filter(|n| n % 2 == 1);
    assert_eq!(mapped, odd.map(|n| n + 1).collect::<Vec<_>>());
}

#[test]
fn mappings_that_a_piece_shares_are_counted_too() {
    let shape = two_levels(3, LEAVES + 2, |_, l| l == 0);
    let (mut memory, root) = Memory::of(&shape);
    let pieces = cut(&mut memory, root).unwrap();
    let each: usize = (0..LEAVES + 2).map(|l| 100 + l).sum();
    assert_eq!(pieces.len(), 3);
    assert!(pieces.iter().all(|p| p.mapped == each as u64));
}

#[test]
fn a_shared_tree_costs_no_look_at_its_leaves() {
    let shape = two_levels(10, 100, |n, _| n > 0);
    let (mut memory, root) = Memory::of(&shape);
    let pieces = cut(&mut memory, root).unwrap();
    // The one node whose leaves are own, all of them; no leaf of the others was read but the one
    // that tells the height.
    assert_eq!(pieces.len(), 1);
    let leaves: Vec<u64> = memory.reads.clone();
    assert!(leaves.len() < 10 + 100 + 10, "{} reads", leaves.len());
}

#[test]
fn damage_and_lack_of_memory_have_their_names() {
    let (mut memory, root) = Memory::of(&two_levels(3, LEAVES, |_, _| false));
    memory.blocks.get_mut(&root).unwrap()[4] = 3;
    assert_eq!(cut(&mut memory, root), Err(Failure::Walk(Flaw::Damage)));

    let (mut memory, root) = Memory::of(&two_levels(3, LEAVES, |_, _| false));
    memory.blocks.get_mut(&root).unwrap()[16..20].copy_from_slice(&253u32.to_le_bytes());
    assert_eq!(cut(&mut memory, root), Err(Failure::Walk(Flaw::Damage)));

    // A node that is its own first child.
    let (mut memory, root) = Memory::of(&two_levels(3, LEAVES, |_, _| false));
    let to = NODE_HEADER + 8 * capacity(8);
    memory.blocks.get_mut(&root).unwrap()[to..to + 8].copy_from_slice(&root.to_le_bytes());
    assert_eq!(cut(&mut memory, root), Err(Failure::Walk(Flaw::Damage)));

    let (mut memory, root) = Memory::of(&two_levels(3, LEAVES, |_, _| false));
    platform::set_out_of_memory(true);
    let r = cut(&mut memory, root);
    platform::set_out_of_memory(false);
    assert_eq!(r, Err(Failure::Walk(Flaw::NoMemory)));

    let (mut memory, root) = Memory::of(&two_levels(3, LEAVES, |_, _| false));
    memory.blocks.remove(&(root - 2));
    assert_eq!(cut(&mut memory, root), Err(Failure::Read));
}

fn level(below: impl Strategy<Value = Shape>) -> impl Strategy<Value = Shape> {
    (any::<bool>(), prop::collection::vec(below, 1..8))
        .prop_map(|(shared, below)| inner(shared, below))
}

fn trees() -> impl Strategy<Value = Shape> {
    let leaves = (any::<bool>(), 1usize..252).prop_map(|(shared, n)| leaf(shared, n));
    let wide = prop::collection::vec(leaves, 1..60);
    let nodes = (any::<bool>(), wide).prop_map(|(shared, below)| inner(shared, below));
    level(level(nodes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_stays_is_little_and_what_goes_is_own(shape in trees()) {
        let (mut memory, root) = Memory::of(&shape);
        let Shape::Inner { below, .. } = &shape else { unreachable!() };
        let pieces = cut(&mut memory, root).unwrap();
        let block = memory.blocks[&root].clone();
        let mut left = LEAVES;
        for (i, child) in below.iter().enumerate() {
            let at = NODE_HEADER + 8 * (capacity(8) + i);
            let place = u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
            let piece = pieces.iter().find(|p| p.root == place);
            // It goes if and only if it is too much.
            match left.checked_sub(child.own_leaves()) {
                Some(rest) => {
                    prop_assert_eq!(piece, None);
                    left = rest;
                }
                None => {
                    prop_assert!(!child.shared());
                    prop_assert_eq!(piece.map(|p| p.mapped), Some(child.mappings()));
                }
            }
        }
        prop_assert!(pieces.len() <= below.len());
    }
}

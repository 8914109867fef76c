// SPDX-License-Identifier: GPL-2.0

//! How the mappings of a device that is being deleted are cut into pieces, so that no other
//! device waits for all of them.
//!
//! Deleting a tree takes time for each leaf that nothing else refers to ("own"); what is shared
//! only loses a reference (dm-btree.c, `dm_btree_del`, 7.2). A device with many own leaves is
//! therefore taken apart: its tree is put aside under an id that no message can name, and where
//! that tree has too many, subtrees of it become such devices in their turn. Each of these steps
//! is a change like any other: a commit may come between two, the pool is sound in all of them,
//! and what a crash leaves is found by its ids and deleted later. dm-thin sees devices that
//! nobody can open.
//!
//! A subtree is a tree of mappings like any other: a root may have as few entries as it likes, and
//! keys are absolute. Its details must have the exact number of its mappings, which is why they
//! are counted here.
//!
//! Neighbours: `delete` makes the changes. Pure: compiled by the kernel and by the host tests.

use super::check::{capacity, HEIGHT_MAX, INTERNAL, LEAF, NODE_HEADER};
use super::format::{u32_at, u64_at};
use crate::drr::platform::{insert, Array};

/// The first id of devices that are being deleted: above those of messages (24 bits) and of their
/// fine maps.
pub(crate) const FIRST_ID: u64 = 1 << 25;

/// Own leaves that are deleted in one go, at most.
pub(crate) const LEAVES: usize = 32;

/// What a walk stumbles over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// A node is not what it should be.
    Damage,
    NoMemory,
}

/// A node below another.
#[derive(Clone, Copy)]
pub(crate) struct Child {
    pub(crate) block: u64,
    /// Nothing else refers to it.
    pub(crate) own: bool,
}

/// A tree to be cut, whose own nodes do not change meanwhile.
pub(crate) trait Nodes {
    type Error: From<Flaw>;

    /// Shows a node's block.
    fn show<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R, Self::Error>;

    /// Whether nothing but its parent refers to each of these blocks.
    fn own(&mut self, children: &mut Array<Child>) -> Result<(), Self::Error>;
}

/// A subtree that is to become a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) root: u64,
    pub(crate) mapped: u64,
}

/// The subtrees that are too much to be deleted together with the rest of the tree at `root`,
/// which must be own; none when it can be deleted as it is.
pub(crate) fn cut<N: Nodes>(nodes: &mut N, root: u64) -> Result<Array<Piece>, N::Error> {
    let mut pieces = Array::new();
    let height = height(nodes, root)?;
    if height == 0 {
        return Ok(pieces);
    }
    let mut left = LEAVES;
    for child in children(nodes, root)?.iter().filter(|c| c.own) {
        let own = own_leaves(nodes, child.block, height.saturating_sub(1), left)?;
        if let Some(rest) = left.checked_sub(own) {
            left = rest;
            continue;
        }
        let piece = Piece {
            root: child.block,
            mapped: mappings(nodes, child.block)?,
        };
        push::<_, N>(&mut pieces, piece)?;
    }
    Ok(pieces)
}

fn push<T, N: Nodes>(to: &mut Array<T>, value: T) -> Result<(), N::Error> {
    let at = to.len();
    if insert(to, at, value) {
        Ok(())
    } else {
        Err(Flaw::NoMemory.into())
    }
}

/// Entries of a node, and whether it is an internal one.
fn header(block: &[u8]) -> Option<(usize, bool)> {
    let internal = match u32_at(block, 4)? {
        INTERNAL => true,
        LEAF => false,
        _ => return None,
    };
    let entries = usize::try_from(u32_at(block, 16)?).ok()?;
    (entries <= capacity(8)).then_some((entries, internal))
}

fn pointer(block: &[u8], i: usize) -> Option<u64> {
    let at = capacity(8).checked_add(i)?.checked_mul(8)?;
    u64_at(block, at.checked_add(NODE_HEADER)?)
}

/// The children of an internal node; `None`: it is a leaf.
fn children_of(block: &[u8]) -> Result<Option<Array<Child>>, Flaw> {
    let (entries, internal) = header(block).ok_or(Flaw::Damage)?;
    if !internal {
        return Ok(None);
    }
    let mut out = Array::new();
    for i in 0..entries {
        let child = Child {
            block: pointer(block, i).ok_or(Flaw::Damage)?,
            own: false,
        };
        if !insert(&mut out, i, child) {
            return Err(Flaw::NoMemory);
        }
    }
    Ok(Some(out))
}

fn children<N: Nodes>(nodes: &mut N, block: u64) -> Result<Array<Child>, N::Error> {
    let found = nodes.show(block, children_of)??;
    let mut found = found.ok_or(Flaw::Damage)?;
    nodes.own(&mut found)?;
    Ok(found)
}

/// Levels of nodes below a root, by its first branch: the library keeps all branches alike.
fn height<N: Nodes>(nodes: &mut N, root: u64) -> Result<u8, N::Error> {
    let mut at = root;
    for height in 0..=HEIGHT_MAX {
        let below = nodes.show(at, |block| match header(block) {
            Some((_, false)) => Ok(None),
            Some((1.., true)) => pointer(block, 0).map(Some).ok_or(Flaw::Damage),
            _ => Err(Flaw::Damage),
        })??;
        match below {
            Some(block) => at = block,
            None => return Ok(height),
        }
    }
    Err(Flaw::Damage.into())
}

/// Own leaves that go with an own node of that height; more than `limit` are not all counted.
fn own_leaves<N: Nodes>(
    nodes: &mut N,
    block: u64,
    height: u8,
    limit: usize,
) -> Result<usize, N::Error> {
    let mut todo = Array::new();
    if height == 0 {
        return Ok(1);
    }
    push::<_, N>(&mut todo, (block, height))?;
    let mut found = 0usize;
    while let Some((block, height)) = todo.pop() {
        for child in children(nodes, block)?.iter().filter(|c| c.own) {
            if height > 1 {
                push::<_, N>(&mut todo, (child.block, height - 1))?;
            } else {
                found = found.saturating_add(1);
            }
        }
        if found > limit {
            break;
        }
    }
    Ok(found)
}

/// Mappings in a tree, whoever shares them.
fn mappings<N: Nodes>(nodes: &mut N, root: u64) -> Result<u64, N::Error> {
    let mut todo = Array::new();
    push::<_, N>(&mut todo, root)?;
    let mut found = 0u64;
    while let Some(block) = todo.pop() {
        let (entries, below) = nodes.show(block, |block| {
            let (entries, _) = header(block).ok_or(Flaw::Damage)?;
            Ok::<_, Flaw>((entries, children_of(block)?))
        })??;
        match below {
            None => found = found.saturating_add(entries as u64),
            Some(below) => {
                for child in below.iter() {
                    push::<_, N>(&mut todo, child.block)?;
                }
            }
        }
    }
    Ok(found)
}

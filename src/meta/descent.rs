// SPDX-License-Identifier: GPL-2.0

//! Which blocks a lookup of mappings still needs from the disk.
//!
//! A lookup that waits for the disk keeps the metadata lock, and a change that wants the lock would
//! keep all other lookups out. So who may wait asks here for the blocks that are not in memory,
//! reads them with no lock held, and looks up again.
//!
//! The trees are walked as the library does (dm-btree.c, `btree_lookup_raw`, 7.2), from the nodes
//! that are in memory. What contradicts the format ends the walk: the lookup itself will say so.
//!
//! Neighbours: `Metadata` owns the protocol, `dm::pdata` shows the nodes. Pure: compiled by the
//! kernel and by the host tests.

use super::check::{capacity, HEIGHT_MAX, INTERNAL, LEAF, NODE_HEADER};
use super::format::{u32_at, u64_at};

/// The blocks that are in memory.
pub(crate) trait InMemory {
    /// Shows a block; `None`: it is not in memory, or is being read. Does not wait for the disk.
    fn show<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Option<R>;
}

/// Where the search for a key goes on from a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Into this child, which has all keys from the searched one on below `until` (`None`: all).
    Child { block: u64, until: Option<u64> },
    /// The node is a leaf; the key's value.
    Leaf(Option<u64>),
}

/// The end of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// This block is not in memory. `until` as in [`Step`].
    Missing { block: u64, until: Option<u64> },
    /// The key's leaf is in memory; the key's value.
    Leaf {
        value: Option<u64>,
        until: Option<u64>,
    },
    /// The tree is not what it should be.
    Damage,
}

fn key_at(block: &[u8], i: usize) -> Option<u64> {
    u64_at(block, i.checked_mul(8)?.checked_add(NODE_HEADER)?)
}

fn value_at(block: &[u8], i: usize) -> Option<u64> {
    let at = capacity(8).checked_add(i)?.checked_mul(8)?;
    u64_at(block, at.checked_add(NODE_HEADER)?)
}

/// `None`: that is no node.
fn step(block: &[u8], key: u64) -> Option<Step> {
    let entries = usize::try_from(u32_at(block, 16)?).ok()?;
    if entries > capacity(8) {
        return None;
    }
    // Entries whose keys are not above the searched one.
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = low.midpoint(high);
        if key_at(block, middle)? <= key {
            low = middle.checked_add(1)?;
        } else {
            high = middle;
        }
    }
    let before = low.checked_sub(1);
    match u32_at(block, 4)? {
        INTERNAL => {
            // A key before the first is in no child; a range that begins there goes on in the first.
            let i = before.unwrap_or(0);
            if i >= entries {
                return None;
            }
            let next = i.checked_add(1)?;
            Some(Step::Child {
                block: value_at(block, i)?,
                until: if next < entries {
                    Some(key_at(block, next)?)
                } else {
                    None
                },
            })
        }
        LEAF => Some(Step::Leaf(match before {
            Some(i) if key_at(block, i)? == key => Some(value_at(block, i)?),
            _ => None,
        })),
        _ => None,
    }
}

/// Searches a tree of one level for a key.
fn search(nodes: &mut impl InMemory, root: u64, key: u64) -> Found {
    let (mut at, mut bound) = (root, None);
    for _ in 0..=HEIGHT_MAX {
        match nodes.show(at, |block| step(block, key)) {
            None => {
                return Found::Missing {
                    block: at,
                    until: bound,
                }
            }
            Some(Some(Step::Child { block, until })) => {
                at = block;
                bound = until.or(bound);
            }
            Some(Some(Step::Leaf(value))) => {
                return Found::Leaf {
                    value,
                    until: bound,
                }
            }
            Some(None) => return Found::Damage,
        }
    }
    Found::Damage
}

/// Tells `found` of the blocks that a lookup of the device's keys `[begin, end)` misses next, in the tree
/// of devices at `root`; `found` answers whether it wants more. Those below them are told of when
/// these have been read.
pub(crate) fn missing(
    nodes: &mut impl InMemory,
    root: u64,
    device: u64,
    begin: u64,
    end: u64,
    mut found: impl FnMut(u64) -> bool,
) {
    let subtree = match search(nodes, root, device) {
        Found::Missing { block, .. } => {
            found(block);
            return;
        }
        Found::Leaf {
            value: Some(subtree),
            ..
        } => subtree,
        Found::Leaf { value: None, .. } | Found::Damage => return,
    };
    let mut at = begin;
    while at < end {
        let until = match search(nodes, subtree, at) {
            Found::Missing { block, until } => {
                if !found(block) {
                    return;
                }
                until
            }
            Found::Leaf { until, .. } => until,
            Found::Damage => return,
        };
        match until {
            // Out of order is damage.
            Some(until) if until > at => at = until,
            _ => return,
        }
    }
}

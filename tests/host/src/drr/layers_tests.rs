// SPDX-License-Identifier: GPL-2.0

use super::layers::LayerTree;
use super::platform::set_out_of_memory;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    /// Devices are only made under ids that are free, from origins that exist: as messages do it.
    Create(u32, Option<u32>),
    Delete(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..12u32, proptest::option::of(0..12u32)).prop_map(|(id, p)| Op::Create(id, p)),
        1 => (0..12u32).prop_map(Op::Delete),
    ]
}

fn depth(model: &BTreeMap<u32, Option<u32>>, id: u32) -> u32 {
    match model[&id] {
        Some(p) if model.contains_key(&p) => depth(model, p) + 1,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_parents(ops in proptest::collection::vec(op(), 0..60)) {
        let mut tree = LayerTree::default();
        let mut model: BTreeMap<u32, Option<u32>> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Create(id, parent) => {
                    let parent = parent.filter(|p| model.contains_key(p));
                    if model.contains_key(&id) {
                        continue;
                    }
                    assert!(tree.created(id, parent));
                    model.insert(id, parent);
                }
                Op::Delete(id) => {
                    tree.deleted(id);
                    if let Some(grand) = model.remove(&id) {
                        for p in model.values_mut().filter(|p| **p == Some(id)) {
                            *p = grand;
                        }
                    }
                }
            }
            let all = tree.listing().unwrap();
            for id in 0..12 {
                prop_assert_eq!(all.get(id).map(|n| n.parent), model.get(&id).copied());
            }
            // The walk names everybody once, with its depth, parents first and children by id.
            let mut seen: Vec<u32> = Vec::new();
            let mut listing = tree.listing().unwrap();
            while let Some((node, deep)) = listing.step() {
                prop_assert_eq!(deep, depth(&model, node.id));
                prop_assert_eq!(Some(node), all.get(node.id));
                if let Some(p) = model[&node.id] {
                    prop_assert!(seen.contains(&p));
                }
                let brothers = seen.iter().filter(|id| model[id] == model[&node.id]);
                prop_assert!(brothers.copied().all(|id| id < node.id));
                seen.push(node.id);
            }
            prop_assert_eq!(seen.len(), model.len());
        }
    }
}

#[test]
fn an_unknown_origin_becomes_a_root() {
    let mut tree = LayerTree::default();
    assert!(tree.created(7, Some(3)));
    let mut listing = tree.listing().unwrap();
    let walk: Vec<_> = std::iter::from_fn(|| listing.step().map(|(n, d)| (n.id, d))).collect();
    assert_eq!(walk, [(3, 0), (7, 1)]);
}

#[test]
fn a_device_is_never_its_own_origin() {
    let mut tree = LayerTree::default();
    assert!(tree.created(5, Some(5)));
    assert_eq!(tree.listing().unwrap().get(5).unwrap().parent, None);
}

#[test]
fn without_memory_nothing_is_noted() {
    let mut tree = LayerTree::default();
    set_out_of_memory(true);
    assert!(!tree.created(1, Some(0)));
    set_out_of_memory(false);
    assert_eq!(tree.listing().unwrap().get(1), None);
    assert!(tree.created(1, None));
    set_out_of_memory(true);
    assert!(tree.listing().is_none());
    set_out_of_memory(false);
}

/// Ten thousand snapshots, each of the one before: a search for each step, not a look at all of them.
#[test]
fn a_long_chain_is_walked_through_quickly() {
    let mut tree = LayerTree::default();
    for id in 0..10_000u32 {
        assert!(tree.created(id, id.checked_sub(1)));
    }
    let began = std::time::Instant::now();
    let mut listing = tree.listing().unwrap();
    let walk: Vec<_> = std::iter::from_fn(|| listing.step().map(|(n, d)| (n.id, d))).collect();
    let wanted: Vec<_> = (0..10_000u32).map(|id| (id, id)).collect();
    assert_eq!(walk, wanted);
    // By looks at all of them it is ten times that.
    assert!(began.elapsed().as_millis() < 1500, "{:?}", began.elapsed());
}

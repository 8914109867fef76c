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
            for id in 0..12 {
                prop_assert_eq!(tree.get(id).map(|n| n.parent), model.get(&id).copied());
                prop_assert_eq!(tree.depth(id), model.get(&id).map(|_| depth(&model, id)));
            }
            // The walk names everybody once, parents first.
            let mut seen = Vec::new();
            let mut at = tree.next(None);
            while let Some(id) = at {
                if let Some(p) = model[&id] {
                    prop_assert!(seen.contains(&p));
                }
                prop_assert!(!seen.contains(&id));
                seen.push(id);
                at = tree.next(Some(id));
            }
            prop_assert_eq!(seen.len(), model.len());
        }
    }
}

#[test]
fn an_unknown_origin_becomes_a_root() {
    let mut tree = LayerTree::default();
    assert!(tree.created(7, Some(3)));
    assert_eq!(tree.depth(3), Some(0));
    assert_eq!(tree.depth(7), Some(1));
}

#[test]
fn a_device_is_never_its_own_origin() {
    let mut tree = LayerTree::default();
    assert!(tree.created(5, Some(5)));
    assert_eq!(tree.get(5).unwrap().parent, None);
}

#[test]
fn without_memory_nothing_is_noted() {
    let mut tree = LayerTree::default();
    set_out_of_memory(true);
    assert!(!tree.created(1, Some(0)));
    set_out_of_memory(false);
    assert_eq!(tree.next(None), None);
}

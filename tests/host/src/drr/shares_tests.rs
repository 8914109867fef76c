// SPDX-License-Identifier: GPL-2.0

//! Who gives way: never who has less than its share, and always somebody.

use super::domains::TAGS_MAX;
use super::shares::Shares;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn without_memory_there_are_none() {
    super::platform::set_out_of_memory(true);
    assert!(Shares::new().is_none());
    super::platform::set_out_of_memory(false);
}

#[test]
fn the_last_domain_counts_as_any_other() {
    let shares = Shares::new().unwrap();
    let last = TAGS_MAX as u32;
    shares.add(last);
    shares.add(last);
    assert_eq!((shares.of(last), shares.total()), (2, 2));
    assert_eq!(shares.most(shares.share(2, Some(0))), last);
    shares.sub(last, 2);
    assert_eq!((shares.of(last), shares.total()), (0, 0));
}

#[test]
fn the_domain_that_has_most_changes_with_what_they_have() {
    let shares = Shares::new().unwrap();
    (0..5).for_each(|_| shares.add(3));
    (0..4).for_each(|_| shares.add(9));
    assert_eq!(shares.most(shares.share(9, None)), 3);
    shares.sub(3, 2);
    assert_eq!(shares.most(shares.share(9, None)), 9);
}

proptest! {
    /// With any number of domains, from few to more than are compared each time.
    #[test]
    fn who_has_less_than_its_share_never_gives_way_and_somebody_does(
        room in 1..400usize,
        domains in 1..200u32,
        adds in prop::collection::vec(any::<u32>(), 1..2000),
        newcomer in 0..300u32,
    ) {
        let shares = Shares::new().unwrap();
        let mut model: BTreeMap<u32, u32> = BTreeMap::new();
        for add in adds {
            // Few domains come often.
            let domain = (add % domains).min(add >> 8 & 0xff);
            if shares.total() >= room {
                let given = shares.share(room, Some(domain));
                let most = shares.most(given);
                let holders = model.len() + usize::from(!model.contains_key(&domain));
                let share = ((room / holders).max(1)) as u32;
                for (d, n) in &model {
                    prop_assert_eq!(shares.gives(*d, given), *n >= share);
                }
                prop_assert!(model[&most] >= share);
                if domains <= 64 {
                    prop_assert_eq!(model[&most], *model.values().max().unwrap());
                }
                shares.sub(most, 1);
                let n = model.get_mut(&most).unwrap();
                *n -= 1;
                if *n == 0 {
                    model.remove(&most);
                }
            }
            shares.add(domain);
            *model.entry(domain).or_default() += 1;
            prop_assert_eq!(shares.total(), model.values().sum::<u32>() as usize);
        }
        let share = shares.share(room, Some(newcomer));
        prop_assert!(shares.total() < room || shares.gives(shares.most(share), share));
    }
}

// SPDX-License-Identifier: GPL-2.0

use super::quota::Quota;
use proptest::prelude::*;

/// Takes as many as it may.
fn fill(quota: &Quota, own: &mut u32) {
    while quota.take(*own) {
        *own += 1;
    }
}

#[test]
fn one_alone_gets_a_fifth() {
    let quota = Quota::new(1024);
    let mut own = 0;
    fill(&quota, &mut own);
    assert_eq!(own, 205);
}

#[test]
fn nobody_gets_the_last_one_twice() {
    let quota = Quota::new(1);
    assert!(quota.take(0));
    assert!(!quota.take(0));
    quota.give_back();
    assert!(quota.take(0));
}

proptest! {
    /// Whatever the order in which they take and give back, there are never more than all.
    #[test]
    fn never_more_than_all(most in 0u32..40, steps in prop::collection::vec((0usize..8, any::<bool>()), 0..300)) {
        let quota = Quota::new(most);
        let mut own = [0u32; 8];
        for (who, takes) in steps {
            if takes {
                let may = quota.left_for(own[who]) > 0;
                prop_assert_eq!(quota.take(own[who]), may);
                own[who] += u32::from(may);
            } else if own[who] > 0 {
                own[who] -= 1;
                quota.give_back();
            }
            let used: u32 = own.iter().sum();
            prop_assert!(used <= most);
            // Who has none gets one as long as there is one.
            prop_assert_eq!(quota.left_for(0) > 0, used < most);
        }
    }

    /// Each that takes all that it may, and never gives back, leaves four fifths of what was free.
    #[test]
    fn who_hang_leave_four_fifths(most in 1u32..5000, hanging in 0u32..60) {
        let quota = Quota::new(most);
        let mut free = most;
        for _ in 0..hanging {
            let mut own = 0;
            fill(&quota, &mut own);
            prop_assert!(own <= free.div_ceil(5));
            free -= own;
        }
        prop_assert_eq!(quota.left_for(0), free.div_ceil(5));
    }

    /// What is said to be left is what can be taken.
    #[test]
    fn as_many_as_are_left_can_be_taken(most in 0u32..100, others in 0u32..100, own in 0u32..100) {
        let quota = Quota::new(most);
        for _ in 0..others.min(most) {
            prop_assert!(quota.take(0));
        }
        let said = quota.left_for(own);
        let mut now = own;
        fill(&quota, &mut now);
        prop_assert_eq!(now - own, said);
    }
}

// SPDX-License-Identifier: GPL-2.0

use super::demand::{Demand, Wanted, GROUPS, MAX_FOR_ALL, MAX_FOR_GROUP, QUIET_NS};

const BUCKETS: usize = 8;

/// Ends the lap.
fn lap(demand: &Demand) {
    assert!(demand.step(BUCKETS - 1));
    assert!(demand.step(1));
    assert!(!demand.step(1));
}

/// Lets `pages` of `group` leave, if they may; whether they did.
fn leaves(demand: &Demand, group: usize, pages: usize) -> bool {
    let mut wanted = demand.wanted();
    let may = wanted.lets_go(group);
    if may {
        wanted.gone(group, pages);
        assert_eq!(wanted.pages_gone(), pages);
        demand.left(&wanted);
    }
    may
}

#[test]
fn the_system_takes_whosever_it_is_until_it_has_enough() {
    let demand = Demand::new(BUCKETS);
    assert!(demand.wanted().is_nothing());
    assert!(!leaves(&demand, 1, 1));
    demand.ask_for_all(10);
    assert!(leaves(&demand, 1, 4));
    assert!(leaves(&demand, 0, 5));
    assert!(!demand.wanted().is_nothing());
    assert!(leaves(&demand, 2, 16), "a folio leaves as a whole");
    assert!(demand.wanted().is_nothing());
    assert!(!leaves(&demand, 2, 1));
}

#[test]
fn a_group_takes_its_own_only() {
    let demand = Demand::new(BUCKETS);
    assert!(demand.ask_for_group(7, 3, 0));
    assert!(demand.wanted().by_group(7));
    assert!(!demand.wanted().by_group(8));
    assert!(!leaves(&demand, 8, 1));
    assert!(!leaves(&demand, 0, 1), "charged to nobody");
    assert!(leaves(&demand, 7, 2));
    assert!(demand.ask_for_group(7, 1, 0), "adds to what it asked for");
    assert!(leaves(&demand, 7, 2));
    assert!(demand.wanted().is_nothing());
}

#[test]
fn within_one_look_no_more_leaves_than_is_wanted() {
    let demand = Demand::new(BUCKETS);
    assert!(demand.ask_for_group(7, 2, 0));
    demand.ask_for_all(1);
    let mut wanted = demand.wanted();
    wanted.gone(9, 1);
    assert!(!wanted.lets_go(9), "the system has its page");
    assert!(wanted.lets_go(7));
    wanted.gone(7, 2);
    assert!(!wanted.lets_go(7));
    demand.left(&wanted);
    assert!(demand.wanted().is_nothing());
}

#[test]
fn who_got_nothing_is_not_heard_for_a_while() {
    let demand = Demand::new(BUCKETS);
    assert!(demand.ask_for_group(7, 3, 100));
    lap(&demand);
    assert!(demand.give_up(200));
    assert!(!demand.is_barren(200), "the system wanted nothing");
    assert!(demand.wanted().is_nothing());
    assert!(!demand.ask_for_group(7, 3, 201));
    assert!(demand.ask_for_group(8, 3, 201), "others are");
    assert!(demand.ask_for_group(7, 3, 200 + QUIET_NS));
    demand.ask_for_all(1);
    lap(&demand);
    assert!(demand.give_up(QUIET_NS));
    assert!(demand.is_barren(QUIET_NS));
    assert!(demand.wanted().is_nothing());
}

#[test]
fn places_are_for_those_who_want_something() {
    let demand = Demand::new(BUCKETS);
    for group in 1..=GROUPS {
        assert!(demand.ask_for_group(group, 1, 0));
    }
    assert!(!demand.ask_for_group(100, 1, 0), "no place");
    assert!(demand.ask_for_group(1, 1, 0));
    assert!(leaves(&demand, 3, 1));
    assert!(demand.ask_for_group(100, 1, 0));
    assert!(!leaves(&demand, 3, 1));
    assert!(leaves(&demand, 100, 1));
    // What another one in the same place has got is not this one's.
    let mut before = demand.wanted();
    before.gone(2, 1);
    lap(&demand);
    assert!(demand.give_up(0));
    assert!(demand.ask_for_group(200, 1, QUIET_NS));
    demand.left(&before);
    assert!(demand.wanted().by_group(200));
}

/// What is asked for already does not count: who is told of nothing more does not ask.
#[test]
fn no_more_is_asked_for_than_can_be_given_soon() {
    let demand = Demand::new(BUCKETS);
    assert_eq!(demand.room_for_all(), MAX_FOR_ALL);
    assert!(demand.ask_for_all(MAX_FOR_ALL - 1));
    assert_eq!(demand.room_for_all(), 1);
    assert!(demand.ask_for_all(128));
    assert_eq!(demand.room_for_all(), 0);
    assert!(!demand.ask_for_all(1), "enough");
    assert!(leaves(&demand, 0, MAX_FOR_ALL), "no more than that");
    assert!(demand.wanted().is_nothing());
    assert_eq!(demand.room_for_all(), MAX_FOR_ALL);

    assert_eq!(demand.room_for_group(7, 0), MAX_FOR_GROUP);
    assert!(demand.ask_for_group(7, MAX_FOR_GROUP - 2, 0));
    assert_eq!(demand.room_for_group(7, 0), 2);
    assert_eq!(demand.room_for_group(8, 0), MAX_FOR_GROUP);
    assert!(demand.ask_for_group(7, 128, 0));
    assert_eq!(demand.room_for_group(7, 0), 0);
    assert!(!demand.ask_for_group(7, 1, 0), "enough");
    assert!(leaves(&demand, 7, MAX_FOR_GROUP));
    assert!(!leaves(&demand, 7, 1), "no more than that");

    assert!(demand.ask_for_group(7, 1, 0));
    lap(&demand);
    assert!(demand.give_up(100));
    assert_eq!(demand.room_for_group(7, 200), 0, "not heard");
    assert_eq!(demand.room_for_group(7, 100 + QUIET_NS), MAX_FOR_GROUP);
    for group in 10..10 + GROUPS {
        demand.ask_for_group(group, 1, 100 + QUIET_NS);
    }
    assert_eq!(demand.room_for_group(100, 100 + QUIET_NS), 0, "no place");
}

/// Who asks at the moment at which a lap ends has not had his own.
#[test]
fn a_request_is_not_given_up_before_a_lap_of_its_own() {
    for by_group in [false, true] {
        let demand = Demand::new(BUCKETS);
        assert!(demand.ask_for_all(1));
        lap(&demand);
        if by_group {
            assert!(demand.ask_for_group(7, 2, 0));
        } else {
            assert!(demand.ask_for_all(2));
        }
        assert!(!demand.give_up(0));
        assert!(demand.wanted().by_group(7) == by_group);
        assert!(demand.wanted().lets_go(0), "the first one waits on");
        assert!(!demand.is_barren(0));
        lap(&demand);
        assert!(demand.give_up(0));
        assert!(demand.wanted().is_nothing() && demand.is_barren(0));
    }
}

/// The lap may have been past it.
#[test]
fn what_is_recorded_during_a_lap_can_be_asked_for_after_it() {
    let demand = Demand::new(BUCKETS);
    demand.ask_for_all(1);
    assert!(demand.step(BUCKETS));
    demand.recorded();
    assert!(!demand.step(1));
    assert!(demand.give_up(0));
    assert!(!demand.is_barren(0));
    demand.ask_for_all(1);
    lap(&demand);
    assert!(demand.give_up(0));
    assert!(demand.is_barren(0));
    demand.recorded();
    assert!(!demand.is_barren(0));
}

/// Else nobody would ever ask again: there would be no room.
#[test]
fn what_is_withdrawn_is_wanted_no_more_and_can_be_asked_for_again() {
    let demand = Demand::new(BUCKETS);
    assert!(demand.ask_for_all(MAX_FOR_ALL));
    assert!(demand.ask_for_group(7, MAX_FOR_GROUP, 0));
    let mut before = demand.wanted();
    demand.withdraw();
    assert!(demand.wanted().is_nothing());
    assert_eq!(demand.room_for_all(), MAX_FOR_ALL);
    assert_eq!(demand.room_for_group(7, 0), MAX_FOR_GROUP);
    // Whoever was at it takes it off nobody.
    before.gone(7, 16);
    demand.left(&before);
    assert!(!demand.step(1) && demand.give_up(0));
    assert!(!demand.is_barren(0), "nothing was looked through");
    assert!(demand.ask_for_all(1) && demand.ask_for_group(7, 1, 0));
    assert!(demand.step(BUCKETS));
}

/// What was in use may have become idle without a record.
#[test]
fn a_barren_table_is_looked_through_again_after_a_while() {
    let demand = Demand::new(BUCKETS);
    demand.ask_for_all(1);
    lap(&demand);
    assert!(demand.give_up(500));
    assert!(demand.is_barren(500 + QUIET_NS - 1));
    assert!(!demand.is_barren(500 + QUIET_NS));
    demand.ask_for_all(1);
    assert!(!demand.is_barren(500), "a lap is under way");
    lap(&demand);
    assert!(demand.give_up(QUIET_NS));
    assert!(demand.is_barren(2 * QUIET_NS - 1));
}

#[test]
fn everything_is_never_enough() {
    let mut wanted = Wanted::everything();
    wanted.gone(0, 1 << 40);
    assert!(wanted.lets_go(5) && !wanted.is_nothing());
    assert!(!wanted.by_group(5));
}

// SPDX-License-Identifier: GPL-2.0

use super::turns::{Turns, REST, RUN_NS};
use std::cell::Cell;

/// A work that runs for a simulated `span`, whenever it says so itself and, `nagged`, at any other time. Each duty has steps of so many
/// nanoseconds, without end; how long each has worked.
fn simulate(span: u64, steps: [u64; 2], nagged: bool) -> [u64; 2] {
    let turns = Turns::new();
    let now = Cell::new(1);
    let worked = [Cell::new(0), Cell::new(0)];
    let duty = |n: usize, end: u64| {
        while now.get() < end {
            now.set(now.get() + steps[n]);
            worked[n].set(worked[n].get() + steps[n]);
        }
        false
    };
    while now.get() < span {
        let rest = turns.run(|| now.get(), |end| duty(0, end), |end| duty(1, end));
        let rest = rest.expect("more is to be done");
        now.set(now.get() + if nagged { rest.div_ceil(7) } else { rest });
    }
    worked.map(Cell::into_inner)
}

#[test]
fn two_duties_without_end_share_a_part_of_the_processor() {
    let span = 1000 * RUN_NS;
    for nagged in [false, true] {
        for steps in [[1000, 1000], [RUN_NS / 20, 1000], [1000, RUN_NS / 20]] {
            let worked = simulate(span, steps, nagged);
            let most = span / (REST + 1) * 11 / 10;
            assert!(worked[0] + worked[1] <= most, "{worked:?} of {span}");
            assert!(
                worked[0] + worked[1] >= span / (REST + 1) / 2,
                "{worked:?} of {span}"
            );
            assert!(worked[0] >= most / 3 && worked[1] >= most / 3, "{worked:?}");
        }
    }
}

/// A step may take longer than a run.
#[test]
fn long_steps_of_one_duty_do_not_starve_the_other() {
    for steps in [[3 * RUN_NS, 1000], [1000, 3 * RUN_NS]] {
        let worked = simulate(1000 * RUN_NS, steps, false);
        assert!(worked[0] > 0 && worked[1] > 0, "{worked:?}");
        let least = worked[0].min(worked[1]);
        // Half a run of two, which last six and a half and are rested from.
        assert!(least >= 35 * RUN_NS / 2, "{worked:?}");
    }
}

/// ... and is rested from as long as it took.
#[test]
fn long_steps_take_no_larger_part_of_the_processor() {
    for steps in [[10 * RUN_NS, 1000], [15 * RUN_NS, 15 * RUN_NS]] {
        let span = 4000 * RUN_NS;
        let worked = simulate(span, steps, false);
        let most = span / (REST + 1) * 11 / 10;
        assert!(worked[0] + worked[1] <= most, "{worked:?} of {span}");
    }
}

#[test]
fn who_has_nothing_left_to_do_is_not_run_again_but_rests_when_asked() {
    let turns = Turns::new();
    let now = Cell::new(5);
    let work = |_| {
        now.set(now.get() + 1000);
        true
    };
    assert_eq!(turns.run(|| now.get(), work, work), None);
    let rest = turns.run(
        || now.get(),
        |_| panic!("too early"),
        |_| panic!("too early"),
    );
    assert_eq!(rest, Some(2000 * REST));
    now.set(now.get() + 2000 * REST);
    assert_eq!(turns.run(|| now.get(), work, work), None);
    now.set(now.get() + 2000 * REST);
    let some_left = turns.run(|| now.get(), work, |_| false);
    assert_eq!(some_left, Some(1000 * REST));
}

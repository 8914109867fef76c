// SPDX-License-Identifier: GPL-2.0

//! The modes' rules, over all pairs.

use super::mode::Mode;

const ALL: [Mode; 5] = [
    Mode::Write,
    Mode::OutOfDataSpace,
    Mode::OutOfMetadataSpace,
    Mode::ReadOnly,
    Mode::Fail,
];

fn pairs() -> impl Iterator<Item = (Mode, Mode)> {
    ALL.into_iter()
        .flat_map(|a| ALL.into_iter().map(move |b| (a, b)))
}

#[test]
fn numbers_stand_for_modes() {
    for m in ALL {
        assert_eq!(Mode::from_u32(m.to_u32()), m);
    }
    assert_eq!(Mode::from_u32(77), Mode::Fail);
}

#[test]
fn failure_is_for_ever() {
    for m in ALL {
        assert_eq!(Mode::Fail.transition(m, false), Mode::Fail);
    }
}

#[test]
fn an_unchecked_pool_is_never_written_to() {
    for (from, to) in pairs() {
        let got = from.transition(to, true);
        if to == Mode::Write {
            assert!(!got.metadata_writable(), "{from:?} to {to:?}: {got:?}");
        }
    }
}

#[test]
fn running_out_makes_nothing_better() {
    for (from, to) in pairs() {
        if matches!(to, Mode::OutOfDataSpace | Mode::OutOfMetadataSpace) {
            assert!(from.transition(to, false) >= from, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn status_words_are_those_that_clients_read() {
    assert_eq!(Mode::Write.status_word(), "rw");
    assert_eq!(Mode::OutOfDataSpace.status_word(), "out_of_data_space");
    assert_eq!(Mode::OutOfMetadataSpace.status_word(), "ro");
    assert_eq!(Mode::ReadOnly.status_word(), "ro");
}

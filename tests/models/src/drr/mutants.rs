// SPDX-License-Identifier: GPL-2.0

//! Copies of files of src/drr, each with one mistake. build.rs has the mistakes.

macro_rules! mutant {
    ($name:ident, $file:ident, $($used:ident)*) => {
        pub mod $name {
            use super::super::{$($used,)*};

            #[allow(unused_variables)]
            pub mod $file {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
        }
    };
}

macro_rules! table_mutants {
    ($($name:ident)*) => {
        $(mutant!($name, table, bits bucket group list platform shares spread);)*
    };
}

macro_rules! coalesce_mutants {
    ($($name:ident)*) => {
        $(mutant!($name, coalesce, group platform);)*
    };
}

table_mutants!(publication_looks_first write_cancels_nothing records_are_cancelled_last);
mutant!(pages_are_cancelled_last, metapages, bucket group list platform shares spread table);
coalesce_mutants!(leader_is_looked_for_before follower_does_not_look look_is_forgotten_late);
coalesce_mutants!(two_are_counted_at_once look_is_told_of_early);

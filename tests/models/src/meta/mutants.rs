// SPDX-License-Identifier: GPL-2.0

//! Copies of files of src/meta, each with one mistake. build.rs has the mistakes.

macro_rules! mutants {
    ($file:ident: $($name:ident)*) => {
        $(pub mod $name {
            #[allow(unused_variables)]
            pub mod $file {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
        })*
    };
}

mutants!(recent: cookie_is_not_renewed chunks_are_forgotten_early);

// SPDX-License-Identifier: GPL-2.0

//! Writes the mutants: copies of the module's files, each with one known mistake.
//!
//! A model is worth something only if it finds mistakes. So each mistake below is put into a copy of
//! the file, and a test asserts that the model of that file fails on the copy. A text that is to be
//! replaced must stand in its file exactly once. When a file has changed, its mutant changes along.

use std::path::Path;
use std::{env, fs};

/// A copy of a file of the module, with texts that replace others.
struct Mutant {
    name: &'static str,
    file: &'static str,
    texts: &'static [(&'static str, &'static str)],
}

const MUTANTS: &[Mutant] = &[
    // A publication looks for writes and for the layer's end first, and tells afterwards where it is.
    Mutant {
        name: "publication_looks_first",
        file: "drr/table.rs",
        texts: &[
            (
                "if !self.occupied.set(number) || !owner.touched.set(block) {
                return Published::NoMemory;
            }
            if self.gen",
                "if self.gen",
            ),
            (
                "return Published::Cancelled;
            }",
                "return Published::Cancelled;
            }
            if !self.occupied.set(number) || !owner.touched.set(block) {
                return Published::NoMemory;
            }",
            ),
        ],
    },
    // A write drops what there is, and cancels nothing.
    Mutant {
        name: "write_cancels_nothing",
        file: "drr/table.rs",
        texts: &[(
            "slot.generation.fetch_add(1, Ordering::AcqRel);",
            "let _ = slot;",
        )],
    },
    // Everything is dropped before what is being made is cancelled.
    Mutant {
        name: "records_are_cancelled_last",
        file: "drr/table.rs",
        texts: &[(
            "self.cancel_all();
        self.sweep_all(|_| false);",
            "self.sweep_all(|_| false);
        self.cancel_all();",
        )],
    },
    // Pages are dropped first, and their generation is raised without the bucket's lock.
    Mutant {
        name: "pages_are_cancelled_last",
        file: "drr/metapages.rs",
        texts: &[
            (
                "cancel(&slot.generation);
            b.take_all(range)
        });",
                "b.take_all(range)
        });
        cancel(&slot.generation);",
            ),
            (
                "self.cancel_all();
        for (n, slot)",
                "for (n, slot)",
            ),
            (
                "self.drop_in(slot, |_| {}, |_| true);
        }",
                "self.drop_in(slot, |_| {}, |_| true);
        }
        self.cancel_all();",
            ),
        ],
    },
    // A read looks for a leader in one hold of the lock, and becomes one in the next.
    Mutant {
        name: "leader_is_looked_for_before",
        file: "drr/coalesce.rs",
        texts: &[(
            "let begun = bucket.with(|b| {
                if may_follow && key == key_of(first) {
                    if let Some(other) = b.leader(first, wanted, &at) {
                        return Err(Some(other));
                    }
                }",
            "let other = bucket.with(|b| {
                if may_follow && key == key_of(first) {
                    b.leader(first, wanted, &at)
                } else {
                    None
                }
            });
            let begun = bucket.with(|b| {
                if other.is_some() {
                    return Err(other);
                }",
        )],
    },
    // A follower takes it for granted that its leader is still there.
    Mutant {
        name: "follower_does_not_look",
        file: "drr/coalesce.rs",
        texts: &[(
            "let leader = b
                .of(place.key, &at)
                .find(|e| e.lead == place.lead && e.pages != 0);",
            "let leader = b.entries.iter_mut().find(|e| e.key == place.key);
            let _ = &at;",
        )],
    },
    // What followers have said about the next look is forgotten after the look, not before.
    Mutant {
        name: "look_is_forgotten_late",
        file: "drr/coalesce.rs",
        texts: &[
            (
                "self.look_at.store(u64::MAX, Ordering::Relaxed);
        let patience = self.patience();",
                "let patience = self.patience();",
            ),
            (
                "self.waiting.fetch_sub(out.count, Ordering::Relaxed);",
                "self.look_at.store(u64::MAX, Ordering::Relaxed);
        self.waiting.fetch_sub(out.count, Ordering::Relaxed);",
            ),
        ],
    },
    // Two are counted at the same time.
    Mutant {
        name: "two_are_counted_at_once",
        file: "drr/coalesce.rs",
        texts: &[(
            "self.counting.with(|()| {
            if self",
            "let at_once = |f: &dyn Fn()| f();
        at_once(&|| {
            if self",
        )],
    },
    // A follower says when to look before it can be found there.
    Mutant {
        name: "look_is_told_of_early",
        file: "drr/coalesce.rs",
        texts: &[
            (
                "self.count_in();
        let at",
                "self.count_in();
        let soon = now.saturating_add(PATIENCE_MIN).min(until);
        self.look_at.fetch_min(soon, Ordering::Relaxed);
        let at",
            ),
            (
                "let soon = now.saturating_add(PATIENCE_MIN).min(until);
                self.look_at.fetch_min(soon, Ordering::Relaxed);
                Ok(())",
                "Ok(())",
            ),
        ],
    },
    // The cookie of an earlier commit stands for those after it.
    Mutant {
        name: "cookie_is_not_renewed",
        file: "meta/recent.rs",
        texts: &[(
            "self.pending.absorb(filling);
            self.cookie = Some(epochs.cookie());",
            "self.pending.absorb(filling);
            self.cookie.get_or_insert_with(|| epochs.cookie());",
        )],
    },
    // Chunks are forgotten at the next look, whether readers have left or not.
    Mutant {
        name: "chunks_are_forgotten_early",
        file: "meta/recent.rs",
        texts: &[(
            "self.cookie.is_some_and(|c| epochs.is_past(c))",
            "self.cookie.is_some()",
        )],
    },
];

fn main() {
    let src = Path::new("../../src");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    for mutant in MUTANTS {
        let path = src.join(mutant.file);
        println!("cargo::rerun-if-changed={}", path.display());
        let mut text =
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (from, to) in mutant.texts {
            let found = text.matches(from).count();
            assert!(
                found == 1,
                "mutant {}: its text stands {found} times in src/{}. Adapt it in tests/models/build.rs:\n{from}",
                mutant.name,
                mutant.file
            );
            text = text.replace(from, to);
        }
        // An included file has no head of its own.
        let text = text.replace("\n//!", "\n//");
        let path = Path::new(&out).join(format!("{}.rs", mutant.name));
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

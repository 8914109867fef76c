// SPDX-License-Identifier: GPL-2.0

//! Lint: a type's name has one meaning in the whole module.
//!
//! Names that are declared more than once are listed with the files that do so. The lint fails on any other, and on a listed
//! file that no longer does, so that the list only shrinks.

use crate::sources::{self, ident, Source};
use anyhow::Result;
use proc_macro2::{Delimiter, TokenTree};
use std::collections::BTreeMap;

/// A name that is declared more than once, and the files that declare it.
type Twice<'a> = (&'a str, &'a [&'a str]);

const EXCEPTIONS: [Twice<'static>; 28] = [
    ("Armed", &["src/dm/folio.rs", "src/dm/work.rs"]),
    ("Batch", &["src/drr/group.rs", "src/meta/mod.rs"]),
    (
        "Bucket",
        &[
            "src/drr/bucket.rs",
            "src/drr/coalesce.rs",
            "src/drr/metapages.rs",
        ],
    ),
    ("Changing", &["src/meta/format.rs", "src/pool/messages.rs"]),
    ("Client", &["src/dm/kcopyd.rs", "src/dm/rawdisk.rs"]),
    ("Device", &["src/meta/devices.rs", "src/thin/device.rs"]),
    ("Devices", &["src/meta/devices.rs", "src/thin/device.rs"]),
    (
        "Entry",
        &[
            "src/drr/coalesce.rs",
            "src/pool/table.rs",
            "src/thin/device.rs",
        ],
    ),
    (
        "Found",
        &["src/dm/folio.rs", "src/dm/stack.rs", "src/meta/descent.rs"],
    ),
    (
        "Group",
        &[
            "src/drr/demand.rs",
            "src/drr/group.rs",
            "src/drr/metapages.rs",
        ],
    ),
    ("Held", &["src/meta/held.rs", "src/thin/discard.rs"]),
    ("IrqLock", &["src/dm/irqlock.rs", "src/dm/sync.rs"]),
    ("Listed", &["src/drr/message.rs", "src/pool/roster.rs"]),
    ("Metadata", &["src/drr/metadata.rs", "src/meta/mod.rs"]),
    (
        "Node",
        &[
            "src/dm/pooled.rs",
            "src/drr/layers.rs",
            "src/drr/list.rs",
            "src/meta/check.rs",
        ],
    ),
    ("PerBio", &["src/dm/mod.rs", "src/thin/mod.rs"]),
    ("Piece", &["src/dm/folio.rs", "src/meta/pieces.rs"]),
    (
        "Place",
        &[
            "src/dm/folio.rs",
            "src/drr/backoff.rs",
            "src/drr/coalesce.rs",
            "src/drr/layers.rs",
            "src/pool/roster.rs",
        ],
    ),
    ("Refused", &["src/drr/domains.rs", "src/thin/claim.rs"]),
    (
        "Row",
        &[
            "src/drr/backoff.rs",
            "src/drr/heatmap.rs",
            "src/drr/message.rs",
        ],
    ),
    ("Slot", &["src/drr/metapages.rs", "src/drr/table.rs"]),
    (
        "State",
        &["src/drr/demand.rs", "src/drr/mod.rs", "src/meta/mod.rs"],
    ),
    ("Survey", &["src/drr/bucket.rs", "src/meta/delete.rs"]),
    ("Table", &["src/drr/table.rs", "src/pool/table.rs"]),
    ("Tally", &["src/drr/stats.rs", "src/meta/check.rs"]),
    ("Turns", &["src/drr/turns.rs", "src/thin/claim.rs"]),
    ("Window", &["src/dm/rawdisk.rs", "src/meta/windows.rs"]),
    ("Words", &["src/dm/folio.rs", "src/drr/hash.rs"]),
];

pub fn check() -> Result<()> {
    sources::verdict(complaints(&sources::read("src")?, &EXCEPTIONS))
}

fn complaints(files: &[Source], exceptions: &[Twice]) -> Vec<String> {
    let mut said = Vec::new();
    let found = declared(files);
    let listed = |name: &str| exceptions.iter().find(|(n, _)| *n == name).map(|e| e.1);
    for (name, places) in &found {
        let known = listed(name).unwrap_or_default();
        let is_new = places.iter().any(|p| !known.contains(p));
        if places.len() > 1 && is_new {
            said.push(format!("{name} is declared in {}", places.join(", ")));
        }
    }
    for (name, known) in exceptions {
        let places = found.get(*name).cloned().unwrap_or_default();
        for file in known.iter().filter(|file| !places.contains(file)) {
            said.push(format!(
                "{file} does not declare {name} any more: take it off the list in xtask/src/names.rs"
            ));
        }
        if known.len() < 2 {
            said.push(format!(
                "{name} has one meaning: take it off the list in xtask/src/names.rs"
            ));
        }
    }
    said
}

/// The names of all types and traits, and the files that declare them. Several declarations in a file are one: they are
/// alternatives, or private to functions.
fn declared(files: &[Source]) -> BTreeMap<String, Vec<&str>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for f in files {
        for name in names(f.tokens.clone().into_iter().collect()) {
            let places = all.entry(name).or_default();
            if places.last() != Some(&f.path.as_str()) {
                places.push(&f.path);
            }
        }
    }
    all
}

/// The types and traits that tokens declare. What `impl` and `trait` blocks hold are associated types.
fn names(tokens: Vec<TokenTree>) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_block_of_trait = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(i) => match i.to_string().as_str() {
                "impl" => is_block_of_trait |= begins_item(&tokens[..at]),
                word @ ("struct" | "enum" | "union" | "trait" | "type") => {
                    is_block_of_trait |= word == "trait";
                    found.extend(ident(&tokens, at + 1));
                }
                _ => {}
            },
            TokenTree::Group(g) => {
                let braces = g.delimiter() == Delimiter::Brace;
                if !(braces && is_block_of_trait) {
                    found.extend(names(g.stream().into_iter().collect()));
                }
                is_block_of_trait &= !braces;
            }
            TokenTree::Punct(p) if p.as_char() == ';' => is_block_of_trait = false,
            _ => {}
        }
    }
    found
}

/// Whether what follows these tokens is an item; `impl` stands in types, too.
fn begins_item(before: &[TokenTree]) -> bool {
    match before.last() {
        None => true,
        Some(TokenTree::Group(g)) => g.delimiter() != Delimiter::Parenthesis,
        Some(TokenTree::Ident(i)) => i == "unsafe",
        Some(TokenTree::Punct(p)) => p.as_char() == ';',
        Some(TokenTree::Literal(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        match Source::new(path, text) {
            Ok(source) => source,
            Err(e) => panic!("{e:#}"),
        }
    }

    fn found(text: &str) -> Vec<String> {
        names(source("src/a.rs", text).tokens.into_iter().collect())
    }

    #[test]
    fn every_kind_of_declaration_is_found() {
        let text = "struct A; pub(crate) enum B {} trait C {} type D<T> = Vec<T>; union E { a: u32 }\n\
                    mod m { struct F(u32); }\n fn g() -> impl C { struct H; }\n fn i() { struct J {} }";
        let expected = ["A", "B", "C", "D", "E", "F", "H", "J"];
        assert_eq!(found(text), expected);
    }

    #[test]
    fn associated_types_and_uses_are_no_declarations() {
        let text =
            "impl A for B { type C = u32; }\n#[a] unsafe impl<T> A for B<T> { type C = u32; }\n\
                    trait D { type E; fn f() {} }\n\
                    use a::G;\nlet type_name = 1;";
        assert_eq!(found(text), ["D"]);
    }

    #[test]
    fn a_name_in_two_files_must_be_listed() {
        let a = || source("src/a.rs", "struct A; struct B;");
        let b = || source("src/b.rs", "enum A {}");
        let c = || source("src/c.rs", "type A = u32;");
        let listed: [Twice; 1] = [("A", &["src/a.rs", "src/b.rs"])];
        assert_eq!(complaints(&[a(), b()], &[]).len(), 1);
        assert_eq!(complaints(&[a(), b()], &listed).len(), 0);
        assert_eq!(complaints(&[a(), b(), c()], &listed).len(), 1);
    }

    #[test]
    fn the_list_only_shrinks() {
        let a = source("src/a.rs", "struct A;");
        let listed: [Twice; 1] = [("A", &["src/a.rs", "src/b.rs"])];
        assert_eq!(complaints(&[a], &listed).len(), 1);
        let a = source("src/a.rs", "struct A;");
        let listed: [Twice; 1] = [("A", &["src/a.rs"])];
        assert_eq!(complaints(&[a], &listed).len(), 1);
    }
}

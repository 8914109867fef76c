// SPDX-License-Identifier: GPL-2.0

//! Lint: a type's name has one meaning in the whole module.
//!
//! Names that are declared in several files are listed with the number of these files. The lint fails when a name has more than is
//! listed, and when it has fewer, so that the list only shrinks.

use crate::sources::{self, ident, Source};
use anyhow::Result;
use proc_macro2::{Delimiter, TokenTree};
use std::collections::BTreeMap;

/// Names that several files declare, and how many files do.
const EXCEPTIONS: [(&str, usize); 28] = [
    ("Armed", 2),
    ("Batch", 2),
    ("Bucket", 3),
    ("Changing", 2),
    ("Client", 2),
    ("Device", 2),
    ("Devices", 2),
    ("Entry", 3),
    ("Found", 3),
    ("Group", 3),
    ("Held", 2),
    ("IrqLock", 2),
    ("Listed", 2),
    ("Metadata", 2),
    ("Node", 4),
    ("PerBio", 2),
    ("Piece", 2),
    ("Place", 5),
    ("Refused", 2),
    ("Row", 3),
    ("Slot", 2),
    ("State", 3),
    ("Survey", 2),
    ("Table", 2),
    ("Tally", 2),
    ("Turns", 2),
    ("Window", 2),
    ("Words", 2),
];

pub fn check() -> Result<()> {
    sources::verdict(complaints(&sources::read("src")?, &EXCEPTIONS))
}

fn complaints(files: &[Source], exceptions: &[(&str, usize)]) -> Vec<String> {
    let mut said = Vec::new();
    let found = declared(files);
    for (name, places) in &found {
        let listed = exceptions.iter().find(|(n, _)| n == name);
        let most = listed.map_or(1, |(_, most)| *most);
        if places.len() > most {
            said.push(format!(
                "{name} is declared in {}: {most} may do that",
                places.join(", ")
            ));
        }
    }
    for (name, listed) in exceptions {
        let now = found.get(*name).map_or(0, Vec::len);
        if now < *listed {
            said.push(format!(
                "{name} is declared in {now} files, not in {listed}: {} the list in xtask/src/names.rs",
                if now < 2 { "take it off" } else { "lower it on" }
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
        assert_eq!(complaints(&[a(), b()], &[]).len(), 1);
        assert_eq!(complaints(&[a(), b()], &[("A", 2)]).len(), 0);
        assert_eq!(complaints(&[a(), b(), c()], &[("A", 2)]).len(), 1);
    }

    #[test]
    fn several_declarations_in_a_file_are_one() {
        let text = "#[cfg(a)] type A = u32; #[cfg(not(a))] type A = u64;";
        assert_eq!(complaints(&[source("src/a.rs", text)], &[]).len(), 0);
    }

    #[test]
    fn the_list_only_shrinks() {
        let a = || source("src/a.rs", "struct A;");
        let b = || source("src/b.rs", "struct A;");
        assert_eq!(complaints(&[a(), b()], &[("A", 3)]).len(), 1);
        assert_eq!(complaints(&[a()], &[("A", 2)]).len(), 1);
        assert_eq!(complaints(&[], &[("A", 2)]).len(), 1);
    }
}

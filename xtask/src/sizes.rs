// SPDX-License-Identifier: GPL-2.0

//! Lint: files and functions of the module and of this tool that a reader can take in.
//!
//! What is longer than the limits is listed with a ceiling, which it may not outgrow; the lint also fails when what is listed
//! has come down to the limit, so that the list only shrinks.

use crate::sources::{self, ident, is_punct, line_of, Source};
use anyhow::Result;
use proc_macro2::{Delimiter, TokenTree};
use std::collections::BTreeMap;

/// Lines of a file, all of them.
const FILE: usize = 900;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION: usize = 70;

/// Files above [`FILE`], with their ceilings.
const FILES: [(&str, usize); 2] = [("src/dm/pdata.rs", 1464), ("src/meta/mod.rs", 1497)];

/// Functions above [`FUNCTION`], as file and name, with their ceilings.
const FUNCTIONS: [(&str, &str, usize); 4] = [
    ("src/meta/mod.rs", "open_store", 76),
    ("src/pool/mod.rs", "new", 99),
    ("src/pool/target.rs", "ctr", 100),
    ("src/thin/map.rs", "map", 82),
];

pub fn check() -> Result<()> {
    let mut files = sources::read("src")?;
    files.extend(sources::read("xtask/src")?);
    let mut said = Vec::new();
    let listed = FILES.map(|(path, most)| (path.to_string(), most));
    said.extend(complaints(lengths(&files), &listed, FILE));
    let listed = FUNCTIONS.map(|(path, name, most)| (key(path, name), most));
    said.extend(complaints(functions(&files), &listed, FUNCTION));
    sources::verdict(said)
}

/// A function as it is listed and named.
fn key(path: &str, name: &str) -> String {
    format!("{path}: fn {name}")
}

fn lengths(files: &[Source]) -> BTreeMap<String, usize> {
    files.iter().map(|f| (f.path.clone(), f.lines)).collect()
}

/// The functions, and how long the longest of each name in a file is.
fn functions(files: &[Source]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for f in files {
        let mut streams = vec![f.tokens.clone()];
        while let Some(stream) = streams.pop() {
            let tokens: Vec<TokenTree> = stream.into_iter().collect();
            for at in 0..tokens.len() {
                if let Some((name, lines)) = function(&tokens, at) {
                    let longest = all.entry(key(&f.path, &name)).or_insert(lines);
                    *longest = lines.max(*longest);
                }
                if let TokenTree::Group(g) = &tokens[at] {
                    streams.push(g.stream());
                }
            }
        }
    }
    all
}

/// The name and the lines of the function that begins at a place in a list of tokens. A declaration without a body is none.
fn function(tokens: &[TokenTree], at: usize) -> Option<(String, usize)> {
    if ident(tokens, at)? != "fn" {
        return None;
    }
    let name = ident(tokens, at + 1)?;
    let body = (at..tokens.len()).find_map(|n| match &tokens[n] {
        TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => Some(Some(g)),
        _ if is_punct(tokens, n, ';') => Some(None),
        _ => None,
    });
    let end = body??.span_close().end().line;
    Some((name, end - line_of(&tokens[at]) + 1))
}

fn complaints(
    found: BTreeMap<String, usize>,
    listed: &[(String, usize)],
    limit: usize,
) -> Vec<String> {
    let ceiling = |what: &str| {
        listed
            .iter()
            .find(|(l, _)| l == what)
            .map(|(_, most)| *most)
    };
    let mut said = Vec::new();
    for (what, lines) in &found {
        let most = ceiling(what).unwrap_or(limit);
        if *lines > most {
            said.push(format!("{what}: {lines} lines, at most {most}"));
        }
    }
    for (what, _) in listed {
        if found.get(what).is_none_or(|lines| *lines <= limit) {
            said.push(format!(
                "{what} has no more than {limit} lines: take it off the list in xtask/src/sizes.rs"
            ));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> BTreeMap<String, usize> {
        match Source::new("src/a.rs", text) {
            Ok(source) => functions(&[source]),
            Err(e) => panic!("{e:#}"),
        }
    }

    fn all(entries: &[(&str, usize)]) -> BTreeMap<String, usize> {
        entries
            .iter()
            .map(|(name, lines)| (key("src/a.rs", name), *lines))
            .collect()
    }

    #[test]
    fn functions_are_measured_wherever_they_stand() {
        let text = "fn a() {}\nimpl B {\n    #[inline]\n    fn c(\n    ) -> Vec<fn(u32)> {\n        0\n    }\n}\n\
                    macro_rules! m { () => {\n fn d() {\n } } }\n\
                    fn e() {\n    fn f() {\n    }\n}\n";
        assert_eq!(
            found(text),
            all(&[("a", 1), ("c", 4), ("d", 2), ("e", 4), ("f", 2)])
        );
    }

    #[test]
    fn declarations_and_types_are_no_functions() {
        let text = "trait A { fn b(&self); }\ntype C = fn(u32);\nstruct D {}\n";
        assert_eq!(found(text), all(&[]));
    }

    #[test]
    fn the_longest_of_a_name_counts() {
        let text = "impl A { fn a() {\n} }\nimpl B { fn a() {\n\n} }\nimpl C { fn a() {} }\n";
        assert_eq!(found(text), all(&[("a", 3)]));
    }

    #[test]
    fn limits_and_ceilings_hold() {
        let sizes = || all(&[("short", 5), ("long", 9)]);
        let listed = |name: &str, most| (key("src/a.rs", name), most);
        assert_eq!(complaints(sizes(), &[], 5).len(), 1);
        assert_eq!(complaints(sizes(), &[listed("long", 9)], 5).len(), 0);
        assert_eq!(complaints(sizes(), &[listed("long", 8)], 5).len(), 1);
    }

    #[test]
    fn the_list_only_shrinks() {
        let sizes = || all(&[("short", 5)]);
        let listed = |name: &str| (key("src/a.rs", name), 9);
        assert_eq!(complaints(sizes(), &[listed("short")], 5).len(), 1);
        assert_eq!(complaints(sizes(), &[listed("gone")], 5).len(), 1);
    }
}

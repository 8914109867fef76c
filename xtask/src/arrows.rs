// SPDX-License-Identifier: GPL-2.0

//! Lint: arrows point down.
//!
//! The module is a house: each of its files belongs to a room, and each room stands on a floor. A file may use
//! files of its own room and of lower floors. An arrow is a path in the source that names another file's
//! module, or something in that module: in a `use`, or anywhere in the code. Two rooms on one floor do not
//! use each other.
//!
//! The arrows that run otherwise are listed with a reason. The lint fails on any other, and on a listed one that no
//! longer exists, so that the list only shrinks.

use crate::sources::{self, ident, is_punct, line_of, Source};
use anyhow::Result;
use proc_macro2::{Delimiter, TokenTree};
use std::collections::{BTreeMap, HashMap};

/// The files that stand on one floor and may use each other.
struct Room {
    floor: u8,
    name: &'static str,
    /// Folders and files; where several fit, the longest decides.
    paths: &'static [&'static str],
}

const ROOMS: [Room; 9] = [
    Room {
        floor: 9,
        name: "main: registration and parameters",
        paths: &["src/main.rs"],
    },
    Room {
        floor: 8,
        name: "control: what administrators and device-mapper ask",
        paths: &[
            "src/control/",
            "src/pool/args.rs",
            "src/pool/messages.rs",
            "src/pool/snapshots.rs",
            "src/pool/stack.rs",
            "src/pool/table.rs",
            "src/pool/target.rs",
            "src/pool/worker.rs",
            "src/thin/target.rs",
        ],
    },
    Room {
        floor: 7,
        name: "thin: the data plane of a device",
        paths: &["src/thin/"],
    },
    Room {
        floor: 5,
        name: "pool: what devices share",
        paths: &["src/pool/"],
    },
    Room {
        floor: 4,
        name: "drr: reads from siblings",
        paths: &["src/drr/"],
    },
    Room {
        floor: 4,
        name: "meta: mappings and transactions",
        paths: &["src/meta/"],
    },
    Room {
        floor: 3,
        name: "platform: what pure files need from the kernel",
        paths: &["src/drr/platform.rs", "src/platform.rs"],
    },
    Room {
        floor: 2,
        name: "dm: everything that touches C",
        paths: &["src/dm/"],
    },
    Room {
        floor: 1,
        name: "words and formats",
        paths: &[
            "src/freed.rs",
            "src/meta/format.rs",
            "src/meta/freed.rs",
            "src/ondisk.rs",
            "src/quota.rs",
            "src/units.rs",
        ],
    },
];

/// An arrow that does not point down.
struct Exception {
    from: &'static str,
    to: &'static str,
    why: &'static str,
}

const EXCEPTIONS: [Exception; 18] = [
    Exception {
        from: "src/dm/clnh.rs",
        to: "src/drr/hash.rs",
        why: "the size of a hashed page is a word of the ground floor",
    },
    Exception {
        from: "src/dm/folio.rs",
        to: "src/drr/demand.rs",
        why: "memory cgroups have their type in the room that asks them",
    },
    Exception {
        from: "src/dm/folio.rs",
        to: "src/drr/hash.rs",
        why: "keys and the size of a hashed page are words of the ground floor",
    },
    Exception {
        from: "src/dm/folio.rs",
        to: "src/drr/mod.rs",
        why: "a read that waits for its page is resumed by name, not by a function that is given",
    },
    Exception {
        from: "src/dm/folio.rs",
        to: "src/drr/table.rs",
        why: "the memory hotplug notifier knows the access table, not a trait",
    },
    Exception {
        from: "src/dm/mod.rs",
        to: "src/thin/mod.rs",
        why: "device-mapper sizes the data in front of each bio before it knows whose they are",
    },
    Exception {
        from: "src/dm/pdata.rs",
        to: "src/meta/descent.rs",
        why: "the trait that a descent reads blocks through is implemented at the block cache",
    },
    Exception {
        from: "src/dm/pooled.rs",
        to: "src/pool/quota.rs",
        why: "a reservation counts by the pool's rule",
    },
    Exception {
        from: "src/dm/rawdisk.rs",
        to: "src/meta/check.rs",
        why: "the trait that the check reads disks through is implemented at the disk",
    },
    Exception {
        from: "src/dm/rawdisk.rs",
        to: "src/meta/windows.rs",
        why: "windows of a raw disk are kept by the check's rule",
    },
    Exception {
        from: "src/dm/shrinker.rs",
        to: "src/drr/demand.rs",
        why: "memory cgroups have their type in the room that asks them",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/pool/args.rs",
        why: "the features in force have the type of the parsed ones",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/pool/messages.rs",
        why: "the pool holds the lock of its messages",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/pool/snapshots.rs",
        why: "the pool holds the snapshots that are being made",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/pool/table.rs",
        why: "the table of pools is known by a short name",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/pool/worker.rs",
        why: "the pool makes its own works and names what they run",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/thin/device.rs",
        why: "the pool holds its devices by their type, not behind a trait",
    },
    Exception {
        from: "src/pool/mod.rs",
        to: "src/thin/mod.rs",
        why: "the pool holds its thin devices and their jobs by their types, not behind traits",
    },
];

fn room(path: &str) -> Option<&'static Room> {
    let fits = |r: &Room| {
        let lengths = r.paths.iter().filter(|p| match p.strip_suffix('/') {
            Some(_) => path.starts_with(**p),
            None => path == **p,
        });
        lengths.map(|p| p.len()).max()
    };
    ROOMS
        .iter()
        .filter_map(|r| fits(r).map(|length| (length, r)))
        .max_by_key(|(length, _)| *length)
        .map(|(_, r)| r)
}

/// Whether a file may use another.
fn is_down(from: &Room, to: &Room) -> bool {
    to.floor < from.floor || to.name == from.name
}

pub fn check() -> Result<()> {
    sources::verdict(complaints(&sources::read("src")?, &EXCEPTIONS))
}

fn complaints(files: &[Source], exceptions: &[Exception]) -> Vec<String> {
    let mut said = Vec::new();
    let mut unused: Vec<&Exception> = exceptions.iter().collect();
    for ((from, to), places) in arrows(files) {
        let (Some(upper), Some(lower)) = (room(from), room(to)) else {
            continue;
        };
        if is_down(upper, lower) {
            continue;
        }
        let known = unused.len();
        unused.retain(|e| (e.from, e.to) != (from, to));
        if unused.len() != known {
            continue;
        }
        let places = places.iter().map(|(line, path)| format!("{line}: {path}"));
        said.push(format!(
            "{from} (floor {}) uses {to} (floor {}):\n  line {}",
            upper.floor,
            lower.floor,
            places.collect::<Vec<_>>().join("\n  line ")
        ));
    }
    for f in files.iter().filter(|f| room(&f.path).is_none()) {
        said.push(format!("{} is in no room of xtask/src/arrows.rs", f.path));
    }
    for e in unused {
        said.push(format!(
            "{} does not use {} any more: take that exception ({}) off the list in xtask/src/arrows.rs",
            e.from, e.to, e.why
        ));
    }
    said
}

/// Lines and paths by which a file uses another.
type Arrows<'a> = BTreeMap<(&'a str, &'a str), Vec<(usize, String)>>;

/// All arrows between two files.
fn arrows(files: &[Source]) -> Arrows<'_> {
    let mut tree = Tree::default();
    for f in files {
        let module = module_of(&f.path);
        tree.add_inline(&f.path, &module, &trees(f.tokens.clone()));
        tree.modules.insert(module, &f.path);
    }
    let mut all = Arrows::new();
    for f in files {
        let module = module_of(&f.path);
        let mut scan = Scan {
            tree: &tree,
            from: &f.path,
            names: HashMap::new(),
            all: &mut all,
        };
        let tokens = trees(f.tokens.clone());
        scan.walk(&module, &tokens, true);
        scan.walk(&module, &tokens, false);
    }
    all
}

fn trees(stream: proc_macro2::TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}

/// The module that a file is: `src/dm/bio.rs` is `dm::bio`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let mut names: Vec<String> = inner
        .strip_suffix(".rs")
        .unwrap_or(inner)
        .split('/')
        .map(str::to_string)
        .collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "main")) {
        names.pop();
    }
    names
}

/// The name and the body of the module that begins at a place in a list of tokens: `mod name { … }`.
fn inline_module(tokens: &[TokenTree], at: usize) -> Option<(String, Vec<TokenTree>)> {
    if ident(tokens, at)? != "mod" {
        return None;
    }
    let name = ident(tokens, at.checked_add(1)?)?;
    match tokens.get(at.checked_add(2)?)? {
        TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => Some((name, trees(g.stream()))),
        _ => None,
    }
}

fn within(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.to_string());
    path
}

/// The modules of the crate, and the file that each is in.
#[derive(Default)]
struct Tree<'a> {
    modules: HashMap<Vec<String>, &'a str>,
}

impl<'a> Tree<'a> {
    fn add_inline(&mut self, file: &'a str, module: &[String], tokens: &[TokenTree]) {
        for at in 0..tokens.len() {
            if let Some((name, body)) = inline_module(tokens, at) {
                let inner = within(module, &name);
                self.add_inline(file, &inner, &body);
                self.modules.insert(inner, file);
            }
        }
    }

    /// The file of the innermost module that a path from the crate's root leads through.
    fn file(&self, path: &[String]) -> Option<&'a str> {
        (0..=path.len())
            .rev()
            .find_map(|n| self.modules.get(&path[..n]).copied())
    }
}

/// One file's search for arrows.
struct Scan<'a, 'b> {
    tree: &'b Tree<'a>,
    from: &'a str,
    /// What `use` brings in; `None`: something from another crate
    names: HashMap<String, Option<Vec<String>>>,
    all: &'b mut Arrows<'a>,
}

impl Scan<'_, '_> {
    /// Looks at the `use` declarations (`uses`), else at all other paths.
    fn walk(&mut self, module: &[String], tokens: &[TokenTree], uses: bool) {
        let mut at = 0;
        while at < tokens.len() {
            if let Some((name, body)) = inline_module(tokens, at) {
                self.walk(&within(module, &name), &body, uses);
                at += 3;
                continue;
            }
            // `use<'a>` stands in types.
            let is_use = ident(tokens, at).is_some_and(|i| i == "use");
            if is_use && !is_punct(tokens, at + 1, '<') {
                let end = (at..tokens.len())
                    .find(|n| is_punct(tokens, *n, ';'))
                    .unwrap_or(tokens.len());
                if uses {
                    self.use_tree(module, &[], &tokens[at + 1..end]);
                }
                at = end;
                continue;
            }
            if let TokenTree::Group(g) = &tokens[at] {
                self.walk(module, &trees(g.stream()), uses);
            }
            let (path, next) = path_at(tokens, at);
            if !uses && path.len() > 1 {
                self.found(module, &path, line_of(&tokens[at]));
            }
            at = next;
        }
    }

    /// Takes a tree of `use` apart: `a::{b, c as d, e::*}`.
    fn use_tree(&mut self, module: &[String], before: &[String], tokens: &[TokenTree]) {
        for part in tokens.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ',')) {
            let Some(first) = part.first() else {
                continue;
            };
            let (names, end) = path_at(part, 0);
            let mut path = before.to_vec();
            path.extend(names);
            match part.last() {
                Some(TokenTree::Group(g)) => {
                    self.use_tree(module, &path, &trees(g.stream()));
                    continue;
                }
                Some(TokenTree::Ident(name)) => {
                    let itself = path.len() > 1 && path.last().is_some_and(|l| l == "self");
                    if itself {
                        path.pop();
                    }
                    let renamed = ident(part, end).is_some_and(|i| i == "as");
                    let name = match path.last() {
                        Some(last) if !renamed => last.clone(),
                        _ => name.to_string(),
                    };
                    let target = self.absolute(module, &path);
                    self.names.insert(name, target);
                }
                _ => {}
            }
            self.found(module, &path, line_of(first));
        }
    }

    /// A path from the crate's root; `None`: it leads into another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut from = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            name => match self.names.get(name) {
                Some(target) => target.clone()?,
                None => {
                    let child = within(module, name);
                    self.tree.modules.get(&child)?;
                    child
                }
            },
        };
        for name in rest {
            match name.as_str() {
                "super" => drop(from.pop()),
                _ => from.push(name.clone()),
            }
        }
        Some(from)
    }

    fn found(&mut self, module: &[String], path: &[String], line: usize) {
        let Some(target) = self.absolute(module, path) else {
            return;
        };
        let Some(to) = self.tree.file(&target) else {
            return;
        };
        if to != self.from {
            let places = self.all.entry((self.from, to)).or_default();
            places.push((line, path.join("::")));
        }
    }
}

/// The names of the path that begins at a place in a list of tokens, and the place to go on from.
fn path_at(tokens: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut end = at;
    while let Some(name) = ident(tokens, end) {
        names.push(name);
        end += 1;
        if !(is_punct(tokens, end, ':') && is_punct(tokens, end + 1, ':')) {
            break;
        }
        end += 2;
    }
    (names, end.max(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(files: &[(&str, &str)], exceptions: &[Exception]) -> Vec<String> {
        let files: Vec<Source> = files
            .iter()
            .map(|(path, text)| match Source::new(path, text) {
                Ok(source) => source,
                Err(e) => panic!("{e:#}"),
            })
            .collect();
        complaints(&files, exceptions)
    }

    const MAIN: (&str, &str) = ("src/main.rs", "mod dm; mod drr; mod pool; mod thin;");
    const POOL: (&str, &str) = (
        "src/pool/mod.rs",
        "mod mode; pub(crate) mod flag { pub(crate) const A: u32 = 1; }",
    );
    const MODE: (&str, &str) = ("src/pool/mode.rs", "pub(crate) enum Mode {}");
    const UNITS: (&str, &str) = ("src/units.rs", "pub(crate) struct Chunk;");
    const THIN: (&str, &str) = ("src/thin/mod.rs", "pub(crate) struct Thin;");

    #[test]
    fn arrows_down_and_inside_of_a_room_are_free() {
        let map = (
            "src/thin/map.rs",
            "use crate::{pool::{flag, mode::Mode}, units::Chunk};\n\
             use super::{Thin, *};\n\
             fn a() { crate::pool::flag::A; self::b(); Thin::c() }",
        );
        assert_eq!(said(&[MAIN, POOL, MODE, THIN, map, UNITS], &[]).len(), 0);
    }

    #[test]
    fn every_way_to_name_something_above_is_found() {
        for text in [
            "use crate::thin::Thin;",
            "use crate::{units, thin::{self as above}};",
            "use super::super::thin::*;",
            "use crate::thin; fn a() { b(thin::Thin) }",
            "fn a() -> crate::thin::Thin { crate::thin::Thin }",
            "macro_rules! m { () => { $crate::thin::Thin } }",
            "fn a() { use crate::thin::Thin; }",
            "mod inner { use super::super::super::thin::Thin; }",
            "impl super::super::thin::Thin {}",
        ] {
            let low = ("src/dm/bio.rs", text);
            let all = said(&[MAIN, THIN, UNITS, low], &[]);
            assert_eq!(all.len(), 1, "{text}: {all:?}");
            assert!(
                all[0].contains("src/dm/bio.rs (floor 2) uses src/thin/mod.rs (floor 7)"),
                "{all:?}"
            );
        }
    }

    #[test]
    fn other_crates_visibilities_and_comments_are_no_arrows() {
        let low = (
            "src/dm/bio.rs",
            "use kernel::thin;\n// crate::thin::Thin\n\
             pub(crate) fn a() { thin::b(); \"crate::thin\"; }",
        );
        assert_eq!(said(&[MAIN, THIN, low], &[]).len(), 0);
    }

    #[test]
    fn names_that_use_brings_in_lead_on() {
        let text = "use crate::pool; fn a() { pool::mode::b() }";
        let all = said(&[MAIN, POOL, MODE, ("src/dm/bio.rs", text)], &[]);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[1].contains("src/pool/mode.rs"), "{all:?}");
    }

    #[test]
    fn a_folder_uses_the_files_below_it_by_their_bare_names() {
        let files = [
            ("src/pool/mod.rs", "mod mode; use mode::Mode;"),
            ("src/thin/mod.rs", "mod map; fn a() { map::b() }"),
            MODE,
            ("src/thin/map.rs", ""),
        ];
        let files: Vec<Source> = files
            .iter()
            .filter_map(|(path, text)| Source::new(path, text).ok())
            .collect();
        let found: Vec<(&str, &str)> = arrows(&files).into_keys().collect();
        let expected = [
            ("src/pool/mod.rs", "src/pool/mode.rs"),
            ("src/thin/mod.rs", "src/thin/map.rs"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn rooms_on_one_floor_do_not_use_each_other() {
        let meta = ("src/meta/mod.rs", "use crate::drr::Drr;");
        let drr = ("src/drr/mod.rs", "");
        assert_eq!(said(&[MAIN, meta, drr], &[]).len(), 1);
    }

    #[test]
    fn the_list_of_exceptions_only_shrinks() {
        let listed = |to| Exception {
            from: "src/dm/bio.rs",
            to,
            why: "they grew together",
        };
        let low = ("src/dm/bio.rs", "use crate::thin::Thin;");
        assert_eq!(
            said(&[MAIN, THIN, low], &[listed("src/thin/mod.rs")]).len(),
            0
        );
        let all = said(
            &[MAIN, THIN, low],
            &[listed("src/thin/mod.rs"), listed("src/pool/mod.rs")],
        );
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains("they grew together"), "{all:?}");
    }

    #[test]
    fn the_longest_path_decides_the_room() {
        let floor = |path| room(path).map(|r| r.floor);
        assert_eq!(floor("src/drr/platform.rs"), Some(3));
        assert_eq!(floor("src/drr/table.rs"), Some(4));
        assert_eq!(floor("src/thin/target.rs"), Some(8));
        assert_eq!(floor("src/attic.rs"), None);
        assert_eq!(said(&[MAIN, ("src/attic.rs", "")], &[]).len(), 1);
    }
}

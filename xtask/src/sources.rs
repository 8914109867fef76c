// SPDX-License-Identifier: GPL-2.0

//! The Rust sources of the checkout as tokens, for the lints that rustc and clippy do not have.

use crate::paths;
use anyhow::{bail, Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use std::fs;
use walkdir::WalkDir;

/// A file of the checkout.
pub struct Source {
    /// From the top of the checkout: `src/dm/bio.rs`
    pub path: String,
    pub lines: usize,
    pub tokens: TokenStream,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Result<Self> {
        let tokens = text
            .parse()
            .map_err(|e| anyhow::anyhow!("{path} holds no Rust tokens: {e}"))?;
        Ok(Source {
            path: path.to_string(),
            lines: text.lines().count(),
            tokens,
        })
    }
}

/// All Rust files of a folder, by name.
pub fn read(dir: &str) -> Result<Vec<Source>> {
    let top = paths::checkout();
    let mut all = Vec::new();
    for e in WalkDir::new(top.join(dir)).sort_by_file_name() {
        let e = e.context("cannot list sources")?;
        if e.path().extension().is_none_or(|x| x != "rs") {
            continue;
        }
        let rel = e.path().strip_prefix(&top).unwrap_or(e.path());
        let text = fs::read_to_string(e.path())
            .with_context(|| format!("cannot read {}", rel.display()))?;
        all.push(Source::new(&rel.to_string_lossy(), &text)?);
    }
    Ok(all)
}

/// The identifier at a place in a list of tokens.
pub fn ident(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(i)) => Some(i.to_string()),
        _ => None,
    }
}

/// Whether a punctuation character stands at a place in a list of tokens.
pub fn is_punct(tokens: &[TokenTree], at: usize, c: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c)
}

/// The line of a token, from 1.
pub fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

/// Nothing, or an error with one complaint a line.
pub fn verdict(complaints: Vec<String>) -> Result<()> {
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

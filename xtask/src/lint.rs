// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask lint`: formatting, lints and documentation with warnings as errors, and the module's own rules: `unsafe` stays in
//! src/dm, arrows point down (`arrows`), files and functions are short (`sizes`), a type name has one meaning (`names`).

use crate::{arrows, build, cache, frames, host, kernel, names, paths, proc, sizes, sources, ui};
use anyhow::{bail, Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The one folder whose code may be unsafe.
const UNSAFE_DIR: &str = "src/dm";
/// Files of the tests' own: device-mapper's control device has no safe call, nor have C functions.
const UNSAFE_FILES: [&str; 2] = ["tests/hostile/src/ioctl.rs", "tests/vectors/src/lib.rs"];

#[derive(clap::Args)]
#[command(after_help = "Exits with 0 only when every check passes; all of them are run.")]
pub struct Args {
    /// Which kernel's lints the module is held to: stock, debug, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// Leaves out what needs the prepared kernel: the module's own lints
    #[arg(long)]
    host: bool,
}

pub fn run(args: Args) -> Result<i32> {
    let mut failed = Vec::new();
    let mut check = |name: &str, result: Result<()>| {
        match result {
            Ok(()) => println!("ok   {name}"),
            Err(e) => {
                println!("FAIL {name}\n{e:#}");
                failed.push(name.to_string());
            }
        };
    };
    check(
        "rustfmt: host crates",
        passes("cargo", &["fmt", "--all", "--check"]),
    );
    check("rustfmt: module", module_format());
    check("unsafe only in src/dm", unsafe_stays());
    check("arrows point down", arrows::check());
    check("sizes of files and functions", sizes::check());
    check("one meaning a type name", names::check());
    check("shellcheck: guest scripts", shellcheck());
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    check("clippy: host crates", passes("cargo", &clippy));
    // The documentation is for those who read the code, so it may link to what is private.
    let doc = [
        "--config",
        "build.rustdocflags=['-Dwarnings', '-Arustdoc::private-intra-doc-links']",
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--keep-going",
    ];
    check("rustdoc: host crates", passes("cargo", &doc));
    if !args.host && build::has_sources() {
        check(
            "rustc and clippy: module, the kernel's set",
            module_lints(&args.kernel),
        );
        check("stack frames of the read path", stack_frames(&args.kernel));
    }
    if failed.is_empty() {
        return Ok(0);
    }
    println!("lint failed: {}", failed.join(", "));
    Ok(1)
}

/// Runs a command at the top of the checkout; the error is all that it says.
fn passes(program: &str, args: &[&str]) -> Result<()> {
    let step = ui::step(format!("{program} {}", args.first().unwrap_or(&"")));
    let mut c = proc::command(program);
    c.args(args).current_dir(paths::checkout());
    let (status, text) = proc::combined(&mut c)?;
    if !status.success() {
        if text.contains("is not installed") || text.contains("no such command") {
            bail!("{text}\ninstall it: rustup component add rustfmt clippy");
        }
        bail!("{text}\n{status} from: {}", proc::shown(&c));
    }
    step.done();
    Ok(())
}

fn module_format() -> Result<()> {
    let main = paths::checkout().join("src/main.rs");
    if !main.exists() {
        return Ok(());
    }
    passes(
        "rustfmt",
        &[
            "--check",
            "--color=never",
            "--edition",
            "2021",
            "src/main.rs",
        ],
    )
}

/// Builds the module once more, apart from the real build, with clippy as its compiler and warnings as errors.
fn module_lints(name: &str) -> Result<()> {
    let kernel = kernel::ensure(name)?;
    let dir = paths::target()
        .join("module")
        .join(format!("{}-lint", kernel.release));
    let _lock = cache::lock(&dir.join("lock"))?;
    build::sync_sources(&dir)?;
    let work = dir.join("work");
    // What was checked before with warnings that only showed then is checked again.
    let _ = fs::remove_file(work.join("src/main.o"));
    let step = ui::step("linting the module");
    let log = dir.join("lint.log");
    build::make(
        &kernel,
        &work,
        &log,
        &["CLIPPY=1", "KRUSTFLAGS=-Dwarnings"],
        false,
    )?;
    if fs::read_to_string(&log)
        .unwrap_or_default()
        .contains("warning:")
    {
        bail!("the module builds with warnings (log: {})", log.display());
    }
    step.done();
    Ok(())
}

/// Measures the module as it is loaded: clippy optimises less.
fn stack_frames(name: &str) -> Result<()> {
    let kernel = kernel::ensure(name)?;
    frames::check(&build::build(&kernel, false)?.ko)
}

/// Looks for `unsafe` in every Rust file outside of the C-facing folder.
fn unsafe_stays() -> Result<()> {
    let mut found = Vec::new();
    for dir in ["src", "xtask", "tests"] {
        for source in sources::read(dir)? {
            let path = Path::new(&source.path);
            if path.starts_with(UNSAFE_DIR) || UNSAFE_FILES.iter().any(|f| path == Path::new(f)) {
                continue;
            }
            for line in unsafe_lines(source.tokens) {
                found.push(format!(
                    "{}:{line}: unsafe outside of {UNSAFE_DIR}",
                    source.path
                ));
            }
        }
    }
    sources::verdict(found)
}

/// The lines with an `unsafe` token, macro bodies included; comments and strings hold none.
fn unsafe_lines(tokens: TokenStream) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut stack = vec![tokens];
    while let Some(stream) = stack.pop() {
        for token in stream {
            match token {
                TokenTree::Ident(i) if i == "unsafe" => lines.push(i.span().start().line),
                TokenTree::Group(g) => stack.push(g.stream()),
                _ => {}
            }
        }
    }
    lines.sort_unstable();
    lines
}

/// Runs shellcheck on the guest's scripts and the CI script.
fn shellcheck() -> Result<()> {
    let top = paths::checkout();
    if !Path::new("/usr/bin/shellcheck").exists() {
        host::ensure()?;
    }
    let mut scripts: Vec<PathBuf> = Vec::new();
    for dir in ["vm", "tests/guest", ".ci"] {
        let root = top.join(dir);
        if !root.exists() {
            continue;
        }
        for e in WalkDir::new(&root).sort_by_file_name() {
            let e = e.context("cannot list scripts")?;
            if !e.file_type().is_file() {
                continue;
            }
            let data = fs::read(e.path())
                .with_context(|| format!("cannot read {}", e.path().display()))?;
            let first = String::from_utf8_lossy(data.split(|b| *b == b'\n').next().unwrap_or(&[]))
                .into_owned();
            let named = e.path().extension().is_some_and(|x| x == "sh");
            if named || (first.starts_with("#!") && first.ends_with("sh")) {
                scripts.push(
                    e.path()
                        .strip_prefix(&top)
                        .unwrap_or(e.path())
                        .to_path_buf(),
                );
            }
        }
    }
    // SC2034: variables that a test sets for the library it sources look unused.
    let mut words: Vec<&str> = vec![
        "--severity=warning",
        "--external-sources",
        "--exclude=SC2034",
    ];
    let names: Vec<String> = scripts
        .iter()
        .map(|s| s.to_string_lossy().into_owned())
        .collect();
    words.extend(names.iter().map(String::as_str));
    passes("shellcheck", &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Option<Vec<usize>> {
        text.parse().ok().map(unsafe_lines)
    }

    #[test]
    fn only_real_tokens_count() {
        let text =
            "// unsafe\n/* unsafe */ fn a() { let s = \"unsafe\"; }\n#![deny(unsafe_code)]\n";
        assert_eq!(lines(text), Some(vec![]));
    }

    #[test]
    fn unsafe_is_found_in_code_and_in_macros() {
        let text = "fn a() {\n    unsafe { b() }\n}\nmacro_rules! m { () => {\n unsafe {} } }\n\
                    unsafe impl Send for X {}\n";
        assert_eq!(lines(text), Some(vec![2, 5, 6]));
    }
}

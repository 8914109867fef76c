// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask build`: the module, built out of tree against the prepared tree of a kernel.
//!
//! Sources are copied, times kept, to `target/module/<release>/`, so that nothing is left in the checkout and kbuild
//! rebuilds only what changed. Beside the module the guest needs modprobe's data with the module in it; that is kept in
//! `out/`.

use crate::kernel::{self, Kernel};
use crate::{cache, paths, proc, roots, ui};
use anyhow::{bail, Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use walkdir::WalkDir;

/// The module's file name.
pub const KO: &str = "dm-drr.ko";

#[derive(clap::Args)]
pub struct Args {
    /// Which kernel: stock, debug, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// Shows every command that kbuild runs
    #[arg(long)]
    verbose: bool,
}

pub fn run(args: Args) -> Result<i32> {
    let kernel = kernel::ensure(&args.kernel)?;
    let built = build(&kernel, args.verbose)?;
    println!("{}", built.ko.display());
    Ok(0)
}

/// A built module.
#[derive(Clone)]
pub struct Built {
    pub ko: PathBuf,
    /// Holds `updates/dm-drr.ko` and `modules.*`: laid over the kernel's own modules directory in the guest.
    pub overlay: PathBuf,
}

/// Whether the checkout holds a module to build.
pub fn has_sources() -> bool {
    paths::checkout().join("Kbuild").exists()
}

/// Builds the module if anything changed since it was last built.
pub fn build(kernel: &Kernel, verbose: bool) -> Result<Built> {
    let dir = paths::target().join("module").join(&kernel.release);
    let _lock = cache::lock(&dir.join("lock"))?;
    let state = sync_sources(&dir)?;
    let work = dir.join("work");
    let ko = work.join(KO);
    let stamp = dir.join("built");
    let state = cache::key(&[state.as_bytes(), kernel.dir.to_string_lossy().as_bytes()]);
    if !ko.exists() || fs::read_to_string(&stamp).unwrap_or_default() != state {
        let _ = fs::remove_file(&stamp);
        let step = ui::step(format!("building {KO} for {}", kernel.release));
        make(kernel, &work, &dir.join("build.log"), &[], verbose)?;
        fs::write(&stamp, &state).context("cannot write the build stamp")?;
        step.done();
    }
    if !ko.exists() {
        bail!("kbuild ended well, but there is no {}", ko.display());
    }
    with_overlay(kernel, &ko, &dir.join("out"))
}

/// Modprobe's data for a module file from elsewhere.
pub fn foreign(kernel: &Kernel, ko: &Path) -> Result<Built> {
    let dir = paths::target()
        .join("module")
        .join(format!("{}-other", kernel.release));
    let _lock = cache::lock(&dir.join("lock"))?;
    with_overlay(kernel, ko, &dir.join("out"))
}

/// Runs kbuild in the build root on the copied sources.
pub fn make(kernel: &Kernel, work: &Path, log: &Path, extra: &[&str], verbose: bool) -> Result<()> {
    let buildroot = roots::ensure_buildroot()?;
    let obj = kernel.dir.join("obj");
    let release = format!("KERNELRELEASE={}", kernel.release);
    let jobs = format!("-j{}", kernel::cpus());
    let mut words = vec!["make", "-C", "/k/obj", "M=/m"];
    words.extend([kernel.toolchain.as_str(), &release, &jobs]);
    if verbose {
        words.push("V=1");
    }
    words.extend(extra);
    words.push("modules");
    let binds = [
        (kernel.src.as_path(), "k/src"),
        (obj.as_path(), "k/obj"),
        (work, "m"),
    ];
    let _ = fs::remove_file(log);
    let result = proc::run_logged(&mut roots::chroot(&buildroot, &binds, &words), log);
    let text = fs::read_to_string(log).unwrap_or_default();
    // Inside the chroot the sources are at /m; outside, in the checkout.
    let text = text.replace("/m/", "");
    let failed = result.is_err();
    if failed || verbose || text.contains("warning:") {
        eprint!("{text}");
    }
    if failed {
        bail!("the module does not build (log: {})", log.display());
    }
    Ok(())
}

/// What a build or an editor leaves beside sources.
const NO_SOURCES: [&str; 8] = [
    ".o",
    ".ko",
    ".mod",
    ".mod.c",
    ".cmd",
    ".swp",
    "~",
    "_generated.rs",
];

/// Copies the module's sources to `dir/work` and returns a text that changes when any of them does.
pub fn sync_sources(dir: &Path) -> Result<String> {
    let top = paths::checkout();
    if !has_sources() {
        bail!("no Kbuild in {}", top.display());
    }
    let work = dir.join("work");
    let files = sources(&top)?;
    let mut state = String::new();
    for rel in &files {
        state.push_str(&sync(&top, &work, rel)?);
    }
    // What was copied before and is gone from the checkout goes here too.
    let list = dir.join("copied");
    let now: BTreeSet<String> = files
        .iter()
        .map(|f| f.to_string_lossy().into_owned())
        .collect();
    for old in fs::read_to_string(&list).unwrap_or_default().lines() {
        if !now.contains(old) {
            let _ = fs::remove_file(work.join(old));
        }
    }
    let lines: Vec<&str> = now.iter().map(String::as_str).collect();
    fs::write(&list, lines.join("\n")).context("cannot write the list of sources")?;
    Ok(state)
}

/// The module's files, from the top of the checkout.
fn sources(top: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("Kbuild")];
    if top.join("Makefile").exists() {
        files.push("Makefile".into());
    }
    for e in WalkDir::new(top.join("src")).sort_by_file_name() {
        let e = e.context("cannot list src")?;
        let name = e.file_name().to_string_lossy();
        let output = name.starts_with('.') || NO_SOURCES.iter().any(|s| name.ends_with(s));
        if e.file_type().is_file() && !output {
            let rel = e
                .path()
                .strip_prefix(top)
                .context("a path outside the checkout")?;
            files.push(rel.to_path_buf());
        }
    }
    Ok(files)
}

/// Copies one file, with its time, unless that was done before; a line that changes when the file does.
fn sync(top: &Path, work: &Path, rel: &Path) -> Result<String> {
    let (from, to) = (top.join(rel), work.join(rel));
    let meta = fs::metadata(&from).with_context(|| format!("cannot stat {}", from.display()))?;
    let modified = meta.modified().context("no modification time")?;
    let nanos = modified
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    let state = format!("{} {} {nanos}\n", rel.display(), meta.len());
    let same = fs::metadata(&to)
        .is_ok_and(|m| m.len() == meta.len() && m.modified().is_ok_and(|t| t == modified));
    if same {
        return Ok(state);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::copy(&from, &to).with_context(|| format!("cannot copy {}", rel.display()))?;
    let copy = fs::File::options()
        .write(true)
        .open(&to)
        .with_context(|| format!("cannot open {}", to.display()))?;
    copy.set_modified(modified)
        .context("cannot set a modification time")?;
    Ok(state)
}

/// Makes modprobe's data for the kernel's own modules and this one.
fn with_overlay(kernel: &Kernel, ko: &Path, out: &Path) -> Result<Built> {
    let state = cache::key(&[
        cache::file_key(ko)?.as_bytes(),
        kernel.dir.to_string_lossy().as_bytes(),
    ]);
    let overlay = out.join(&state);
    let built = Built {
        ko: overlay.join("updates").join(KO),
        overlay: overlay.clone(),
    };
    if built.ko.exists() {
        return Ok(built);
    }
    // Old ones may be in use by a run that reads them right now, but not for long: keep a few.
    prune(out, 4);
    let scratch = proc::Scratch::in_dir(&paths::cache()?.join("tmp"))?;
    let tree = scratch.path().join("lib/modules").join(&kernel.release);
    fs::create_dir_all(tree.join("updates")).context("cannot make a module tree")?;
    let log = cache::log("depmod")?;
    proc::run_logged(
        proc::command("cp")
            .arg("-al")
            .arg(kernel.modules_dir().join("kernel"))
            .arg(&tree),
        &log,
    )?;
    fs::copy(ko, tree.join("updates").join(KO)).context("cannot copy the module")?;
    kernel::depmod(scratch.path(), &kernel.release, &log)?;
    fs::remove_dir_all(tree.join("kernel")).context("cannot remove a module tree")?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let tmp = out.join(format!("{state}.tmp"));
    let _ = fs::remove_dir_all(&tmp);
    proc::run_logged(proc::command("cp").arg("-a").arg(&tree).arg(&tmp), &log)?;
    let _ = fs::remove_dir_all(&overlay);
    fs::rename(&tmp, &overlay).context("cannot move the module into place")?;
    Ok(built)
}

fn prune(dir: &Path, keep: usize) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut all: Vec<_> = entries
        .flatten()
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    all.sort();
    let excess = all.len().saturating_sub(keep);
    for (_, path) in all.into_iter().take(excess) {
        let _ = fs::remove_dir_all(path);
    }
}

/// The program that guest tests of hostile input run, linked statically so that any root runs it.
pub fn hostile() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let dir = paths::target().join("guest");
    let step = ui::step("building the hostile-input program");
    let mut c = proc::command("cargo");
    c.args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "hostile",
        "--target",
        TARGET,
    ]);
    // Named target: otherwise the flags would apply to build scripts and macros as well.
    c.env("RUSTFLAGS", "-C target-feature=+crt-static");
    c.env("CARGO_TARGET_DIR", &dir)
        .current_dir(paths::checkout());
    proc::output(&mut c)?;
    step.done();
    Ok(dir.join(TARGET).join("release/hostile"))
}

// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask doctor`: each thing that is missing on this machine, with the line that installs it.

use crate::{apt, host, paths, proc, roots};
use anyhow::Result;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Changes nothing. Exits with 1 when something is missing.")]
pub struct Args {}

/// Tells of things one by one, and counts those that are missing.
#[derive(Default)]
struct Telling {
    missing: u32,
}

impl Telling {
    fn say(&mut self, ok: bool, what: &str, fix: &str) {
        if ok {
            println!("ok       {what}");
        } else {
            self.missing += 1;
            println!("MISSING  {what}\n         {fix}");
        }
    }
}

pub fn run(_args: Args) -> Result<i32> {
    let mut telling = Telling::default();
    let sudo = if host::is_root() { "" } else { "sudo " };
    tell_tools(&mut telling, sudo)?;
    let cache = paths::cache()?;
    tell_machine(&mut telling, &cache);
    if let Some(line) = host::install_line()? {
        println!(
            "\nall packages at once:\n  {sudo}apt-get install -y {}",
            line.join(" ")
        );
    }
    tell_cached(&cache)?;
    Ok(i32::from(telling.missing > 0))
}

/// The toolchain's components and the host's packages.
fn tell_tools(telling: &mut Telling, sudo: &str) -> Result<()> {
    for component in ["fmt", "clippy"] {
        let has = proc::output(proc::command("cargo").args([component, "--version"])).is_ok();
        let package = if component == "fmt" {
            "rustfmt"
        } else {
            "clippy"
        };
        let fix = format!("rustup component add {package}");
        telling.say(has, &format!("cargo {component}"), &fix);
    }
    for need in host::needs()? {
        let package = &need.package;
        let fix = format!("{sudo}apt-get install -y {package}");
        telling.say(
            need.met(),
            &format!("{package} ({})", need.files.join(" or ")),
            &fix,
        );
    }
    Ok(())
}

/// Rights, network and disk space.
fn tell_machine(telling: &mut Telling, cache: &Path) {
    telling.say(
        host::is_root(),
        "root rights (chroots and root images)",
        "run it with sudo",
    );
    match apt::mirror() {
        Ok(uri) => telling.say(true, &format!("Debian archive: {uri}"), ""),
        Err(e) => telling.say(false, "Debian archive", &format!("{e:#}")),
    }
    let free = free_gib(cache);
    telling.say(
        free.is_none_or(|g| g >= 12),
        &format!(
            "disk space for the cache in {}: {} GiB free",
            cache.display(),
            free.unwrap_or(0)
        ),
        "12 GiB are needed: free some, or set DRR_CACHE to a directory elsewhere",
    );
}

/// What the cache has, and whether guests can be virtualised.
fn tell_cached(cache: &Path) -> Result<()> {
    println!("\nin the cache ({}):", cache.display());
    for (what, there) in roots::cached()? {
        println!(
            "  {what}: {}",
            if there {
                "yes"
            } else {
                "not yet, made when first needed"
            }
        );
    }
    let kvm = Path::new("/dev/kvm").exists();
    let note = if kvm {
        "a device is there; used if a guest boots with it"
    } else {
        "none: guests are emulated"
    };
    println!("  KVM: {note}");
    Ok(())
}

/// Free space where `dir` is or will be.
fn free_gib(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|d| d.exists())?;
    let s = nix::sys::statvfs::statvfs(there).ok()?;
    Some(s.blocks_available().saturating_mul(s.fragment_size()) >> 30)
}

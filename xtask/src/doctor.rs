// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask doctor`: each thing that is missing on this machine, with the line that installs it.

use crate::{apt, host, paths, proc, roots};
use anyhow::Result;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Changes nothing. Exits with 1 when something is missing.")]
pub struct Args {}

pub fn run(_args: Args) -> Result<i32> {
    let mut missing = 0;
    let mut say = |ok: bool, what: &str, fix: &str| {
        if ok {
            println!("ok       {what}");
        } else {
            missing += 1;
            println!("MISSING  {what}\n         {fix}");
        }
    };
    for component in ["fmt", "clippy"] {
        let has = proc::output(proc::command("cargo").args([component, "--version"])).is_ok();
        let package = if component == "fmt" {
            "rustfmt"
        } else {
            "clippy"
        };
        let fix = format!("rustup component add {package}");
        say(has, &format!("cargo {component}"), &fix);
    }
    let sudo = if host::is_root() { "" } else { "sudo " };
    for need in host::needs()? {
        let package = &need.package;
        let fix = format!("{sudo}apt-get install -y {package}");
        say(
            need.met(),
            &format!("{package} ({})", need.files.join(" or ")),
            &fix,
        );
    }
    say(
        host::is_root(),
        "root rights (chroots and root images)",
        "run it with sudo",
    );
    match apt::mirror() {
        Ok(uri) => say(true, &format!("Debian archive: {uri}"), ""),
        Err(e) => say(false, "Debian archive", &format!("{e:#}")),
    }
    let cache = paths::cache()?;
    let free = free_gib(&cache);
    say(
        free.is_none_or(|g| g >= 12),
        &format!(
            "disk space for the cache in {}: {} GiB free",
            cache.display(),
            free.unwrap_or(0)
        ),
        "12 GiB are needed: free some, or set DRR_CACHE to a directory elsewhere",
    );
    if let Some(line) = host::install_line()? {
        println!(
            "\nall packages at once:\n  {sudo}apt-get install -y {}",
            line.join(" ")
        );
    }
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
    Ok(i32::from(missing > 0))
}

/// Free space where `dir` is or will be.
fn free_gib(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|d| d.exists())?;
    let s = nix::sys::statvfs::statvfs(there).ok()?;
    Some(s.blocks_available().saturating_mul(s.fragment_size()) >> 30)
}

// SPDX-License-Identifier: GPL-2.0

//! Packages that this machine needs: what is missing, and its installation.

use crate::{cache, paths, proc, ui};
use anyhow::{bail, Context, Result};
use serde::Deserialize;
use std::path::Path;
use std::sync::OnceLock;

/// One thing that must be there, and the package that brings it.
#[derive(Deserialize, Clone)]
pub struct Need {
    pub files: Vec<String>,
    pub package: String,
}

impl Need {
    pub fn met(&self) -> bool {
        self.files.iter().any(|f| Path::new(f).exists())
    }
}

#[derive(Deserialize)]
struct Packages {
    host: Vec<Need>,
}

/// All that the host tool needs from Debian's packages.
pub fn needs() -> Result<Vec<Need>> {
    let path = paths::vm().join("packages.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let packages: Packages =
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    Ok(packages.host)
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The apt line that installs what is missing; `None` when nothing is.
pub fn install_line() -> Result<Option<Vec<String>>> {
    let mut names: Vec<String> = Vec::new();
    for need in needs()?.iter().filter(|n| !n.met()) {
        if !names.contains(&need.package) {
            names.push(need.package.clone());
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(names))
}

/// Installs missing packages as root; for others, fails with the line to type.
pub fn ensure() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    if needs()?.iter().any(|n| !n.met()) {
        install()?;
    }
    if !is_root() {
        bail!("this needs root (chroots and root images): run it again with sudo");
    }
    let _ = DONE.set(());
    Ok(())
}

fn install() -> Result<()> {
    if !is_root() {
        let names = install_line()?.unwrap_or_default();
        bail!(
            "packages are missing; install them:\n  sudo apt-get install -y {}",
            names.join(" ")
        );
    }
    let _lock = cache::lock(&paths::cache()?.join("locks/host-packages"))?;
    if needs()?.iter().all(Need::met) {
        return Ok(());
    }
    let log = cache::log("host-packages")?;
    let step = ui::step("installing host packages");
    // Fresh machines come without package lists; old lists name packages that are gone.
    proc::run_logged(proc::command("apt-get").arg("update"), &log)?;
    let names = install_line()?.unwrap_or_default();
    ui::note(names.join(" "));
    proc::run_logged(
        proc::command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "--no-install-recommends"])
            .args(&names),
        &log,
    )?;
    if let Some(n) = needs()?.iter().find(|n| !n.met()) {
        bail!(
            "{} is installed, but none of {:?} is there",
            n.package,
            n.files
        );
    }
    step.done();
    Ok(())
}

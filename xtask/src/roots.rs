// SPDX-License-Identifier: GPL-2.0

//! Root file systems made by mmdebstrap: the emulator's, the chroot that builds the module, and the guests' ext4 images.

use crate::{apt, cache, host, paths, proc};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Changes when the way a root is made changes, so that cached ones are made again.
const RECIPE: &str = "1";

/// Which root a guest runs on, or which image it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Root {
    /// A small initramfs that puts a tmpfs over the read-only trixie image: quick, nothing is kept
    Initramfs,
    /// Debian trixie, writable for the run
    Trixie,
    /// Debian bookworm with docker, writable for the run
    Bookworm,
}

impl Root {
    /// The image on the root disk.
    pub fn image(self) -> &'static str {
        match self {
            Root::Initramfs | Root::Trixie => "trixie",
            Root::Bookworm => "bookworm",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Root::Initramfs => "initramfs",
            Root::Trixie => "trixie",
            Root::Bookworm => "bookworm",
        }
    }
}

#[derive(Deserialize)]
struct Packages {
    emulator: Recipe,
    buildroot: Recipe,
    root: BTreeMap<String, Recipe>,
}

#[derive(Deserialize)]
struct Recipe {
    suite: String,
    #[serde(default)]
    extra_suites: Vec<String>,
    variant: String,
    size: Option<String>,
    fsx: Option<String>,
    packages: Vec<String>,
}

impl Recipe {
    fn key(&self) -> String {
        let lists = [self.extra_suites.join(" "), self.packages.join(" ")];
        let size = self.size.clone().unwrap_or_default();
        let fsx = self.fsx.clone().unwrap_or_default();
        let parts: [&str; 7] = [
            RECIPE,
            &self.suite,
            &self.variant,
            &lists[0],
            &lists[1],
            &size,
            &fsx,
        ];
        cache::key(&parts)
    }
}

fn packages() -> Result<Packages> {
    let path = paths::vm().join("packages.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// Fills `dir` with a Debian root.
fn mmdebstrap(recipe: &Recipe, dir: &Path, log: &Path) -> Result<()> {
    let mirror = apt::mirror()?;
    let mut args: Vec<OsString> = vec![
        "--mode=root".into(),
        format!("--variant={}", recipe.variant).into(),
        format!("--include={}", recipe.packages.join(",")).into(),
        "--dpkgopt=path-exclude=/usr/share/man/*".into(),
        "--dpkgopt=path-exclude=/usr/share/doc/*".into(),
        "--dpkgopt=path-exclude=/usr/share/locale/*/LC_MESSAGES/*".into(),
    ];
    for option in apt::options()? {
        args.push(format!("--aptopt={}", option.trim_end_matches(';')).into());
    }
    args.push(recipe.suite.clone().into());
    args.push(dir.into());
    for suite in std::iter::once(&recipe.suite).chain(&recipe.extra_suites) {
        args.push(format!("deb {mirror} {suite} main").into());
    }
    proc::run_logged(&mut proc::isolated("exec mmdebstrap \"$@\"", &args), log)
}

/// The directory that the emulator's packages are unpacked in.
pub fn ensure_emulator() -> Result<PathBuf> {
    let recipe = packages()?.emulator;
    let key = recipe.key();
    if let Some(dir) = cache::peek("emulator", &key)? {
        return Ok(dir.join("root"));
    }
    host::ensure()?;
    let log = cache::log("emulator")?;
    let dir = cache::entry("emulator", &key, "unpacking the emulator", |tmp| {
        mmdebstrap(&recipe, &tmp.join("root"), &log)
    })?;
    Ok(dir.join("root"))
}

/// The chroot in which kernel trees are prepared and modules are built.
pub fn ensure_buildroot() -> Result<PathBuf> {
    let recipe = packages()?.buildroot;
    let key = recipe.key();
    if let Some(dir) = cache::peek("buildroot", &key)? {
        return Ok(dir.join("root"));
    }
    host::ensure()?;
    let log = cache::log("buildroot")?;
    let dir = cache::entry("buildroot", &key, "making the build root", |tmp| {
        let root = tmp.join("root");
        mmdebstrap(&recipe, &root, &log)?;
        for mount_point in ["k/src", "k/obj", "k/debs", "m"] {
            fs::create_dir_all(root.join(mount_point)).context("cannot make a mount point")?;
        }
        Ok(())
    })?;
    Ok(dir.join("root"))
}

/// The ext4 image `name` of vm/packages.toml.
pub fn ensure_image(name: &str) -> Result<PathBuf> {
    let recipe = packages()?
        .root
        .remove(name)
        .with_context(|| format!("no root.{name} in vm/packages.toml"))?;
    let key = recipe.key();
    let entry = format!("root-{name}");
    if let Some(dir) = cache::peek(&entry, &key)? {
        return Ok(dir.join("root.ext4"));
    }
    host::ensure()?;
    let fsx = match &recipe.fsx {
        Some(version) => Some(ensure_fsx(version)?),
        None => None,
    };
    let log = cache::log(&entry)?;
    let what = format!("making the {name} root image");
    let dir = cache::entry(&entry, &key, &what, |tmp| {
        let root = tmp.join("root");
        mmdebstrap(&recipe, &root, &log)?;
        if let Some(fsx) = fsx {
            let to = root.join("usr/local/bin/fsx");
            fs::copy(&fsx, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
        for mount_point in ["share", "usr/lib/modules"] {
            fs::create_dir_all(root.join(mount_point)).context("cannot make a mount point")?;
        }
        let size = recipe.size.as_deref().unwrap_or("4G");
        make_ext4(&root, &tmp.join("root.ext4"), size, &["-L", name], &log)?;
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))
    })?;
    Ok(dir.join("root.ext4"))
}

/// What can be in the cache, and whether it is.
pub fn cached() -> Result<Vec<(String, bool)>> {
    let packages = packages()?;
    let there = |entry: &str, recipe: &Recipe| -> Result<bool> {
        Ok(cache::peek(entry, &recipe.key())?.is_some())
    };
    let mut all = vec![
        (
            "emulator".to_string(),
            there("emulator", &packages.emulator)?,
        ),
        (
            "build root".to_string(),
            there("buildroot", &packages.buildroot)?,
        ),
    ];
    for (name, recipe) in &packages.root {
        all.push((
            format!("root image {name}"),
            there(&format!("root-{name}"), recipe)?,
        ));
    }
    Ok(all)
}

/// Makes an ext4 image of a directory, without mounting anything.
pub fn make_ext4(
    from: &Path,
    image: &Path,
    size: &str,
    options: &[&str],
    log: &Path,
) -> Result<()> {
    let mut c = proc::command("mke2fs");
    c.args([
        "-q",
        "-t",
        "ext4",
        "-b",
        "4096",
        "-m",
        "0",
        "-O",
        "^resize_inode",
    ]);
    c.args(options).arg("-d").arg(from).arg(image).arg(size);
    c.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    proc::run_logged(&mut c, log)
}

/// The file-system exerciser, built statically so that every guest can run it.
fn ensure_fsx(version: &str) -> Result<PathBuf> {
    let log = cache::log("fsx")?;
    let key = cache::key(&[RECIPE, version]);
    let dir = cache::entry("fsx", &key, "building fsx", |tmp| {
        let target = tmp.join("target");
        let mut c = proc::command("cargo");
        c.args(["install", "--quiet", "--locked", "--root"])
            .arg(tmp);
        c.arg("--target-dir").arg(&target);
        // With a target named, the flags below do not reach build scripts and macros.
        c.args([
            "--target",
            &format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        ]);
        c.args(["--version", version, "fsx"]);
        c.env("RUSTFLAGS", "-C target-feature=+crt-static");
        c.env_remove("CARGO_TARGET_DIR");
        c.current_dir("/");
        proc::run_logged(&mut c, &log)?;
        fs::remove_dir_all(&target).context("cannot remove fsx's build directory")
    })?;
    Ok(dir.join("bin/fsx"))
}

/// A command inside the build root, with `binds` (host path, path in the root) mounted for it alone.
pub fn chroot(root: &Path, binds: &[(&Path, &str)], command: &[&str]) -> std::process::Command {
    const SCRIPT: &str = r#"
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys" || :
mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root/$2"; shift 2
done
shift
# Nothing of the caller's environment but what reaching the mirror may need: cargo's variables, for one,
# would be taken for the module's.
exec chroot "$root" /usr/bin/env -i LC_ALL=C.UTF-8 HOME=/root TMPDIR=/tmp \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    ${no_proxy:+no_proxy="$no_proxy"} "$@"
"#;
    let mut args: Vec<OsString> = vec![root.into()];
    for (from, to) in binds {
        args.push((*from).into());
        args.push(to.into());
    }
    args.push("--".into());
    args.extend(command.iter().map(OsString::from));
    proc::isolated(SCRIPT, &args)
}

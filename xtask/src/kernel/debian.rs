// SPDX-License-Identifier: GPL-2.0

//! Debian's kernels: which one (vm/kernel.toml), and its prepared tree, image and modules in the cache.

use super::prepared::{cpus, depmod, modules_image, Kernel};
use crate::{cache, host, paths, proc, roots, ui};
use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Changes when the way a tree is prepared changes.
const RECIPE: &str = "1";

#[derive(Deserialize)]
struct PinFile {
    kernel: Vec<Pin>,
    debian: Debian,
}

/// A kernel version that we want.
#[derive(Deserialize, Clone, Debug, PartialEq)]
struct Pin {
    series: String,
    version: String,
}

#[derive(Deserialize)]
struct Debian {
    flavour: String,
    abi_suffix: String,
    cc: String,
}

/// What was really had, kept with the cache entry.
#[derive(Serialize, Deserialize)]
struct Facts {
    version: String,
    release: String,
    packages: Vec<String>,
}

fn pin_file() -> Result<PinFile> {
    let path = paths::vm().join("kernel.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// The pin that `--kernel NAME` means.
fn select(pins: &[Pin], name: &str) -> Result<Pin> {
    if name == "stock" {
        return pins
            .first()
            .cloned()
            .context("vm/kernel.toml names no kernel");
    }
    if let Some(pin) = pins.iter().find(|p| p.version == name || p.series == name) {
        return Ok(pin.clone());
    }
    let numbers: Vec<&str> = name.split('.').collect();
    let numeric = numbers
        .iter()
        .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    match numbers.as_slice() {
        [major, minor, _] if numeric => Ok(Pin {
            series: format!("{major}.{minor}"),
            version: name.to_string(),
        }),
        _ => {
            let known: Vec<&str> = pins.iter().map(|p| p.version.as_str()).collect();
            bail!(
                "no kernel {name:?}: say stock, debug, or a version (pinned: {})",
                known.join(", ")
            )
        }
    }
}

/// Fetches and prepares the kernel that `name` means, unless the cache has it.
pub fn ensure(name: &str) -> Result<Kernel> {
    let file = pin_file()?;
    let pin = select(&file.kernel, name)?;
    let d = &file.debian;
    let key = cache::key(&[
        RECIPE,
        &pin.series,
        &pin.version,
        &d.flavour,
        &d.abi_suffix,
        &d.cc,
    ]);
    let entry = format!("kernel-{}", pin.series);
    let dir = match cache::peek(&entry, &key)? {
        Some(dir) => dir,
        None => {
            host::ensure()?;
            let buildroot = roots::ensure_buildroot()?;
            let what = format!("fetching and preparing Linux {}", pin.version);
            cache::entry(&entry, &key, &what, |tmp| prepare(tmp, &buildroot, &pin, d))?
        }
    };
    let facts = dir.join("facts.json");
    let text =
        fs::read_to_string(&facts).with_context(|| format!("cannot read {}", facts.display()))?;
    let facts: Facts = serde_json::from_str(&text).context("in facts.json")?;
    if facts.version != pin.version {
        ui::note(format!(
            "Linux {} can no longer be had: using {}",
            pin.version, facts.version
        ));
    }
    Ok(Kernel {
        src: dir.join("src"),
        dir,
        version: facts.version,
        release: facts.release,
        toolchain: format!("CC={}", d.cc),
        pace: 1,
    })
}

/// `name=version` of the packages that make up the kernel whose source package has `deb_version`.
fn package_set(d: &Debian, series: &str, deb_version: &str) -> (String, String, Vec<String>) {
    let upstream = deb_version.split('-').next().unwrap_or(deb_version);
    let abi = format!("{upstream}{}", d.abi_suffix);
    let release = format!("{abi}-{}", d.flavour);
    let packages = [
        format!("linux-source-{series}"),
        format!("linux-headers-{release}"),
        format!("linux-headers-{abi}-common"),
        format!("linux-binary-unsigned-{release}"),
        format!("linux-modules-{release}"),
    ];
    let packages = packages
        .iter()
        .map(|p| format!("{p}={deb_version}"))
        .collect();
    (upstream.to_string(), release, packages)
}

/// The Debian versions in `apt-cache madison` output, the pinned one first, then newest first.
fn candidates(madison: &str, wanted: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in madison.lines() {
        if let Some(v) = line.split('|').nth(1).map(str::trim) {
            if !v.is_empty() && !all.iter().any(|x| x == v) {
                all.push(v.to_string());
            }
        }
    }
    let numbers = |v: &String| -> Vec<u64> {
        v.split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect()
    };
    all.sort_by_key(|v| std::cmp::Reverse(numbers(v)));
    let prefix = format!("{wanted}-");
    all.sort_by_key(|v| !v.starts_with(&prefix));
    all
}

/// Makes a cache entry: downloads the packages, takes out of them what is needed, and readies the tree for modules.
fn prepare(tmp: &Path, buildroot: &Path, pin: &Pin, d: &Debian) -> Result<()> {
    let log = cache::log("kernel")?;
    let debs = tmp.join("debs");
    fs::create_dir_all(&debs).context("cannot make a directory for packages")?;
    let binds = [(debs.as_path(), "k/debs")];
    let source = format!("linux-source-{}", pin.series);

    let facts = download(buildroot, &binds, pin, d, &source, &log)?;
    let release = &facts.release;

    let x = tmp.join("x");
    unpack(&debs, &x, &log)?;
    let modules = x.join("usr/lib/modules").join(release);
    take_source(tmp, &x, &source, release, &log)?;
    take_image(tmp, &x, &modules, release)?;
    take_modules(tmp, &modules, release, &log)?;
    prepare_tree(tmp, buildroot, d, release, &log)?;

    for done in [&debs, &x] {
        fs::remove_dir_all(done).with_context(|| format!("cannot remove {}", done.display()))?;
    }
    let text = serde_json::to_string_pretty(&facts).context("cannot write facts.json")?;
    fs::write(tmp.join("facts.json"), text).context("cannot write facts.json")
}

/// Unpacks all packages of a directory into one tree.
fn unpack(debs: &Path, x: &Path, log: &Path) -> Result<()> {
    fs::create_dir_all(x).context("cannot make a directory to unpack in")?;
    for deb in fs::read_dir(debs)
        .context("cannot list the packages")?
        .flatten()
    {
        proc::run_logged(
            proc::command("dpkg-deb").arg("-x").arg(deb.path()).arg(x),
            log,
        )?;
    }
    Ok(())
}

/// The source, with the configuration and the symbol versions that the headers have.
fn take_source(tmp: &Path, x: &Path, source: &str, release: &str, log: &Path) -> Result<()> {
    proc::run_logged(
        proc::command("tar")
            .arg("-C")
            .arg(tmp)
            .arg("-xf")
            .arg(x.join(format!("usr/src/{source}.tar.xz"))),
        log,
    )?;
    let obj = tmp.join("obj");
    rename(&tmp.join(source), &tmp.join("src"))?;
    fs::create_dir_all(&obj).context("cannot make obj")?;
    let headers = x.join(format!("usr/src/linux-headers-{release}"));
    for f in [".config", "Module.symvers"] {
        fs::copy(headers.join(f), obj.join(f)).with_context(|| format!("the headers lack {f}"))?;
    }
    Ok(())
}

/// The kernel's image.
fn take_image(tmp: &Path, x: &Path, modules: &Path, release: &str) -> Result<()> {
    let vmlinuz = ["vmlinuz.unsigned", "vmlinuz"]
        .iter()
        .map(|n| modules.join(n))
        .chain([x.join(format!("boot/vmlinuz-{release}"))])
        .find(|p| p.exists())
        .context("the image package holds no vmlinuz")?;
    fs::copy(&vmlinuz, tmp.join("vmlinuz")).context("cannot copy vmlinuz")?;
    Ok(())
}

/// The modules, uncompressed: unpacking xz is slow where the guest is emulated.
fn take_modules(tmp: &Path, modules: &Path, release: &str, log: &Path) -> Result<()> {
    let tree = tmp.join("tree/lib/modules").join(release);
    fs::create_dir_all(&tree).context("cannot make the module tree")?;
    rename(&modules.join("kernel"), &tree.join("kernel"))?;
    for name in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        let from = modules.join(name);
        if from.exists() {
            fs::copy(&from, tree.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    proc::run_logged(
        proc::command("sh")
            .args([
                "-euc",
                "find \"$1\" -name '*.ko.xz' -print0 | xargs -0 -r -n 50 -P 4 xz -d",
                "sh",
            ])
            .arg(&tree),
        log,
    )?;
    depmod(&tmp.join("tree"), release, log)?;
    modules_image(&tree, tmp, log)
}

/// Configures the tree and builds what modules need of it.
fn prepare_tree(tmp: &Path, buildroot: &Path, d: &Debian, release: &str, log: &Path) -> Result<()> {
    let (src, obj) = (tmp.join("src"), tmp.join("obj"));
    let cc = format!("CC={}", d.cc);
    let kernel_release = format!("KERNELRELEASE={release}");
    let jobs = format!("-j{}", cpus());
    let mut make = roots::chroot(
        buildroot,
        &[(src.as_path(), "k/src"), (obj.as_path(), "k/obj")],
        &[
            "make",
            "-C",
            "/k/src",
            "O=/k/obj",
            &cc,
            &kernel_release,
            &jobs,
            "olddefconfig",
            "rustavailable",
            "modules_prepare",
        ],
    );
    proc::run_logged(&mut make, log)
}

/// Downloads the newest complete set of packages, the pinned version before all others.
fn download(
    buildroot: &Path,
    binds: &[(&Path, &str)],
    pin: &Pin,
    d: &Debian,
    source: &str,
    log: &Path,
) -> Result<Facts> {
    let mut why = String::new();
    for refresh in [false, true] {
        if refresh {
            proc::run_logged(
                &mut roots::chroot(buildroot, binds, &["apt-get", "update"]),
                log,
            )?;
        }
        let madison = proc::output(&mut roots::chroot(
            buildroot,
            binds,
            &["apt-cache", "madison", source],
        ))?;
        let versions = candidates(&madison, &pin.version);
        let prefix = format!("{}-", pin.version);
        for (i, v) in versions.iter().enumerate() {
            let pinned = v.starts_with(&prefix);
            // Old lists may lack the pinned version: look again with fresh ones before taking another.
            if !refresh && !pinned {
                break;
            }
            let (version, release, packages) = package_set(d, &pin.series, v);
            let mut words = vec!["sh", "-euc", "cd /k/debs; apt-get download \"$@\"", "sh"];
            words.extend(packages.iter().map(String::as_str));
            match proc::run_logged(&mut roots::chroot(buildroot, binds, &words), log) {
                Ok(()) => {
                    return Ok(Facts {
                        version,
                        release,
                        packages,
                    })
                }
                Err(e) => why = format!("{e:#}"),
            }
            ui::note(format!(
                "{v} is not complete ({} of {})",
                i + 1,
                versions.len()
            ));
        }
    }
    bail!("no version of {source} can be had with headers, modules and image\n{why}")
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins() -> Vec<Pin> {
        let pin = |series: &str, version: &str| Pin {
            series: series.into(),
            version: version.into(),
        };
        vec![pin("7.2", "7.2.12"), pin("7.3", "7.3.4")]
    }

    #[test]
    fn stock_is_the_first_pin() {
        assert_eq!(
            select(&pins(), "stock").map(|p| p.version).ok().as_deref(),
            Some("7.2.12")
        );
    }

    #[test]
    fn a_series_or_a_version_selects_its_pin() {
        assert_eq!(
            select(&pins(), "7.3").map(|p| p.version).ok().as_deref(),
            Some("7.3.4")
        );
        assert_eq!(
            select(&pins(), "7.2.9").map(|p| p.series).ok().as_deref(),
            Some("7.2")
        );
    }

    #[test]
    fn unknown_kernels_are_refused() {
        for name in ["", "7", "7.9", "7.2.x", "latest"] {
            assert!(select(&pins(), name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_pinned_version_comes_first_then_the_newest() {
        let madison = "linux-source-7.2 | 7.2.9-1~bpo13+1 | x\n\
                       linux-source-7.2 | 7.2.12-1~bpo13+1 | x\n\
                       linux-source-7.2 | 7.2.11-1~bpo13+1 | x\n";
        let got = candidates(madison, "7.2.9");
        assert_eq!(
            got,
            ["7.2.9-1~bpo13+1", "7.2.12-1~bpo13+1", "7.2.11-1~bpo13+1"]
        );
    }
}

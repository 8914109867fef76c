// SPDX-License-Identifier: GPL-2.0

//! The debug kernel: tinyconfig and vm/debug.config, built with clang from the stock kernel's own source.
//!
//! It is built in the cache, once for each version and configuration, and has the same parts as a stock kernel's entry but
//! the source, so that everything else treats both alike.

use super::prepared::{cpus, depmod, modules_image, Kernel};
use crate::{cache, host, paths, proc, roots, ui};
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Changes when the way the kernel is built changes.
const RECIPE: &str = "1";
/// What makes kbuild use clang and its tools.
const TOOLCHAIN: &str = "LLVM=1";
/// What vm/debug.config has as CONFIG_LOCALVERSION.
const SUFFIX: &str = "-drr-debug";
/// KASAN, lockdep and kmemleak under emulation.
const PACE: u32 = 6;

/// Builds the debug kernel from `stock`'s source, unless the cache has it.
pub fn ensure(stock: &Kernel) -> Result<Kernel> {
    let path = paths::vm().join("debug.config");
    let fragment =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let source = stock.src.to_string_lossy().into_owned();
    let key = cache::key(&[RECIPE, TOOLCHAIN, &stock.version, &source, &fragment]);
    let release = format!("{}{SUFFIX}", stock.version);
    let dir = match cache::peek("kernel-debug", &key)? {
        Some(dir) => dir,
        None => {
            host::ensure()?;
            let buildroot = roots::ensure_buildroot()?;
            let what = format!("building Linux {release}, a quarter of an hour on two processors");
            cache::entry("kernel-debug", &key, &what, |tmp| {
                build(tmp, &buildroot, &stock.src, &release, &fragment)
            })?
        }
    };
    Ok(Kernel {
        dir,
        src: stock.src.clone(),
        version: stock.version.clone(),
        release,
        toolchain: TOOLCHAIN.into(),
        pace: PACE,
    })
}

fn build(tmp: &Path, buildroot: &Path, src: &Path, release: &str, fragment: &str) -> Result<()> {
    let log = cache::log("kernel-debug")?;
    let _ = fs::remove_file(&log);
    let (obj, tree) = (tmp.join("obj"), tmp.join("tree"));
    for dir in [&obj, &tree] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let jobs = format!("-j{}", cpus());
    let make = |targets: &[&str]| -> Result<()> {
        let binds = [(src, "k/src"), (obj.as_path(), "k/obj"), (&tree, "m")];
        let mut words = vec!["make", "-C", "/k/src", "O=/k/obj", TOOLCHAIN, &jobs];
        words.extend(targets);
        proc::run_logged(&mut roots::chroot(buildroot, &binds, &words), &log)
    };

    make(&["tinyconfig"])?;
    let config = obj.join(".config");
    let tiny = fs::read_to_string(&config).context("tinyconfig made no .config")?;
    // Of two lines for one option the later one counts.
    fs::write(&config, tiny + fragment).context("cannot write .config")?;
    make(&["olddefconfig"])?;
    let finished = fs::read_to_string(&config).context("olddefconfig made no .config")?;
    let lost = lost_options(fragment, &finished);
    if !lost.is_empty() {
        bail!(
            "Kconfig does not take these lines of vm/debug.config:\n{}",
            lost.join("\n")
        );
    }

    with_progress(&log, || make(&["rustavailable", "bzImage", "modules"]))?;
    make(&["INSTALL_MOD_PATH=/m", "modules_install"])?;
    fs::copy(obj.join("arch/x86/boot/bzImage"), tmp.join("vmlinuz"))
        .context("the build left no bzImage")?;
    let modules = tree.join("lib/modules").join(release);
    let _ = fs::remove_file(modules.join("build"));
    depmod(&tree, release, &log)?;
    modules_image(&modules, tmp, &log)?;
    strip(&obj, &log)
}

/// The lines of a fragment that the finished configuration does not have.
fn lost_options(fragment: &str, finished: &str) -> Vec<String> {
    let has = |line: &str| finished.lines().any(|l| l == line);
    fragment
        .lines()
        .map(str::trim)
        .filter(|line| {
            if line.starts_with("CONFIG_") {
                return !has(line);
            }
            // An option that is off may not be mentioned at all.
            let off = line
                .strip_prefix("# ")
                .and_then(|l| l.strip_suffix(" is not set"));
            off.is_some_and(|o| finished.lines().any(|l| l.starts_with(&format!("{o}="))))
        })
        .map(str::to_string)
        .collect()
}

/// Says once a minute how far the build in `log` is.
fn with_progress(log: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (ended, inbox) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while inbox.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
                let text = fs::read(log).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let last = text.lines().last().unwrap_or_default().trim();
                ui::note(format!("{} steps, now: {last}", text.lines().count()));
            }
        });
        let result = work();
        drop(ended);
        result
    })
}

/// Removes what only linking the kernel needed: building modules does with headers, tools and rust/.
fn strip(obj: &Path, log: &Path) -> Result<()> {
    let script = "cd \"$1\"; find . \\( -path ./scripts -o -path ./tools -o -path ./rust \\) -prune -o \
                  -type f \\( -name '*.o' -o -name '*.a' -o -name '*.ko' -o -name '.*.cmd' -o -name 'vmlinux*' \\) \
                  -exec rm -f {} +";
    proc::run_logged(
        proc::command("sh").args(["-euc", script, "sh"]).arg(obj),
        log,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_kconfig_drops_are_found() {
        let fragment =
            "# About.\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n# CONFIG_D is not set\n";
        let finished = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_D=y\n";
        assert_eq!(
            lost_options(fragment, finished),
            ["CONFIG_B=m", "# CONFIG_D is not set"]
        );
    }

    #[test]
    fn the_release_is_what_the_configuration_makes_it() {
        let line = format!("CONFIG_LOCALVERSION=\"{SUFFIX}\"");
        let text = include_str!("../../../vm/debug.config");
        assert!(text.lines().any(|l| l == line), "{line}");
    }
}

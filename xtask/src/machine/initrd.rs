// SPDX-License-Identifier: GPL-2.0

//! The initramfs of one boot: busybox, the modules that find the root disk, the module under test, and the job.

use super::{Accel, Job, Vm};
use crate::{paths, proc, roots, test_files};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{symlink, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What tests run of busybox: chores that take a process a few lines of work. Linked statically it starts in half the
/// time that the root's own tools need, which counts on an emulated processor. Tools that move data stay the root's.
const QUICK_TOOLS: [&str; 15] = [
    "awk", "basename", "cat", "cut", "grep", "mkdir", "mktemp", "mv", "rm", "rmdir", "seq",
    "sleep", "sort", "tr", "wc",
];

/// Packs the initramfs in `scratch`; returns the archive.
pub(super) fn pack(vm: &Vm, job: &Job, accel: Accel, scratch: &Path) -> Result<PathBuf> {
    let dir = scratch.join("initrd");
    let drr = dir.join("drr");
    programs(&dir, &drr)?;
    let modules = boot_modules(vm, &drr)?;
    if let Some(module) = &vm.module {
        let mut cp = proc::command("cp");
        proc::output(cp.arg("-a").arg(&module.overlay).arg(drr.join("layer")))?;
    }
    let shell = put_job(vm, job, &drr)?;
    let settings = settings(vm, accel, shell, &modules);
    fs::write(drr.join("config"), settings).context("cannot write the guest's settings")?;
    let initrd = scratch.join("initrd.cpio");
    let script = "cd \"$1\"; find . -print0 | cpio --quiet --null -o -H newc -R 0:0 >\"$2\"";
    proc::output(
        proc::command("sh")
            .args(["-euc", script, "sh"])
            .arg(&dir)
            .arg(&initrd),
    )?;
    fs::remove_dir_all(&dir).context("cannot remove the unpacked initramfs")?;
    Ok(initrd)
}

fn put(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("cannot copy {}", from.display()))
}

/// Busybox, and the two scripts that run the guest.
fn programs(dir: &Path, drr: &Path) -> Result<()> {
    let tools = drr.join("tools");
    for sub in [&dir.join("bin"), &drr.join("boot"), &tools] {
        fs::create_dir_all(sub).with_context(|| format!("cannot make {}", sub.display()))?;
    }
    let buildroot = roots::ensure_buildroot()?;
    put(&buildroot.join("usr/bin/busybox"), &dir.join("bin/busybox"))?;
    put(&paths::vm().join("init"), &dir.join("init"))?;
    put(&paths::vm().join("agent"), &drr.join("agent"))?;
    for tool in QUICK_TOOLS {
        symlink("/run/drr/busybox", tools.join(tool)).context("cannot make a link")?;
    }
    for program in [dir.join("init"), drr.join("agent")] {
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .context("cannot make a program executable")?;
    }
    Ok(())
}

/// The modules that find the root disk; their names in the order of loading.
fn boot_modules(vm: &Vm, drr: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for module in with_dependencies(&vm.kernel.modules_dir(), &["virtio_blk", "overlay"])? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        put(&module, &drr.join("boot").join(&*name))?;
        names.push(name.into_owned());
    }
    Ok(names)
}

/// The script or the tests; returns how the guest is to run the script.
fn put_job(vm: &Vm, job: &Job, drr: &Path) -> Result<&'static str> {
    match job {
        Job::Script(text) => {
            let mut f = File::options();
            f.create(true)
                .truncate(true)
                .write(true)
                .mode(0o755)
                .open(drr.join("script"))
                .and_then(|mut f| f.write_all(text))
                .context("cannot write the script")?;
            if let Some(from) = &vm.tests {
                test_files::copy(from, &drr.join("tests"))?;
            }
            Ok(if text.starts_with(b"#!") {
                "exec"
            } else {
                "sh"
            })
        }
        Job::Tests(from, list) => {
            test_files::copy(from, &drr.join("tests"))?;
            let bin = drr.join("tests/bin");
            fs::create_dir_all(&bin).context("cannot make the tests' bin")?;
            for program in &vm.programs {
                proc::output(proc::command("cp").arg(program).arg(&bin))?;
            }
            let lines: String = list.iter().map(|(n, s)| format!("{n} {s}\n")).collect();
            fs::write(drr.join("list"), lines).context("cannot write the test list")?;
            Ok("sh")
        }
    }
}

/// What vm/init and vm/agent read.
fn settings(vm: &Vm, accel: Accel, shell: &str, modules: &[String]) -> String {
    let smp = if accel == Accel::Icount { 1 } else { vm.smp };
    let mut text = format!(
        "ROOT={}\nRELEASE={}\nBOOT_MODULES='{}'\nSHARE={}\nSHELL_IS={shell}\nACCEL={}\nSMP={smp}\nPACE={}\n",
        vm.root.name(),
        vm.kernel.release,
        modules.join(" "),
        if vm.share.is_some() { "yes" } else { "no" },
        accel.name(),
        vm.kernel.pace,
    );
    for (name, value) in &vm.env {
        let value = value.replace('\'', "'\\''");
        text.push_str(&format!("export {name}='{value}'\n"));
    }
    text
}

/// The module files that `names` need, each after what it depends on.
fn with_dependencies(modules: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let dep = modules.join("modules.dep");
    let text =
        fs::read_to_string(&dep).with_context(|| format!("cannot read {}", dep.display()))?;
    let mut found = Vec::new();
    for name in names {
        let file = format!("/{name}.ko");
        let line = text
            .lines()
            .find(|l| l.split(':').next().is_some_and(|m| m.ends_with(&file)));
        // What is not a module is built in.
        let Some((module, needed)) = line.and_then(|l| l.split_once(':')) else {
            continue;
        };
        for m in needed.split_whitespace().rev().chain([module]) {
            let path = modules.join(m);
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

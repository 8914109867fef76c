// SPDX-License-Identifier: GPL-2.0

//! A kernel in the cache that modules can be built for, and what it takes to make one, wherever it comes from.

use crate::{proc, roots};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The sorts of kernel that tests tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// Any but the debug kernel
    Stock,
    /// The debug kernel, which is several times slower and can inject faults
    Debug,
}

/// A kernel that modules can be built for and that boots.
#[derive(Clone)]
pub struct Kernel {
    /// The cache entry: `obj`, `vmlinuz`, `modules.ext4`, `tree/lib/modules/<release>`.
    pub dir: PathBuf,
    /// The source tree, which the debug kernel shares with the stock kernel it is made from.
    pub src: PathBuf,
    /// The upstream version.
    pub version: String,
    /// As `uname -r` shows it.
    pub release: String,
    /// Tells kbuild which compiler to use.
    pub toolchain: String,
    /// How many times longer than on a stock kernel things may take; more than 1 on the debug kernel.
    pub pace: u32,
}

impl Kernel {
    pub fn vmlinuz(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The disk image with all modules, uncompressed.
    pub fn modules_image(&self) -> PathBuf {
        self.dir.join("modules.ext4")
    }

    /// The modules directory, as `depmod -b` wants its parent.
    pub fn modules_dir(&self) -> PathBuf {
        self.dir.join("tree/lib/modules").join(&self.release)
    }

    /// What sort of kernel it is, for tests that are not for every sort.
    pub fn kind(&self) -> KernelKind {
        match self.pace {
            1 => KernelKind::Stock,
            _ => KernelKind::Debug,
        }
    }

    /// MiB to give to a guest that needs `mem` on a stock kernel: shadow memory and red zones come on top.
    pub fn memory(&self, mem: u32) -> u32 {
        match self.kind() {
            KernelKind::Stock => mem,
            KernelKind::Debug => mem.saturating_mul(3) / 2 + 256,
        }
    }
}

/// Makes the disk image of a modules directory in the cache entry `dir`.
pub fn modules_image(tree: &Path, dir: &Path, log: &Path) -> Result<()> {
    roots::make_ext4(
        tree,
        &dir.join("modules.ext4"),
        "512M",
        &["-L", "modules", "-O", "^has_journal"],
        log,
    )
}

/// Writes module dependency data for `base/lib/modules/<release>`.
pub fn depmod(base: &Path, release: &str, log: &Path) -> Result<()> {
    let mut c = proc::command("depmod");
    c.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    c.arg("-b").arg(base).arg(release);
    proc::run_logged(&mut c, log)
}

/// How many processors there are to work with.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

// SPDX-License-Identifier: GPL-2.0

//! The emulator: QEMU and virtiofsd of Debian trixie, unpacked into the cache and run from there on any host.
//!
//! The host's own would do on trixie. Bookworm's QEMU 7.2 would not: with several emulated processors it dies now and then
//! while the guest sets up its PCI devices (a processor sees the new memory map before its translations are flushed; mended
//! in 8.1 by "softmmu: Use async_run_on_cpu in tcg_commit"), and tests take half as long again on it.

use crate::{proc, roots};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// Where the programs of the packages find what they are linked with.
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where QEMU finds its firmware.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// The unpacked emulator.
pub struct Emulator(PathBuf);

impl Emulator {
    /// Unpacks it when it is not in the cache yet.
    pub fn ensure() -> Result<Self> {
        roots::ensure_emulator().map(Emulator)
    }

    /// QEMU, without a machine yet.
    pub fn qemu(&self) -> Command {
        let mut c = self.program("usr/bin/qemu-system-x86_64");
        c.env("QEMU_MODULE_DIR", self.0.join(LIBRARIES).join("qemu"));
        for dir in FIRMWARE {
            c.arg("-L").arg(self.0.join(dir));
        }
        c
    }

    /// The daemon that shows a directory to a guest.
    pub fn virtiofsd(&self) -> Command {
        self.program("usr/libexec/virtiofsd")
    }

    /// A program of the packages under their own loader: the host's C library may be older.
    fn program(&self, path: &str) -> Command {
        let mut c = proc::command(self.0.join(LOADER));
        c.arg("--library-path")
            .arg(self.0.join(LIBRARIES))
            .arg(self.0.join(path));
        c
    }
}

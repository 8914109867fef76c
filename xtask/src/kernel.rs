// SPDX-License-Identifier: GPL-2.0

//! The kernel that `--kernel` means: one of Debian's (`debian`), or the one that is built here (`debug`). Both are `prepared`
//! in the cache alike.

mod debian;
mod debug;
mod prepared;

pub use prepared::{cpus, depmod, Kernel, KernelKind};

use anyhow::Result;

/// Has the kernel that `--kernel NAME` means in the cache.
pub fn ensure(name: &str) -> Result<Kernel> {
    if name == "debug" {
        return debug::ensure(&debian::ensure("stock")?);
    }
    debian::ensure(name)
}

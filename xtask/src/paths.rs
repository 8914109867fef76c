// SPDX-License-Identifier: GPL-2.0

//! Where things are: the checkout, its `target` directory, the cache.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// The top of the checkout: the one that cargo was called in, else the one that this tool was built from.
pub fn checkout() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    xtask.parent().map(PathBuf::from).unwrap_or(xtask)
}

/// Files that belong to one checkout: module builds, VM logs.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| checkout().join("target"))
}

/// Files that all checkouts share: `$DRR_CACHE`, else `~/.cache/dm-drr`.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("DRR_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME").context("neither DRR_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/dm-drr"))
}

/// Guest-side files: `vm/` in the checkout.
pub fn vm() -> PathBuf {
    checkout().join("vm")
}

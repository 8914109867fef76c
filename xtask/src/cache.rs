// SPDX-License-Identifier: GPL-2.0

//! The cache: finished things under `$DRR_CACHE`, named by the hash of what went into them.
//!
//! An entry is a directory. It is built under a temporary name on the same file system, synced, marked complete and then
//! renamed, all under a file lock of its own: it is either whole or not there, whatever stops the program, and two runs
//! at once build it once.

use crate::{paths, ui};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

const COMPLETE: &str = ".complete";

/// A short hash over parts that are kept apart.
pub fn key<S: AsRef<[u8]>>(parts: &[S]) -> String {
    let mut h = Sha256::new();
    for p in parts {
        let p = p.as_ref();
        h.update((p.len() as u64).to_le_bytes());
        h.update(p);
    }
    hex::encode(&h.finalize()[..6])
}

/// The hash of a file's content.
pub fn file_key(path: &Path) -> Result<String> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(key(&[data]))
}

/// An exclusive lock on a file, held until dropped.
pub struct Lock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

/// Takes the lock file `path`; says so when another run holds it.
pub fn lock(path: &Path) -> Result<Lock> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            ui::note(format!("waiting for another run ({})", path.display()));
            file.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(e)) => {
            return Err(e).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
    Ok(Lock(file))
}

/// The log file of a step.
pub fn log(name: &str) -> Result<PathBuf> {
    Ok(paths::cache()?.join("logs").join(format!("{name}.log")))
}

/// Where the entry `name` with `key` is, if it is there.
pub fn peek(name: &str, key: &str) -> Result<Option<PathBuf>> {
    let dir = paths::cache()?.join(format!("{name}-{key}"));
    Ok(dir.join(COMPLETE).exists().then_some(dir))
}

/// The entry `name` with `key`, made by `make` in the directory it is given when it is not there yet.
pub fn entry(
    name: &str,
    key: &str,
    what: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    if let Some(dir) = peek(name, key)? {
        return Ok(dir);
    }
    let cache = paths::cache()?;
    let dir = cache.join(format!("{name}-{key}"));
    let _lock = lock(&cache.join("locks").join(format!("{name}-{key}")))?;
    if let Some(dir) = peek(name, key)? {
        return Ok(dir);
    }
    let tmp = cache.join(format!("{name}-{key}.tmp"));
    for stale in [&tmp, &dir] {
        if stale.exists() {
            fs::remove_dir_all(stale)
                .with_context(|| format!("cannot remove {}", stale.display()))?;
        }
    }
    fs::create_dir_all(&tmp).with_context(|| format!("cannot make {}", tmp.display()))?;
    let step = ui::step(what);
    make(&tmp).with_context(|| format!("{what} failed"))?;
    let stamp = File::create(tmp.join(COMPLETE)).context("cannot mark a cache entry complete")?;
    nix::unistd::syncfs(&stamp).context("cannot sync the cache")?;
    fs::rename(&tmp, &dir)
        .with_context(|| format!("cannot rename {} into place", tmp.display()))?;
    step.done();
    Ok(dir)
}

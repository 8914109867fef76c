// SPDX-License-Identifier: GPL-2.0

//! The metadata device's blocks as they are on the disk, for `meta::check`.
//!
//! Memory of its own, so that blocks can be read ahead in runs and no block of the block manager's
//! cache gets a reader that does not know its kind. No client of dm-bufio either: each has a slab
//! cache, whose end waits for RCU, and a buffer and a bio for every block. Nothing is written.

use super::{bdev::BlockDev, bindings};
use crate::meta::{
    check::Disk,
    format::{BLOCK_SECTORS, BLOCK_SIZE},
    windows::Windows,
};
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::prelude::*;

/// Blocks that are kept in memory (4 MiB): the children of a node on each of four levels.
const KEPT_BLOCKS: u64 = 1024;
/// Blocks that are read at once, at most.
const WINDOW_BLOCKS: u64 = 256;

/// A client of dm-io.
///
/// # Invariants
///
/// `raw` is live and owned by this value.
struct Client {
    raw: NonNull<bindings::dm_io_client>,
}

impl Client {
    fn new() -> Result<Self> {
        // SAFETY: no requirements beyond process context; an error pointer on failure.
        let raw = from_err_ptr(unsafe { bindings::dm_io_client_create() })?;
        // INVARIANT: made above.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; whoever reads has ended before its window went.
        unsafe { bindings::dm_io_client_destroy(self.raw.as_ptr()) };
    }
}

/// Blocks that are being read, or have been.
///
/// # Invariants
///
/// `raw` is live and owned by this value, and has memory for `blocks` blocks.
struct Window {
    raw: NonNull<bindings::drr_window>,
    blocks: u64,
}

impl Window {
    /// Begins to read. `None` without memory, for which others pay only if the blocks `must` be read.
    fn read(client: &Client, dev: BlockDev, first: u64, blocks: u64, must: bool) -> Option<Self> {
        let bytes = usize::try_from(blocks).ok()?.checked_mul(BLOCK_SIZE)?;
        let sector = first.checked_mul(u64::from(BLOCK_SECTORS))?;
        // SAFETY: the client is live by its invariant, and outlives its windows; the device is open by its
        // type's.
        let raw = unsafe {
            bindings::drr_window_read(client.raw.as_ptr(), dev.as_ptr(), sector, bytes, must)
        };
        // INVARIANT: made above.
        Some(Self {
            raw: NonNull::new(raw)?,
            blocks,
        })
    }

    /// The block at `place`, once it has been read. EIO. Sleeps.
    fn block(&self, place: u64) -> Result<&[u8]> {
        // SAFETY: live by the type invariant.
        let memory = unsafe { bindings::drr_window_wait(self.raw.as_ptr()) };
        if memory.is_null() || place >= self.blocks {
            return Err(EIO);
        }
        let at = usize::try_from(place)?.checked_mul(BLOCK_SIZE).ok_or(EIO)?;
        // SAFETY: the block is one of the window's, by the check above and the type invariant.
        let block = unsafe { memory.cast::<u8>().add(at) };
        // SAFETY: as above; the read has ended, so nobody writes there, and the memory goes with `self`.
        Ok(unsafe { core::slice::from_raw_parts(block, BLOCK_SIZE) })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; a read under way is waited for.
        unsafe { bindings::drr_window_free(self.raw.as_ptr()) };
    }
}

/// A metadata device to read from. Process context; its methods sleep.
pub(crate) struct RawDisk {
    // Before the client, which they use.
    windows: Windows<Window>,
    client: Client,
    dev: BlockDev,
    blocks: u64,
}

impl RawDisk {
    /// Readies the device for reading.
    pub(crate) fn new(dev: BlockDev) -> Result<Self> {
        Ok(Self {
            windows: Windows::new(KEPT_BLOCKS),
            client: Client::new()?,
            dev,
            blocks: dev.sectors() / u64::from(BLOCK_SECTORS),
        })
    }

    /// Begins to read `[first, end)`, which no window has.
    fn begin(&mut self, first: u64, end: u64, must: bool) -> Result {
        let blocks = end.saturating_sub(first);
        let window = Window::read(&self.client, self.dev, first, blocks, must).ok_or(ENOMEM)?;
        if self.windows.add(first, blocks, window) {
            Ok(())
        } else {
            Err(ENOMEM)
        }
    }

    /// Reads a block alone if it is in no window, or in one that could not be read.
    fn bring_in(&mut self, block: u64) -> Result {
        let known = self.windows.find(block);
        match known.map(|(window, place)| window.block(place).is_ok()) {
            Some(true) => return Ok(()),
            // One of its blocks is bad, and need not be this one.
            Some(false) => self.windows.forget(block),
            None => (),
        }
        self.begin(block, block.saturating_add(1), true)
    }
}

impl Disk for RawDisk {
    type Error = Error;

    fn read<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        if block >= self.blocks {
            return Err(EIO);
        }
        self.bring_in(block)?;
        let (window, place) = self.windows.find(block).ok_or(EIO)?;
        Ok(f(window.block(place)?))
    }

    fn prefetch(&mut self, mut first: u64, blocks: u32) {
        let end = first.saturating_add(u64::from(blocks)).min(self.blocks);
        while let Some((from, to)) = self.windows.missing(first, end) {
            first = to.min(from.saturating_add(WINDOW_BLOCKS));
            if self.begin(from, first, false).is_err() {
                return;
            }
        }
    }

    fn checksum(&self, bytes: &[u8], xor: u32) -> u32 {
        // SAFETY: reads `bytes.len()` bytes there.
        unsafe { bindings::dm_bm_checksum(bytes.as_ptr().cast(), bytes.len(), xor) }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The metadata device's blocks as they are on the disk, for `meta::check`.
//!
//! A dm-bufio client of its own, so that blocks can be read ahead and no block of the block
//! manager's cache gets a reader that does not know its kind. Nothing is written.

use super::{bdev::BlockDev, bindings, blocks::alone};
use crate::meta::{
    check::Disk,
    format::{BLOCK_SECTORS, BLOCK_SIZE},
};
use core::{
    ffi::{c_uint, c_void},
    ptr::{self, NonNull},
};
use kernel::error::from_err_ptr;
use kernel::prelude::*;

/// A metadata device to read from. Process context; its methods sleep.
///
/// # Invariants
///
/// `client` is live, has blocks of `BLOCK_SIZE` bytes, and is owned by this value.
pub(crate) struct RawDisk {
    client: NonNull<bindings::dm_bufio_client>,
    blocks: u64,
}

impl RawDisk {
    /// Readies the device for reading.
    pub(crate) fn new(dev: BlockDev) -> Result<Self> {
        // SAFETY: the device is open by its type's invariant, for longer than the value lives;
        // without a size there is no auxiliary data, and there are no callbacks.
        let raw = alone(|| unsafe {
            bindings::dm_bufio_client_create(
                dev.as_ptr(),
                BLOCK_SIZE as c_uint,
                1,
                0,
                None,
                None,
                0,
            )
        });
        // INVARIANT: made above.
        Ok(Self {
            client: NonNull::new(from_err_ptr(raw)?).ok_or(ENOMEM)?,
            blocks: dev.sectors() / u64::from(BLOCK_SECTORS),
        })
    }
}

impl Disk for RawDisk {
    type Error = Error;

    fn read<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        if block >= self.blocks {
            return Err(EIO);
        }
        let mut buffer: *mut bindings::dm_buffer = ptr::null_mut();
        // SAFETY: live by the type invariant.
        let data = unsafe { bindings::dm_bufio_read(self.client.as_ptr(), block, &mut buffer) };
        let data: *mut c_void = from_err_ptr(data)?;
        // SAFETY: a buffer of the client's block size that is held until it is released below,
        // and that nobody writes to.
        let r = f(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), BLOCK_SIZE) });
        // SAFETY: held since the call above.
        unsafe { bindings::dm_bufio_release(buffer) };
        Ok(r)
    }

    fn prefetch(&mut self, first: u64, blocks: u32) {
        let there = self.blocks.saturating_sub(first);
        let n = c_uint::try_from(there).unwrap_or(c_uint::MAX).min(blocks);
        // The library plugs the device meanwhile, so that neighbours are one request.
        // SAFETY: live by the type invariant.
        unsafe { bindings::dm_bufio_prefetch(self.client.as_ptr(), first, n) };
    }

    fn checksum(&self, bytes: &[u8], xor: u32) -> u32 {
        // SAFETY: reads `bytes.len()` bytes there.
        unsafe { bindings::dm_bm_checksum(bytes.as_ptr().cast(), bytes.len(), xor) }
    }
}

impl Drop for RawDisk {
    fn drop(&mut self) {
        // What was read ahead in vain is waited for without the lock.
        // SAFETY: live by the type invariant; no buffer is held outside of `read`.
        unsafe { bindings::dm_bufio_client_reset(self.client.as_ptr()) };
        // SAFETY: owned by the type invariant; no buffer is held.
        alone(|| unsafe { bindings::dm_bufio_client_destroy(self.client.as_ptr()) });
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Block devices that a table holds open, as plain handles.

use super::{bindings, bio::Op};
use core::{num::NonZeroUsize, ptr::NonNull};
use kernel::prelude::*;

/// I/O that is under way in a device's figures.
#[must_use]
pub(crate) struct Accounted {
    /// In jiffies.
    since: NonZeroUsize,
    op: Op,
    sectors: u32,
}

/// A block device, for comparison and for directing I/O to it.
///
/// # Invariants
///
/// The device stays open for as long as the handle is used: handles are taken from a table's
/// `dm_dev` (held by the target until its destructor) or from the target's own disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockDev(NonNull<bindings::block_device>);

// SAFETY: a handle; everything done through it is synchronised by the block layer.
unsafe impl Send for BlockDev {}
// SAFETY: as above.
unsafe impl Sync for BlockDev {}

impl BlockDev {
    /// Wraps a device that outlives all uses of the handle (the type's invariant).
    pub(super) fn from_raw(raw: *mut bindings::block_device) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::block_device {
        self.0.as_ptr()
    }

    /// The device's size in sectors.
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: by the type invariant the device is open.
        unsafe { bindings::drr_bdev_nr_sectors(self.as_ptr()) }
    }

    /// Whether the device takes discards at all.
    pub(crate) fn max_discard_sectors(&self) -> u32 {
        // SAFETY: by the type invariant the device is open.
        unsafe { bindings::drr_bdev_max_discard_sectors(self.as_ptr()) }
    }

    /// The least that the device reads or writes, in bytes.
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: by the type invariant the device is open.
        unsafe { bindings::drr_bdev_logical_block_size(self.as_ptr()) }
    }

    /// The mask of what memory must be aligned to for the device to reach it.
    pub(crate) fn dma_alignment(&self) -> u32 {
        // SAFETY: by the type invariant the device is open.
        unsafe { bindings::drr_bdev_dma_alignment(self.as_ptr()) }
    }

    /// Counts I/O that begins now in the device's figures, unless they are switched off
    /// (`queue/iostats`). What this returns goes to [`Self::account_end`]. Any context.
    pub(crate) fn account(&self, op: Op, sectors: u32) -> Option<Accounted> {
        // SAFETY: by the type invariant the device is open.
        let since = unsafe { bindings::drr_bdev_account(self.as_ptr(), op.to_raw()) };
        Some(Accounted {
            since: NonZeroUsize::new(since)?,
            op,
            sectors,
        })
    }

    /// Counts the end of what [`Self::account`] of this device has counted. Any context.
    pub(crate) fn account_end(&self, io: Accounted) {
        // SAFETY: by the type invariant the device is open.
        unsafe {
            bindings::drr_bdev_account_end(
                self.as_ptr(),
                io.op.to_raw(),
                io.sectors,
                io.since.get(),
            )
        };
    }

    /// Makes everything written so far durable. Sleeps (one I/O).
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: by the type invariant the device is open.
        kernel::error::to_result(unsafe { bindings::blkdev_issue_flush(self.as_ptr()) })
    }
}

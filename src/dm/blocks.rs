// SPDX-License-Identifier: GPL-2.0

//! The block manager of a metadata device, and reads into its cache with no lock held.
//!
//! Who changes or looks up metadata uses the manager under the locks of `dm::pdata`'s store. Beside
//! all of that a [`Reader`] only brings blocks into the cache, as the library's own prefetch does:
//! it neither looks into them nor locks them, so it need not know who uses them.

use super::{bdev::BlockDev, bindings, sync::RwSem};
use core::{
    ffi::{c_uint, c_void},
    ptr::{self, NonNull},
};
use kernel::error::from_err_ptr;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Runs `f`, which makes or destroys a client of dm-bufio, while nobody else here does: the kernel takes
/// the name of a client's slab cache away only after it has forgotten the cache, and complains when
/// another client is given the name in between (mm/slab_common.c, `kmem_cache_destroy`, 7.2).
/// `f` waits for no I/O. Sleeps; a leaf of the lock order.
pub(super) fn alone<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: process context, by the contract.
    unsafe { bindings::drr_clients_lock() };
    let r = f();
    // SAFETY: locked above, by this thread.
    unsafe { bindings::drr_clients_unlock() };
    r
}

/// A block manager.
///
/// # Invariants
///
/// `raw` is live and owned by this value.
pub(super) struct Manager {
    raw: NonNull<bindings::dm_block_manager>,
    /// Held shared while a [`Reader`] holds a block, for the cache must not be emptied then
    /// (dm-bufio.c, `drop_buffers`, 7.2). Nothing else is locked under it.
    reading: RwSem<()>,
}

// SAFETY: the library's objects belong to no thread.
unsafe impl Send for Manager {}
// SAFETY: the methods here may be called from many threads; who uses `as_ptr` has the store's locks.
unsafe impl Sync for Manager {}

impl Manager {
    /// Makes the block manager of `dev`; nothing is read yet.
    pub(super) fn new(dev: BlockDev, block_size: usize, locks: c_uint) -> Result<Arc<Self>> {
        let reading = RwSem::new(())?;
        let size = c_uint::try_from(block_size)?;
        // SAFETY: the device is open by its type's invariant, for longer than the manager.
        let raw = alone(|| unsafe { bindings::dm_block_manager_create(dev.as_ptr(), size, locks) });
        let raw = NonNull::new(from_err_ptr(raw)?).ok_or(ENOMEM)?;
        // INVARIANT: made above.
        Ok(Arc::new(Self { raw, reading }, GFP_KERNEL)?)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::dm_block_manager {
        self.raw.as_ptr()
    }

    /// Forgets every cached block. Nobody may hold one but readers, who are waited for; sleeps.
    pub(super) fn reset(&self) {
        let _nobody = self.reading.write();
        // SAFETY: live by the type invariant; no block is held, by the caller's promise and the lock.
        unsafe { bindings::dm_block_manager_reset(self.raw.as_ptr()) };
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // What is under way is waited for without the lock.
        self.reset();
        // SAFETY: owned by the type invariant; no reader is left, for each keeps the manager.
        alone(|| unsafe { bindings::dm_block_manager_destroy(self.raw.as_ptr()) });
    }
}

/// Brings blocks into a manager's cache. Process context; holds no block when its methods return.
///
/// # Invariants
///
/// `client` is the cache of `manager`.
pub(crate) struct Reader {
    client: NonNull<bindings::dm_bufio_client>,
    manager: Arc<Manager>,
}

impl Reader {
    /// # Safety
    ///
    /// `client` is the cache of `manager`.
    pub(super) unsafe fn new(
        client: NonNull<bindings::dm_bufio_client>,
        manager: Arc<Manager>,
    ) -> Self {
        // INVARIANT: the caller's promise.
        Self { client, manager }
    }

    /// Starts to read a block.
    pub(crate) fn prefetch(&self, block: u64) {
        let _held = self.manager.reading.read();
        // SAFETY: the manager, and so its cache, is live by the invariants.
        unsafe { bindings::dm_bufio_prefetch(self.client.as_ptr(), block, 1) };
    }

    /// Reads a block and waits for it. What it holds is not checked: who locks it first does that.
    pub(crate) fn read(&self, block: u64) -> Result {
        let _held = self.manager.reading.read();
        let mut buffer: *mut bindings::dm_buffer = ptr::null_mut();
        // SAFETY: as in `prefetch`.
        let data = unsafe { bindings::dm_bufio_read(self.client.as_ptr(), block, &mut buffer) };
        let _: *mut c_void = from_err_ptr(data)?;
        // SAFETY: held since the call above.
        unsafe { bindings::dm_bufio_release(buffer) };
        Ok(())
    }
}

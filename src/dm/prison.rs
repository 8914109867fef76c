// SPDX-License-Identifier: GPL-2.0

//! Cells that hold bios back while the chunk they go to is being changed: the kernel's
//! bio prison (drivers/md/dm-bio-prison-v1.h).

use super::{
    bindings,
    bio::{Bio, BioList},
};
use crate::units::{DevId, VChunk};
use core::ptr::NonNull;
use kernel::{prelude::*, sync::Arc};

/// A prison.
///
/// # Invariants
///
/// `raw` is a prison that this value owns.
pub(crate) struct Prison {
    raw: NonNull<bindings::dm_bio_prison>,
}

// SAFETY: the prison is synchronised inside.
unsafe impl Send for Prison {}
// SAFETY: as above.
unsafe impl Sync for Prison {}

/// Evidence that a chunk of a thin device is held; released by [`Cell::release`].
///
/// # Invariants
///
/// `cell`, until it is taken for release, is held in `prison` by this value; the holder bio
/// is kept outside.
#[must_use]
pub(crate) struct Cell {
    cell: Option<NonNull<bindings::dm_bio_prison_cell>>,
    prison: Arc<Prison>,
}

// SAFETY: a held cell may be released from any thread.
unsafe impl Send for Cell {}
// SAFETY: no access through `&Cell`.
unsafe impl Sync for Cell {}

/// What became of a bio that wanted a chunk for itself.
pub(crate) enum Detained {
    /// The chunk is held now, on behalf of the bio.
    Holder(Cell, Bio),
    /// Somebody else holds the chunk; the bio waits in the cell.
    Waits,
}

impl Prison {
    /// Makes a prison (`GFP_KERNEL`).
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: no requirements; NULL on failure.
        let raw = unsafe { bindings::dm_bio_prison_create() };
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// Holds chunk `v` of device `dev` for `bio`, or lets the bio wait for who holds it.
    /// Process context: takes a cell from the prison's mempool and a lock that turns interrupts
    /// on again.
    pub(crate) fn detain(this: &Arc<Self>, dev: DevId, v: VChunk, bio: Bio) -> Detained {
        let mut key = bindings::dm_cell_key {
            virtual_: 1,
            dev: u64::from(dev.0),
            block_begin: v.0,
            block_end: v.0.saturating_add(1),
        };
        // SAFETY: the prison is live; with GFP_NOIO in process context this cannot fail.
        let prealloc = unsafe {
            bindings::dm_bio_prison_alloc_cell(this.raw.as_ptr(), bindings::DRR_GFP_NOIO)
        };
        let mut result: *mut bindings::dm_bio_prison_cell = core::ptr::null_mut();
        // SAFETY: key and cell are valid; the bio is given to the cell.
        let held = unsafe {
            bindings::dm_bio_detain(
                this.raw.as_ptr(),
                &mut key,
                bio.as_ptr(),
                prealloc,
                &mut result,
            )
        };
        if held != 0 {
            // The bio is an inmate now.
            let _ = bio.into_raw();
            // SAFETY: the preallocated cell was not used.
            unsafe { bindings::dm_bio_prison_free_cell(this.raw.as_ptr(), prealloc) };
            return Detained::Waits;
        }
        match NonNull::new(result) {
            // INVARIANT: the cell is ours; the holder bio stays outside, as `release` frees the
            // cell without looking at it.
            Some(cell) => Detained::Holder(
                Cell {
                    cell: Some(cell),
                    prison: this.clone(),
                },
                bio,
            ),
            // Not reached: 0 means that `result` is the preallocated cell.
            None => {
                drop(bio);
                Detained::Waits
            }
        }
    }
}

impl Drop for Prison {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; cells hold a reference to the prison, so none is
        // left.
        unsafe { bindings::dm_bio_prison_destroy(self.raw.as_ptr()) };
    }
}

impl Cell {
    /// Lets go of the chunk and returns the bios that waited for it. Process or atomic context.
    #[must_use = "the bios that waited must be processed"]
    pub(crate) fn release(mut self) -> BioList {
        self.take_inmates()
    }

    fn take_inmates(&mut self) -> BioList {
        let mut list = bindings::bio_list {
            head: core::ptr::null_mut(),
            tail: core::ptr::null_mut(),
        };
        let Some(cell) = self.cell.take() else {
            return BioList::new();
        };
        // SAFETY: the cell is held by the type invariant; it is freed after its release.
        unsafe {
            bindings::dm_cell_release_no_holder(self.prison.raw.as_ptr(), cell.as_ptr(), &mut list);
            bindings::dm_bio_prison_free_cell(self.prison.raw.as_ptr(), cell.as_ptr());
        }
        // SAFETY: all inmates were put in by `detain`, so they are bios of this module.
        unsafe { BioList::from_raw(list) }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // After `release` there is nothing left to take. Where a held cell is thrown away,
        // what waited gets an error.
        drop(self.take_inmates());
    }
}

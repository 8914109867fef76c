// SPDX-License-Identifier: GPL-2.0

//! Stacks of device-mapper devices: which devices the I/O of one may go on to.

use super::{bdev::BlockDev, bindings, pdata::without_io};
use core::ffi::c_void;
use kernel::{ffi::c_uint, prelude::*};

/// The numbers of disks that have been found.
struct Found {
    disks: KVec<u32>,
    error: Option<Error>,
}

impl Found {
    fn note(&mut self, disk: u32) {
        if self.disks.contains(&disk) {
            return;
        }
        if let Err(e) = self.disks.push(disk, GFP_KERNEL) {
            self.error = Some(e.into());
        }
    }
}

extern "C" fn note(ctx: *mut c_void, disk: c_uint) {
    // SAFETY: `reach` passes a `Found` that nobody else uses during the call.
    unsafe { &mut *ctx.cast::<Found>() }.note(disk);
}

/// How many disks the I/O of `dev` can go to, by the device-mapper tables in force: itself, the
/// devices of its table, those of their tables, and so on. So a device has a greater reach than any
/// that it stands on. A device of another kind ends the walk.
///
/// Process context; sleeps. ENOMEM.
pub(crate) fn reach(dev: BlockDev) -> Result<usize> {
    without_io(|| {
        let mut found = Found {
            disks: KVec::new(),
            error: None,
        };
        // SAFETY: the device is open by its type's invariant.
        found.note(unsafe { bindings::drr_disk_number(dev.as_ptr()) });
        let mut at = 0;
        while let Some(&disk) = found.disks.get(at) {
            let ctx = core::ptr::from_mut(&mut found).cast();
            // SAFETY: any number will do; `note` is called with `ctx` before this returns.
            unsafe { bindings::drr_devices_below(disk, Some(note), ctx) };
            at += 1;
        }
        match found.error {
            Some(e) => Err(e),
            None => Ok(found.disks.len()),
        }
    })
}

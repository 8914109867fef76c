// SPDX-License-Identifier: GPL-2.0

//! The part of a thin device that all its activations share, whatever names they have.
//!
//! Cells are the device's, so a bio of one activation may wait for one of another; and a snapshot
//! must wait for the writers of all. So their epochs belong to the device.
//!
//! Lock: the list of devices comes after `Pool::thins` and before the metadata's lock. No bio waits for
//! it, but a work takes it when it drops the last reference to an activation. So nothing that holds it
//! may enter reclaim that waits for I/O.

use crate::{
    dm::{epoch::Epochs, pdata::without_io, sync::RwSem},
    drr::Bar,
    units::DevId,
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::Arc,
};

/// An active thin device.
pub(crate) struct Device {
    id: DevId,
    /// What may write in place: to chunks that the device had to itself when it looked.
    pub(super) writes: Epochs,
    /// Up while a snapshot of the device is being made: from before the metadata changes until what
    /// may still write in place has ended. Asked after the lookup of a mapping: when it is down, and
    /// the mapping was shared, nobody writes to the chunk in place any more.
    pub(crate) snapshots: Arc<Bar>,
}

impl Device {
    /// Waits for whatever may still write in place after a lookup that has been by now. Sleeps; in no
    /// epoch.
    pub(crate) fn wait_for_writes(&self) {
        self.writes.wait();
    }
}

struct Entry {
    device: Arc<Device>,
    activations: usize,
}

/// The active thin devices of one pool.
pub(crate) struct Devices(RwSem<RBTree<u32, Entry>>);

/// One of a device's activations: while there is one, the device is in the list.
pub(crate) struct Activation {
    device: Arc<Device>,
    list: Arc<Devices>,
}

impl Devices {
    /// No devices.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self(RwSem::new(RBTree::new())?), GFP_KERNEL)?)
    }

    /// Takes part in a device, before its first bio. Process context; sleeps.
    pub(crate) fn activate(self: &Arc<Self>, id: DevId) -> Result<Activation> {
        let device = without_io(|| self.take_part(id))?;
        Ok(Activation {
            device,
            list: self.clone(),
        })
    }

    fn take_part(&self, id: DevId) -> Result<Arc<Device>> {
        let mut list = self.0.write();
        if let Some(e) = list.get_mut(&id.0) {
            e.activations = e.activations.saturating_add(1);
            return Ok(e.device.clone());
        }
        let device = Arc::new(
            Device {
                id,
                writes: Epochs::new()?,
                snapshots: Arc::new(Bar::default(), GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?;
        let entry = Entry {
            device: device.clone(),
            activations: 1,
        };
        list.insert(RBTreeNode::new(id.0, entry, GFP_KERNEL)?);
        Ok(device)
    }

    /// Calls `f` with a device, if it is active; nobody activates it meanwhile. Process context; sleeps.
    pub(crate) fn with<R>(&self, id: DevId, f: impl FnOnce(Option<&Arc<Device>>) -> R) -> R {
        let list = self.0.read();
        f(list.get(&id.0).map(|e| &e.device))
    }
}

impl Deref for Activation {
    type Target = Device;
    fn deref(&self) -> &Device {
        &self.device
    }
}

impl Drop for Activation {
    fn drop(&mut self) {
        let mut list = self.list.0.write();
        let id = self.device.id.0;
        let last = list.get_mut(&id).is_some_and(|e| {
            e.activations = e.activations.saturating_sub(1);
            e.activations == 0
        });
        let gone = if last { list.remove_node(&id) } else { None };
        drop(list);
        // Its epochs end without the lock: that may take a while.
        drop(gone);
    }
}

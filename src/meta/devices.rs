// SPDX-License-Identifier: GPL-2.0

//! The thin devices that are open, or that differ from what the details tree says of them.
//!
//! A commit has to do with those that have changed, and with no others: they are in a list of their
//! own besides.
//!
//! Invariants:
//!
//! 1. A device is in the table while it is open or its details differ from the details tree. Its
//!    fields change only under the exclusive metadata lock.
//! 2. A device of the table is in `changed` if, and only if, its flag of that name is set. There is
//!    memory there for all devices of the table.
//!
//! Neighbours: `meta::State`, which has all of this under the metadata lock.

use super::{
    enodata,
    format::{self, Details},
    generation::KnownRoot,
    Mapping,
};
use crate::units::Chunk;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNode};
use kernel::sync::{
    atomic::{Atomic, Relaxed, Release},
    Arc,
};

/// A thin device in the table.
pub(super) struct Device {
    pub(super) id: u32,
    opens: Atomic<u32>,
    /// The details tree does not have the details below yet, or mappings changed.
    pub(super) changed: Atomic<bool>,
    /// Changes were thrown away while the device was open.
    pub(super) aborted: Atomic<bool>,
    /// Mappings were inserted since the last commit.
    pub(super) inserted: Atomic<bool>,
    /// The device was made in a transaction that was thrown away.
    gone: Atomic<bool>,
    pub(super) mapped: Atomic<u64>,
    transaction_id: Atomic<u64>,
    creation_time: Atomic<u32>,
    snapshotted_time: Atomic<u32>,
    /// Of the tree of its mappings.
    pub(super) root: KnownRoot,
}

impl Device {
    pub(super) fn new(id: u32, details: &Details) -> Result<Arc<Self>> {
        let device = Self {
            id,
            opens: Atomic::new(0),
            changed: Atomic::new(false),
            inserted: Atomic::new(false),
            aborted: Atomic::new(false),
            gone: Atomic::new(false),
            mapped: Atomic::new(details.mapped),
            transaction_id: Atomic::new(details.transaction_id),
            creation_time: Atomic::new(details.creation_time),
            snapshotted_time: Atomic::new(details.snapshotted_time),
            root: KnownRoot::new(),
        };
        Ok(Arc::new(device, GFP_KERNEL)?)
    }

    pub(super) fn key(&self) -> u64 {
        u64::from(self.id)
    }

    pub(super) fn details(&self) -> Details {
        Details {
            mapped: self.mapped.load(Relaxed),
            transaction_id: self.transaction_id.load(Relaxed),
            creation_time: self.creation_time.load(Relaxed),
            snapshotted_time: self.snapshotted_time.load(Relaxed),
        }
    }

    fn set_details(&self, details: &Details) {
        self.mapped.store(details.mapped, Relaxed);
        self.transaction_id.store(details.transaction_id, Relaxed);
        self.creation_time.store(details.creation_time, Relaxed);
        self.snapshotted(details.snapshotted_time);
    }

    /// Notes that a snapshot of it was taken at `time`.
    pub(super) fn snapshotted(&self, time: u32) {
        self.snapshotted_time.store(time, Relaxed);
    }

    /// The mapping that a value of this device's tree stands for.
    pub(super) fn mapping(&self, value: u64) -> Mapping {
        let (chunk, time) = format::unpack(value);
        Mapping {
            chunk: Chunk(chunk),
            shared: self.snapshotted_time.load(Relaxed) > time,
        }
    }

    /// EIO when the device does not exist any more, although it is open.
    pub(super) fn present(&self) -> Result {
        if self.is_gone() {
            return Err(EIO);
        }
        Ok(())
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    pub(super) fn is_open(&self) -> bool {
        self.opens.load(Relaxed) > 0
    }

    pub(super) fn opened(&self) {
        let n = self.opens.load(Relaxed).saturating_add(1);
        self.opens.store(n, Relaxed);
    }

    /// Whether nothing needs a table entry for it.
    fn is_idle(&self) -> bool {
        !self.is_open() && !self.changed.load(Relaxed)
    }

    /// The transaction that it was changed in is over.
    fn settled(&self) {
        self.inserted.store(false, Release);
        self.changed.store(false, Release);
    }
}

/// The table.
pub(super) struct Devices {
    table: RBTree<u32, Arc<Device>>,
    /// Entries of the table.
    entries: usize,
    changed: KVVec<Arc<Device>>,
}

impl Devices {
    pub(super) fn new() -> Self {
        Self {
            table: RBTree::new(),
            entries: 0,
            changed: KVVec::new(),
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Arc<Device>> {
        self.table.get(&id)
    }

    /// All devices of the table.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.table.values()
    }

    /// Those that have changed.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.changed.iter()
    }

    /// Memory for the entry of a device that is not in the table.
    pub(super) fn room(&mut self, device: &Arc<Device>) -> Result<RBTreeNode<u32, Arc<Device>>> {
        let all = self.entries.saturating_add(1);
        self.changed
            .reserve(all.saturating_sub(self.changed.len()), GFP_KERNEL)?;
        RBTreeNode::new(device.id, device.clone(), GFP_KERNEL)
    }

    /// Puts a device into the table. Nothing was added since `node` came from [`Self::room`].
    pub(super) fn add(&mut self, node: RBTreeNode<u32, Arc<Device>>) {
        if self.table.insert(node).is_none() {
            self.entries = self.entries.saturating_add(1);
        }
    }

    /// Notes that a device differs from the details tree. Does not allocate.
    pub(super) fn mark(&mut self, device: &Arc<Device>) {
        if device.changed.load(Relaxed) {
            return;
        }
        // One that went in an abort is not in the table any more.
        if self.get(device.id).is_some_and(|d| Arc::ptr_eq(d, device)) {
            // Cannot fail: there is room by the second invariant.
            let _ = self.changed.push_within_capacity(device.clone());
            device.changed.store(true, Release);
        }
    }

    /// Takes a device that is being deleted out of the table. ENODATA: it is not there.
    pub(super) fn remove(&mut self, id: u32) -> Result<Arc<Device>> {
        let device = self.take(id).ok_or_else(enodata)?;
        if device.changed.load(Relaxed) {
            self.changed.retain(|d| !Arc::ptr_eq(d, &device));
        }
        Ok(device)
    }

    fn take(&mut self, id: u32) -> Option<Arc<Device>> {
        let node = self.table.remove_node(&id)?;
        self.entries = self.entries.saturating_sub(1);
        Some(node.to_key_value().1)
    }

    /// Removes an entry that nothing needs.
    pub(super) fn forget(&mut self, device: &Device) {
        // Another one may be in its place, if it went in an abort.
        if self
            .get(device.id)
            .is_some_and(|d| core::ptr::eq(&**d, device) && d.is_idle())
        {
            self.take(device.id);
        }
    }

    /// Closes a device.
    pub(super) fn close(&mut self, device: &Device) {
        let n = device.opens.load(Relaxed).saturating_sub(1);
        device.opens.store(n, Relaxed);
        self.forget(device);
    }

    /// The transaction is over, in one way or another: nothing differs from the details tree.
    pub(super) fn settle(&mut self) {
        while let Some(device) = self.changed.pop() {
            device.settled();
            self.forget(&device);
        }
    }

    /// The transaction is about to be thrown away.
    pub(super) fn aborting(&self) {
        for device in self.changed() {
            device.aborted.store(true, Release);
        }
    }

    /// Takes over what the details tree says of each device; those that are not in it are gone.
    pub(super) fn reload(&self, mut details: impl FnMut(u64) -> Result<Option<Details>>) -> Result {
        for device in self.all() {
            match details(device.key())? {
                Some(details) => device.set_details(&details),
                None => device.gone.store(true, Relaxed),
            }
        }
        Ok(())
    }

    /// Removes all entries that nothing needs.
    pub(super) fn forget_all(&mut self) {
        let mut cursor = self.table.cursor_front_mut();
        while let Some(at) = cursor {
            if at.current().1.is_idle() {
                // The cursor goes to the next entry, or at the end back to one that stays.
                self.entries = self.entries.saturating_sub(1);
                cursor = at.remove_current().0;
            } else {
                cursor = at.move_next();
            }
        }
    }
}

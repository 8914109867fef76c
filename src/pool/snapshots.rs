// SPDX-License-Identifier: GPL-2.0

//! Snapshots that are being made.
//!
//! A snapshot needs no suspended origin. The metadata changes at once, and is committed. Writes that
//! looked their mapping up before may still be on their way, in place, to chunks that are shared now.
//! Until they have ended copies of the origin's shared chunks wait, its reads are not recorded
//! (`Device::snapshots`), and the snapshot cannot be opened. A work waits for these writers, and the
//! message for the work, with no lock held. So the writers hold up their own device alone, and a sender
//! that is killed leaves a snapshot that becomes complete by itself.

use super::{messages::Rest, Pool};
use crate::{
    dm::{
        pdata::without_io,
        sync::{Completion, RwSem},
        work::Once,
    },
    thin::device::Device,
    units::DevId,
};
use kernel::{prelude::*, sync::Arc};

/// A snapshot that is being made.
struct Snapshot {
    /// None when it has been deleted meanwhile.
    id: Option<DevId>,
    origin: DevId,
    /// The origin as it was active then.
    device: Arc<Device>,
    complete: Arc<Completion>,
}

/// The snapshots that are being made, at most one of a device at a time.
///
/// The lock is a leaf.
pub(crate) struct Making(RwSem<KVec<Snapshot>>);

impl Making {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(RwSem::new(KVec::new())?))
    }

    /// Whether the device is a snapshot that is being made. Asked when it has been found in the
    /// metadata. Process context.
    pub(crate) fn is_being_made(&self, id: DevId) -> bool {
        self.0.read().iter().any(|s| s.id == Some(id))
    }

    /// The snapshot that must be complete before one of `origin` is made: another one of it, or `origin`
    /// itself, whose chunks another device may still write to in place.
    pub(super) fn before(&self, origin: DevId) -> Option<Arc<Completion>> {
        let list = self.0.read();
        let s = list
            .iter()
            .find(|s| s.origin == origin || s.id == Some(origin))?;
        Some(s.complete.clone())
    }

    /// The device is gone for good; one of its id would be another.
    pub(super) fn deleted(&self, id: DevId) {
        for s in self.0.write().iter_mut() {
            if s.id == Some(id) {
                s.id = None;
            }
        }
    }

    /// The snapshot is complete, or was not made after all. The bar counts, so the next snapshot of the device,
    /// which is begun once the entry has gone ([`Self::before`]), keeps its own.
    fn end(&self, device: &Arc<Device>) {
        let mut list = self.0.write();
        device.snapshots.lower();
        list.retain(|s| !Arc::ptr_eq(&s.device, device));
    }
}

impl Pool {
    /// Makes a snapshot of a device of which no other is being made, with `changing` held.
    pub(super) fn make_snapshot(self: &Arc<Self>, id: DevId, origin: DevId) -> Result<Rest> {
        // Works that end writes take these locks, too, and reclaim may wait for such a write.
        without_io(|| {
            // An activation of the origin after this finds its chunks shared.
            self.devices.with(origin, |active| match active {
                Some(device) => self.make_active_snapshot(id, origin, device),
                None => self.meta.create_snap(id, origin).map(|()| Rest::Nothing),
            })
        })
    }

    fn make_active_snapshot(
        self: &Arc<Self>,
        id: DevId,
        origin: DevId,
        device: &Arc<Device>,
    ) -> Result<Rest> {
        let complete = Arc::new(Completion::new()?, GFP_KERNEL)?;
        let work = {
            let (pool, device, complete) = (self.clone(), device.clone(), complete.clone());
            Once::new(move || {
                device.wait_for_writes();
                pool.end_snapshot(&device);
                complete.complete();
            })?
        };
        let snapshot = Snapshot {
            id: Some(id),
            origin,
            device: device.clone(),
            complete: complete.clone(),
        };
        // All this before anybody can see a chunk of it.
        self.making.0.write().push(snapshot, GFP_KERNEL)?;
        device.snapshots.raise();
        match self.meta.create_snap(id, origin) {
            Ok(()) => {
                work.queue(&self.thin_wq);
                Ok(Rest::Wait(complete))
            }
            Err(e) => {
                self.end_snapshot(device);
                complete.complete();
                Err(e)
            }
        }
    }

    fn end_snapshot(&self, device: &Arc<Device>) {
        self.making.end(device);
        // A bio that waits is in the roster by now, or sees that it is over.
        self.wake();
    }
}

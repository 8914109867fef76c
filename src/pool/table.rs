// SPDX-License-Identifier: GPL-2.0

//! All pools of the module, and which devices they have.
//!
//! Opening a pool reads all of its metadata, closing it commits: both take as long as its disks do.
//! So neither is done under the table's lock. A pool that is being opened has an entry, which keeps
//! its devices from others and makes nobody wait; one that is being closed has it still, and who
//! wants its devices waits until they are free. Other pools are not concerned.
//!
//! No two entries have the same mapped device, nor the same metadata device, nor the same data
//! device. An entry belongs to the thread that opens or closes the pool until that is done.
//!
//! Process context throughout, may sleep.

use super::{args::PoolFeatures, Params, Pool};
use crate::dm::{
    bdev::BlockDev,
    sync::RwSem,
    target::{CtrError, MappedDev},
};
use kernel::{
    prelude::*,
    sync::{Arc, Completion},
};

/// How far a pool is.
enum Stage {
    Opening,
    Open(Arc<Pool>),
    Closing,
}

struct Entry {
    md: MappedDev,
    metadata_dev: BlockDev,
    data_dev: BlockDev,
    stage: Stage,
    /// Tables that use the pool: its own and those of its thin devices.
    users: usize,
    /// Complete when the entry is gone.
    closed: Arc<Completion>,
}

/// All pools of the module.
pub(crate) struct Table {
    /// Held for moments: a leaf of the lock order, and no I/O is done under it.
    pools: RwSem<KVec<Entry>>,
    pub(crate) params: Params,
}

/// What a pool's table asks for.
pub(crate) struct Request {
    pub(crate) md: MappedDev,
    pub(crate) metadata_dev: BlockDev,
    pub(crate) data_dev: BlockDev,
    pub(crate) chunk_sectors: u64,
    pub(crate) features: PoolFeatures,
    pub(crate) drr: bool,
}

/// What the table says to a request.
enum Answer {
    /// The pool is there, and a user counted.
    Found(Arc<Pool>),
    /// Its devices are being given up.
    Wait(Arc<Completion>),
    /// Nobody has its devices.
    Free,
}

fn nomem() -> CtrError {
    CtrError::new(ENOMEM, c"Error allocating memory for pool")
}

impl Entry {
    /// What the entry says to a request, by dm-thin's rules of use: one pool for a metadata
    /// device, and a pool's devices stay.
    fn answer(&mut self, want: &Request) -> Result<Answer, CtrError> {
        let same_md = self.md == want.md;
        let same_meta = self.metadata_dev == want.metadata_dev;
        let same_data = self.data_dev == want.data_dev;
        if !(same_md || same_meta || same_data) {
            return Ok(Answer::Free);
        }
        let pool = match &self.stage {
            Stage::Open(pool) => pool.clone(),
            Stage::Opening => return Err(CtrError::new(EBUSY, c"pool is being opened")),
            Stage::Closing => return Ok(Answer::Wait(self.closed.clone())),
        };
        let (errno, phrase) = match (same_meta, same_data, same_md) {
            (true, true, true) => {
                self.users = self.users.saturating_add(1);
                return Ok(Answer::Found(pool));
            }
            (true, _, false) => (EBUSY, c"metadata device already in use by a pool"),
            (false, _, true) => (EINVAL, c"different pool cannot replace a pool"),
            _ => (EBUSY, c"data device already in use by a pool"),
        };
        Err(CtrError::new(errno, phrase))
    }
}

impl Table {
    /// No pools.
    pub(crate) fn new(params: Params) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                pools: RwSem::new(KVec::new())?,
                params,
            },
            GFP_KERNEL,
        )?)
    }

    /// Finds the pool that a table means, or makes it, and counts a user. Says whether it was
    /// made. EBUSY: another pool, or one that is being opened, has one of the devices.
    pub(super) fn find_or_create(&self, want: &Request) -> Result<(Arc<Pool>, bool), CtrError> {
        loop {
            match self.claim(want)? {
                Answer::Found(pool) => return Ok((pool, false)),
                Answer::Wait(closed) => closed.wait_for_completion(),
                Answer::Free => break,
            }
        }
        let made = Pool::new(
            want.md,
            want.metadata_dev,
            want.data_dev,
            want.chunk_sectors,
            want.features,
            want.drr,
            self.params,
        );
        let mut pools = self.pools.write();
        let at = pools.iter().position(|e| e.md == want.md);
        match made {
            Ok(pool) => {
                if let Some(e) = at.and_then(|at| pools.get_mut(at)) {
                    e.stage = Stage::Open(pool.clone());
                }
                Ok((pool, true))
            }
            Err(e) => {
                if let Some(at) = at {
                    let _ = pools.remove(at);
                }
                Err(e)
            }
        }
    }

    /// Asks for a pool's devices; when they are free they are the caller's, who opens the pool.
    fn claim(&self, want: &Request) -> Result<Answer, CtrError> {
        let mut pools = self.pools.write();
        for e in pools.iter_mut() {
            match e.answer(want)? {
                Answer::Free => (),
                other => return Ok(other),
            }
        }
        let entry = Entry {
            md: want.md,
            metadata_dev: want.metadata_dev,
            data_dev: want.data_dev,
            stage: Stage::Opening,
            users: 1,
            closed: Arc::pin_init(Completion::new(), GFP_KERNEL).map_err(|_| nomem())?,
        };
        pools.push(entry, GFP_KERNEL).map_err(|_| nomem())?;
        Ok(Answer::Free)
    }

    /// The pool of a mapped device, with a user counted. None while it is being opened or closed.
    pub(crate) fn find(&self, md: MappedDev) -> Option<Arc<Pool>> {
        let mut pools = self.pools.write();
        let e = pools.iter_mut().find(|e| e.md == md)?;
        let Stage::Open(pool) = &e.stage else {
            return None;
        };
        e.users = e.users.saturating_add(1);
        Some(pool.clone())
    }

    /// Counts a user less; with the last one the pool goes, and its devices are free when this
    /// returns.
    pub(crate) fn put(&self, pool: Arc<Pool>) {
        {
            let mut pools = self.pools.write();
            let Some(e) = pools.iter_mut().find(|e| e.md == pool.md) else {
                return;
            };
            e.users = e.users.saturating_sub(1);
            if e.users > 0 {
                return;
            }
            e.stage = Stage::Closing;
        }
        let md = pool.md;
        pool.shut_down();
        // The last reference: the metadata is committed and closed here.
        drop(pool);
        let mut pools = self.pools.write();
        let at = pools.iter().position(|e| e.md == md);
        if let Some(e) = at.and_then(|at| pools.remove(at).ok()) {
            e.closed.complete_all();
        }
    }
}

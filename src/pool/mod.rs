// SPDX-License-Identifier: GPL-2.0

//! A pool: what its table's devices, its thin devices and its works share.
//!
//! A [`Pool`] outlives single tables: a reload of the pool, and every active thin device, uses
//! the one object, which the [`Table`] of all pools (`table`) finds by mapped device or metadata
//! device and takes down with its last user. `target` is the pool as device-mapper sees it, `worker`
//! the thread that inserts mappings, `space` allocation, commit and modes, `messages` what they
//! say.
//!
//! # Lock order
//!
//! docs/invariants.md has the order of all locks. `changing` comes before the others of a pool, the spin
//! locks and `Table::pools` are leaves. Nobody waits for an epoch ([`Epochs::wait`]) inside one, or with
//! one of these locks held, but for `changing` when a change of the metadata has failed.

pub(crate) mod args;
pub(crate) mod messages;
pub(crate) mod mode;
pub(crate) mod quota;
pub(crate) mod roster;
mod snapshots;
pub(crate) mod space;
mod stack;
mod table;
pub(crate) mod target;
pub(crate) mod worker;

pub(crate) use table::Table;

use crate::{
    dm::{
        bdev::BlockDev,
        bio::{Bio, BioList, Op},
        discards::BioSet,
        epoch::Epochs,
        kcopyd::{Kcopyd, Region},
        pdata::without_io,
        pooled::{Mempool, Queue},
        prison::Prison,
        sync::{IrqLock, RwSem},
        target::{CtrError, MappedDev, TableRef},
        work::{Work, WorkQueue},
    },
    drr::{self, Drr},
    meta::Metadata,
    thin::{device::Devices, Job, Rosters, Thin},
    units::{Chunk, Geometry, Ppn, Sectors, PAGE_SECTORS, SECTOR_SHIFT},
};
use args::PoolFeatures;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};
use messages::Changing;
use mode::Mode;
use quota::Quota;
use snapshots::Making;

/// Chunks that may be filled at once. There is memory for all of them, whatever the situation.
const JOBS: u32 = 1024;

/// Those of them, at most, that are copied from external origins.
const ORIGIN_COPIES: u32 = JOBS / 4;

/// Why DRR cannot be switched on.
pub(crate) const NO_PAGES: &str = "the data device's logical blocks are larger than a page";

/// Whether reads of the device can be cut at pages, as DRR does.
pub(crate) fn reads_pages(data_dev: BlockDev) -> bool {
    u64::from(data_dev.logical_block_size()) <= PAGE_SECTORS << SECTOR_SHIFT
}

/// What the table in force says; set when a pool is resumed.
pub(crate) struct Control {
    /// The table that events go to; none while no table is bound.
    pub(crate) table: Option<TableRef>,
    /// The pool's length in chunks.
    pub(crate) chunks: u64,
    pub(crate) features: PoolFeatures,
    pub(crate) low_water_chunks: u64,
    pub(crate) low_water_triggered: bool,
}

/// The features in force, as bits that the I/O path reads without a lock.
pub(crate) mod flag {
    pub(crate) const ZERO: u32 = 1;
    pub(crate) const DISCARD: u32 = 2;
    pub(crate) const PASSDOWN: u32 = 4;
    pub(crate) const ERROR_IF_NO_SPACE: u32 = 8;
}

/// A pool.
pub(crate) struct Pool {
    pub(crate) md: MappedDev,
    pub(crate) metadata_dev: BlockDev,
    pub(crate) data_dev: BlockDev,
    /// The pool device itself. No I/O passes it, but its figures count what reaches the data device
    /// (docs/decisions/0001-io-does-not-pass-the-pool-device.md).
    pub(crate) disk: BlockDev,
    pub(crate) geometry: Geometry,
    pub(crate) meta: Arc<Metadata>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) drr: Arc<Drr>,
    pub(crate) prison: Arc<Prison>,
    pub(crate) jobs: Mempool<Job>,
    pub(crate) origin_copies: Quota,
    pub(crate) copier: Kcopyd,
    /// For copies from external origins alone: they may depend on works of this module, and what
    /// holds an epoch must not wait behind them for kcopyd's memory.
    pub(crate) origin_copier: Kcopyd,
    /// The discards that are passed down.
    pub(crate) discard_bios: BioSet,
    pub(crate) params: Params,

    /// Held while a message changes something, for device-mapper does not serialise messages. Nobody
    /// waits for I/O of thin devices with it.
    pub(crate) changing: RwSem<Changing>,
    pub(crate) making: Making,
    /// Serialises changes of mode.
    pub(crate) mode_lock: RwSem<()>,
    pub(crate) control: RwSem<Control>,
    pub(crate) thins: RwSem<KVec<Arc<Thin>>>,
    /// The parts that activations of one device share.
    pub(crate) devices: Arc<Devices>,

    /// The next thin device's serial; they are never used again.
    thin_serials: Atomic<u64>,
    mode: Atomic<u32>,
    pub(crate) flags: Atomic<u32>,
    /// A suspended pool takes no new thin devices.
    pub(crate) suspended: Atomic<bool>,
    /// Set every second: the next run of the worker commits.
    pub(crate) commit_due: Atomic<bool>,
    /// The thin devices that have something to be done.
    pub(crate) rosters: Rosters,

    /// Jobs whose data is in place: their mappings are to be inserted.
    pub(crate) prepared: IrqLock<Queue<Job>>,
    /// Writes that ended but must be durable before their submitters hear of it.
    pub(crate) finished: IrqLock<BioList>,

    /// For `work` and the timers.
    pub(crate) wq: WorkQueue,
    /// For the discard works of the thin devices, which run beside each other, and for `deletions`.
    pub(crate) discard_wq: WorkQueue,
    /// For what gives discards to the data device, which those works wait for.
    pub(crate) passdown_wq: WorkQueue,
    /// For the works of the thin devices, which run beside each other.
    pub(crate) thin_wq: WorkQueue,
    pub(crate) work: Work<Pool>,
    deletions: Work<Pool>,
    pub(crate) waker: Work<Pool>,
    /// On `thin_wq`: what a device holds up below is nobody's concern who waits for space.
    pub(crate) no_space_timeout: Work<Pool>,
    /// Sends reads on their way that wait too long for others; on `thin_wq`.
    pub(crate) follower_watch: Work<Pool>,
}

/// The module's parameters, as functions because one of them changes at run time.
#[derive(Clone, Copy)]
pub(crate) struct Params {
    /// Whether drop-in pools serve reads from siblings.
    pub(crate) drr_default: bool,
    /// What every pool's DRR is told.
    pub(crate) drr: drr::Options,
    /// Seconds until queued writes of a full pool fail; 0: never.
    pub(crate) no_space_timeout: fn() -> u32,
}

impl Pool {
    /// Opens (or formats) the metadata and sets everything up; no I/O flows before a resume.
    pub(super) fn new(
        md: MappedDev,
        metadata_dev: BlockDev,
        data_dev: BlockDev,
        chunk_sectors: u64,
        features: PoolFeatures,
        drr: bool,
        params: Params,
    ) -> Result<Arc<Self>, CtrError> {
        let nomem = |e: Error| CtrError::new(e, c"Error allocating memory for pool");
        let geometry =
            Geometry::new(chunk_sectors).ok_or(CtrError::new(EINVAL, c"Invalid block size"))?;
        let epochs =
            Arc::new(Epochs::new().map_err(nomem)?, GFP_KERNEL).map_err(|_| nomem(ENOMEM))?;
        let meta = Metadata::open(
            metadata_dev,
            chunk_sectors,
            !features.read_only,
            epochs.clone(),
        )
        .map_err(|e| CtrError::new(e.errno, e.phrase))?;
        meta.set_pre_commit(data_dev);
        let name = md.name();
        if drr && !reads_pages(data_dev) {
            pr_warn!("{}: {}: drr stays off\n", name, NO_PAGES);
        }
        let drr = Drr::new(
            name.to_str().unwrap_or("?"),
            epochs.clone(),
            drr && reads_pages(data_dev),
            params.drr,
        )
        .map_err(nomem)?;
        let make = || -> Result<Pool> {
            Ok(Pool {
                md,
                metadata_dev,
                data_dev,
                disk: md.disk().ok_or(ENXIO)?,
                geometry,
                meta,
                epochs,
                drr,
                prison: Arc::new(Prison::new()?, GFP_KERNEL)?,
                jobs: Mempool::new(JOBS)?,
                origin_copies: Quota::new(ORIGIN_COPIES),
                copier: Kcopyd::new()?,
                origin_copier: Kcopyd::new()?,
                discard_bios: BioSet::new()?,
                params,
                changing: RwSem::new(Changing::default())?,
                making: Making::new()?,
                mode_lock: RwSem::new(())?,
                control: RwSem::new(Control {
                    table: None,
                    chunks: 0,
                    features,
                    low_water_chunks: 0,
                    low_water_triggered: false,
                })?,
                thins: RwSem::new(KVec::new())?,
                devices: Devices::new()?,
                thin_serials: Atomic::new(1),
                mode: Atomic::new(Mode::Write.to_u32()),
                flags: Atomic::new(0),
                suspended: Atomic::new(true),
                commit_due: Atomic::new(false),
                rosters: Rosters::new(),
                prepared: IrqLock::new(Queue::new())?,
                finished: IrqLock::new(BioList::new())?,
                wq: WorkQueue::ordered(c"dm-drr")?,
                discard_wq: WorkQueue::parallel(c"dm-drr-discard")?,
                passdown_wq: WorkQueue::parallel(c"dm-drr-passdown")?,
                thin_wq: WorkQueue::parallel(c"dm-drr-thin")?,
                work: Work::new(worker::run)?,
                deletions: Work::new(worker::delete_left_over)?,
                waker: Work::new(worker::tick)?,
                no_space_timeout: Work::new(worker::no_space_timed_out)?,
                follower_watch: Work::new(worker::watch_followers)?,
            })
        };
        let pool = Arc::new(make().map_err(nomem)?, GFP_KERNEL).map_err(|_| nomem(ENOMEM))?;
        pool.set_flags(&features);
        let armed = [
            &pool.work,
            &pool.deletions,
            &pool.waker,
            &pool.no_space_timeout,
            &pool.follower_watch,
        ]
        .into_iter()
        .try_for_each(|w| w.arm(pool.clone()))
        .and_then(|()| pool.drr.start());
        if let Err(e) = armed {
            pool.shut_down();
            return Err(nomem(e));
        }
        Ok(pool)
    }

    /// Ends the pool's works for good, so that nothing refers to the pool but its users.
    pub(super) fn shut_down(&self) {
        self.waker.disarm();
        self.no_space_timeout.disarm();
        self.follower_watch.disarm();
        self.work.disarm();
        self.deletions.disarm();
        // The works of messages have no I/O left to wait for, but hold the pool.
        self.thin_wq.flush();
        self.drr.shut_down();
    }

    /// The pool's name for the log.
    pub(crate) fn name(&self) -> &CStr {
        self.md.name()
    }

    /// The mode at the moment. Any context.
    pub(crate) fn mode(&self) -> Mode {
        Mode::from_u32(self.mode.load(Relaxed))
    }

    pub(crate) fn store_mode(&self, mode: Mode) {
        self.mode.store(mode.to_u32(), Relaxed);
    }

    /// Whether a feature of [`flag`] is in force. Any context.
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    pub(crate) fn set_flags(&self, f: &PoolFeatures) {
        let mut v = 0;
        for (on, bit) in [
            (f.zero_new_chunks, flag::ZERO),
            (f.discard, flag::DISCARD),
            (f.discard_passdown, flag::PASSDOWN),
            (f.error_if_no_space, flag::ERROR_IF_NO_SPACE),
        ] {
            if on {
                v |= bit;
            }
        }
        self.flags.store(v, Relaxed);
    }

    /// Makes the worker run soon. Any context.
    pub(crate) fn wake(&self) {
        self.work.queue(&self.wq);
    }

    /// Sees to it that reads do not wait too long for others. Any context.
    pub(crate) fn watch_followers(&self) {
        self.follower_watch
            .queue_after(&self.thin_wq, drr::WATCH_MS);
    }

    /// Has deletions that a crash cut short ended soon. Any context.
    pub(crate) fn wake_deletions(&self) {
        self.deletions.queue(&self.discard_wq);
    }

    /// Directs the bio to `sector` of the data device, whither it is sent now. Any context.
    pub(crate) fn direct(&self, bio: &mut Bio, sector: Sectors) {
        bio.remap(self.data_dev, sector);
        self.account(bio);
    }

    /// Directs an empty flush to the data device, whither it is sent now. Any context.
    pub(crate) fn direct_flush(&self, bio: &mut Bio) {
        bio.set_dev(self.data_dev);
        self.account(bio);
    }

    fn account(&self, bio: &mut Bio) {
        let io = self.disk.account(bio.op(), bio.bytes() >> SECTOR_SHIFT);
        bio.data().accounted = io;
    }

    /// Counts I/O of the module's own on the data device, as if it took no time. Any context.
    pub(crate) fn count_io(&self, op: Op, sectors: u64) {
        if let Some(io) = self
            .disk
            .account(op, u32::try_from(sectors).unwrap_or(u32::MAX))
        {
            self.disk.account_end(io);
        }
    }

    /// The chunk as a range of the data device.
    pub(crate) fn region(&self, c: Chunk) -> Region {
        Region {
            dev: self.data_dev,
            sector: self.geometry.start(c.0).0,
            sectors: self.geometry.sectors(),
        }
    }

    /// The first page of a chunk.
    pub(crate) fn first_page(&self, c: Chunk) -> Ppn {
        Ppn(self.geometry.start(c.0).0 / PAGE_SECTORS)
    }

    /// Pages in `chunks` chunks.
    pub(crate) fn pages(&self, chunks: u64) -> u64 {
        chunks.saturating_mul(self.geometry.sectors() / PAGE_SECTORS)
    }

    /// The sector of the data device for offset `off` of chunk `c`.
    pub(crate) fn data_sector(&self, c: Chunk, off: u64) -> Sectors {
        Sectors(self.geometry.start(c.0).0.saturating_add(off))
    }

    /// Calls `f` for each active thin device, without the lock held. Devices that come or go
    /// meanwhile make none of the others be left out.
    pub(crate) fn each_thin(&self, mut f: impl FnMut(&Arc<Thin>)) {
        let mut after = 0;
        loop {
            // The list is in the order of the serials.
            let next = {
                let thins = self.thins.read();
                let at = thins.partition_point(|t| t.serial <= after);
                thins.get(at).cloned()
            };
            let Some(t) = next else { return };
            after = t.serial;
            f(&t);
        }
    }

    /// Adds an active thin device. `EAGAIN` while the pool is suspended.
    pub(crate) fn add_thin(
        &self,
        make: impl FnOnce(u64) -> Result<Arc<Thin>>,
    ) -> Result<Arc<Thin>> {
        // Reclaim could wait for the worker, which waits for the list.
        without_io(|| {
            let mut thins = self.thins.write();
            if self.suspended.load(Relaxed) {
                return Err(EAGAIN);
            }
            // Room first: a thin device that is made must be taken down by its destructor.
            thins.reserve(1, GFP_KERNEL)?;
            let serial = self.thin_serials.fetch_add(1, Relaxed);
            let thin = make(serial)?;
            thins
                .push(thin.clone(), GFP_KERNEL)
                .inspect_err(|_| thin.disarm())?;
            Ok(thin)
        })
    }

    /// Removes a thin device from the active ones.
    pub(crate) fn remove_thin(&self, thin: &Thin) {
        let mut thins = self.thins.write();
        // The list is in the order of the serials.
        let at = thins.partition_point(|t| t.serial < thin.serial);
        if thins.get(at).is_some_and(|t| core::ptr::eq(&**t, thin)) {
            let _ = thins.remove(at);
        }
    }

    /// Wakes whoever waits for events of the pool. Process context.
    pub(crate) fn event(&self) {
        if let Some(t) = self.control.read().table {
            t.event();
        }
    }
}

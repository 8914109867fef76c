// SPDX-License-Identifier: GPL-2.0

//! The pool as device-mapper sees it: table, status, suspend and resume, limits.

use super::{
    args::{parse_pool, write_features, Names, PoolArgsError, PoolFeatures},
    flag,
    mode::Mode,
    table::Request,
    Pool, Table,
};
use crate::{
    dm::{
        bio::Bio,
        folio::wait_for_random,
        target::{
            Access, CtrError, DmDev, Features, Limits, MapIo, Reply, StatusType, Target, Ti, Wants,
        },
    },
    meta::format::{BLOCK_SECTORS, MAX_BLOCKS},
    units::{Sectors, SECTOR_SHIFT},
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};

/// A pool's table.
pub(crate) struct PoolTarget {
    table: Arc<Table>,
    pool: Arc<Pool>,
    metadata: DmDev,
    data: DmDev,
    low_water_chunks: u64,
    requested: PoolFeatures,
}

fn refusal(e: PoolArgsError) -> CtrError {
    let phrase = match e {
        PoolArgsError::Count => c"Invalid argument count",
        PoolArgsError::SameDevice => c"Error setting metadata or data device",
        PoolArgsError::ChunkSize => c"Invalid block size",
        PoolArgsError::LowWater => c"Invalid low water mark",
        PoolArgsError::FeatureCount => c"Invalid number of pool feature arguments",
        PoolArgsError::Feature => c"Unrecognised pool feature requested",
        PoolArgsError::OwnFeature => c"Pool feature of drr-pool requested from thin-pool",
        PoolArgsError::FineCow => c"Pool feature fine_cow is not supported by this version",
        PoolArgsError::DrrTwice => c"Pool features drr and no_drr exclude each other",
    };
    CtrError::new(EINVAL, phrase)
}

impl PoolTarget {
    fn names(ti: &Ti<'_>) -> Names {
        if ti.type_name().to_bytes().starts_with(b"thin") {
            Names::DropIn
        } else {
            Names::Own
        }
    }

    /// Whether discards reach the data device: asked for, and possible.
    fn passdown_possible(&self, limits_known: bool) -> bool {
        if !self.requested.discard_passdown {
            return false;
        }
        let max = u64::from(self.pool.data_dev.max_discard_sectors());
        let reason = if max == 0 {
            "does not support discards"
        } else if max < self.pool.geometry.sectors() {
            "takes no discard of a whole block"
        } else {
            return true;
        };
        if limits_known {
            pr_warn!(
                "{}: the data device {}: disabling discard passdown\n",
                self.pool.name(),
                reason
            );
        }
        false
    }

    fn metadata_blocks(&self) -> u64 {
        (self.pool.metadata_dev.sectors() / u64::from(BLOCK_SECTORS)).min(MAX_BLOCKS)
    }

    fn metadata_threshold(&self) -> u64 {
        (self.metadata_blocks() / 4).min(1024)
    }

    fn grow_data(&self, chunks: u64) -> Result<bool> {
        let pool = &self.pool;
        let have = pool.meta.data_chunks()?;
        if chunks < have {
            pr_err!(
                "{}: pool target ({} blocks) too small: expected {}\n",
                pool.name(),
                chunks,
                have
            );
            return Err(EINVAL);
        }
        if chunks == have {
            return Ok(false);
        }
        if pool.meta.needs_check() {
            pr_err!(
                "{}: unable to grow the data device until repaired\n",
                pool.name()
            );
            return Ok(false);
        }
        if !pool.mode().metadata_writable() {
            pr_warn!(
                "{}: the data device grows when the pool is writable again\n",
                pool.name()
            );
            return Ok(false);
        }
        if have > 0 {
            pr_info!(
                "{}: growing the data device from {} to {} blocks\n",
                pool.name(),
                have,
                chunks
            );
        }
        pool.change("growing the data device", || pool.meta.resize_data(chunks))?;
        Ok(true)
    }

    fn grow_metadata(&self) -> Result<bool> {
        let pool = &self.pool;
        let have = pool.meta.metadata_blocks()?;
        let blocks = self.metadata_blocks();
        if blocks < have {
            pr_err!(
                "{}: metadata device ({} blocks) too small: expected {}\n",
                pool.name(),
                blocks,
                have
            );
            return Err(EINVAL);
        }
        if blocks == have {
            return Ok(false);
        }
        if pool.meta.needs_check() {
            pr_err!(
                "{}: unable to grow the metadata device until repaired\n",
                pool.name()
            );
            return Ok(false);
        }
        if pool.mode() == Mode::OutOfMetadataSpace {
            pool.set_mode(Mode::Write);
        }
        if !pool.mode().metadata_writable() {
            pr_warn!(
                "{}: the metadata device grows when the pool is writable again\n",
                pool.name()
            );
            return Ok(false);
        }
        pr_info!(
            "{}: growing the metadata device from {} to {} blocks\n",
            pool.name(),
            have,
            blocks
        );
        pool.change("growing the metadata device", || {
            pool.meta.resize_metadata(blocks)
        })?;
        Ok(true)
    }

    /// Takes control of the pool: from here on this table's features are in force. A table that
    /// comes back after a suspend finds the pool in the mode that it left it in, as a full pool
    /// does not become empty by that; a new table begins with what it asks for.
    fn bind(&self, ti: &Ti<'_>) {
        let pool = &self.pool;
        let mut features = self.requested;
        features.discard_passdown = features.discard && self.passdown_possible(false);
        let (chunks, _) = pool.geometry.split(Sectors(ti.sectors()));
        let came_back;
        {
            let mut c = pool.control.write();
            came_back = c.table.is_some_and(|t| Some(t) == ti.table());
            c.table = ti.table();
            c.chunks = chunks;
            c.features = features;
            c.low_water_chunks = self.low_water_chunks;
        }
        pool.set_flags(&features);
        pool.set_mode(if came_back {
            pool.mode()
        } else if features.read_only {
            Mode::ReadOnly
        } else {
            Mode::Write
        });
    }

    fn info(&self, noflush: bool, suspended: bool, out: &mut Reply<'_>) -> Result {
        let pool = &self.pool;
        if !noflush && !suspended {
            // Figures are those of the last commit; make it a fresh one.
            pool.commit_for_status();
        }
        if pool.mode() == Mode::Fail {
            let _ = out.write_str("Fail");
            return Ok(());
        }
        let meta = &pool.meta;
        let tid = meta.transaction_id()?;
        let meta_total = meta.metadata_blocks()?;
        let meta_used = meta_total.saturating_sub(meta.free_metadata()?);
        let data_total = meta.data_chunks()?;
        let data_used = data_total.saturating_sub(meta.free_data()?);
        let held = meta.held_root()?;
        let _ = write!(
            out,
            "{tid} {meta_used}/{meta_total} {data_used}/{data_total} "
        );
        let _ = if held == 0 {
            out.write_str("- ")
        } else {
            write!(out, "{held} ")
        };
        let discards = if !pool.has(flag::DISCARD) {
            "ignore_discard"
        } else if pool.has(flag::PASSDOWN) {
            "discard_passdown"
        } else {
            "no_discard_passdown"
        };
        let full = if pool.has(flag::ERROR_IF_NO_SPACE) {
            "error_if_no_space"
        } else {
            "queue_if_no_space"
        };
        let check = if meta.needs_check() {
            "needs_check"
        } else {
            "-"
        };
        let _ = write!(
            out,
            "{} {discards} {full} {check} {} ",
            pool.mode().status_word(),
            self.metadata_threshold()
        );
        Ok(())
    }
}

impl Target for PoolTarget {
    type Context = Table;

    const FEATURES: Features = Features {
        singleton: true,
        always_writeable: true,
        immutable: true,
        passes_crypto: true,
    };
    const PER_BIO: bool = false;

    fn ctr(table: &Arc<Table>, ti: &mut Ti<'_>, args: &[&str]) -> Result<KBox<Self>, CtrError> {
        let names = Self::names(ti);
        let a = parse_pool(args, names).map_err(refusal)?;
        let access = if a.features.read_only {
            Access::Read
        } else {
            Access::ReadWrite
        };
        let open_metadata = |ti: &mut Ti<'_>| {
            ti.get_device(a.metadata, access)
                .map_err(|e| CtrError::new(e, c"Error opening metadata block device"))
        };
        // What is wrong with it is said first, but the data device is taken before it: the two may
        // be one device under two names (`Ti::get_device`).
        let probe = open_metadata(ti)?;
        ti.put_device(probe);
        let data = ti
            .get_device(a.data, Access::ReadWrite)
            .map_err(|e| CtrError::new(e, c"Error getting data device"))?;
        let metadata = match open_metadata(ti) {
            Ok(d) => d,
            Err(e) => {
                ti.put_device(data);
                return Err(e);
            }
        };
        let drr = match names {
            Names::Own => a.features.drr.unwrap_or(true),
            Names::DropIn => table.params.drr_default,
        };
        let found = (|| {
            let sizes = a.sizes.map_err(refusal)?;
            let (Some(md), Some(metadata_dev), Some(data_dev)) =
                (ti.mapped_dev(), metadata.bdev(), data.bdev())
            else {
                return Err(CtrError::new(EINVAL, c"Error getting data device"));
            };
            let request = Request {
                md,
                metadata_dev,
                data_dev,
                chunk_sectors: sizes.chunk_sectors,
                features: a.features,
                drr,
            };
            // With no lock held: a pool that is activated early in a boot waits here for its keys.
            wait_for_random()
                .map_err(|e| CtrError::new(e, c"Interrupted while waiting for random numbers"))?;
            let (pool, created) = table.find_or_create(&request)?;
            Ok((pool, created, sizes.low_water_chunks))
        })();
        let (pool, created, low_water_chunks) = match found {
            Ok(p) => p,
            Err(e) => {
                ti.put_device(metadata);
                ti.put_device(data);
                return Err(e);
            }
        };
        let target = Self {
            table: table.clone(),
            pool,
            metadata,
            data,
            low_water_chunks,
            requested: a.features,
        };
        let refused = if !created
            && target.requested.discard != target.pool.control.read().features.discard
        {
            Some(CtrError::new(
                EINVAL,
                c"Discard support cannot be disabled once enabled",
            ))
        } else {
            target
                .pool
                .meta
                .set_metadata_threshold(target.metadata_threshold())
                .err()
                .map(|e| CtrError::new(e, c"Error registering metadata threshold"))
        };
        if let Some(e) = refused {
            target.put(ti);
            return Err(e);
        }
        ti.set_wants(Wants {
            flush_always: false,
            discards: target.requested.discard && target.requested.discard_passdown,
            accounts_remapped_io: false,
        });
        // The box is made last: its memory is all that can fail here.
        match KBox::<Self>::new_uninit(GFP_KERNEL) {
            Ok(b) => Ok(b.write(target)),
            Err(_) => {
                target.put(ti);
                Err(CtrError::new(ENOMEM, c"Out of memory"))
            }
        }
    }

    fn dtr(self: KBox<Self>, ti: &mut Ti<'_>) {
        let target = KBox::into_inner(self);
        {
            let mut c = target.pool.control.write();
            // Another table may have taken over since.
            if c.table.is_some_and(|t| Some(t) == ti.table()) {
                c.table = None;
            }
        }
        target.put(ti);
    }

    fn map(&self, mut bio: Bio) -> MapIo {
        bio.set_dev(self.pool.data_dev);
        MapIo::Remapped(bio)
    }

    fn presuspend(&self, _ti: &Ti<'_>) {
        {
            let _thins = self.pool.thins.write();
            self.pool.suspended.store(true, Relaxed);
        }
        self.pool.suspend_thins();
    }

    fn presuspend_undo(&self, _ti: &Ti<'_>) {
        self.pool.resume_thins();
        let _thins = self.pool.thins.write();
        self.pool.suspended.store(false, Relaxed);
    }

    fn postsuspend(&self, _ti: &Ti<'_>) {
        self.pool.waker.cancel();
        self.pool.no_space_timeout.cancel();
        self.pool.thin_wq.flush();
        self.pool.discard_wq.flush();
        self.pool.wq.flush();
        let _ = self.pool.commit();
    }

    fn preresume(&self, ti: &Ti<'_>) -> Result {
        self.bind(ti);
        let (chunks, _) = self.pool.geometry.split(Sectors(ti.sectors()));
        let r = (|| {
            let data = self.grow_data(chunks)?;
            let metadata = self.grow_metadata()?;
            if data || metadata {
                let _ = self.pool.commit();
            }
            Ok(())
        })();
        if self.pool.mode() == Mode::Fail {
            // A failed pool must resume, or what waits in it could never be ended.
            return Ok(());
        }
        r
    }

    fn resume(&self, _ti: &Ti<'_>) {
        // First the waiting bios, then the thin devices, then new ones may come.
        self.pool.each_thin(|t| t.retry_waiting());
        self.pool.resume_thins();
        {
            let _thins = self.pool.thins.write();
            self.pool.suspended.store(false, Relaxed);
        }
        self.pool.control.write().low_water_triggered = false;
        self.pool.waker.queue(&self.pool.wq);
        self.pool.wake();
    }

    fn status(&self, ti: &Ti<'_>, what: StatusType, noflush: bool, out: &mut Reply<'_>) {
        match what {
            StatusType::Info => {
                if let Err(e) = self.info(noflush, ti.suspended(), out) {
                    pr_err!(
                        "{}: cannot read the pool's figures: error {}\n",
                        self.pool.name(),
                        e.to_errno()
                    );
                    let _ = out.write_str("Error");
                }
            }
            StatusType::Table => {
                let _ = write!(
                    out,
                    "{} {} {} {} ",
                    self.metadata.number(),
                    self.data.number(),
                    self.pool.geometry.sectors(),
                    self.low_water_chunks
                );
                let _ = write_features(&self.requested, out);
            }
            StatusType::Ima => {}
        }
    }

    fn message(&self, _ti: &Ti<'_>, args: &[&str], out: &mut Reply<'_>) -> Result {
        self.pool.message(args, out)
    }

    fn underlying(&self, ti: &Ti<'_>) -> Option<(&DmDev, u64, u64)> {
        Some((&self.data, 0, ti.sectors()))
    }

    /// I/O of whole chunks is best, or of the largest part of one that the data device takes;
    /// limits that fit the chunk size already are left alone.
    fn io_hints(&self, _ti: &Ti<'_>, limits: &mut Limits<'_>) {
        let chunk = u32::try_from(self.pool.geometry.sectors()).unwrap_or(u32::MAX);
        let divides = |n: u32, d: u32| n.checked_rem(d) == Some(0);
        if limits.max_sectors() < chunk {
            limits.set_max_sectors(largest_pow2_divisor(chunk, limits.max_sectors()));
        }
        let opt = limits.io_opt() >> SECTOR_SHIFT;
        if opt < chunk || !divides(opt, chunk) {
            let min = if divides(chunk, limits.max_sectors()) {
                limits.max_sectors()
            } else {
                chunk
            };
            limits.set_io_min(min << SECTOR_SHIFT);
            limits.set_io_opt(chunk << SECTOR_SHIFT);
        }
        if !self.requested.discard {
            limits.set_discard_granularity(0);
        } else if !self.passdown_possible(true) {
            limits.set_max_hw_discard_sectors(0);
        }
    }
}

/// The largest divisor of `n` that is `max`, or else the largest power of two up to it.
fn largest_pow2_divisor(n: u32, max: u32) -> u32 {
    if max == 0 || n.checked_rem(max) == Some(0) {
        return max;
    }
    // Chunks are multiples of 128 sectors, so a power of two is found at 1 at the latest.
    let mut p = 1u32 << (31 - max.leading_zeros());
    while p > 1 && n & (p - 1) != 0 {
        p >>= 1;
    }
    p
}

impl PoolTarget {
    /// Gives back what the constructor took.
    fn put(self, ti: &mut Ti<'_>) {
        let Self {
            table,
            pool,
            metadata,
            data,
            ..
        } = self;
        table.put(pool);
        ti.put_device(metadata);
        ti.put_device(data);
    }
}

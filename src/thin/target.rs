// SPDX-License-Identifier: GPL-2.0

//! A thin device as device-mapper sees it.

use super::{map, origin::Origin, Thin};
use crate::{
    dm::{
        bio::{Bio, Status},
        sync::begin_grace_period,
        target::{
            with_mapped_dev, Access, CtrError, DmDev, EndIo, Features, Limits, MapIo, Reply,
            StatusType, Target, Ti, Wants,
        },
    },
    pool::{args::parse_dev_id, flag, mode::Mode, Pool, Table},
    units::PAGE_SECTORS,
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    sync::{Arc, Completion},
};

/// Chunks in the largest discard (as dm-thin: drivers/md/dm-bio-prison-v1.h).
const MAX_DISCARD_CHUNKS: u32 = 1024;

/// A thin device's table.
pub(crate) struct ThinTarget {
    table: Arc<Table>,
    thin: Arc<Thin>,
    gone: Arc<Completion>,
    taken: Taken,
}

/// What a table holds of others, to be given back when it goes.
#[derive(Default)]
struct Taken {
    pool: Option<Arc<Pool>>,
    pool_dev: Option<DmDev>,
    origin_dev: Option<DmDev>,
}

impl Taken {
    fn put(self, table: &Table, ti: &mut Ti<'_>) {
        if let Some(pool) = self.pool {
            table.put(pool);
        }
        for dev in [self.pool_dev, self.origin_dev].into_iter().flatten() {
            ti.put_device(dev);
        }
    }
}

const NOT_OPENED: &CStr = c"Couldn't open thin internal device";

const ORIGIN_IS_POOL: CtrError = CtrError::new(EINVAL, c"Error setting origin device");

impl ThinTarget {
    fn open(
        pool: &Arc<Pool>,
        ti: &mut Ti<'_>,
        id: crate::units::DevId,
        origin: Option<Origin>,
        gone: &Arc<Completion>,
    ) -> Result<Arc<Thin>, CtrError> {
        let fail = |e, phrase| Err(CtrError::new(e, phrase));
        if pool.mode() == Mode::Fail {
            return fail(EINVAL, c"Couldn't open thin device, Pool is in fail mode");
        }
        let open = pool
            .meta
            .open_thin(id)
            .map_err(|e| CtrError::new(e, NOT_OPENED))?;
        if pool.making.is_being_made(id) {
            return fail(EBUSY, c"Thin device is a snapshot that is still being made");
        }
        ti.set_max_io_len(pool.geometry.sectors())
            .map_err(|e| CtrError::new(e, c"Block size too large for a thin device"))?;
        let Some(md) = ti.mapped_dev() else {
            return fail(EINVAL, c"Couldn't get mapped device");
        };
        let Some(own) = md.disk() else {
            return fail(EINVAL, c"Couldn't get block device");
        };
        let nomem = |e| CtrError::new(e, c"Out of memory");
        let device = pool.devices.activate(id).map_err(nomem)?;
        let layer = pool
            .drr
            .add_layer(id, own, device.snapshots.clone())
            .map_err(nomem)?;
        let thin = pool.add_thin(|serial| {
            Thin::new(
                serial,
                pool.clone(),
                id,
                md,
                open,
                layer.clone(),
                origin,
                device,
                gone.clone(),
            )
        });
        thin.map_err(|e| {
            pool.drr.remove_layer(&layer);
            if e == EAGAIN {
                CtrError::new(
                    EINVAL,
                    c"Unable to activate thin device while pool is suspended",
                )
            } else {
                nomem(e)
            }
        })
    }

    fn info(&self, out: &mut Reply<'_>) -> Result {
        let pool = &self.thin.pool;
        let sectors = pool.geometry.sectors();
        let mapped = pool.meta.mapped_chunks(&self.thin.open)?;
        let highest = pool.meta.highest_mapped(&self.thin.open)?;
        let _ = write!(out, "{} ", mapped.saturating_mul(sectors));
        let _ = match highest {
            Some(v) => write!(
                out,
                "{}",
                v.0.saturating_add(1)
                    .saturating_mul(sectors)
                    .saturating_sub(1)
            ),
            None => out.write_str("-"),
        };
        Ok(())
    }
}

impl Target for ThinTarget {
    type Context = Table;

    const FEATURES: Features = Features {
        singleton: false,
        always_writeable: false,
        immutable: false,
        passes_crypto: true,
    };
    const PER_BIO: bool = true;

    fn ctr(table: &Arc<Table>, ti: &mut Ti<'_>, args: &[&str]) -> Result<KBox<Self>, CtrError> {
        let (pool_path, id, origin_path) = match *args {
            [pool, id] => (pool, id, None),
            [pool, id, origin] => (pool, id, Some(origin)),
            _ => return Err(CtrError::new(EINVAL, c"Invalid argument count")),
        };
        let mut taken = Taken::default();
        let built = (|| {
            let open_origin = |ti: &mut Ti<'_>, path| {
                ti.get_device(path, Access::Read)
                    .map_err(|e| CtrError::new(e, c"Error opening origin device"))
            };
            if let Some(path) = origin_path {
                if path == pool_path {
                    return Err(ORIGIN_IS_POOL);
                }
                // What is wrong with it is said first, but the pool is taken before it: see
                // `Ti::get_device`.
                let probe = open_origin(ti, path)?;
                ti.put_device(probe);
            }
            let pool_dev = taken.pool_dev.insert(
                ti.get_device(pool_path, Access::AsTable)
                    .map_err(|e| CtrError::new(e, c"Error opening pool device"))?,
            );
            if let Some(path) = origin_path {
                taken.origin_dev = Some(open_origin(ti, path)?);
            }
            let origin = match &taken.origin_dev {
                None => None,
                // Under whatever name.
                Some(o) if o.bdev() == pool_dev.bdev() => return Err(ORIGIN_IS_POOL),
                Some(o) => o.bdev().map(Origin::new),
            };
            let id = parse_dev_id(id).ok_or(CtrError::new(EINVAL, c"Invalid device id"))?;
            let pool = taken.pool.insert(with_mapped_dev(pool_dev, |md| match md {
                None => Err(CtrError::new(EINVAL, c"Couldn't get pool mapped device")),
                Some(md) => table
                    .find(md)
                    .ok_or(CtrError::new(EINVAL, c"Couldn't find pool object")),
            })?);
            // Room first: an open device is only taken down by the destructor's path.
            let nomem = || CtrError::new(ENOMEM, c"Out of memory");
            let room = KBox::<Self>::new_uninit(GFP_KERNEL).map_err(|_| nomem())?;
            let gone = Arc::pin_init(Completion::new(), GFP_KERNEL).map_err(|_| nomem())?;
            let thin = Self::open(pool, ti, id, origin, &gone)?;
            Ok((room, thin, gone))
        })();
        let (room, thin, gone) = match built {
            Ok(m) => m,
            Err(e) => {
                taken.put(table, ti);
                return Err(e);
            }
        };
        ti.set_wants(Wants {
            flush_always: true,
            discards: thin.pool.has(flag::DISCARD),
            accounts_remapped_io: true,
        });
        Ok(room.write(Self {
            table: table.clone(),
            thin,
            gone,
            taken,
        }))
    }

    fn dtr(self: KBox<Self>, ti: &mut Ti<'_>) {
        let Self {
            table,
            thin,
            gone,
            taken,
        } = KBox::into_inner(self);
        // Device-mapper freezes the queue of a device that is removed, once its tables are gone, and that
        // waits for one (block/genhd.c, `__del_gendisk`, 7.2).
        begin_grace_period();
        thin.pool.remove_thin(&thin);
        thin.disarm();
        thin.pool.drr.remove_layer(&thin.layer);
        drop(thin);
        // No bio is left; works, kcopyd and the pool's own suspend or resume may still be putting
        // down what they held of the device. It must be closed when this returns, or the next
        // delete would find it busy, and its mapped device goes after this.
        gone.wait_for_completion();
        taken.put(&table, ti);
    }

    fn map(&self, bio: Bio) -> MapIo {
        map::map(&self.thin, bio)
    }

    fn end_io(&self, bio: Bio, status: Status) -> EndIo {
        map::end_io(&self.thin, bio, status)
    }

    fn preresume(&self, _ti: &Ti<'_>) -> Result {
        if let Some(origin) = &self.thin.origin {
            origin.measure();
        }
        Ok(())
    }

    fn presuspend(&self, ti: &Ti<'_>) {
        if ti.noflush_suspending() {
            self.thin.set_requeue(true);
        }
    }

    fn presuspend_undo(&self, _ti: &Ti<'_>) {
        self.thin.set_requeue(false);
    }

    fn postsuspend(&self, _ti: &Ti<'_>) {
        self.thin.set_requeue(false);
    }

    fn status(&self, _ti: &Ti<'_>, what: StatusType, _noflush: bool, out: &mut Reply<'_>) {
        if self.thin.pool.mode() == Mode::Fail {
            let _ = out.write_str("Fail");
            return;
        }
        match what {
            StatusType::Info => {
                if let Err(e) = self.info(out) {
                    pr_err!(
                        "{}: cannot read the figures of thin device {}: error {}\n",
                        self.thin.pool.name(),
                        self.thin.id.0,
                        e.to_errno()
                    );
                    let _ = out.write_str("Error");
                }
            }
            StatusType::Table => {
                if let Some(pool) = &self.taken.pool_dev {
                    let _ = write!(out, "{} {}", pool.number(), self.thin.id.0);
                }
                if let Some(origin) = &self.taken.origin_dev {
                    let _ = write!(out, " {}", origin.number());
                }
            }
            StatusType::Ima => {}
        }
    }

    /// The pool alone: the origin is only read, and its limits are seen to in `io_hints`.
    fn underlying(&self, _ti: &Ti<'_>) -> Option<(&DmDev, u64, u64)> {
        let pool = &self.thin.pool;
        let dev = self.taken.pool_dev.as_ref()?;
        let chunks = {
            let c = pool.control.read();
            c.table.map_or(0, |_| c.chunks)
        };
        (chunks > 0).then(|| (dev, 0, chunks.saturating_mul(pool.geometry.sectors())))
    }

    fn io_hints(&self, _ti: &Ti<'_>, limits: &mut Limits<'_>) {
        let pool = &self.thin.pool;
        // A bio that begins inside a page can neither be recorded nor served without a detour, and
        // 255 sectors are a common bound (BLK_SAFE_MAX_SECTORS).
        limits.cut_at_multiples_of(PAGE_SECTORS as u32);
        // A work may submit what a reader polls for, and device-mapper reads a bio below that is polled
        // while it is being submitted (drivers/md/dm.c, `dm_queue_poll_io`, 7.2).
        limits.refuse_polling();
        if let Some(origin) = &self.thin.origin {
            limits.readable_from(origin.dev());
        }
        if pool.has(flag::DISCARD) {
            let chunk = u32::try_from(pool.geometry.sectors()).unwrap_or(u32::MAX);
            limits.set_discard_granularity(chunk.saturating_mul(512));
            limits.set_max_hw_discard_sectors(chunk.saturating_mul(MAX_DISCARD_CHUNKS));
        }
    }
}

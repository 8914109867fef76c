// SPDX-License-Identifier: GPL-2.0

//! The way of every bio: mapped data is reached, and shared data served, without the worker.
//!
//! `map` runs in the submitter's process context. It may take the metadata lock shared, but must
//! not wait for I/O: bios that are submitted below it are queued until it returns
//! (block/blk-core.c, `submit_bio_noacct`). What would have to wait goes to the device's work.

use super::{Thin, WaitFor};
use crate::{
    dm::{
        bio::{Bio, Op, Status},
        target::{EndIo, MapIo},
    },
    drr::ReadOutcome,
    meta::Lookup,
    pool::{flag, mode::Mode},
    units::VChunk,
};
use kernel::sync::Arc;

/// Maps a bio whose sectors count from the start of the device.
pub(crate) fn map(thin: &Arc<Thin>, mut bio: Bio) -> MapIo {
    let pool = &*thin.pool;
    if pool.mode() == Mode::Fail {
        return end(bio, Status::IoError);
    }
    match bio.op() {
        Op::Discard => {
            if !pool.has(flag::DISCARD) {
                return end(bio, Status::NotSupported);
            }
            return wait(thin, WaitFor::Discard, bio);
        }
        Op::Read | Op::Write | Op::Flush => {}
        Op::Other => return end(bio, Status::NotSupported),
    }
    if thin.flush_is_void(&bio) {
        return end(bio, Status::IoError);
    }
    if bio.bytes() == 0 {
        // What was mapped since the last commit must become durable with the data.
        if pool.meta.changed_this_transaction(&thin.open) {
            return wait(thin, WaitFor::Commit, bio);
        }
        if thin.flush_is_void(&bio) {
            return end(bio, Status::IoError);
        }
        pool.direct_flush(&mut bio);
        return MapIo::Remapped(bio);
    }

    let (v, off) = pool.geometry.split(bio.sector());
    let stay = thin.enter(bio.op());
    let found = pool.meta.lookup(&thin.open, VChunk(v), false);
    let chunk = match (found, bio.op()) {
        (Ok(Lookup::Mapped(m)), _) if !m.shared => {
            // After the lookup: the mapping that it found may be new itself.
            if bio.is_flush() && pool.meta.inserted_this_transaction(&thin.open) {
                thin.leave(stay);
                return wait(thin, WaitFor::Commit, bio);
            }
            if thin.flush_is_void(&bio) {
                thin.leave(stay);
                return end(bio, Status::IoError);
            }
            m.chunk
        }
        (Ok(Lookup::Mapped(m)), Op::Read) => {
            let phys = pool.data_sector(m.chunk, off);
            match pool.drr.read_shared(&thin.layer, &mut bio, phys) {
                ReadOutcome::Served => {
                    thin.leave(stay);
                    return end(bio, Status::Ok);
                }
                ReadOutcome::Disk => m.chunk,
                ReadOutcome::Follow(leader) => {
                    thin.leave(stay);
                    pool.drr.follow(leader, bio, thin.clone());
                    pool.watch_followers();
                    return MapIo::Submitted;
                }
            }
        }
        (Ok(Lookup::Unmapped), Op::Read) => {
            thin.leave(stay);
            return match thin.read_unmapped(bio) {
                Some(bio) => MapIo::Remapped(bio),
                None => MapIo::Submitted,
            };
        }
        (Err(_), _) => {
            thin.leave(stay);
            return end(bio, Status::IoError);
        }
        (Ok(_), _) => {
            thin.leave(stay);
            return wait(thin, WaitFor::Worker, bio);
        }
    };
    bio.data().stay = Some(stay);
    pool.direct(&mut bio, pool.data_sector(chunk, off));
    MapIo::Remapped(bio)
}

fn end(bio: Bio, status: Status) -> MapIo {
    bio.end(status);
    MapIo::Submitted
}

fn wait(thin: &Thin, what: WaitFor, bio: Bio) -> MapIo {
    thin.wait_for(what, bio);
    MapIo::Submitted
}

/// Ends a bio: any context, hard interrupts included.
pub(crate) fn end_io(thin: &Thin, mut bio: Bio, status: Status) -> EndIo {
    let pool = &*thin.pool;
    if let Some(io) = bio.data().accounted.take() {
        pool.disk.account_end(io);
    }
    let Some(mut bio) = pool.drr.read_ended(&thin.layer, bio, status) else {
        return EndIo::Kept;
    };
    if let Some(mut job) = bio.data().job.take() {
        // A whole chunk has been written: now its mapping can be inserted.
        job.written(bio, status);
        // Woken under the lock: once the pool's worker has the job, the device may go.
        pool.prepared.with(|q| {
            q.push(job);
            pool.wake();
        });
        return EndIo::Kept;
    }
    if let Some(stay) = bio.data().stay.take() {
        thin.leave(stay);
    }
    EndIo::Done(bio, status)
}

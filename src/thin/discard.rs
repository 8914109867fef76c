// SPDX-License-Identifier: GPL-2.0

//! Discards: the return of whole chunks to the pool, and to the data device below.
//!
//! Runs in the pool's discard worker. What is passed down goes through these steps, for all
//! discards that wait at once:
//!
//! 1. Unmapped, and held so that nobody else is given the chunk. Only now do the counts tell
//!    exclusive chunks from shared ones (`Metadata::unmap_and_hold`); shared ones are let go.
//! 2. Committed: after a crash nobody maps the chunk either.
//! 3. An epoch passes: reads and copies that looked the chunk up before have ended.
//! 4. Discarded on the data device.
//! 5. Let go: from now on it can be allocated.

use super::Thin;
use crate::{
    dm::bio::{Bio, BioList, Status},
    meta::MappedRange,
    pool::{flag, mode::Mode, Pool},
    units::{Chunk, Sectors, VChunk},
};
use kernel::{prelude::*, sync::Arc};

/// Chunks that are held: first, and one past the last.
type Held = KVec<(Chunk, Chunk)>;

/// Held runs after which they are passed down before more is unmapped.
const BATCH: usize = 1024;

/// Serves discards. Only whole chunks count; the rest of each range is left as it is.
pub(crate) fn process(thin: &Arc<Thin>, mut list: BioList) {
    let pool = &thin.pool;
    let mut held = Held::new();
    let mut unmapped = BioList::new();
    while let Some(bio) = list.pop() {
        match unmap(thin, &bio, &mut held) {
            Ok(()) => unmapped.push(bio),
            Err(_) => bio.end(Status::IoError),
        }
        if held.len() >= BATCH {
            finish(pool, &mut held, &mut unmapped);
        }
    }
    finish(pool, &mut held, &mut unmapped);
}

/// Steps 2 to 5, and the end of the discards.
fn finish(pool: &Pool, held: &mut Held, unmapped: &mut BioList) {
    let done = pass_down(pool, held);
    held.clear();
    let status = if done { Status::Ok } else { Status::IoError };
    unmapped.take().end_all(status);
}

/// Step 1 for one discard.
fn unmap(thin: &Arc<Thin>, bio: &Bio, held: &mut Held) -> Result {
    let pool = &thin.pool;
    match pool.mode() {
        Mode::Write | Mode::OutOfDataSpace => {}
        // A discard is a hint: a pool that changes nothing succeeds in ignoring it.
        Mode::OutOfMetadataSpace | Mode::ReadOnly => return Ok(()),
        Mode::Fail => return Err(EIO),
    }
    let (mut begin, end) = whole_chunks(pool, bio);
    while let Some(run) = pool.meta.lookup_range(&thin.open, begin, end)? {
        // The write side's second rule.
        let chunks = run.end.0.saturating_sub(run.begin.0);
        pool.drr
            .layer_wrote(&thin.layer, pool.first_page(run.chunk), pool.pages(chunks));
        pool.change("discarding", || unmap_run(thin, &run, held))?;
        if run.end <= begin {
            break;
        }
        begin = run.end;
    }
    Ok(())
}

fn unmap_run(thin: &Arc<Thin>, run: &MappedRange, held: &mut Held) -> Result {
    let pool = &thin.pool;
    let room = usize::try_from(run.end.0.saturating_sub(run.begin.0) / 2 + 1)?;
    // Without memory for it the run is just not passed down. Reclaim must not be entered: it may
    // be what waits for this worker.
    if !pool.has(flag::PASSDOWN) || held.reserve(room, GFP_NOWAIT).is_err() {
        return pool.meta.remove_range(&thin.open, run.begin, run.end);
    }
    let r = pool.meta.unmap_and_hold(&thin.open, run, |b, e| {
        // Cannot fail: there is room.
        let _ = held.push((b, e), GFP_NOWAIT);
    });
    match r {
        // No memory to hold it. Where the failure spoiled the transaction this fails too.
        Err(e) if e == ENOMEM => pool.meta.remove_range(&thin.open, run.begin, run.end),
        r => r,
    }
}

/// The chunks that lie wholly inside the bio's range: first, and one past the last.
fn whole_chunks(pool: &Pool, bio: &Bio) -> (VChunk, VChunk) {
    let (mut begin, off) = pool.geometry.split(bio.sector());
    if off != 0 {
        begin = begin.saturating_add(1);
    }
    let past = Sectors(bio.sector().0.saturating_add(bio.sectors()));
    let (end, _) = pool.geometry.split(past);
    (VChunk(begin), VChunk(end))
}

/// Steps 2 to 5. False when the unmapping was rolled back.
fn pass_down(pool: &Pool, held: &Held) -> bool {
    if held.is_empty() {
        return true;
    }
    if pool.commit().is_err() {
        for &(begin, end) in held {
            pool.release(begin, end);
        }
        return false;
    }
    pool.epochs.wait();
    for &(begin, end) in held {
        let chunks = end.0.saturating_sub(begin.0);
        // Errors are the data device's own affair: the space comes back all the same.
        let _ = pool.data_dev.discard(
            pool.geometry.start(begin.0).0,
            chunks.saturating_mul(pool.geometry.sectors()),
        );
    }
    for &(begin, end) in held {
        let let_go = pool.change("giving chunks back", || pool.meta.release_held(begin, end));
        if let_go.is_err() {
            pool.meta.unwant(begin, end);
        }
    }
    true
}

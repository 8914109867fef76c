// SPDX-License-Identifier: GPL-2.0

//! Discards: the return of whole chunks to the pool, and to the data device below.
//!
//! Runs in the device's discard work, beside those of other devices: one that the data device holds
//! up holds up no other. What is passed down goes through these steps, for all discards of the
//! device that wait at once, in rounds:
//!
//! 1. Unmapped, and held so that nobody else is given the chunk. Only now do the counts tell
//!    exclusive chunks from shared ones (`Metadata::unmap_and_hold`); shared ones are let go.
//! 2. Committed: after a crash nobody maps the chunk either.
//! 3. An epoch passes: reads and copies that looked the chunk up before have ended.
//! 4. Discarded on the data device, the whole round at once.
//! 5. Let go: from now on it can be allocated.
//!
//! Rounds of several devices, and two of one, may be at different steps: each has only chunks in it
//! that it holds, and nobody else is given these before its own step 5.

use super::{
    runs::{Joined, Run, BIO_SECTORS_MAX},
    Thin,
};
use crate::{
    dm::{
        bio::{Bio, BioList, Op, Status},
        discards::Discards,
    },
    meta::MappedRange,
    pool::{flag, mode::Mode, Pool},
    units::{Sectors, VChunk},
};
use kernel::{prelude::*, sync::Arc};

/// Chunks that are held.
type Held = KVec<Run>;

/// Held runs after which they are passed down before more is unmapped. So many bios a device has
/// under way at most, but where a run is longer than a bio can be.
const ROUND: usize = 1024;
/// The first round is smaller: the data device has nothing to do before it.
const FIRST_ROUND: usize = 256;

/// What goes through the steps together.
#[derive(Default)]
struct Round {
    held: Held,
    /// The discards that end when all of it has been let go.
    bios: BioList,
}

impl Round {
    fn end(&mut self, status: Status) {
        self.held.clear();
        self.bios.take().end_all(status);
    }
}

/// Serves discards. Only whole chunks count; the rest of each range is left as it is.
///
/// While the data device has one round, the one before it is let go, and the next one goes through the steps before that.
pub(crate) fn process(thin: &Arc<Thin>, mut list: BioList) {
    let pool = &thin.pool;
    // Without memory for it nothing is passed down.
    let mut below = Discards::new(pool.data_dev, &pool.discard_bios, &pool.passdown_wq).ok();
    let passdown = below.is_some() && pool.has(flag::PASSDOWN);
    let (mut next, mut under_way) = (Round::default(), Round::default());
    let mut most = FIRST_ROUND;
    while let Some(bio) = list.pop() {
        match unmap(thin, &bio, passdown, &mut next.held) {
            Ok(()) => next.bios.push(bio),
            Err(_) => bio.end(Status::IoError),
        }
        if next.held.len() >= most {
            pass_down(pool, below.as_mut(), &mut next, &mut under_way);
            most = ROUND;
        }
    }
    pass_down(pool, below.as_mut(), &mut next, &mut under_way);
    if let Some(below) = &mut below {
        below.wait();
        let_go(pool, &mut under_way);
    }
}

/// Step 1 for one discard.
fn unmap(thin: &Arc<Thin>, bio: &Bio, passdown: bool, held: &mut Held) -> Result {
    let pool = &thin.pool;
    match pool.mode() {
        Mode::Write | Mode::OutOfDataSpace => {}
        // A discard is a hint: a pool that changes nothing succeeds in ignoring it.
        Mode::OutOfMetadataSpace | Mode::ReadOnly => return Ok(()),
        Mode::Fail => return Err(EIO),
    }
    let (mut begin, end) = whole_chunks(pool, bio);
    // What the lookups need is read at once, not as each of them comes to it.
    pool.meta.bring_all_in(&thin.open, begin, end);
    while let Some(run) = pool.meta.lookup_range(&thin.open, begin, end)? {
        // The write side's second rule.
        let chunks = run.end.0.saturating_sub(run.begin.0);
        pool.drr
            .layer_wrote(&thin.layer, pool.first_page(run.chunk), pool.pages(chunks));
        pool.change("discarding", || unmap_run(thin, &run, passdown, held))?;
        if run.end <= begin {
            break;
        }
        begin = run.end;
    }
    Ok(())
}

fn unmap_run(thin: &Arc<Thin>, run: &MappedRange, passdown: bool, held: &mut Held) -> Result {
    let pool = &thin.pool;
    let room = usize::try_from(run.end.0.saturating_sub(run.begin.0) / 2 + 1)?;
    // Without memory for it the run is just not passed down. Reclaim must not be entered: it may
    // be what waits for this worker.
    if !passdown || held.reserve(room, GFP_NOWAIT).is_err() {
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

/// Steps 2 and 3 of `next`, the end of step 4 of what is under way, step 4 of `next`, which then is what is
/// under way, and step 5 of what was.
fn pass_down(
    pool: &Pool,
    below: Option<&mut Discards<'_>>,
    next: &mut Round,
    under_way: &mut Round,
) {
    let Some(below) = below.filter(|_| !next.held.is_empty()) else {
        next.end(Status::Ok);
        return;
    };
    if pool.commit().is_err() {
        // The unmapping was rolled back.
        for &(begin, end) in next.held.iter() {
            pool.release(begin, end);
        }
        next.end(Status::IoError);
        return;
    }
    pool.epochs.wait();
    below.wait();
    let mut done = core::mem::take(under_way);
    let chunk = pool.geometry.sectors();
    let longest = BIO_SECTORS_MAX.checked_div(chunk).unwrap_or(1);
    below.start(Joined::new(&mut next.held, longest).map(|(begin, end)| {
        let sectors = end.0.saturating_sub(begin.0).saturating_mul(chunk);
        pool.count_io(Op::Discard, sectors);
        // `longest` chunks fit.
        (pool.geometry.start(begin.0).0, sectors as u32)
    }));
    core::mem::swap(next, under_way);
    let_go(pool, &mut done);
    // With its memory: the next round need not get any.
    *next = done;
}

/// Step 5. Errors of the data device are its own affair: the space comes back all the same.
fn let_go(pool: &Pool, round: &mut Round) {
    for &(begin, end) in round.held.iter() {
        let let_go = pool.change("giving chunks back", || pool.meta.release_held(begin, end));
        if let_go.is_err() {
            pool.meta.unwant(begin, end);
        }
    }
    round.end(Status::Ok);
}

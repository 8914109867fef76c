// SPDX-License-Identifier: GPL-2.0

//! DRR: shared reads served from a sibling's memory.
//!
//! A pool has one [`Drr`], an active thin device one [`Layer`]. The thin target asks
//! [`Drr::read_shared`] before it sends a read of a *shared* block to disk, calls
//! [`Drr::read_ended`] from end_io for every bio, and tells of what a layer breaks its sharing of or
//! discards ([`Drr::layer_wrote`]). The pool tells of every chunk that it allocates
//! ([`Drr::chunk_allocated`]). Nobody tells of writes in place: their chunks are not shared, so they have
//! no records.
//!
//! Why what is served is right:
//!
//! - *Identity*: records are keyed by physical page; layers that map the same page read the same
//!   bytes. The caller is inside an epoch of the pool, so the page keeps its owner for as long as
//!   the read lasts.
//! - *Proof*: a record promises nothing. A page is handed out only when the copy's keyed hash is that
//!   of the bytes the disk returned for this very physical page (hash.rs).
//! - *Writes*: no record survives a write to its page, and none is made across one. Records that
//!   exist are dropped by `written`; those being made carry a ticket that the write invalidates
//!   under the same lock (table.rs, invariant 4). Besides, a publication lies inside the epoch
//!   of its read: an in-place end_io publishes before the target leaves the epoch, and a deferred one
//!   before the bio is ended a second time, so a chunk is not even allocated again before
//!   publications that rely on its old contents are over.
//! - *Layers*: records of a layer that is removed are dropped after its `presence` was ended, and a
//!   publication looks at that under the bucket's lock.
//! - *Coalescing*: a read that waits for another one of the same pages is in no epoch meanwhile, and
//!   afterwards is looked up and served like any other (coalesce.rs).
//! - *Domains*: a record carries the domain that its layer was in, and is offered in that domain
//!   alone. A layer that moves loses its records; those being made carry a ticket from before.
//! - *Off*: while DRR is off writes drop nothing, so what reads that were begun before still
//!   publish is dropped once they have ended, before `drr off` is answered.
//!
//! Rooms: bar.rs, bits.rs, hash.rs, table.rs, bucket.rs, group.rs, coalesce.rs, sampling.rs, backoff.rs, peers.rs, shares.rs, spread.rs, metapages.rs, demand.rs, turns.rs, heatmap.rs, layers.rs, list.rs, domains.rs, stats.rs are pure (tests/host compiles them);
//! serve.rs is the way of a read in map, record.rs in end_io, metadata.rs that of file systems' metadata in
//! both, cache.rs the removal of copies, message.rs what administrators see.
//! Everything that touches the page cache is in dm/folio.rs.
//!
//! Locks (docs/invariants.md has the order of all): `state` (sleeping; messages and layers coming and going, cache
//! management) before the folio of a copy that is to leave (try-locked) before a bucket's spinlock; the read path
//! takes bucket locks only. Epochs are waited for with neither held. Whoever switches,
//! makes or deletes devices, or moves them does so one at a time (the pool's `changing`).

use crate::dm::{
    bdev::BlockDev,
    bio::{Bio, BioList, Status},
    epoch::Epochs,
    folio::{fill_random, random_word, Hotplug, PrivatePage, ReadQueue},
    shrinker::{GroupShrinker, Shrink, Shrinker},
    sync::RwSem,
};
use crate::units::{DevId, Ppn, Sectors};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use kernel::{prelude::*, sync::Arc};

pub(crate) mod backoff;
mod bar;
pub(crate) mod bits;
mod bucket;
mod cache;
pub(crate) mod coalesce;
pub(crate) mod demand;
pub(crate) mod domains;
pub(crate) mod group;
pub(crate) mod hash;
mod heatmap;
pub(crate) mod layers;
mod list;
mod message;
mod metadata;
pub(crate) mod metapages;
pub(crate) mod peers;
pub(crate) mod platform;
mod record;
pub(crate) mod sampling;
mod serve;
pub(crate) mod shares;
pub(crate) mod spread;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod turns;

pub(crate) use bar::Bar;
use cache::Cache;
pub(crate) use cache::CachePolicy;
use heatmap::Heatmap;
pub(crate) use message::on_off;
use metadata::Metadata;
use metapages::MetaPages;
use peers::{AllPeers, Peers};
use platform::now_ns;
pub(crate) use record::{resume, ReadHook, Resume};
use stats::{Stats, Tally};
use table::{Presence, Table};

/// Bits of a device's id.
const ID_BITS: u32 = 24;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

const NS_PER_MS: u64 = 1_000_000;
/// How often reads that wait for others are looked at, in milliseconds: one that has begun to wait after
/// that was set may have less patience than those before it.
pub(crate) const WATCH_MS: u32 = (coalesce::PATIENCE_MIN / NS_PER_MS) as u32;

/// What became of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadOutcome {
    /// The bio is filled as far as it goes (it may have been shortened): end it.
    Served,
    /// Send it to disk as it is now (it may have been shortened).
    Disk,
    /// Another read of these pages is under way: hand the bio (it may have been shortened) to
    /// [`Drr::follow`], outside of the epoch.
    Follow(coalesce::Place),
}

/// One active thin device.
pub(crate) struct Layer {
    id: DevId,
    /// Never used again, unlike `id`, which its low bits tell.
    serial: u64,
    /// The device that file systems and readers see; its page cache holds this layer's sources.
    own: BlockDev,
    domain: AtomicU32,
    bar: Arc<Bar>,
    /// Ended when the layer is removed.
    presence: Presence,
    stats: Stats,
    /// From whom it was served.
    heat: Heatmap,
}

impl Layer {
    /// The device of a layer's serial.
    fn id_of(serial: u64) -> DevId {
        DevId((serial & ID_MASK) as u32)
    }

    fn domain(&self) -> u32 {
        self.domain.load(Ordering::Relaxed)
    }
}

impl Shrink for MetaPages<PrivatePage> {
    fn count(&self) -> usize {
        self.pages()
    }

    fn shrink(&self, pages: usize) -> usize {
        MetaPages::shrink(self, pages)
    }
}

/// What changes with messages and with layers that come and go.
struct State {
    tree: layers::LayerTree,
    domains: domains::Domains,
    active: KVec<Arc<Layer>>,
}

/// DRR of one pool.
pub(crate) struct Drr {
    name: KVec<u8>,
    key: hash::Key,
    table: Arc<Table>,
    /// These end before `table` by references of their own.
    _hotplug: Hotplug,
    _shrinker: Shrinker<cache::Records>,
    meta_pages: Arc<MetaPages<PrivatePage>>,
    _meta_shrinker: Shrinker<MetaPages<PrivatePage>>,
    cache: Arc<Cache>,
    cache_shrinker: GroupShrinker<Cache>,
    queue: ReadQueue,
    /// By domains: reads on their way to the disk, and whether recording pays.
    peers: AllPeers<BioList>,
    /// The pool's.
    epochs: Arc<Epochs>,
    enabled: AtomicBool,
    verify: AtomicBool,
    /// The first mismatch was logged.
    mismatch_logged: AtomicBool,
    serials: AtomicU64,
    stats: Stats,
    state: RwSem<State>,
}

/// What a pool's DRR is told when it is made.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// Bytes that the access table may take.
    pub(crate) table_max_bytes: usize,
    /// Bytes that its own pages of metadata may take.
    pub(crate) meta_max_bytes: usize,
    /// Whether recording is switched down where it does not pay.
    pub(crate) sampling: bool,
    /// Whether the content hash is computed in vector registers, where there are any.
    pub(crate) vector_hash: bool,
    /// What becomes of copies of shared pages in memory.
    pub(crate) cache: CachePolicy,
}

impl Drr {
    /// DRR for pool `pool_name`, whose reads are in `epochs`. The random generator has been waited for
    /// ([`wait_for_random`](crate::dm::folio::wait_for_random)). Process context; sleeps.
    pub(crate) fn new(
        pool_name: &str,
        epochs: Arc<Epochs>,
        enabled: bool,
        options: Options,
    ) -> Result<Arc<Self>> {
        let mut name = KVec::new();
        name.extend_from_slice(pool_name.as_bytes(), GFP_KERNEL)?;
        let table = Table::new(options.table_max_bytes, random_word()).ok_or(ENOMEM)?;
        let table = Arc::new(table, GFP_KERNEL)?;
        let meta_pages = MetaPages::new(options.meta_max_bytes, random_word()).ok_or(ENOMEM)?;
        let meta_pages = Arc::new(meta_pages, GFP_KERNEL)?;
        let cache = Arc::new(Cache::new(table.clone(), options.cache)?, GFP_KERNEL)?;
        let key = hash::Key::new(fill_random, options.vector_hash).ok_or(ENOMEM)?;
        let hash_ns = sampling::cost_of(&key).ok_or(ENOMEM)?;
        Ok(Arc::new(
            Self {
                name,
                peers: AllPeers::new(hash_ns, options.sampling).ok_or(ENOMEM)?,
                key,
                _hotplug: Hotplug::new(table.clone())?,
                _shrinker: Shrinker::new(
                    pool_name,
                    c"table",
                    Arc::new(cache::Records(cache.clone()), GFP_KERNEL)?,
                )?,
                table,
                _meta_shrinker: Shrinker::new(pool_name, c"metadata", meta_pages.clone())?,
                meta_pages,
                cache_shrinker: GroupShrinker::new(pool_name, c"cache", cache.clone())?,
                cache,
                queue: ReadQueue::new()?,
                epochs,
                enabled: AtomicBool::new(enabled),
                verify: AtomicBool::new(false),
                mismatch_logged: AtomicBool::new(false),
                serials: AtomicU64::new(1),
                stats: Stats::new(),
                state: RwSem::new(State {
                    tree: layers::LayerTree::default(),
                    domains: domains::Domains::default(),
                    active: KVec::new(),
                })?,
            },
            GFP_KERNEL,
        )?)
    }

    fn name(&self) -> &str {
        core::str::from_utf8(&self.name).unwrap_or("?")
    }

    /// Whether reads are served and recorded now.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Switches serving and recording. Reads that were begun before it was switched off may serve and
    /// publish until [`Self::end_switching_off`] has returned, and not before that it may be switched
    /// on again. Calls do not overlap. Any context.
    pub(crate) fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Ordering::SeqCst);
    }

    /// When this returns no read is served or recorded any more. Process context; waits for an epoch.
    pub(crate) fn end_switching_off(&self) {
        // Reads that found it on may serve and publish until they leave their epoch, and writes
        // that find it off do not stop them.
        self.epochs.wait();
        self.drop_all();
    }

    /// Switches verification.
    pub(crate) fn set_verify(&self, on: bool) {
        self.verify.store(on, Ordering::Relaxed);
    }

    /// Switches sampling; off, everything is recorded. Process context; sleeps.
    pub(crate) fn set_sampling(&self, on: bool) {
        let _one_at_a_time = self.state.write();
        self.peers.set_sampling(on);
    }

    /// A thin device becomes active; `own` is its own block device, `bar` the device's. Process
    /// context; sleeps.
    pub(crate) fn add_layer(&self, id: DevId, own: BlockDev, bar: Arc<Bar>) -> Result<Arc<Layer>> {
        let mut state = self.state.write();
        let domain = state.domains.of(id.0);
        if !self.peers.join(domain) {
            return Err(ENOMEM);
        }
        let layer = Arc::new(
            Layer {
                id,
                serial: (self.serials.fetch_add(1, Ordering::Relaxed) << ID_BITS)
                    | (u64::from(id.0) & ID_MASK),
                own,
                domain: AtomicU32::new(domain),
                bar,
                presence: self.table.presence().ok_or(ENOMEM)?,
                stats: Stats::new(),
                heat: Heatmap::new(),
            },
            GFP_KERNEL,
        )?;
        state.active.push(layer.clone(), GFP_KERNEL)?;
        Ok(layer)
    }

    /// A thin device is no longer active (rule 3: its records go). The caller has ended its I/O.
    /// Process context; sleeps.
    pub(crate) fn remove_layer(&self, layer: &Arc<Layer>) {
        layer.presence.end();
        self.table.drop_layer(layer.serial, &layer.presence);
        self.state
            .write()
            .active
            .retain(|l| l.serial != layer.serial);
    }

    /// A thin device is about to be made, as a snapshot of `parent` if there is one, whose domain it
    /// begins in: before anybody can open it. ENOMEM: nothing is noted, and it must not be made, lest
    /// it be taken for one of the default domain. Process context.
    pub(crate) fn creating(&self, id: DevId, parent: Option<DevId>) -> Result {
        let parent = parent.map(|p| p.0);
        let mut state = self.state.write();
        if !state.domains.created(id.0, parent) {
            return Err(ENOMEM);
        }
        // Without memory the parent stays unknown, which is always allowed.
        let _ = state.tree.created(id.0, parent);
        Ok(())
    }

    /// A thin device is gone for good, or was not made after all. Process context.
    pub(crate) fn deleted(&self, id: DevId) {
        let mut state = self.state.write();
        state.tree.deleted(id.0);
        state.domains.deleted(id.0);
    }

    /// Puts a device into the domain of `tag`. EINVAL: this is no tag; ENOSPC: there are too many.
    /// Says whether records have moved: then reads that have begun may still be served across the
    /// border until they leave their epochs. Process context; sleeps.
    pub(crate) fn set_domain(&self, id: DevId, tag: &str) -> Result<bool> {
        let moved = {
            let mut state = self.state.write();
            // There is one, but for a moment in which a new one takes the place of an old one.
            let active = state.active.iter().filter(|l| l.id == id);
            let mut moved = KVec::with_capacity(active.clone().count(), GFP_KERNEL)?;
            for layer in active {
                moved.push(layer.clone(), GFP_KERNEL)?;
            }
            let before = state.domains.of(id.0);
            let domain = state.domains.put(id.0, tag).map_err(|why| match why {
                domains::Refused::Tag => EINVAL,
                domains::Refused::TooMany => ENOSPC,
                domains::Refused::NoMemory => ENOMEM,
            })?;
            if !moved.is_empty() && !self.peers.join(domain) {
                state.domains.put_back(id.0, before);
                return Err(ENOMEM);
            }
            moved.retain(|layer| layer.domain.swap(domain, Ordering::SeqCst) != domain);
            moved
        };
        if !moved.is_empty() {
            // First those being made: whoever takes a ticket after this sees the new domain.
            self.table.cancel_all();
            for layer in moved.iter() {
                self.table.drop_layer(layer.serial, &layer.presence);
            }
            // Nobody notes which of them this layer has read.
            self.meta_pages.drop_all();
        }
        Ok(!moved.is_empty())
    }

    /// A read of a shared block, about to go to disk. Map context (process), inside an epoch of the
    /// pool that lasts until the bio has ended. `bio` lies inside one chunk; `phys` is its
    /// first sector on the data device. May shorten the bio (`Bio::accept_partial`), so that the
    /// rest comes to map again as a bio of its own. Never waits.
    pub(crate) fn read_shared(
        &self,
        layer: &Arc<Layer>,
        bio: &mut Bio,
        phys: Sectors,
    ) -> ReadOutcome {
        if !self.is_enabled() || bio.bytes() == 0 || !bio.is_plain_read() {
            return ReadOutcome::Disk;
        }
        let mut tally = Tally::new();
        let outcome = match Metadata::of(layer, bio) {
            Some(kind) => self.serve_metadata(layer, bio, phys, kind, &mut tally),
            None => self.serve(layer, bio, phys, &mut tally),
        };
        self.count(layer, &tally);
        outcome
    }

    /// The same outside of map, where a bio cannot be shortened: it is served as a whole, or waits for a
    /// read of all of its pages, or goes to disk. Process context; does not sleep.
    pub(crate) fn read_shared_whole(
        &self,
        layer: &Arc<Layer>,
        bio: &mut Bio,
        phys: Sectors,
    ) -> ReadOutcome {
        if !self.is_enabled() || bio.bytes() == 0 || !bio.is_plain_read() {
            return ReadOutcome::Disk;
        }
        let mut tally = Tally::new();
        if let Some(kind) = Metadata::of(layer, bio) {
            let served = self.serve_metadata_whole(layer, bio, phys, kind, &mut tally);
            self.count(layer, &tally);
            return if served {
                ReadOutcome::Served
            } else {
                ReadOutcome::Disk
            };
        }
        let verify = self.verify.load(Ordering::Relaxed);
        let outcome = if !verify && self.serve_whole(layer, bio, phys, &mut tally) {
            ReadOutcome::Served
        } else if let Some(leader) = self.leader_of_all(layer, bio, phys).filter(|_| !verify) {
            self.follow_leader(leader, bio, phys, &mut tally)
        } else {
            self.arm_miss(layer, bio, phys, &mut tally);
            ReadOutcome::Disk
        };
        self.count(layer, &tally);
        outcome
    }

    /// Lets a read wait for the one that [`ReadOutcome::Follow`] named; it comes back to `back` when
    /// that has ended, or when its patience is over. Whoever makes a read wait sees to it that
    /// [`Self::detach_late`] is called after [`WATCH_MS`]. The bio is in no epoch. Process context.
    pub(crate) fn follow(&self, place: coalesce::Place, mut bio: Bio, back: Arc<dyn Resume>) {
        let refused = match self.peers.of(place.domain()) {
            Some(peers) => {
                let (now, patience) = (now_ns(), peers.reads.patience());
                let until = bio.data().read_hook.wait(back, now, patience);
                peers.reads.follow(place, bio, until, now).err()
            }
            None => {
                bio.data().read_hook.wait(back, 0, 0);
                Some(bio)
            }
        };
        if let Some(bio) = refused {
            let mut list = BioList::new();
            list.push(bio);
            resume(list);
        }
    }

    /// Sends reads on their way that have waited too long; if others still wait, in how many milliseconds
    /// this is to be called again. Process context.
    pub(crate) fn detach_late(&self) -> Option<u32> {
        let late = self.peers.detach(now_ns());
        let mut tally = Tally::new();
        tally.add(stats::Counter::DetachedReads, late.count);
        self.stats.add(&tally);
        record::resume_alone(late.stalled);
        resume(late.due);
        let ms = late.next?.div_ceil(NS_PER_MS);
        Some(u32::try_from(ms).unwrap_or(WATCH_MS).min(WATCH_MS))
    }

    /// What `layer` has in common with its peers; `None` for nobody that there is.
    fn peers_of(&self, layer: &Layer) -> Option<&Peers<BioList>> {
        self.peers.of(layer.domain())
    }

    /// A bio of the layer has ended: to be called first thing in end_io, for every bio. `Some`:
    /// go on with it. `None`: a worker has it now; answer `EndIo::Kept` and stay in the epoch, for
    /// end_io will be called again, and get `Some`. Any context but NMI.
    pub(crate) fn read_ended(
        self: &Arc<Self>,
        layer: &Arc<Layer>,
        mut bio: Bio,
        status: Status,
    ) -> Option<Bio> {
        if !bio.data().read_hook.is_armed() {
            return Some(bio);
        }
        self.end_armed(layer, bio, status)
    }

    /// Rule 1: these pages of the data device are about to be written although they may have records.
    /// Drops all their records and cancels those being made.
    /// Before the write is submitted; any context but NMI. Costs one lock per 16 pages.
    pub(crate) fn written(&self, first: Ppn, pages: u64) {
        // What is published although it is off is dropped before it is on again (`set_enabled`).
        if self.is_enabled() {
            self.table.drop_range(first.0, pages);
            self.meta_pages.drop_range(first.0, pages);
        }
    }

    /// Rule 1 for a chunk that was just allocated.
    pub(crate) fn chunk_allocated(&self, first: Ppn, pages: u64) {
        self.written(first, pages);
    }

    /// Rule 2: `layer` wrote or discarded virtual pages that these pages had backed (and others
    /// may still). Process context; may sleep, with no lock held but the callers'. Free while the table is empty.
    pub(crate) fn layer_wrote(&self, layer: &Layer, first: Ppn, pages: u64) {
        self.table.drop_layer_range(layer.serial, first.0, pages);
    }

    /// The metadata went back, or DRR has been switched off: nothing recorded holds.
    pub(crate) fn drop_all(&self) {
        self.table.drop_all();
        self.meta_pages.drop_all();
    }

    fn count(&self, layer: &Layer, tally: &Tally) {
        self.stats.add(tally);
        layer.stats.add(tally);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A pool's metadata: devices, mappings, reference counts and transactions in dm-thin's format.
//!
//! [`Metadata`] wraps the store of `dm::pdata` in one lock. Lookups of mappings share it;
//! everything else has it alone, reference counts included, but two things that take long, and
//! touch nothing that lookups see: the disk's part of a commit, and the deletion of a tree that
//! hangs on nothing any more. Who wants the lock alone first waits for the turn (`turn`), so that
//! nobody queues at the lock itself while its holder shares it for one of these: at a reader-writer
//! lock readers queue behind writers. All changes belong to the running
//! transaction, which `commit` makes durable (data device first) and `abort` throws away.
//!
//! Invariants:
//!
//! 1. A change that fails half-way spoils the transaction: further changes and the commit are
//!    refused with EIO until `abort`. So nothing half-done reaches the disk.
//! 2. When `abort` cannot get back to the last commit, everything fails with EINVAL from then on.
//! 3. A device is in the table (`devices`) while it is open or its details differ from the details
//!    tree. Its fields change only under the exclusive lock.
//! 4. A chunk whose count was lowered is in the `filling` filter (`Store::freed`) until a commit
//!    moves it to `recent` (`freed` explains the protocol).
//! 5. A chunk that is counted but mapped by nobody (allocated and being filled, or unmapped and
//!    being discarded) is in `held`. A commit takes it off the counts and puts it back after, so
//!    that what is on the disk never counts a chunk that nothing maps, and a crash leaks none.
//! 6. An aborted transaction leaves the metadata read-only in the same hold: what was prepared
//!    in it cannot find its way into the next one.
//! 7. Allocations under the exclusive lock do no I/O (`pdata::without_io`): reclaim could wait
//!    for this very lock through a thin device.
//!
//! Lock order: docs/invariants.md. Under the metadata lock only the epochs' cookie is taken, which does not sleep, and
//! by a roll-back `dm::blocks`' `reading`. Everything here runs in process context and may sleep.
//!
//! Neighbours: `dm::pdata` (the library), `format` and `freed` (pure), the pool (modes and the
//! decision when to commit or abort).

pub(crate) mod check;
pub(crate) mod counts;
mod delete;
pub(crate) mod descent;
mod devices;
pub(crate) mod figures;
pub(crate) mod format;
pub(crate) mod freed;
mod generation;
mod held;
pub(crate) mod pieces;
mod recent;
pub(crate) mod windows;

use crate::dm::{
    bdev::BlockDev,
    epoch::Epochs,
    pdata::{self, FreedFilter, Store},
    rawdisk::RawDisk,
    sync::{RwSem, WriteGuard},
};
use crate::drr::platform::now_ns;
use crate::units::{Chunk, DevId, VChunk};
use check::{Failure, Findings};
use devices::{Device, Devices};
use figures::Versions;
use format::{Changing, Details, Fault, Superblock};
use generation::{Generations, Guarded};
use held::Held;
use kernel::prelude::*;
use kernel::sync::{
    atomic::{Acquire, Atomic, Relaxed, Release},
    Arc,
};
use recent::Recent;

/// Metadata blocks that a commit may need, at most: dm-thin reports only what is beyond them.
const RESERVE_MAX: u64 = 4096;
/// Metadata blocks below which not even an empty pool fits.
const BLOCKS_MIN: u64 = 8;
/// The longest run that `lookup_range` reports: it holds the lock shared meanwhile.
const RANGE_MAX: u64 = 1024;
/// Blocks that are read at once before a lookup.
const BROUGHT_IN: usize = 32;
/// An inspection that takes longer is told of in the log.
const SLOW_INSPECTION_MS: u64 = 1000;
/// Freed chunks that I/O may still touch, passed over in the search for another.
const MAX_PASSED_OVER: u32 = 128;

/// ENODATA, which the kernel crate does not name.
fn enodata() -> Error {
    pdata::enodata()
}

/// Why metadata could not be opened.
pub(crate) struct OpenError {
    pub(crate) errno: Error,
    /// One phrase for the table's error text.
    pub(crate) phrase: &'static CStr,
}

fn because(phrase: &'static CStr) -> impl FnOnce(Error) -> OpenError {
    move |errno| OpenError { errno, phrase }
}

/// Refuses what the library must not be let loose on.
fn inspect(dev: BlockDev, sb: &Superblock) -> Result<Findings, OpenError> {
    let refused = c"Metadata is damaged (run thin_check)";
    let mut disk = RawDisk::new(dev).map_err(because(c"Cannot read metadata"))?;
    let begin = now_ns();
    match check::check(&mut disk, sb) {
        Ok(findings) => {
            let ms = now_ns().saturating_sub(begin) / 1_000_000;
            if ms > SLOW_INSPECTION_MS {
                let n = findings.visited;
                pr_info!("inspected {n} blocks of metadata in {ms} ms\n");
            }
            Ok(findings)
        }
        Err(Failure::Read(e)) => Err(because(c"Cannot read metadata")(e)),
        Err(Failure::NoMemory) => Err(because(c"No memory to inspect the metadata")(ENOMEM)),
        Err(Failure::Damage { block, wrong }) => {
            pr_err!("metadata block {block} is damaged: {wrong:?}; run thin_check, or thin_repair where that finds nothing\n");
            Err(because(refused)(pdata::eilseq()))
        }
    }
}

/// What a virtual chunk maps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mapping {
    pub(crate) chunk: Chunk,
    /// A snapshot taken after the mapping was made may hold the chunk too.
    pub(crate) shared: bool,
}

/// A chunk fresh from the space map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocated {
    pub(crate) chunk: Chunk,
    /// I/O that began before the chunk was last freed may still touch it: wait for the epochs
    /// (`Epochs::wait`, outside all locks) before using it.
    pub(crate) recently_freed: bool,
    /// Chunks that are free now.
    pub(crate) free_chunks: u64,
    /// Metadata blocks that are free now, beyond what commits may need.
    pub(crate) free_blocks: u64,
}

/// Inserts mappings, many in one hold of the lock.
pub(crate) struct Batch<'a>(&'a mut State);

impl Batch<'_> {
    /// Maps `v` to `c`, whose count was raised when it was allocated. The chunk that `v` mapped
    /// to before loses a count. EPERM: read-only; EIO: spoiled; ENOSPC: too few metadata blocks,
    /// nothing was changed.
    pub(crate) fn insert(&mut self, t: &OpenThin, v: VChunk, c: Chunk) -> Result {
        self.0.change(|s| s.insert(&t.device, v.0, c.0))
    }
}

/// Virtual chunks `[begin, end)` that map to as many chunks in a row, from `chunk` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MappedRange {
    pub(crate) begin: VChunk,
    pub(crate) end: VChunk,
    pub(crate) chunk: Chunk,
    /// `Mapping::shared` of all of them.
    pub(crate) maybe_shared: bool,
}

/// The answer to a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    Mapped(Mapping),
    Unmapped,
    /// The answer is on the disk, and the caller must not wait for it.
    WouldBlock,
}

/// An open thin device; dropping it closes the device (takes the metadata lock, may sleep).
///
/// The last one must be dropped before the pool's devices are closed, for it keeps the metadata.
pub(crate) struct OpenThin {
    device: Arc<Device>,
    metadata: Arc<Metadata>,
}

impl Drop for OpenThin {
    fn drop(&mut self) {
        pdata::without_io(|| self.metadata.write().state.devices.close(&self.device));
    }
}

/// What the metadata lock protects.
struct State {
    /// How often the state was held exclusively (`generation`).
    generation: u64,
    store: Store,
    dev: BlockDev,
    devices: Devices,
    /// The superblock's fields as the next commit will write them.
    sb: Changing,
    recent: Recent,
    /// Metadata blocks kept back for commits.
    reserve: u64,
    /// What the inspection found out about the space maps' figures and the clock.
    found: Findings,
    /// The same, as of the superblocks that the device may have.
    found_versions: Versions<Findings>,
    threshold: Option<u64>,
    /// Flushed before each commit.
    data: Option<BlockDev>,
    /// Something changed since the last commit. Clear on a pool that was only opened, so that
    /// it is not written to.
    dirty: bool,
    /// Invariant 1.
    spoiled: bool,
    /// Something was committed since the metadata was opened.
    used: bool,
    /// The superblock that was read or committed last ([`format::fingerprint`]).
    committed: u64,
    /// The one that was written last, whether or not the device has taken it.
    written: Atomic<u64>,
    /// That of the last commit that was begun.
    committing: Atomic<u64>,
    /// needs_check is set, but could not be written to the disk yet.
    unmarked: bool,
    /// Mappings inserted so far.
    inserts: u64,
    /// Invariant 5.
    held: Held,
}

impl Generations for State {
    fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

impl State {
    /// The root of a device's mappings. EAGAIN: `may_block` is false and a block of the tree of devices
    /// is not in memory. Only for holders of the shared lock: within an exclusive hold it would remember a root that
    /// the hold may still change.
    fn mappings_of(&self, device: &Device, may_block: bool) -> Result<Option<u64>> {
        if let Some(root) = device.root.get(self.generation) {
            return Ok(Some(root));
        }
        let root = self
            .store
            .find_device_root(self.sb.mapping_root, device.key(), may_block)?;
        if let Some(root) = root {
            device.root.set(self.generation, root);
        }
        Ok(root)
    }

    /// Spoils the transaction when a change failed (invariant 1).
    fn sound<T>(&mut self, r: Result<T>) -> Result<T> {
        if r.is_err() {
            self.spoiled = true;
        }
        r
    }

    fn usable(&self) -> Result {
        if self.store.is_closed() {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn changeable(&self) -> Result {
        self.usable()?;
        if self.store.is_read_only() {
            return Err(EPERM);
        }
        if self.spoiled {
            return Err(EIO);
        }
        Ok(())
    }

    /// Makes a change of the transaction.
    fn change<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        self.changeable()?;
        self.roomy()?;
        self.dirty = true;
        f(self)
    }

    /// Metadata blocks that can be allocated, beyond what commits may need.
    fn free_metadata(&mut self) -> Result<u64> {
        Ok(self.free_blocks()?.saturating_sub(self.reserve))
    }

    /// Metadata blocks that the library can find.
    fn free_blocks(&mut self) -> Result<u64> {
        let (told, all) = (self.store.free_blocks()?, self.store.blocks()?);
        Ok(self.found.metadata.free(told, all))
    }

    /// Chunks that the library can find.
    fn free_chunks(&mut self) -> Result<u64> {
        let (told, all) = (self.store.free_chunks()?, self.store.chunks()?);
        Ok(self.found.data.free(told, all))
    }

    /// Refuses changes (ENOSPC) that could use up what the commit needs. This also keeps them
    /// from running out of blocks half-way, which would spoil the transaction, and after which
    /// the library forgets to unlock a node (dm-btree.c, split_two_into_three, 7.2).
    fn roomy(&mut self) -> Result {
        if self.free_blocks()? < self.reserve / 2 {
            return Err(ENOSPC);
        }
        Ok(())
    }

    /// Takes the state over from the committed superblock and the store that is open on it.
    fn load(&mut self) -> Result {
        let at = format::SUPERBLOCK_LOCATION;
        let look = |block: &[u8]| (Superblock::decode(block), format::fingerprint(block));
        let (sb, fingerprint) = self.store.superblock(at, look)?;
        self.sb = sb.ok_or(EIO)?.changing();
        self.committed = fingerprint;
        self.written.store(fingerprint, Relaxed);
        // A clock behind its devices would take for unshared what the next snapshot shares.
        self.sb.time = self.sb.time.max(self.found.time);
        self.set_reserve();
        Ok(())
    }

    fn set_threshold(&mut self, blocks: u64) -> Result {
        let told = self.found.metadata.told(blocks);
        self.store.set_threshold(told)
    }

    fn set_reserve(&mut self) {
        // Without the size the whole reserve is kept back.
        self.reserve = self
            .store
            .blocks()
            .map_or(RESERVE_MAX, |n| RESERVE_MAX.min(n / 10));
    }

    /// The device's entry in the table, made from the details tree when it is not there.
    fn device(&mut self, id: u32) -> Result<Option<Arc<Device>>> {
        if let Some(device) = self.devices.get(id) {
            return Ok(Some(device.clone()));
        }
        let Some(details) = self.store.details(self.sb.details_root, u64::from(id))? else {
            return Ok(None);
        };
        let device = Device::new(id, &details)?;
        let node = self.devices.room(&device)?;
        self.devices.add(node);
        Ok(Some(device))
    }

    fn exists(&self, id: u32) -> Result<bool> {
        if self.devices.get(id).is_some() {
            return Ok(true);
        }
        let details = self.store.details(self.sb.details_root, u64::from(id))?;
        Ok(details.is_some())
    }

    fn create_thin(&mut self, id: u32) -> Result {
        if self.exists(id)? {
            return Err(EEXIST);
        }
        let details = Details {
            mapped: 0,
            transaction_id: self.sb.transaction_id,
            creation_time: self.sb.time,
            snapshotted_time: self.sb.time,
        };
        // All that can fail without harm comes before the first change.
        let device = Device::new(id, &details)?;
        let node = self.devices.room(&device)?;
        self.clear_way(id)?;
        let r = self.store.add_device(self.sb.mapping_root, u64::from(id));
        self.sb.mapping_root = self.sound(r)?;
        self.devices.add(node);
        self.devices.mark(&device);
        Ok(())
    }

    /// Refuses a device whose mappings exist without details: adding it would leak them.
    fn clear_way(&self, id: u32) -> Result {
        let root = self
            .store
            .device_root(self.sb.mapping_root, u64::from(id))?;
        if root.is_some() {
            pr_err!("device {id} has mappings but no details: the metadata needs a check\n");
            return Err(EIO);
        }
        Ok(())
    }

    fn create_snap(&mut self, id: u32, origin: u32) -> Result {
        if self.exists(id)? {
            return Err(EEXIST);
        }
        self.clear_way(id)?;
        let origin = self.device(origin)?.ok_or_else(enodata)?;
        let r = self.create_snap_of(id, &origin);
        if r.is_err() {
            self.devices.forget(&origin);
        }
        r
    }

    fn create_snap_of(&mut self, id: u32, origin: &Arc<Device>) -> Result {
        origin.present()?;
        let root = self.sb.mapping_root;
        let subtree = self
            .store
            .device_root(root, origin.key())?
            .ok_or_else(enodata)?;
        let time = self.sb.time.saturating_add(1);
        if time > format::TIME_MAX {
            pr_err!("no time stamps left: this pool can take no more snapshots\n");
            return Err(EOVERFLOW);
        }
        let details = Details {
            mapped: origin.mapped.load(Relaxed),
            transaction_id: self.sb.transaction_id,
            creation_time: time,
            snapshotted_time: time,
        };
        let device = Device::new(id, &details)?;
        let node = self.devices.room(&device)?;
        let r = self.store.share_device(root, u64::from(id), subtree);
        self.sb.mapping_root = self.sound(r)?;
        self.sb.time = time;
        // Writes of the origin that have ended before this are part of the snapshot: a flush from before is
        // not enough.
        self.inserts = self.inserts.wrapping_add(1);
        origin.snapshotted(time);
        self.devices.mark(origin);
        self.devices.add(node);
        self.devices.mark(&device);
        Ok(())
    }

    /// Whether I/O that began before the chunk was freed may still be under way. That includes
    /// chunks freed in this very transaction: one that was also allocated in it is given out
    /// again without a commit between (sm_disk_new_block looks at both transactions' counts).
    fn is_recent(&mut self, chunk: u64, epochs: &Epochs) -> bool {
        self.store.freed().contains(chunk) || self.recent.contains(chunk, epochs)
    }

    /// A chunk that is free, best one that nobody need wait for, and whether that has not been found.
    /// One that is passed over stays noted as freed; the space map goes on from there, not back
    /// (sm_disk_new_block's `begin`).
    fn new_chunk(&mut self, epochs: &Epochs) -> Result<(u64, bool)> {
        let mut tries = MAX_PASSED_OVER;
        loop {
            let chunk = match self.store.new_chunk() {
                Err(e) if e == ENOSPC && self.free_blocks()? > 0 => return Err(e),
                r => self.sound(r)?,
            };
            if !self.is_recent(chunk, epochs) {
                return Ok((chunk, false));
            }
            if tries == 0 {
                return Ok((chunk, true));
            }
            tries -= 1;
            let r = self.store.drop_hold(chunk, chunk.saturating_add(1));
            self.sound(r)?;
        }
    }

    /// Unmaps `run` and holds those of its chunks that nobody else maps. Only after the
    /// unmapping are the counts exact: until then devices may share a whole leaf, which counts
    /// once.
    fn unmap_and_hold(
        &mut self,
        device: &Arc<Device>,
        run: &MappedRange,
        held: &mut impl FnMut(u64, u64),
    ) -> Result {
        let len = run.end.0.checked_sub(run.begin.0).ok_or(EINVAL)?;
        let (begin, end) = (run.chunk.0, run.chunk.0.checked_add(len).ok_or(EINVAL)?);
        // Every second chunk a run of its own is the worst case.
        let room = usize::try_from(len / 2 + 1)?;
        if !self.held.room(room) {
            return Err(ENOMEM);
        }
        let r = self.store.hold_chunks(begin, end);
        self.sound(r)?;
        self.remove_range(device, run.begin.0, run.end.0)?;
        let mut first = begin;
        for chunk in begin..end {
            let r = self.store.chunk_count(chunk);
            if self.sound(r)? > 1 {
                let r = self.store.release_chunks(chunk, chunk + 1);
                self.sound(r)?;
                self.hold(first, chunk, held)?;
                first = chunk + 1;
            }
        }
        self.hold(first, end, held)
    }

    /// Notes a held range; room was made before.
    fn hold(&mut self, begin: u64, end: u64, held: &mut impl FnMut(u64, u64)) -> Result {
        if begin < end {
            let noted = self.held.add(begin, end).then_some(()).ok_or(EIO);
            self.sound(noted)?;
            held(begin, end);
        }
        Ok(())
    }

    fn insert(&mut self, device: &Arc<Device>, v: u64, c: u64) -> Result {
        device.present()?;
        let value = format::pack(c, self.sb.time).ok_or(EINVAL)?;
        let r = self
            .store
            .insert(self.sb.mapping_root, device.key(), v, value);
        let (root, new) = self.sound(r)?;
        self.held.remove(c, c.saturating_add(1));
        self.sb.mapping_root = root;
        self.inserts = self.inserts.wrapping_add(1);
        if new {
            let mapped = device.mapped.load(Relaxed).saturating_add(1);
            device.mapped.store(mapped, Relaxed);
        }
        device.inserted.store(true, Release);
        self.devices.mark(device);
        Ok(())
    }

    fn remove_range(&mut self, device: &Arc<Device>, begin: u64, end: u64) -> Result {
        device.present()?;
        let r = self
            .store
            .remove_range(self.sb.mapping_root, device.key(), begin, end);
        let (root, removed) = self.sound(r)?;
        self.sb.mapping_root = root;
        let mapped = device.mapped.load(Relaxed).saturating_sub(removed);
        device.mapped.store(mapped, Relaxed);
        self.devices.mark(device);
        Ok(())
    }

    /// The first part of a commit: what changes trees.
    fn prepare_commit(&mut self) -> Result {
        self.count_held(false)?;
        // Details are part of what the space maps count. The iterator borrows the list, the store
        // is another field.
        let mut root = self.sb.details_root;
        for device in self.devices.changed() {
            if !device.is_gone() {
                root = self
                    .store
                    .set_details(root, device.key(), &device.details())?;
            }
        }
        self.sb.details_root = root;
        self.found_versions.committing(self.found);
        Ok(())
    }

    /// The second part: the disk's. Lookups may go on.
    fn write_commit(&self) -> Result {
        let (data, metadata) = self.store.commit_trees()?;
        let sb = self.sb;
        self.store.commit_superblock(false, |block| {
            sb.encode(block, &data, &metadata)?;
            let fingerprint = format::fingerprint(block);
            self.written.store(fingerprint, Relaxed);
            self.committing.store(fingerprint, Relaxed);
            Some(())
        })
    }

    /// The last part, when the others came to `r`. On an error the transaction is spoiled.
    fn committed(&mut self, r: Result, epochs: &Epochs) -> Result {
        self.sound(r)?;
        self.used = true;
        self.committed = self.written.load(Relaxed);
        self.found_versions.committed();
        self.devices.settle();
        self.recent.committed(self.store.freed(), epochs);
        self.dirty = !self.held.is_empty();
        // What is committed stays so even if this spoils the next transaction.
        let r = self.count_held(true);
        let _ = self.sound(r);
        Ok(())
    }

    /// Takes the held chunks off the counts, or puts them back (invariant 5).
    fn count_held(&mut self, on: bool) -> Result {
        if on {
            for h in self.held.wanted() {
                self.store.hold_chunks(h.begin, h.end)?;
            }
        } else {
            for h in self.held.all() {
                self.store.drop_hold(h.begin, h.end)?;
            }
            self.held.forget_unwanted();
        }
        Ok(())
    }

    /// Flushes and commits under the lock, at the end.
    fn commit_now(&mut self, epochs: &Epochs) -> Result {
        flush(self.data)?;
        let r = self.prepare_commit().and_then(|()| self.write_commit());
        self.committed(r, epochs)
    }

    /// Goes back to the last commit. Its blocks need no second inspection: they passed the one at
    /// the opening, or the device has acknowledged them and a flush before the superblock that is
    /// found now. Under another superblock there could be anything.
    fn reopen(&mut self) -> Result {
        self.store.reset();
        let at = format::SUPERBLOCK_LOCATION;
        let look = |block: &[u8]| (Superblock::decode(block), format::fingerprint(block));
        let (sb, fingerprint) = self.store.superblock(at, look)?;
        let sb = sb.ok_or(EIO)?;
        // The one that an interrupted commit has written comes after its blocks, too.
        if fingerprint != self.committed && fingerprint != self.written.load(Relaxed) {
            pr_err!("the metadata device has lost what it was given: load the pool anew\n");
            return Err(EIO);
        }
        // Growth that is undone is undone in what is known of the maps, too.
        let newer = fingerprint != self.committed && fingerprint == self.committing.load(Relaxed);
        self.found = self.found_versions.go_back(newer);
        self.store.open(&sb.data_map, &sb.metadata_map)?;
        self.load()?;
        if let Some(blocks) = self.threshold {
            self.set_threshold(blocks)?;
        }
        // Devices go back to what the details tree says; those that are not in it are gone.
        let root = self.sb.details_root;
        self.devices.reload(|key| self.store.details(root, key))
    }

    fn abort(&mut self, epochs: &Epochs) -> Result {
        self.usable()?;
        self.devices.aborting();
        let r = self.reopen();
        self.devices.settle();
        self.devices.forget_all();
        self.recent.aborted(self.store.freed(), epochs);
        self.held.clear();
        self.dirty = false;
        self.spoiled = false;
        if r.is_ok() {
            self.sb.flags |= format::FLAG_NEEDS_CHECK;
            self.mark_for_check();
        } else {
            // Invariant 2.
            self.store.close();
        }
        // Invariant 6.
        self.store.set_read_only(true);
        r
    }

    /// Writes needs_check to the committed superblock, outside of the transaction. A device that
    /// takes no writes now may take them when the metadata is closed: then it is tried again.
    fn mark_for_check(&mut self) {
        let flags = self.sb.flags;
        let written = &self.written;
        let r = self.store.amend_superblock(|block| {
            format::put_flags(block, flags)?;
            written.store(format::fingerprint(block), Relaxed);
            Some(())
        });
        self.unmarked = r.is_err();
        if let Err(e) = r {
            pr_err!("cannot write the needs_check flag to the metadata device: {e:?}\n");
        }
    }

    fn resize(&mut self, data: bool, to: u64) -> Result {
        let now = if data {
            self.store.chunks()?
        } else {
            self.store.blocks()?
        };
        let extra = to.checked_sub(now).ok_or(EINVAL)?;
        if extra == 0 {
            return Ok(());
        }
        self.dirty = true;
        let r = if data {
            self.store.add_chunks(extra)
        } else {
            self.store.add_blocks(extra)
        };
        self.sound(r)?;
        if data {
            self.found.data.grown(extra);
        } else {
            self.found.metadata.grown(extra);
            self.set_reserve();
        }
        Ok(())
    }

    /// The transaction has just begun: the copy must name trees that are on the disk.
    fn reserve_snap(&mut self) -> Result {
        if self.sb.held_root != 0 {
            return Err(EBUSY);
        }
        let r = self.store.copy_superblock(|block| {
            let sb = Superblock::decode(block)?;
            // The copy keeps the trees, not the counts.
            let none = [0; format::ROOT_SIZE];
            format::put_roots(block, &none, &none)?;
            Some((sb.mapping_root, sb.details_root))
        });
        self.sb.held_root = self.sound(r)?;
        Ok(())
    }

    fn release_snap(&mut self) -> Result {
        let held = self.sb.held_root;
        if held == 0 {
            return Err(EINVAL);
        }
        let sb = self
            .store
            .superblock(held, Superblock::decode)?
            .ok_or(EIO)?;
        let r = self
            .store
            .free_superblock(held, sb.mapping_root, sb.details_root);
        self.sound(r)?;
        self.sb.held_root = 0;
        Ok(())
    }
}

/// The metadata of one pool.
///
/// The last reference must go before the metadata and data devices are closed: dropping it
/// commits what is left to commit.
pub(crate) struct Metadata {
    /// Held while devices are deleted: what is put aside changes only under it.
    deleting: RwSem<()>,
    /// Deletions may have left something over.
    left_over: Atomic<bool>,
    /// Held by who inserts mappings or makes a snapshot, and by commits from the flush of the data device on.
    inserting: RwSem<()>,
    /// Held by who changes the state, or waits to.
    turn: RwSem<()>,
    state: Guarded<State>,
    epochs: Arc<Epochs>,
}

/// When the data device was flushed: what of the metadata it has the data of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Flushed {
    inserts: u64,
    data: Option<BlockDev>,
}

/// Makes what was written to the data device durable.
fn flush(data: Option<BlockDev>) -> Result {
    data.map_or(Ok(()), |dev| {
        dev.flush().inspect_err(|_| {
            pr_err!("cannot flush the data device: the commit is given up\n");
        })
    })
}

/// The state, and the turn to change it.
struct Exclusive<'a> {
    // The lock goes before the turn.
    state: WriteGuard<'a, State>,
    _turn: WriteGuard<'a, ()>,
}

impl Metadata {
    /// Opens the metadata on `dev` for chunks of `chunk_sectors` sectors; formats a device whose
    /// first block is zeroes, if `may_format` (else EPERM).
    pub(crate) fn open(
        dev: BlockDev,
        chunk_sectors: u64,
        may_format: bool,
        epochs: Arc<Epochs>,
    ) -> Result<Arc<Self>, OpenError> {
        let chunk_sectors = u32::try_from(chunk_sectors)
            .ok()
            .filter(|n| *n != 0)
            .ok_or(EINVAL)
            .map_err(because(c"Invalid block size"))?;
        let blocks = dev.sectors() / u64::from(format::BLOCK_SECTORS);
        if blocks < BLOCKS_MIN {
            return Err(because(c"Metadata device too small")(EINVAL));
        }
        let words = KVec::from_elem(0, freed::FILTER_WORDS, GFP_KERNEL)
            .map_err(|e| because(c"Cannot allocate metadata")(e.into()))?;
        let pending = FreedFilter::new(words)
            .ok_or(EINVAL)
            .map_err(because(c"Cannot allocate metadata"))?;
        let store = Store::new(dev).map_err(because(c"Cannot create block manager"))?;
        let mut state = State {
            generation: 1,
            store,
            dev,
            devices: Devices::new(),
            sb: Changing::default(),
            recent: Recent::new(pending),
            reserve: RESERVE_MAX,
            found: Findings::default(),
            found_versions: Versions::new(Findings::default()),
            threshold: None,
            data: None,
            dirty: false,
            spoiled: false,
            used: false,
            committed: 0,
            written: Atomic::new(0),
            committing: Atomic::new(0),
            unmarked: false,
            inserts: 0,
            held: Held::new(),
        };
        state.found = Self::open_store(&mut state.store, dev, chunk_sectors, may_format)?;
        state.found_versions = Versions::new(state.found);
        state
            .load()
            .map_err(because(c"Cannot read metadata superblock"))?;
        let nomem = |e: Error| because(c"Cannot allocate metadata")(e);
        let deleting = RwSem::new(()).map_err(nomem)?;
        let inserting = RwSem::new(()).map_err(nomem)?;
        let turn = RwSem::new(()).map_err(nomem)?;
        let state = Guarded::new(state).map_err(nomem)?;
        let metadata = Self {
            deleting,
            left_over: Atomic::new(true),
            inserting,
            turn,
            state,
            epochs,
        };
        Arc::new(metadata, GFP_KERNEL).map_err(|e| nomem(e.into()))
    }

    fn open_store(
        store: &mut Store,
        dev: BlockDev,
        chunk_sectors: u32,
        may_format: bool,
    ) -> Result<Findings, OpenError> {
        let look = |block: &[u8], sum: u32| {
            if format::is_zero(block) {
                return Ok(None);
            }
            format::check(block, format::SUPERBLOCK_LOCATION, sum)
                .map(|()| Superblock::decode(block))
        };
        let seen = store
            .peek(look)
            .map_err(because(c"Cannot read metadata superblock"))?;
        let sb = match seen {
            Ok(Some(sb)) => sb,
            Ok(None) if may_format => {
                Self::format(store, dev, chunk_sectors)?;
                return Ok(Findings::default());
            }
            Ok(None) => return Err(because(c"Metadata device is not formatted")(EPERM)),
            Err(fault) => {
                let phrase = match fault {
                    Fault::Magic => c"Metadata device holds no thin pool (bad superblock magic)",
                    Fault::Location => c"Metadata superblock is another block (bad block number)",
                    Fault::Checksum => c"Metadata superblock is damaged (bad checksum)",
                };
                return Err(because(phrase)(pdata::eilseq()));
            }
        };
        if !(format::VERSION_OLDEST..=format::VERSION).contains(&sb.version) {
            pr_err!("metadata version {} is not supported\n", sb.version);
            return Err(because(c"Unsupported metadata version")(EINVAL));
        }
        if sb.block_sectors != format::BLOCK_SECTORS {
            pr_err!(
                "metadata blocks of {} sectors are not supported\n",
                sb.block_sectors
            );
            return Err(because(c"Unsupported metadata block size")(EINVAL));
        }
        if sb.chunk_sectors != chunk_sectors {
            pr_err!(
                "changing the block size (from {} to {chunk_sectors} sectors) is not supported\n",
                sb.chunk_sectors
            );
            return Err(because(c"Block size differs from the metadata's")(EINVAL));
        }
        if sb.incompat != 0 {
            pr_err!("unsupported metadata features: {:#x}\n", sb.incompat);
            return Err(because(c"Unsupported metadata features")(EINVAL));
        }
        if sb.compat_ro != 0 && !pdata::is_read_only(dev) {
            pr_err!(
                "metadata features that allow reading only: {:#x}\n",
                sb.compat_ro
            );
            return Err(because(c"Unsupported metadata features for writing")(
                EINVAL,
            ));
        }
        // The library begins with the metadata space map's index: that is on its way meanwhile.
        let blocks = dev.sectors() / u64::from(format::BLOCK_SECTORS);
        let index = format::bitmap_root(&sb.metadata_map).filter(|b| *b < blocks);
        if let Some(block) = index {
            let reader = store.reader().map_err(because(c"Cannot read metadata"))?;
            reader.prefetch(block);
        }
        let found = inspect(dev, &sb)?;
        store
            .open(&sb.data_map, &sb.metadata_map)
            .map_err(because(c"Cannot open metadata space maps"))?;
        Ok(found)
    }

    /// Writes an empty pool to a device that holds nothing.
    fn format(store: &mut Store, dev: BlockDev, chunk_sectors: u32) -> Result<(), OpenError> {
        // The library itself ignores blocks beyond the maximum.
        let blocks = (dev.sectors() / u64::from(format::BLOCK_SECTORS)).min(format::MAX_BLOCKS);
        let mut make = || {
            store.create()?;
            let mapping_root = store.empty_mappings()?;
            let details_root = store.empty_details()?;
            let (data_map, metadata_map) = store.commit_trees()?;
            let sb = Superblock {
                flags: 0,
                version: format::VERSION,
                time: 0,
                transaction_id: 0,
                held_root: 0,
                data_map,
                metadata_map,
                mapping_root,
                details_root,
                chunk_sectors,
                block_sectors: format::BLOCK_SECTORS,
                blocks,
                compat: 0,
                compat_ro: 0,
                incompat: 0,
            };
            store.commit_superblock(true, |block| sb.encode(block))
        };
        make().map_err(|errno| {
            if errno == ENOSPC {
                because(c"Metadata device too small")(errno)
            } else {
                because(c"Cannot format metadata device")(errno)
            }
        })
    }

    /// Runs a change of the transaction. EINVAL: invariant 2; EPERM: read-only; EIO: spoiled;
    /// ENOSPC: too few metadata blocks, nothing was changed.
    fn change<R>(&self, f: impl FnOnce(&mut State) -> Result<R>) -> Result<R> {
        self.exclusive(|s| s.change(f))
    }

    /// The state, exclusively; sleeps.
    fn write(&self) -> Exclusive<'_> {
        let turn = self.turn.write();
        Exclusive {
            state: self.state.write(),
            _turn: turn,
        }
    }

    /// Runs what needs the lock exclusively but by itself changes nothing on the disk.
    fn exclusive<R>(&self, f: impl FnOnce(&mut State) -> Result<R>) -> Result<R> {
        pdata::without_io(|| {
            let mut e = self.write();
            e.state.usable()?;
            f(&mut e.state)
        })
    }

    // --- Devices -----------------------------------------------------------------------------

    /// Makes an empty thin device. EEXIST.
    pub(crate) fn create_thin(&self, id: DevId) -> Result {
        self.change(|s| s.create_thin(id.0))
    }

    /// Makes `id` a snapshot of `origin`. EEXIST; ENODATA: no such origin; EOVERFLOW: no time
    /// stamps left. Writes of the origin in place may be under way: the caller waits for them afterwards
    /// (`pool::snapshots`).
    pub(crate) fn create_snap(&self, id: DevId, origin: DevId) -> Result {
        pdata::without_io(|| {
            // A snapshot names data, as an insertion does.
            let _inserts = self.inserting.write();
            self.change(|s| s.create_snap(id.0, origin.0))
        })
    }

    /// Whether there is such a device.
    pub(crate) fn exists(&self, id: DevId) -> Result<bool> {
        self.exclusive(|s| s.exists(id.0))
    }

    /// The number that user space gave the pool's state.
    pub(crate) fn transaction_id(&self) -> Result<u64> {
        let s = self.state.read();
        s.usable()?;
        Ok(s.sb.transaction_id)
    }

    /// Changes that number. EINVAL: it is not `current`.
    pub(crate) fn set_transaction_id(&self, current: u64, new: u64) -> Result {
        self.change(|s| {
            if s.sb.transaction_id != current {
                return Err(EINVAL);
            }
            s.sb.transaction_id = new;
            Ok(())
        })
    }

    /// Opens a thin device. ENODATA: there is none of that id.
    pub(crate) fn open_thin(self: &Arc<Self>, id: DevId) -> Result<Arc<OpenThin>> {
        // The handle's drop takes the lock: it must come into being outside of it.
        let device = self.exclusive(|s| {
            let device = s.device(id.0)?.ok_or_else(enodata)?;
            device.opened();
            Ok(device)
        })?;
        let thin = OpenThin {
            device,
            metadata: self.clone(),
        };
        // On failure the value is dropped, which closes the device again.
        Ok(Arc::new(thin, GFP_KERNEL)?)
    }

    /// Entries of the device's mapping tree.
    pub(crate) fn mapped_chunks(&self, t: &OpenThin) -> Result<u64> {
        self.state.read().usable()?;
        Ok(t.device.mapped.load(Relaxed))
    }

    /// The highest virtual chunk that is mapped.
    pub(crate) fn highest_mapped(&self, t: &OpenThin) -> Result<Option<VChunk>> {
        let s = self.state.read();
        let v = s.store.highest(s.sb.mapping_root, t.device.key())?;
        Ok(v.map(VChunk))
    }

    /// Whether the device's mappings changed since the last commit. Does not sleep.
    pub(crate) fn changed_this_transaction(&self, t: &OpenThin) -> bool {
        t.device.changed.load(Acquire)
    }

    /// Whether mappings of the device were inserted since the last commit: what a write must wait
    /// for to be durable. That something was unmapped need not be. Does not sleep.
    pub(crate) fn inserted_this_transaction(&self, t: &OpenThin) -> bool {
        t.device.inserted.load(Acquire)
    }

    /// Whether changes to the device were thrown away while it was open. Does not sleep.
    pub(crate) fn changes_were_aborted(&self, t: &OpenThin) -> bool {
        t.device.aborted.load(Acquire)
    }

    // --- Mappings ----------------------------------------------------------------------------

    /// Looks a virtual chunk up; without `may_block` it may wait for the lock, but not for the
    /// disk.
    pub(crate) fn lookup(&self, t: &OpenThin, v: VChunk, may_block: bool) -> Result<Lookup> {
        let s = self.state.read();
        t.device.present()?;
        let found = match s.mappings_of(&t.device, may_block) {
            Ok(Some(subtree)) => s.store.lookup(subtree, v.0, may_block),
            Ok(None) => Ok(None),
            Err(e) => Err(e),
        };
        match found {
            Ok(Some(value)) => Ok(Lookup::Mapped(t.device.mapping(value))),
            Ok(None) => Ok(Lookup::Unmapped),
            Err(e) if e == EAGAIN && !may_block => Ok(Lookup::WouldBlock),
            Err(e) => Err(e),
        }
    }

    /// Brings blocks into memory that lookups of `[begin, end)` need, a level of the tree at a time, and
    /// waits for one of them, with no lock held. `false`: none was missing. Sleeps.
    pub(crate) fn bring_in(&self, t: &OpenThin, begin: VChunk, end: VChunk) -> Result<bool> {
        let (mut blocks, mut n) = ([0; BROUGHT_IN], 0);
        let reader = {
            let s = self.state.read();
            s.usable()?;
            let last = s.dev.sectors() / u64::from(format::BLOCK_SECTORS);
            let (root, key) = (s.sb.mapping_root, t.device.key());
            let mut nodes = s.store.in_memory()?;
            descent::missing(&mut nodes, root, key, begin.0, end.0, |block| {
                if let Some(place) = blocks.get_mut(n).filter(|_| block < last) {
                    *place = block;
                    n += 1;
                }
                n < BROUGHT_IN
            });
            s.store.reader()?
        };
        let mut missing = blocks.iter().take(n);
        let Some(first) = missing.next() else {
            return Ok(false);
        };
        if n > 1 {
            reader.prefetch(*first);
        }
        for block in missing {
            reader.prefetch(*block);
        }
        reader.read(*first)?;
        Ok(true)
    }

    /// Brings all blocks into memory that lookups of `[begin, end)` need, as far as that is possible; waits
    /// for them with no lock held. Sleeps.
    pub(crate) fn bring_all_in(&self, t: &OpenThin, begin: VChunk, end: VChunk) {
        // A discard of 1,024 chunks needs some ten leaves and what is above them.
        for _ in 0..BROUGHT_IN {
            if self.bring_in(t, begin, end) != Ok(true) {
                return;
            }
        }
    }

    /// The first run of mappings in `[begin, end)` that are contiguous on both sides and alike
    /// in `shared`; at most 1,024 chunks long, so a longer run is found in parts.
    pub(crate) fn lookup_range(
        &self,
        t: &OpenThin,
        begin: VChunk,
        end: VChunk,
    ) -> Result<Option<MappedRange>> {
        if begin >= end {
            return Ok(None);
        }
        let s = self.state.read();
        t.device.present()?;
        let (root, key) = (s.sb.mapping_root, t.device.key());
        let Some((first, value)) = s.store.next(root, key, begin.0)? else {
            return Ok(None);
        };
        if first >= end.0 {
            return Ok(None);
        }
        let Mapping { chunk, shared } = t.device.mapping(value);
        let limit = end.0.min(first.saturating_add(RANGE_MAX));
        let mut at = first.saturating_add(1);
        let subtree = s.mappings_of(&t.device, true)?.ok_or(EIO)?;
        while at < limit {
            let Some(value) = s.store.lookup(subtree, at, true)? else {
                break;
            };
            let next = t.device.mapping(value);
            if next.shared != shared || next.chunk.0 != chunk.0.saturating_add(at - first) {
                break;
            }
            at = at.saturating_add(1);
        }
        Ok(Some(MappedRange {
            begin: VChunk(first),
            end: VChunk(at),
            chunk,
            maybe_shared: shared,
        }))
    }

    /// Inserts many mappings in one hold of the lock; `f` must not sleep for I/O. EINVAL:
    /// invariant 2, and `f` was not called.
    pub(crate) fn insert_batch(&self, f: impl FnOnce(&mut Batch<'_>)) -> Result {
        pdata::without_io(|| {
            let _inserts = self.inserting.write();
            self.exclusive(|s| {
                f(&mut Batch(s));
                Ok(())
            })
        })
    }

    /// Unmaps `[begin, end)`; the chunks lose a count each.
    pub(crate) fn remove_range(&self, t: &OpenThin, begin: VChunk, end: VChunk) -> Result {
        self.change(|s| s.remove_range(&t.device, begin.0, end.0))
    }

    /// Discard passdown: unmaps `run`, and keeps those of its chunks that nobody else maps from
    /// being allocated until `dec_range` of the same ranges, which `held` is told under the lock.
    /// One hold.
    pub(crate) fn unmap_and_hold(
        &self,
        t: &OpenThin,
        run: &MappedRange,
        mut held: impl FnMut(Chunk, Chunk),
    ) -> Result {
        self.change(|s| s.unmap_and_hold(&t.device, run, &mut |b, e| held(Chunk(b), Chunk(e))))
    }

    // --- Chunks ------------------------------------------------------------------------------

    /// Allocates a chunk, to be given to `insert` or back to `dec_range`. ENOSPC: none can be had before a commit.
    pub(crate) fn alloc_chunk(&self) -> Result<Allocated> {
        self.exclusive(|s| {
            s.changeable()?;
            if !s.held.room(1) {
                return Err(ENOMEM);
            }
            s.dirty = true;
            let (chunk, recently_freed) = s.new_chunk(&self.epochs)?;
            s.hold(chunk, chunk.saturating_add(1), &mut |_, _| ())?;
            let free_blocks = s.free_metadata();
            let free_chunks = s.free_chunks();
            Ok(Allocated {
                chunk: Chunk(chunk),
                recently_freed,
                free_chunks: s.sound(free_chunks)?,
                free_blocks: s.sound(free_blocks)?,
            })
        })
    }

    /// Lowers the counts of `[b, e)`, which was allocated or held as one.
    pub(crate) fn dec_range(&self, b: Chunk, e: Chunk) -> Result {
        self.change(|s| {
            let r = s.store.release_chunks(b.0, e.0);
            s.sound(r)?;
            s.held.remove(b.0, e.0);
            Ok(())
        })
    }

    /// Lets go of `[b, e)`, which `unmap_and_hold` held, when an epoch has passed since: nobody
    /// need wait for these chunks again.
    pub(crate) fn release_held(&self, b: Chunk, e: Chunk) -> Result {
        self.change(|s| {
            let r = s.store.drop_hold(b.0, e.0);
            s.sound(r)?;
            s.held.remove(b.0, e.0);
            Ok(())
        })
    }

    /// Nobody wants `[b, e)` any more, which was allocated or held as one, but the metadata cannot
    /// be changed now.
    pub(crate) fn unwant(&self, b: Chunk, e: Chunk) {
        self.write().state.held.unwant(b.0, e.0);
    }

    // --- Transactions ------------------------------------------------------------------------

    /// Makes everything changed so far durable; returns at once when nothing changed. `true`: the data
    /// device was flushed, after this was called. After an error the transaction must be aborted.
    pub(crate) fn commit(&self) -> Result<bool> {
        // The data device is flushed while everything goes on. Mappings that are inserted meanwhile
        // name data that the flush may have missed: then it is done again, with insertions kept out.
        let Some(flushed) = self.flush_data(None)? else {
            return Ok(false);
        };
        pdata::without_io(|| {
            let _nothing_is_inserted = self.inserting.write();
            self.flush_data(Some(flushed))?;
            let _turn = self.turn.write();
            self.commit_in_turn()
        })?;
        Ok(flushed.data.is_some())
    }

    /// Flushes the data device for a commit, unless `since` says that this has been done since the last
    /// insertion: what is durable then. `None`: there is nothing to commit. Holds no lock meanwhile.
    fn flush_data(&self, since: Option<Flushed>) -> Result<Option<Flushed>> {
        let now = {
            let s = self.state.read();
            // First, for an aborted transaction has nothing to commit but did not succeed.
            s.changeable()?;
            if !s.dirty {
                return Ok(None);
            }
            Flushed {
                inserts: s.inserts,
                data: s.data,
            }
        };
        if since != Some(now) {
            flush(now.data)?;
        }
        Ok(Some(now))
    }

    /// Commits. The turn is held, and `inserting` since the data device was flushed.
    fn commit_in_turn(&self) -> Result {
        let prepared = {
            let mut s = self.state.write();
            s.changeable()?;
            if !s.dirty {
                return Ok(());
            }
            s.prepare_commit()
        };
        // The turn is ours: nothing changes between the parts.
        let r = prepared.and_then(|()| self.state.read().write_commit());
        self.state.write().committed(r, &self.epochs)
    }

    /// Makes the last commit once more when there is nothing to commit, which writes its superblock
    /// again: a device that takes no writes any more is noticed. Nothing is written before the
    /// first commit. After an error the transaction must be aborted.
    pub(crate) fn commit_again(&self) -> Result {
        pdata::without_io(|| {
            let _turn = self.turn.write();
            let r = {
                let s = self.state.read();
                s.changeable()?;
                if s.dirty || !s.used {
                    return Ok(());
                }
                s.write_commit()
            };
            r.or_else(|e| self.state.write().sound(Err(e)))
        })
    }

    /// Names the device whose data must be durable before the mappings to it are: it is flushed
    /// at the start of each commit. It must stay open as long as the metadata.
    pub(crate) fn set_pre_commit(&self, data: BlockDev) {
        self.write().state.data = Some(data);
    }

    /// Throws away everything since the last commit, marks the metadata as to be checked, and
    /// leaves it read-only. On failure every later call fails (EINVAL).
    pub(crate) fn abort(&self) -> Result {
        self.exclusive(|s| s.abort(&self.epochs))
    }

    /// Refuses all changes and commits (EPERM).
    pub(crate) fn set_read_only(&self) {
        self.write().state.store.set_read_only(true);
    }

    /// Allows changes and commits.
    pub(crate) fn set_read_write(&self) {
        self.write().state.store.set_read_only(false);
    }

    /// Whether the metadata is marked as to be checked.
    pub(crate) fn needs_check(&self) -> bool {
        self.state.read().sb.flags & format::FLAG_NEEDS_CHECK != 0
    }

    // --- Space -------------------------------------------------------------------------------

    /// Chunks that can be allocated in this transaction.
    pub(crate) fn free_data(&self) -> Result<u64> {
        self.exclusive(State::free_chunks)
    }

    /// Chunks of the data device, as of the last commit.
    pub(crate) fn data_chunks(&self) -> Result<u64> {
        self.exclusive(|s| s.store.chunks())
    }

    /// Metadata blocks that can be allocated, beyond what commits may need.
    pub(crate) fn free_metadata(&self) -> Result<u64> {
        self.exclusive(|s| s.free_metadata())
    }

    /// Metadata blocks in all.
    pub(crate) fn metadata_blocks(&self) -> Result<u64> {
        self.exclusive(|s| s.store.blocks())
    }

    /// Grows the data device to `chunks`. EINVAL: it has more. Usable after a commit.
    pub(crate) fn resize_data(&self, chunks: u64) -> Result {
        self.resize(true, chunks)
    }

    /// Grows the metadata device to `blocks`. EINVAL: it has more. Usable after a commit.
    pub(crate) fn resize_metadata(&self, blocks: u64) -> Result {
        self.resize(false, blocks.min(format::MAX_BLOCKS))
    }

    fn resize(&self, data: bool, to: u64) -> Result {
        self.exclusive(|s| {
            s.changeable()?;
            s.resize(data, to)
        })
    }

    /// Asks for a note when fewer than `blocks` metadata blocks are free (the reserve included).
    pub(crate) fn set_metadata_threshold(&self, blocks: u64) -> Result {
        self.exclusive(|s| {
            s.threshold = Some(blocks);
            s.set_threshold(blocks)
        })
    }

    /// Whether the threshold was crossed since the last call.
    pub(crate) fn take_metadata_low(&self) -> bool {
        self.state.read().store.take_low()
    }

    /// Starts to read what lookups without blocking have missed.
    pub(crate) fn prefetch(&self) {
        self.state.read().store.prefetch();
    }

    // --- Metadata snapshot -------------------------------------------------------------------

    /// The metadata snapshot's block; 0: there is none.
    pub(crate) fn held_root(&self) -> Result<u64> {
        let s = self.state.read();
        s.usable()?;
        Ok(s.sb.held_root)
    }

    /// Keeps the metadata as it is now for user space to read (commits first). EBUSY: there is
    /// a snapshot already.
    pub(crate) fn reserve_metadata_snap(&self) -> Result {
        if self.held_root()? != 0 {
            return Err(EBUSY);
        }
        pdata::without_io(|| {
            let _nothing_is_inserted = self.inserting.write();
            self.flush_data(None)?;
            let _turn = self.turn.write();
            self.commit_in_turn()?;
            let mut s = self.state.write();
            s.change(State::reserve_snap)
        })
    }

    /// Gives that up. EINVAL: there is none.
    pub(crate) fn release_metadata_snap(&self) -> Result {
        self.change(|s| s.release_snap())
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        let epochs = &self.epochs;
        let state = self.state.get_mut();
        if state.unmarked {
            state.store.set_read_only(false);
            pdata::without_io(|| state.mark_for_check());
        } else if state.dirty && state.changeable().is_ok() {
            let r = pdata::without_io(|| state.commit_now(epochs));
            if let Err(e) = r {
                pr_warn!("cannot commit the metadata at the end: {e:?}\n");
            }
        }
    }
}

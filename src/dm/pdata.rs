// SPDX-License-Identifier: GPL-2.0

//! dm-persistent-data: block manager, transaction manager, space maps and B-trees, as one store.
//!
//! [`Store`] owns everything that the library keeps for one metadata device. The borrow says
//! what may run in parallel: `&self` methods only look mappings up, which the library supports
//! from many threads; everything else is `&mut self`, reference counts included, because
//! `dm_sm_get_count` fills a cache that may insert into a tree (dm-space-map-common.c, 7.2).
//! Two changes are possible beside lookups, `delete_tree` and a commit: no lookup ever sees what
//! they change.
//! The lock around the store is `meta::Metadata`'s.
//!
//! Reference counts of data chunks follow the mapping trees through the value types' callbacks.
//! The library ignores a callback's failure; here the first one is kept and returned by the
//! operation that caused it. After *any* error of a `&mut self` method the transaction is in an
//! unknown state and must be given up (`close`, `reset`); the methods that are exempt say so.
//! Chunks whose count is decremented are noted in a filter (`meta::freed`).
//!
//! All methods: process context, may sleep (they read and write the metadata device).

use super::{
    bdev::BlockDev,
    bindings,
    blocks::{Manager, Reader},
};
use crate::meta::{
    descent::InMemory,
    format::{self, Root, Runs},
    freed::{Filter, FILTER_WORDS},
};
use core::{
    cell::{Cell, UnsafeCell},
    ffi::{c_int, c_uint, c_void},
    ptr::{self, NonNull},
};
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::sync::{
    atomic::{Acquire, Atomic, Relaxed, Release},
    Arc,
};

/// Locks on blocks that one thread may hold at a time: a rebalancing B-tree removal holds two
/// nodes of the spine and three children, and one more is for a space map under it.
const LOCKS_PER_THREAD: c_uint = 6;

/// The filter that decremented chunks are noted in.
pub(crate) type FreedFilter = Filter<KVec<u64>>;

/// Runs `f` with every allocation of this thread restricted to what needs no I/O: memory
/// reclaim that wrote to a thin device would wait for the locks that `f` holds.
pub(crate) fn without_io<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(c_uint);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the flags come from the matching save on this thread: this guard lives in
            // one stack frame.
            unsafe { bindings::drr_noio_restore(self.0) };
        }
    }
    // SAFETY: changes only this thread's allocation flags.
    let _restore = Restore(unsafe { bindings::drr_noio_save() });
    f()
}

/// Whether the kernel opened the device read-only.
pub(crate) fn is_read_only(dev: BlockDev) -> bool {
    // SAFETY: an open device by its type's invariant.
    unsafe { bindings::drr_bdev_is_read_only(dev.as_ptr()) }
}

/// What the library says of an absent key (ENODATA); the kernel crate does not name it.
pub(crate) fn enodata() -> Error {
    Error::from_errno(-(bindings::ENODATA as c_int))
}

/// EOPNOTSUPP, which the kernel crate does not name.
pub(crate) fn eopnotsupp() -> Error {
    Error::from_errno(-(bindings::EOPNOTSUPP as c_int))
}

/// What a block says that does not hold what it should (EILSEQ).
pub(crate) fn eilseq() -> Error {
    Error::from_errno(-(bindings::EILSEQ as c_int))
}

/// The library's answers for absent keys, as `None`.
fn found<T>(r: c_int, v: T) -> Result<Option<T>> {
    if r == -(bindings::ENODATA as c_int) {
        return Ok(None);
    }
    to_result(r).map(|()| Some(v))
}

/// A block that is locked in the cache.
///
/// # Invariants
///
/// `raw` is a locked block of a block manager that outlives this value; the lock is released
/// exactly once, by the drop or by who takes `raw` out.
struct Block {
    raw: NonNull<bindings::dm_block>,
}

impl Block {
    fn location(&self) -> u64 {
        // SAFETY: a locked block by the type invariant.
        unsafe { bindings::dm_block_location(self.raw.as_ptr()) }
    }

    fn data(&self) -> &[u8] {
        // SAFETY: a locked block by the type invariant.
        let p = unsafe { bindings::dm_block_data(self.raw.as_ptr()) };
        // SAFETY: the managers here are all made with blocks of `BLOCK_SIZE` bytes, and the
        // block stays locked, hence in place, for as long as `self` is borrowed.
        unsafe { core::slice::from_raw_parts(p.cast::<u8>(), format::BLOCK_SIZE) }
    }

    /// For blocks that were locked for writing.
    fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: a locked block by the type invariant.
        let p = unsafe { bindings::dm_block_data(self.raw.as_ptr()) };
        // SAFETY: as in `data`; locked for writing means that nobody else looks at it.
        unsafe { core::slice::from_raw_parts_mut(p.cast::<u8>(), format::BLOCK_SIZE) }
    }

    fn into_raw(self) -> *mut bindings::dm_block {
        let raw = self.raw.as_ptr();
        core::mem::forget(self);
        raw
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: locked by the type invariant, and released only here.
        unsafe { bindings::dm_bm_unlock(self.raw.as_ptr()) };
    }
}

/// The superblock's checks, in the library's form.
struct Validator(bindings::dm_block_validator);

// SAFETY: never changed; the name is a literal.
unsafe impl Sync for Validator {}

static SUPERBLOCK: Validator = Validator(bindings::dm_block_validator {
    name: kernel::str::as_char_ptr_in_const_context(c"superblock"),
    prepare_for_write: Some(superblock_prepare),
    check: Some(superblock_check),
});

/// The library's checksum of the part of `block` that a superblock's checksum covers.
fn superblock_checksum(block: &[u8]) -> u32 {
    let part = format::checksummed(block);
    // SAFETY: reads `part.len()` bytes at `part`.
    unsafe {
        bindings::dm_bm_checksum(
            part.as_ptr().cast(),
            part.len(),
            format::SUPERBLOCK_CSUM_XOR,
        )
    }
}

/// Completes a superblock that is about to be written.
///
/// # Safety
///
/// `b` is a block of `size` bytes that nobody else touches during the call.
unsafe extern "C" fn superblock_prepare(
    _v: *const bindings::dm_block_validator,
    b: *mut bindings::dm_block,
    size: usize,
) {
    // SAFETY: the library passes a block that it holds for the call.
    let (p, location) = unsafe { (bindings::dm_block_data(b), bindings::dm_block_location(b)) };
    // SAFETY: the block has `size` bytes and is about to be written: nobody else touches it.
    let block = unsafe { core::slice::from_raw_parts_mut(p.cast::<u8>(), size) };
    // A block of `BLOCK_SIZE` has room for both fields.
    let _ = format::set_location(block, location);
    let sum = superblock_checksum(block);
    let _ = format::set_checksum(block, sum);
}

/// Checks a superblock that was just read: 0 or EILSEQ.
///
/// # Safety
///
/// `b` is a block of `size` bytes that nobody changes during the call.
unsafe extern "C" fn superblock_check(
    _v: *const bindings::dm_block_validator,
    b: *mut bindings::dm_block,
    size: usize,
) -> c_int {
    // SAFETY: the library passes a block that it holds for the call.
    let (p, location) = unsafe { (bindings::dm_block_data(b), bindings::dm_block_location(b)) };
    // SAFETY: the block has `size` bytes, which nobody changes while it is being checked.
    let block = unsafe { core::slice::from_raw_parts(p.cast::<u8>(), size) };
    match format::check(block, location, superblock_checksum(block)) {
        Ok(()) => 0,
        Err(fault) => {
            pr_err!("metadata block {location} is not a superblock: {fault:?}\n");
            eilseq().to_errno()
        }
    }
}

/// A B-tree's description: `LEVELS` nested trees with values of `SIZE` bytes.
///
/// # Invariants
///
/// While the store is open, the description is complete, and the value type's size is `SIZE`.
struct Tree<const LEVELS: usize, const SIZE: usize>(UnsafeCell<bindings::dm_btree_info>);

type Callback = unsafe extern "C" fn(*mut c_void, *const c_void, c_uint);
type Equal = unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void) -> c_int;

impl<const LEVELS: usize, const SIZE: usize> Tree<LEVELS, SIZE> {
    fn new() -> Self {
        Self(UnsafeCell::new(bindings::dm_btree_info::default()))
    }

    fn describe(
        &mut self,
        tm: NonNull<bindings::dm_transaction_manager>,
        context: *mut c_void,
        inc: Option<Callback>,
        dec: Option<Callback>,
        equal: Option<Equal>,
    ) {
        // INVARIANT: complete, with the size of the type.
        *self.0.get_mut() = bindings::dm_btree_info {
            tm: tm.as_ptr(),
            levels: LEVELS as c_uint,
            value_type: bindings::dm_btree_value_type {
                context,
                size: SIZE as u32,
                inc,
                dec,
                equal,
            },
        };
    }

    /// # Safety
    ///
    /// For all methods: the store is open. For those that change the tree: nobody else changes
    /// the store meanwhile, nor looks the tree up.
    unsafe fn empty(&self) -> Result<u64> {
        let mut root = 0;
        // SAFETY: complete by the type invariant and the caller's promise.
        to_result(unsafe { bindings::dm_btree_empty(self.0.get(), &mut root) })?;
        Ok(root)
    }

    /// # Safety
    ///
    /// See `empty`.
    unsafe fn delete(&self, root: u64) -> Result {
        // SAFETY: as in `empty`.
        to_result(unsafe { bindings::dm_btree_del(self.0.get(), root) })
    }

    /// # Safety
    ///
    /// See `empty`.
    unsafe fn lookup(&self, root: u64, mut keys: [u64; LEVELS]) -> Result<Option<[u8; SIZE]>> {
        let mut v = [0; SIZE];
        // SAFETY: as in `empty`; there is a key a level and room for a value.
        let r = unsafe {
            bindings::dm_btree_lookup(self.0.get(), root, keys.as_mut_ptr(), v.as_mut_ptr().cast())
        };
        found(r, v)
    }

    /// The first entry at or after the bottom key.
    ///
    /// # Safety
    ///
    /// See `empty`.
    unsafe fn next(&self, root: u64, mut keys: [u64; LEVELS]) -> Result<Option<(u64, [u8; SIZE])>> {
        let (mut key, mut v) = (0, [0; SIZE]);
        // SAFETY: as in `lookup`.
        let r = unsafe {
            bindings::dm_btree_lookup_next(
                self.0.get(),
                root,
                keys.as_mut_ptr(),
                &mut key,
                v.as_mut_ptr().cast(),
            )
        };
        found(r, (key, v))
    }

    /// The new root, and whether the key is new.
    ///
    /// # Safety
    ///
    /// See `empty`.
    unsafe fn insert(
        &self,
        root: u64,
        mut keys: [u64; LEVELS],
        mut v: [u8; SIZE],
    ) -> Result<(u64, bool)> {
        let (mut new_root, mut inserted) = (root, 0);
        // SAFETY: as in `lookup`.
        to_result(unsafe {
            bindings::dm_btree_insert_notify(
                self.0.get(),
                root,
                keys.as_mut_ptr(),
                v.as_mut_ptr().cast(),
                &mut new_root,
                &mut inserted,
            )
        })?;
        Ok((new_root, inserted != 0))
    }

    /// The new root. The key must be there: a miss is an error, because the search changes the
    /// tree.
    ///
    /// # Safety
    ///
    /// See `empty`.
    unsafe fn remove(&self, root: u64, mut keys: [u64; LEVELS]) -> Result<u64> {
        let mut new_root = root;
        // SAFETY: as in `lookup`.
        to_result(unsafe {
            bindings::dm_btree_remove(self.0.get(), root, keys.as_mut_ptr(), &mut new_root)
        })?;
        Ok(new_root)
    }

    /// Removes entries from the bottom key on, below `end`, up to the first gap that the
    /// library stops at: the new root and how many went.
    ///
    /// # Safety
    ///
    /// See `empty`.
    unsafe fn remove_leaves(
        &self,
        root: u64,
        mut keys: [u64; LEVELS],
        end: u64,
    ) -> Result<(u64, u32)> {
        let (mut new_root, mut removed) = (root, 0);
        // SAFETY: as in `lookup`.
        to_result(unsafe {
            bindings::dm_btree_remove_leaves(
                self.0.get(),
                root,
                keys.as_mut_ptr(),
                end,
                &mut new_root,
                &mut removed,
            )
        })?;
        Ok((new_root, removed))
    }

    /// The highest key of each level; `None` when the tree is empty.
    ///
    /// # Safety
    ///
    /// See `empty`.
    unsafe fn highest(&self, root: u64) -> Result<Option<[u64; LEVELS]>> {
        let mut keys = [0; LEVELS];
        // SAFETY: as in `lookup`.
        let r =
            unsafe { bindings::dm_btree_find_highest_key(self.0.get(), root, keys.as_mut_ptr()) };
        to_result(r.min(0))?;
        Ok((usize::try_from(r) == Ok(LEVELS)).then_some(keys))
    }
}

/// What the library's callbacks work with; at a stable address.
///
/// # Invariants
///
/// `tm` and `data_map` are the open store's while it is open. The cells are used only by who
/// changes the store, one at a time: calls that have it exclusively, and shared ones that hold the
/// only [`Beside`]. The callbacks of inc and dec run only in those.
struct Context {
    /// Device id and virtual chunk to mapping value.
    mappings: Tree<2, 8>,
    /// Device id to the root of its mappings; a value that goes takes its tree with it.
    devices: Tree<1, 8>,
    /// The same, for lookups that never wait for the disk.
    devices_now: Tree<1, 8>,
    /// The same, for values that are moved: nothing is deleted.
    devices_moved: Tree<1, 8>,
    /// Virtual chunk to mapping value, of one device.
    device: Tree<1, 8>,
    /// The same, for lookups that never wait for the disk.
    device_now: Tree<1, 8>,
    /// Device id to details.
    details: Tree<1, { format::Details::SIZE }>,
    tm: Cell<*mut bindings::dm_transaction_manager>,
    data_map: Cell<*mut bindings::dm_space_map>,
    /// Chunks decremented since the filter was emptied.
    freed: UnsafeCell<FreedFilter>,
    /// The first failure of a callback since it was taken.
    failure: Cell<c_int>,
    /// There is a [`Beside`].
    beside: Atomic<bool>,
    /// Set by the metadata space map when its free space falls below the threshold.
    low: Atomic<bool>,
}

impl Context {
    fn keep(&self, r: c_int) {
        if r != 0 && self.failure.get() == 0 {
            self.failure.set(r);
        }
    }

    /// # Safety
    ///
    /// `context` is a live `Context`, `values` has `count` values of a tree of mappings.
    unsafe fn runs<'a>(
        context: *mut c_void,
        values: *const c_void,
        count: c_uint,
    ) -> (&'a Self, Runs<impl Iterator<Item = u64>>) {
        let values = values.cast::<u64>();
        let chunks = (0..count as usize).map(move |i| {
            // SAFETY: the caller's promise; values need not be aligned.
            let v = unsafe { values.add(i).read_unaligned() };
            format::unpack(u64::from_le(v)).0
        });
        // SAFETY: the caller's promise.
        (unsafe { &*context.cast::<Self>() }, Runs::new(chunks))
    }
}

/// Raises the counts of the chunks that mapping values name.
///
/// # Safety
///
/// `context` is the open store's [`Context`], nobody else changes the store, and `values` has
/// `count` mapping values.
unsafe extern "C" fn chunks_inc(context: *mut c_void, values: *const c_void, count: c_uint) {
    // SAFETY: the library passes what the tree was described with, and its own values.
    let (cx, runs) = unsafe { Context::runs(context, values, count) };
    for (begin, end) in runs {
        // SAFETY: the open store's space map by `Context`'s invariant; nobody else changes it.
        cx.keep(unsafe { bindings::drr_sm_inc(cx.data_map.get(), begin, end) });
    }
}

/// Lowers the counts of the chunks that mapping values name, and notes the chunks.
///
/// # Safety
///
/// `context` is the open store's [`Context`], nobody else changes the store, and `values` has
/// `count` mapping values.
unsafe extern "C" fn chunks_dec(context: *mut c_void, values: *const c_void, count: c_uint) {
    // SAFETY: as in `chunks_inc`.
    let (cx, runs) = unsafe { Context::runs(context, values, count) };
    for (begin, end) in runs {
        // SAFETY: only who changes the store gets here, one at a time (`Context`'s invariant).
        unsafe { (*cx.freed.get()).record(begin, end) };
        // SAFETY: as in `chunks_inc`.
        cx.keep(unsafe { bindings::drr_sm_dec(cx.data_map.get(), begin, end) });
    }
}

/// Two mappings are the same when they name the same chunk, whatever their times.
///
/// # Safety
///
/// `a` and `b` are mapping values.
unsafe extern "C" fn chunks_equal(_: *mut c_void, a: *const c_void, b: *const c_void) -> c_int {
    // SAFETY: the library passes two values of a tree of mappings.
    let (a, b) = unsafe {
        (
            a.cast::<u64>().read_unaligned(),
            b.cast::<u64>().read_unaligned(),
        )
    };
    c_int::from(format::unpack(u64::from_le(a)).0 == format::unpack(u64::from_le(b)).0)
}

/// Raises the counts of device trees.
///
/// # Safety
///
/// `context` is the open store's [`Context`], nobody else changes the store, and `values` has
/// `count` roots.
unsafe extern "C" fn roots_inc(context: *mut c_void, values: *const c_void, count: c_uint) {
    // SAFETY: the library passes what the tree was described with.
    let cx = unsafe { &*context.cast::<Context>() };
    for i in 0..count as usize {
        // SAFETY: the library passes `count` roots; they need not be aligned.
        let root = unsafe { values.cast::<u64>().add(i).read_unaligned() };
        // SAFETY: the open store's transaction manager by `Context`'s invariant.
        unsafe { bindings::dm_tm_inc(cx.tm.get(), u64::from_le(root)) };
    }
}

/// Lowers the counts of device trees; the last one takes its tree with it.
///
/// # Safety
///
/// `context` is the open store's [`Context`], nobody else changes the store, and `values` has
/// `count` roots.
unsafe extern "C" fn roots_dec(context: *mut c_void, values: *const c_void, count: c_uint) {
    // SAFETY: as in `roots_inc`.
    let cx = unsafe { &*context.cast::<Context>() };
    for i in 0..count as usize {
        // SAFETY: as in `roots_inc`.
        let root = unsafe { values.cast::<u64>().add(i).read_unaligned() };
        // SAFETY: the store is open and exclusively held: a value is being removed.
        if let Err(e) = unsafe { cx.device.delete(u64::from_le(root)) } {
            cx.keep(e.to_errno());
        }
    }
}

/// Whether two roots are the same.
///
/// # Safety
///
/// `a` and `b` are roots.
unsafe extern "C" fn roots_equal(_: *mut c_void, a: *const c_void, b: *const c_void) -> c_int {
    // SAFETY: the library passes two values of a tree of roots.
    let (a, b) = unsafe {
        (
            a.cast::<u64>().read_unaligned(),
            b.cast::<u64>().read_unaligned(),
        )
    };
    c_int::from(a == b)
}

/// Notes that free metadata fell below the threshold.
///
/// # Safety
///
/// `context` is a live [`Context`].
unsafe extern "C" fn metadata_low(context: *mut c_void) {
    // SAFETY: registered with the store's context, which outlives the space map.
    let cx = unsafe { &*context.cast::<Context>() };
    cx.low.store(true, Relaxed);
}

/// The objects of a running transaction.
///
/// # Invariants
///
/// All are live, made for one another, and owned here.
struct Open {
    tm: NonNull<bindings::dm_transaction_manager>,
    tm_now: NonNull<bindings::dm_transaction_manager>,
    metadata_map: NonNull<bindings::dm_space_map>,
    data_map: NonNull<bindings::dm_space_map>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; the clone goes before its original, and the
        // space maps are not used by either destructor.
        unsafe {
            bindings::drr_sm_destroy(self.data_map.as_ptr());
            bindings::drr_sm_destroy(self.metadata_map.as_ptr());
            bindings::dm_tm_destroy(self.tm_now.as_ptr());
            bindings::dm_tm_destroy(self.tm.as_ptr());
        }
    }
}

/// A transaction manager and its metadata space map on their way to an [`Open`].
///
/// # Invariants
///
/// Both are live and owned here.
struct Opening {
    tm: NonNull<bindings::dm_transaction_manager>,
    map: NonNull<bindings::dm_space_map>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant.
        unsafe {
            bindings::dm_tm_destroy(self.tm.as_ptr());
            bindings::drr_sm_destroy(self.map.as_ptr());
        }
    }
}

/// The right to change what no lookup sees, while others look up.
///
/// # Invariants
///
/// There is one at a time for each store: its context's `beside` is set. It borrows the store, so
/// that nobody has that exclusively.
struct Beside<'a>(&'a Store);

impl<'a> Beside<'a> {
    /// EBUSY: somebody has it.
    fn begin(store: &'a Store) -> Result<Self> {
        if store.cx().beside.xchg(true, Acquire) {
            return Err(EBUSY);
        }
        // INVARIANT: the flag was clear, and is set.
        Ok(Self(store))
    }

    /// The error of a change: its own, or else the first of the callbacks that it caused.
    fn settle<T>(&self, r: Result<T>) -> Result<T> {
        let kept = self.0.cx().failure.replace(0);
        let v = r?;
        to_result(kept)?;
        Ok(v)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.0.cx().beside.store(false, Release);
    }
}

/// A metadata device under the library, with a transaction open on it or (after `close`, or
/// when opening failed) without one; then everything fails with EINVAL.
///
/// # Invariants
///
/// `context` is live and owned by this value; `cache` is the manager's, if known.
/// While `open` is `Some`, the context's trees and pointers are that transaction's.
pub(crate) struct Store {
    manager: Arc<Manager>,
    cache: Option<NonNull<bindings::dm_bufio_client>>,
    context: NonNull<Context>,
    open: Option<Open>,
}

// SAFETY: the library's objects belong to no thread.
unsafe impl Send for Store {}
// SAFETY: `&Store` looks up, reads the superblock, prefetches and reads flags, which the library
// supports from many threads. Besides it deletes a tree that no lookup can reach, and commits, one
// of these at a time (`Beside`); nothing else that takes `&Store` uses the context's cells, the
// space maps or what a transaction manager notes of its changes.
unsafe impl Sync for Store {}

impl Store {
    /// Makes the block cache of `dev`; nothing is read yet, no transaction is open.
    pub(crate) fn new(dev: BlockDev) -> Result<Self> {
        let words = KVec::from_elem(0, FILTER_WORDS, GFP_KERNEL)?;
        let freed = Filter::new(words).ok_or(EINVAL)?;
        let context = KBox::new(
            Context {
                mappings: Tree::new(),
                devices: Tree::new(),
                devices_now: Tree::new(),
                devices_moved: Tree::new(),
                device: Tree::new(),
                device_now: Tree::new(),
                details: Tree::new(),
                tm: Cell::new(ptr::null_mut()),
                data_map: Cell::new(ptr::null_mut()),
                freed: UnsafeCell::new(freed),
                failure: Cell::new(0),
                beside: Atomic::new(false),
                low: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;
        let manager = Manager::new(dev, format::BLOCK_SIZE, LOCKS_PER_THREAD)?;
        let context = NonNull::new(KBox::into_raw(context)).ok_or(ENOMEM)?;
        // INVARIANT: made above, and goes with the new value; nothing is open.
        Ok(Self {
            manager,
            cache: None,
            context,
            open: None,
        })
    }

    fn cx(&self) -> &Context {
        // SAFETY: live by the type invariant.
        unsafe { self.context.as_ref() }
    }

    fn open_objects(&self) -> Result<&Open> {
        self.open.as_ref().ok_or(EINVAL)
    }

    /// Whether no transaction is open, so that every call fails.
    pub(crate) fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// As [`Beside::settle`], for changes that have the store exclusively.
    fn settle<T>(&mut self, r: Result<T>) -> Result<T> {
        Beside::begin(self)?.settle(r)
    }

    fn lock_superblock(
        &self,
        location: u64,
        f: unsafe extern "C" fn(
            *mut bindings::dm_block_manager,
            u64,
            *const bindings::dm_block_validator,
            *mut *mut bindings::dm_block,
        ) -> c_int,
        validator: *const bindings::dm_block_validator,
    ) -> Result<Block> {
        let mut raw = ptr::null_mut();
        // SAFETY: the manager is live by the type invariant; the validator is static or NULL.
        to_result(unsafe { f(self.manager.as_ptr(), location, validator, &mut raw) })?;
        // INVARIANT: locked by the call above, on a manager that the borrow of `self` keeps.
        Ok(Block {
            raw: NonNull::new(raw).ok_or(EIO)?,
        })
    }

    /// Shows block 0 as it is on the disk, with the checksum that it should carry as a
    /// superblock. Needs no open transaction; the first thing to be done with a store.
    pub(crate) fn peek<R>(&mut self, f: impl FnOnce(&[u8], u32) -> R) -> Result<R> {
        let (r, cache) = {
            let block = self.lock_superblock(
                format::SUPERBLOCK_LOCATION,
                bindings::dm_bm_read_lock,
                ptr::null(),
            )?;
            let data = block.data();
            // SAFETY: a locked block is a live buffer of the manager's cache (dm-block-manager.c,
            // `to_buffer`, 7.2).
            let cache = unsafe { bindings::dm_bufio_get_client(block.raw.as_ptr().cast()) };
            (f(data, superblock_checksum(data)), cache)
        };
        // INVARIANT: the manager's own, as asked for above.
        self.cache = NonNull::new(cache);
        Ok(r)
    }

    /// Shows the checked superblock at `location` (0, or a metadata snapshot's). Needs no open
    /// transaction.
    pub(crate) fn superblock<R>(&self, location: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let block = self.lock_superblock(location, bindings::dm_bm_read_lock, &SUPERBLOCK.0)?;
        Ok(f(block.data()))
    }

    /// Shows a tree's node as the running transaction has it; nobody may change it meanwhile. Its
    /// header and checksum are not checked.
    pub(crate) fn node<R>(&self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        self.open_objects()?;
        // The library's validator of nodes is not exported, and the block manager insists on it;
        // the cache below it does not. No block is locked for that: where the manager's locks are
        // compiled out, locking one for reading that another thread has for writing (the
        // superblock in a commit) would make its unlocking forget that it is dirty.
        let client = self.cache.ok_or(EINVAL)?.as_ptr();
        let mut buffer: *mut bindings::dm_buffer = ptr::null_mut();
        // SAFETY: the manager's client, which lives as long as the manager.
        let data = unsafe { bindings::dm_bufio_read(client, block, &mut buffer) };
        let data: *mut c_void = from_err_ptr(data)?;
        // SAFETY: a buffer of the manager's block size, held until it is released below; the caller
        // keeps others from changing the node.
        let r = f(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), format::BLOCK_SIZE) });
        // SAFETY: held since the call above.
        unsafe { bindings::dm_bufio_release(buffer) };
        Ok(r)
    }

    /// Changes the committed superblock in place and makes it durable, outside of any commit.
    /// On an error the transaction need not be given up.
    pub(crate) fn amend_superblock(&mut self, f: impl FnOnce(&mut [u8]) -> Option<()>) -> Result {
        let mut block = self.lock_superblock(
            format::SUPERBLOCK_LOCATION,
            bindings::dm_bm_write_lock,
            &SUPERBLOCK.0,
        )?;
        f(block.data_mut()).ok_or(EIO)?;
        drop(block);
        // SAFETY: the manager is live by the type invariant.
        to_result(unsafe { bindings::dm_bm_flush(self.manager.as_ptr()) })
    }

    /// Starts a new, empty metadata device: space maps are made, nothing is committed.
    pub(crate) fn create(&mut self) -> Result {
        self.close();
        let (mut tm, mut map) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the manager is live by the type invariant.
        to_result(unsafe {
            bindings::dm_tm_create_with_sm(
                self.manager.as_ptr(),
                format::SUPERBLOCK_LOCATION,
                &mut tm,
                &mut map,
            )
        })?;
        // INVARIANT: made by the call above, which failed otherwise.
        let opening = Opening {
            tm: NonNull::new(tm).ok_or(EIO)?,
            map: NonNull::new(map).ok_or(EIO)?,
        };
        // SAFETY: the transaction manager is live.
        let data = unsafe { bindings::dm_sm_disk_create(opening.tm.as_ptr(), 0) };
        self.finish_opening(opening, data)
    }

    /// Opens a transaction on the committed metadata whose space maps have these roots.
    pub(crate) fn open(&mut self, data: &Root, metadata: &Root) -> Result {
        self.close();
        let (mut data, mut metadata) = (*data, *metadata);
        let (mut tm, mut map) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the manager is live by the type invariant; the root is only read.
        to_result(unsafe {
            bindings::dm_tm_open_with_sm(
                self.manager.as_ptr(),
                format::SUPERBLOCK_LOCATION,
                metadata.as_mut_ptr().cast(),
                metadata.len(),
                &mut tm,
                &mut map,
            )
        })?;
        // INVARIANT: made by the call above, which failed otherwise.
        let opening = Opening {
            tm: NonNull::new(tm).ok_or(EIO)?,
            map: NonNull::new(map).ok_or(EIO)?,
        };
        // SAFETY: the transaction manager is live; the root is only read.
        let data = unsafe {
            bindings::dm_sm_disk_open(opening.tm.as_ptr(), data.as_mut_ptr().cast(), data.len())
        };
        self.finish_opening(opening, data)
    }

    fn finish_opening(&mut self, opening: Opening, data: *mut bindings::dm_space_map) -> Result {
        let data_map = NonNull::new(from_err_ptr(data)?).ok_or(EIO)?;
        // SAFETY: the transaction manager is live.
        let clone = unsafe { bindings::dm_tm_create_non_blocking_clone(opening.tm.as_ptr()) };
        let Some(tm_now) = NonNull::new(clone) else {
            // SAFETY: made by the caller, owned by nobody else.
            unsafe { bindings::drr_sm_destroy(data_map.as_ptr()) };
            return Err(ENOMEM);
        };
        let (tm, metadata_map) = (opening.tm, opening.map);
        core::mem::forget(opening);

        let p = self.context.as_ptr().cast::<c_void>();
        // SAFETY: live by the type invariant; `&mut self` excludes all other users.
        let cx = unsafe { self.context.as_mut() };
        let (inc, dec, equal) = (
            Some(chunks_inc as Callback),
            Some(chunks_dec as Callback),
            Some(chunks_equal as Equal),
        );
        let (inc_root, dec_root, equal_root) = (
            Some(roots_inc as Callback),
            Some(roots_dec as Callback),
            Some(roots_equal as Equal),
        );
        cx.mappings.describe(tm, p, inc, dec, equal);
        cx.device.describe(tm, p, inc, dec, equal);
        cx.device_now.describe(tm_now, p, inc, dec, equal);
        cx.devices.describe(tm, p, inc_root, dec_root, equal_root);
        cx.devices_now
            .describe(tm_now, p, inc_root, dec_root, equal_root);
        cx.devices_moved.describe(tm, p, inc_root, None, None);
        cx.details.describe(tm, p, None, None, None);
        cx.tm.set(tm.as_ptr());
        cx.data_map.set(data_map.as_ptr());
        cx.failure.set(0);
        // INVARIANT: all live and made for one another; the context was set for them.
        self.open = Some(Open {
            tm,
            tm_now,
            metadata_map,
            data_map,
        });
        Ok(())
    }

    /// Gives the running transaction up. What it changed is unreachable from the superblock.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Gives the transaction up, as `close`, and forgets every cached block.
    pub(crate) fn reset(&mut self) {
        self.close();
        // Without a transaction nobody holds a block.
        self.manager.reset();
    }

    /// Makes all writes fail (true) or work (false).
    pub(crate) fn set_read_only(&mut self, on: bool) {
        // SAFETY: the manager is live by the type invariant; exclusive by `&mut self`.
        unsafe {
            if on {
                bindings::dm_bm_set_read_only(self.manager.as_ptr());
            } else {
                bindings::dm_bm_set_read_write(self.manager.as_ptr());
            }
        }
    }

    /// Whether all writes fail.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: the manager is live by the type invariant.
        unsafe { bindings::dm_bm_is_read_only(self.manager.as_ptr()) }
    }

    /// First half of a commit: everything but the superblock becomes durable. Returns the space
    /// maps' roots, data first, for the superblock. Lookups may go on beside it: space maps are all
    /// that it changes. EBUSY: another such change is under way.
    pub(crate) fn commit_trees(&self) -> Result<(Root, Root)> {
        let beside = Beside::begin(self)?;
        let open = self.open_objects()?;
        let (mut data, mut metadata) = ([0; format::ROOT_SIZE], [0; format::ROOT_SIZE]);
        // SAFETY: all live by `Open`'s invariant; nobody else changes the store, by `Beside`; the
        // roots have the length that is passed.
        let r = unsafe {
            to_result(bindings::drr_sm_commit(open.data_map.as_ptr()))
                .and_then(|()| to_result(bindings::dm_tm_pre_commit(open.tm.as_ptr())))
                .and_then(|()| {
                    to_result(bindings::drr_sm_copy_root(
                        open.metadata_map.as_ptr(),
                        metadata.as_mut_ptr().cast(),
                        metadata.len(),
                    ))
                })
                .and_then(|()| {
                    to_result(bindings::drr_sm_copy_root(
                        open.data_map.as_ptr(),
                        data.as_mut_ptr().cast(),
                        data.len(),
                    ))
                })
        };
        beside.settle(r)?;
        Ok((data, metadata))
    }

    /// Second half of a commit: `f` fills the superblock in (`fresh`: from zeroes, else over the
    /// last one), which becomes durable; a new transaction begins. Lookups may go on beside it, as
    /// with the first half; between the two nothing may be changed.
    pub(crate) fn commit_superblock(
        &self,
        fresh: bool,
        f: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Result {
        let _beside = Beside::begin(self)?;
        let tm = self.open_objects()?.tm;
        let lock = if fresh {
            bindings::dm_bm_write_lock_zero
        } else {
            bindings::dm_bm_write_lock
        };
        let mut block = self.lock_superblock(format::SUPERBLOCK_LOCATION, lock, &SUPERBLOCK.0)?;
        f(block.data_mut()).ok_or(EIO)?;
        // SAFETY: live by `Open`'s invariant; the block is locked for writing, and its lock
        // passes to the call.
        to_result(unsafe { bindings::dm_tm_commit(tm.as_ptr(), block.into_raw()) })
    }

    // --- Mappings ----------------------------------------------------------------------------

    /// The mapping value of a virtual chunk of the device whose mappings hang on `subtree`
    /// ([`Self::device_root`]). EAGAIN: `may_block` is false and a block of the tree is not in memory.
    pub(crate) fn lookup(&self, subtree: u64, vchunk: u64, may_block: bool) -> Result<Option<u64>> {
        self.open_objects()?;
        let cx = self.cx();
        let tree = if may_block {
            &cx.device
        } else {
            &cx.device_now
        };
        // SAFETY: open, as checked; a lookup changes nothing.
        let v = unsafe { tree.lookup(subtree, [vchunk]) }?;
        Ok(v.map(u64::from_le_bytes))
    }

    /// A device's first mapping at or after `vchunk`: its virtual chunk and value.
    pub(crate) fn next(&self, root: u64, device: u64, vchunk: u64) -> Result<Option<(u64, u64)>> {
        self.open_objects()?;
        // SAFETY: open, as checked; a lookup changes nothing.
        let found = unsafe { self.cx().mappings.next(root, [device, vchunk]) }?;
        Ok(found.map(|(key, v)| (key, u64::from_le_bytes(v))))
    }

    /// The highest virtual chunk that a device maps.
    pub(crate) fn highest(&self, root: u64, device: u64) -> Result<Option<u64>> {
        let Some(subtree) = self.device_root(root, device)? else {
            return Ok(None);
        };
        // SAFETY: open, as `device_root` checked; a lookup changes nothing.
        let keys = unsafe { self.cx().device.highest(subtree) }?;
        Ok(keys.map(|[k]| k))
    }

    /// Maps a device's virtual chunk: the new root, and whether it was unmapped before. The
    /// count of a chunk that was mapped goes down; the new one's must have been raised already.
    pub(crate) fn insert(
        &mut self,
        root: u64,
        device: u64,
        vchunk: u64,
        value: u64,
    ) -> Result<(u64, bool)> {
        self.open_objects()?;
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe {
            self.cx()
                .mappings
                .insert(root, [device, vchunk], value.to_le_bytes())
        };
        self.settle(r)
    }

    /// Unmaps a device's virtual chunks `[begin, end)`: the new root, and how many were mapped.
    pub(crate) fn remove_range(
        &mut self,
        root: u64,
        device: u64,
        begin: u64,
        end: u64,
    ) -> Result<(u64, u64)> {
        let r = self.remove_range_raw(root, device, begin, end);
        self.settle(r)
    }

    fn remove_range_raw(&self, root: u64, device: u64, begin: u64, end: u64) -> Result<(u64, u64)> {
        let Some(old) = self.device_root(root, device)? else {
            return Ok((root, 0));
        };
        let cx = self.cx();
        // The node that names the subtree must be this transaction's own before the subtree
        // changes: if a metadata snapshot shares that node, the subtree's count is raised only
        // when the node is copied. Inserting the value that is there does just that.
        // SAFETY: open, as `device_root` checked; the caller has the store exclusively.
        let (root, _) = unsafe { cx.devices.insert(root, [device], old.to_le_bytes()) }?;
        let (mut subtree, mut at, mut total) = (old, begin, 0u64);
        while at < end {
            // SAFETY: as above.
            let Some((first, _)) = (unsafe { cx.device.next(subtree, [at]) })? else {
                break;
            };
            if first >= end {
                break;
            }
            // SAFETY: as above.
            let (new, removed) = unsafe { cx.device.remove_leaves(subtree, [first], end) }?;
            if removed == 0 {
                // The entry was there a moment ago: the tree contradicts itself.
                return Err(EIO);
            }
            subtree = new;
            total = total.saturating_add(u64::from(removed));
            // At least the first entry went, so the walk goes on behind it.
            at = first.saturating_add(1);
        }
        if subtree == old {
            return Ok((root, total));
        }
        // The old root's count went down when it was copied: only the name is replaced.
        // SAFETY: as above.
        let (root, _) = unsafe {
            cx.devices_moved
                .insert(root, [device], subtree.to_le_bytes())
        }?;
        Ok((root, total))
    }

    // --- Devices -----------------------------------------------------------------------------

    /// An empty tree of devices and mappings.
    pub(crate) fn empty_mappings(&mut self) -> Result<u64> {
        self.open_objects()?;
        // SAFETY: open, as checked; exclusive by `&mut self`.
        unsafe { self.cx().mappings.empty() }
    }

    /// An empty tree of details.
    pub(crate) fn empty_details(&mut self) -> Result<u64> {
        self.open_objects()?;
        // SAFETY: open, as checked; exclusive by `&mut self`.
        unsafe { self.cx().details.empty() }
    }

    /// The root of a device's mappings. It is another one after any change of the store, perhaps.
    pub(crate) fn device_root(&self, root: u64, device: u64) -> Result<Option<u64>> {
        self.find_device_root(root, device, true)
    }

    /// As [`Self::device_root`]. EAGAIN: `may_block` is false and a block of the tree is not in memory.
    pub(crate) fn find_device_root(
        &self,
        root: u64,
        device: u64,
        may_block: bool,
    ) -> Result<Option<u64>> {
        self.open_objects()?;
        let cx = self.cx();
        let tree = if may_block {
            &cx.devices
        } else {
            &cx.devices_now
        };
        // SAFETY: open, as checked; a lookup changes nothing.
        let v = unsafe { tree.lookup(root, [device]) }?;
        Ok(v.map(u64::from_le_bytes))
    }

    /// Adds a device without mappings: the new root. The device must not be there.
    pub(crate) fn add_device(&mut self, root: u64, device: u64) -> Result<u64> {
        self.open_objects()?;
        let cx = self.cx();
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe { cx.device.empty() }.and_then(|subtree| {
            // SAFETY: as above.
            unsafe { cx.devices.insert(root, [device], subtree.to_le_bytes()) }
        });
        Ok(self.settle(r)?.0)
    }

    /// Adds a device that shares all mappings of the tree at `subtree`: the new root. The
    /// device must not be there.
    pub(crate) fn share_device(&mut self, root: u64, device: u64, subtree: u64) -> Result<u64> {
        let tm = self.open_objects()?.tm;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        unsafe { bindings::dm_tm_inc(tm.as_ptr(), subtree) };
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe {
            self.cx()
                .devices
                .insert(root, [device], subtree.to_le_bytes())
        };
        Ok(self.settle(r)?.0)
    }

    /// Takes a device out of the tree of devices: the new root, and that of its mappings, which
    /// live on until `delete_tree`. The device must be there.
    pub(crate) fn detach_device(&mut self, root: u64, device: u64) -> Result<(u64, u64)> {
        let subtree = self.device_root(root, device)?.ok_or(EIO)?;
        // SAFETY: open, as `device_root` checked; exclusive by `&mut self`.
        let r = unsafe { self.cx().devices_moved.remove(root, [device]) };
        Ok((self.settle(r)?, subtree))
    }

    /// Adds a device to which the tree at `subtree` goes over: the new root. The device must not be
    /// there.
    pub(crate) fn attach_device(&mut self, root: u64, device: u64, subtree: u64) -> Result<u64> {
        self.open_objects()?;
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe {
            self.cx()
                .devices_moved
                .insert(root, [device], subtree.to_le_bytes())
        };
        Ok(self.settle(r)?.0)
    }

    /// Raises the count of a tree's root: the deletion of what it hangs on spares it.
    pub(crate) fn keep_tree(&mut self, subtree: u64) -> Result {
        let tm = self.open_objects()?.tm;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        unsafe { bindings::dm_tm_inc(tm.as_ptr(), subtree) };
        Ok(())
    }

    /// Deletes a tree of mappings that `detach_device` gave out, and lowers the counts of its
    /// chunks. Lookups may go on beside it: the tree hangs on nothing any more, its blocks are not
    /// used again before the next commit, and lookups do not ask the space maps. EBUSY: another
    /// one is being deleted.
    pub(crate) fn delete_tree(&self, subtree: u64) -> Result {
        self.open_objects()?;
        let beside = Beside::begin(self)?;
        // SAFETY: open, as checked. Nobody has the store exclusively, nobody else changes it by
        // `Beside`, and nobody can look the tree up.
        let r = unsafe { self.cx().device.delete(subtree) };
        beside.settle(r)
    }

    /// A device's details.
    pub(crate) fn details(&self, root: u64, device: u64) -> Result<Option<format::Details>> {
        self.open_objects()?;
        // SAFETY: open, as checked; a lookup changes nothing.
        let v = unsafe { self.cx().details.lookup(root, [device]) }?;
        Ok(v.as_ref().and_then(format::Details::decode))
    }

    /// The highest id that has details.
    pub(crate) fn highest_details(&self, root: u64) -> Result<Option<u64>> {
        self.open_objects()?;
        // SAFETY: open, as checked; a lookup changes nothing.
        let key = unsafe { self.cx().details.highest(root) }?;
        Ok(key.map(|[id]| id))
    }

    /// Stores a device's details: the new root.
    pub(crate) fn set_details(
        &mut self,
        root: u64,
        device: u64,
        details: &format::Details,
    ) -> Result<u64> {
        self.open_objects()?;
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe { self.cx().details.insert(root, [device], details.encode()) };
        Ok(self.settle(r)?.0)
    }

    /// Removes a device's details: the new root. They must be there.
    pub(crate) fn remove_details(&mut self, root: u64, device: u64) -> Result<u64> {
        self.open_objects()?;
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe { self.cx().details.remove(root, [device]) };
        self.settle(r)
    }

    // --- Metadata snapshot -------------------------------------------------------------------

    /// Copies the superblock, which must be the committed one, and keeps the trees that it
    /// names: the copy's block. `edit` changes the copy and names the two roots.
    pub(crate) fn copy_superblock(
        &mut self,
        edit: impl FnOnce(&mut [u8]) -> Option<(u64, u64)>,
    ) -> Result<u64> {
        let open = self.open_objects()?;
        let (tm, map) = (open.tm.as_ptr(), open.metadata_map.as_ptr());
        let at = format::SUPERBLOCK_LOCATION;
        // Copying drops a reference on the original, which stays in use.
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_inc(map, at, at + 1) })?;
        let (mut raw, mut shared) = (ptr::null_mut(), 0);
        // SAFETY: as above; nobody holds the superblock locked.
        to_result(unsafe {
            bindings::dm_tm_shadow_block(tm, at, &SUPERBLOCK.0, &mut raw, &mut shared)
        })?;
        // INVARIANT: locked for writing by the call above.
        let mut block = Block {
            raw: NonNull::new(raw).ok_or(EIO)?,
        };
        if shared == 0 {
            return Err(EIO);
        }
        let (mappings, details) = edit(block.data_mut()).ok_or(EIO)?;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        unsafe { bindings::dm_tm_inc(tm, mappings) };
        // SAFETY: as above.
        unsafe { bindings::dm_tm_inc(tm, details) };
        Ok(block.location())
    }

    /// Frees a copy of the superblock at `location` and the trees that it keeps.
    pub(crate) fn free_superblock(&mut self, location: u64, mappings: u64, details: u64) -> Result {
        let map = self.open_objects()?.metadata_map;
        let cx = self.cx();
        // SAFETY: open, as checked; exclusive by `&mut self`.
        let r = unsafe { cx.mappings.delete(mappings) }
            // SAFETY: as above.
            .and_then(|()| unsafe { cx.details.delete(details) })
            .and_then(|()| {
                // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
                to_result(unsafe { bindings::drr_sm_dec(map.as_ptr(), location, location + 1) })
            });
        self.settle(r)
    }

    // --- Space maps --------------------------------------------------------------------------

    /// Allocates a chunk of the data device, with a count of 1. ENOSPC when none can be had in
    /// this transaction; that error leaves the transaction sound.
    pub(crate) fn new_chunk(&mut self) -> Result<u64> {
        let map = self.open_objects()?.data_map;
        let mut chunk = 0;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_new_block(map.as_ptr(), &mut chunk) })?;
        Ok(chunk)
    }

    /// How many references a metadata block has.
    pub(crate) fn block_count(&mut self, block: u64) -> Result<u32> {
        let map = self.open_objects()?.metadata_map;
        let mut count = 0;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_count(map.as_ptr(), block, &mut count) })?;
        Ok(count)
    }

    /// How many mappings (and holds) a chunk has.
    pub(crate) fn chunk_count(&mut self, chunk: u64) -> Result<u32> {
        let map = self.open_objects()?.data_map;
        let mut count = 0;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_count(map.as_ptr(), chunk, &mut count) })?;
        Ok(count)
    }

    /// Raises the counts of the chunks `[begin, end)`.
    pub(crate) fn hold_chunks(&mut self, begin: u64, end: u64) -> Result {
        let map = self.open_objects()?.data_map;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_inc(map.as_ptr(), begin, end) })
    }

    /// Lowers the counts of the chunks `[begin, end)`.
    pub(crate) fn release_chunks(&mut self, begin: u64, end: u64) -> Result {
        let map = self.open_objects()?.data_map;
        self.freed().record(begin, end);
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_dec(map.as_ptr(), begin, end) })
    }

    /// Lowers the counts of chunks that were only held: nobody can have looked them up since, so
    /// they are not noted as freed.
    pub(crate) fn drop_hold(&mut self, begin: u64, end: u64) -> Result {
        let map = self.open_objects()?.data_map;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_dec(map.as_ptr(), begin, end) })
    }

    /// The chunks decremented since the filter was emptied.
    pub(crate) fn freed(&mut self) -> &mut FreedFilter {
        // SAFETY: the context is live; `&mut self` is the exclusivity that it asks for.
        unsafe { &mut *self.cx().freed.get() }
    }

    fn space(
        &mut self,
        data: bool,
        f: unsafe extern "C" fn(*mut bindings::dm_space_map, *mut u64) -> c_int,
    ) -> Result<u64> {
        let open = self.open_objects()?;
        let map = if data {
            open.data_map
        } else {
            open.metadata_map
        };
        let mut n = 0;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { f(map.as_ptr(), &mut n) })?;
        Ok(n)
    }

    /// Chunks that can be allocated in this transaction.
    pub(crate) fn free_chunks(&mut self) -> Result<u64> {
        self.space(true, bindings::drr_sm_nr_free)
    }

    /// Chunks of the data device, as of the last commit.
    pub(crate) fn chunks(&mut self) -> Result<u64> {
        self.space(true, bindings::drr_sm_nr_blocks)
    }

    /// Metadata blocks that can be allocated in this transaction.
    pub(crate) fn free_blocks(&mut self) -> Result<u64> {
        self.space(false, bindings::drr_sm_nr_free)
    }

    /// Metadata blocks in all.
    pub(crate) fn blocks(&mut self) -> Result<u64> {
        self.space(false, bindings::drr_sm_nr_blocks)
    }

    /// Adds chunks at the end of the data device.
    pub(crate) fn add_chunks(&mut self, extra: u64) -> Result {
        let map = self.open_objects()?.data_map;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_extend(map.as_ptr(), extra) })
    }

    /// Adds blocks at the end of the metadata device.
    pub(crate) fn add_blocks(&mut self, extra: u64) -> Result {
        let map = self.open_objects()?.metadata_map;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`.
        to_result(unsafe { bindings::drr_sm_extend(map.as_ptr(), extra) })
    }

    /// Asks for a note when fewer than `blocks` metadata blocks are free (once each time that
    /// the level is crossed). Lost when the transaction is given up. On an error the
    /// transaction need not be given up.
    pub(crate) fn set_threshold(&mut self, blocks: u64) -> Result {
        let map = self.open_objects()?.metadata_map;
        // SAFETY: live by `Open`'s invariant, exclusive by `&mut self`; the context outlives
        // the space map.
        to_result(unsafe {
            bindings::drr_sm_threshold(
                map.as_ptr(),
                blocks,
                Some(metadata_low),
                self.context.as_ptr().cast(),
            )
        })
    }

    /// Whether the threshold was crossed since the last call.
    pub(crate) fn take_low(&self) -> bool {
        // The test alone first: the swap would write to a cache line that readers share.
        self.cx().low.load(Relaxed) && self.cx().low.xchg(false, Relaxed)
    }

    /// Who reads blocks into the cache that lookups miss, without the store.
    pub(crate) fn reader(&self) -> Result<Reader> {
        let client = self.cache.ok_or(EINVAL)?;
        // SAFETY: the cache is the manager's by the type invariant.
        Ok(unsafe { Reader::new(client, self.manager.clone()) })
    }

    /// The blocks that are in memory, to be shown while nobody changes the mappings.
    pub(crate) fn in_memory(&self) -> Result<impl InMemory + '_> {
        Ok(Cached {
            client: self.cache.ok_or(EINVAL)?,
            _store: self,
        })
    }

    /// Starts to read the blocks that lookups without blocking have missed.
    pub(crate) fn prefetch(&self) {
        if let Some(open) = &self.open {
            // The clone keeps its list in the original.
            // SAFETY: live by `Open`'s invariant; the list has a lock of its own.
            unsafe { bindings::dm_tm_issue_prefetches(open.tm.as_ptr()) };
        }
    }
}

/// The blocks of a store that are in memory.
///
/// # Invariants
///
/// `client` is the store's cache.
struct Cached<'a> {
    client: NonNull<bindings::dm_bufio_client>,
    _store: &'a Store,
}

impl InMemory for Cached<'_> {
    fn show<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let mut buffer: *mut bindings::dm_buffer = ptr::null_mut();
        // SAFETY: live as long as the store, which is borrowed.
        let data = unsafe { bindings::dm_bufio_get(self.client.as_ptr(), block, &mut buffer) };
        // One that could not be read counts as absent.
        let data: *mut c_void = from_err_ptr(data).ok()?;
        if data.is_null() {
            return None;
        }
        // SAFETY: a buffer of the manager's block size, held until it is released below. What is
        // looked up hangs in the tree of mappings, which nobody changes while the store is borrowed.
        let r = f(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), format::BLOCK_SIZE) });
        // SAFETY: held since the call above.
        unsafe { bindings::dm_bufio_release(buffer) };
        Some(r)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
        // SAFETY: made by `KBox::into_raw` in `new`, owned by the type invariant, and nothing
        // that points to it is left.
        drop(unsafe { KBox::from_raw(self.context.as_ptr()) });
    }
}

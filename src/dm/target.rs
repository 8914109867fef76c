// SPDX-License-Identifier: GPL-2.0

//! device-mapper targets: the callbacks of a `target_type` as a trait.
//!
//! The callbacks from C only convert, call a safe method, and return what it said. A target's
//! object lives from a successful constructor to the destructor; all its methods take `&self`,
//! because device-mapper calls map and end_io from many CPUs at once.

use super::{
    bdev::BlockDev,
    bindings,
    bio::{Bio, Status},
    PerBio,
};
use core::{
    ffi::c_void,
    fmt,
    marker::PhantomData,
    ptr::{addr_of_mut, NonNull},
};
use kernel::{
    error::{from_result, to_result},
    ffi::{c_char, c_int, c_uint},
    prelude::*,
    str::CStr,
    sync::Arc,
};

/// Why a constructor refused: the errno and one phrase that names the argument.
pub(crate) struct CtrError {
    pub(crate) errno: Error,
    pub(crate) phrase: &'static CStr,
}

impl CtrError {
    /// An error of a constructor.
    pub(crate) const fn new(errno: Error, phrase: &'static CStr) -> Self {
        Self { errno, phrase }
    }
}

/// What map did with a bio.
pub(crate) enum MapIo {
    /// The target ended the bio, or keeps it and ends or submits it later.
    Submitted,
    /// The bio was directed elsewhere; device-mapper submits it.
    Remapped(Bio),
}

/// What end_io did with a bio.
pub(crate) enum EndIo {
    /// Nothing more to do: the bio ends with this status.
    Done(Bio, Status),
    /// The target keeps the bio and calls `Bio::end` later (end_io is called again then).
    Kept,
}

/// Features of a target type (include/linux/device-mapper.h).
#[derive(Clone, Copy)]
pub(crate) struct Features {
    pub(crate) singleton: bool,
    pub(crate) always_writeable: bool,
    pub(crate) immutable: bool,
    pub(crate) passes_crypto: bool,
}

impl Features {
    fn to_raw(self) -> u64 {
        let mut f = 0;
        if self.singleton {
            f |= bindings::DM_TARGET_FEAT_SINGLETON;
        }
        if self.always_writeable {
            f |= bindings::DM_TARGET_FEAT_ALWAYS_WRITEABLE;
        }
        if self.immutable {
            f |= bindings::DM_TARGET_FEAT_IMMUTABLE;
        }
        if self.passes_crypto {
            f |= bindings::DM_TARGET_FEAT_PASSES_CRYPTO;
        }
        f
    }
}

/// Which text a status request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusType {
    Info,
    Table,
    Ima,
}

/// A device-mapper target.
///
/// Contexts: constructor, destructor, suspend, resume, status, message and hints run in process
/// context and may sleep; `map` runs in the submitter's process context and must not wait for
/// I/O (bios submitted there are only queued until it returns); `end_io` runs in any context.
pub(crate) trait Target: Sized + Send + Sync + 'static {
    /// What all targets of a module's registration share.
    type Context: Send + Sync + 'static;

    const FEATURES: Features;
    /// Whether bios carry [`PerBio`] and end_io is wanted.
    const PER_BIO: bool;

    /// Builds the target from its table line.
    fn ctr(
        ctx: &Arc<Self::Context>,
        ti: &mut Ti<'_>,
        args: &[&str],
    ) -> Result<KBox<Self>, CtrError>;

    /// Takes the target down; every device taken with [`Ti::get_device`] must be put.
    fn dtr(self: KBox<Self>, ti: &mut Ti<'_>);

    fn map(&self, bio: Bio) -> MapIo;

    fn end_io(&self, bio: Bio, status: Status) -> EndIo {
        EndIo::Done(bio, status)
    }

    fn presuspend(&self, _ti: &Ti<'_>) {}
    fn presuspend_undo(&self, _ti: &Ti<'_>) {}
    fn postsuspend(&self, _ti: &Ti<'_>) {}
    fn preresume(&self, _ti: &Ti<'_>) -> Result {
        Ok(())
    }
    fn resume(&self, _ti: &Ti<'_>) {}

    fn status(&self, ti: &Ti<'_>, what: StatusType, noflush: bool, out: &mut Reply<'_>);

    /// Answers a message. What is written to `out` reaches the sender.
    fn message(&self, _ti: &Ti<'_>, _args: &[&str], _out: &mut Reply<'_>) -> Result {
        Err(EINVAL)
    }

    /// The part of a device below that the target uses: device, first sector, sectors.
    fn underlying(&self, ti: &Ti<'_>) -> Option<(&DmDev, u64, u64)>;

    fn io_hints(&self, ti: &Ti<'_>, limits: &mut Limits<'_>);
}

/// The `dm_target` that a callback is for.
///
/// # Invariants
///
/// `raw` is valid for the duration of the callback (`'a`).
pub(crate) struct Ti<'a> {
    raw: NonNull<bindings::dm_target>,
    _life: PhantomData<&'a ()>,
}

/// A device held open by a table.
///
/// # Invariants
///
/// `raw` came from `dm_get_device` for a target of this module, and is given back in its
/// constructor's error path or its destructor. The target takes no device again with a wider
/// access than before (`Ti::get_device`).
pub(crate) struct DmDev {
    raw: NonNull<bindings::dm_dev>,
}

// SAFETY: a handle that is only read; device-mapper keeps it valid until it is put.
unsafe impl Send for DmDev {}
// SAFETY: as above.
unsafe impl Sync for DmDev {}

impl DmDev {
    /// The block device.
    pub(crate) fn bdev(&self) -> Option<BlockDev> {
        // SAFETY: valid by the type invariant.
        BlockDev::from_raw(unsafe { (*self.raw.as_ptr()).bdev })
    }

    /// "major:minor", as tables show devices.
    pub(crate) fn number(&self) -> DevNumber {
        // SAFETY: valid by the type invariant, and a `dm_dev` has its block device open.
        DevNumber(unsafe { (*(*self.raw.as_ptr()).bdev).bd_dev })
    }
}

/// A device number; shows as `major:minor`.
pub(crate) struct DevNumber(u32);

impl fmt::Display for DevNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The kernel's own split: 12 bits of major, 20 of minor (include/linux/kdev_t.h).
        write!(f, "{}:{}", self.0 >> 20, self.0 & 0xf_ffff)
    }
}

/// A mapped device, by identity.
///
/// # Invariants
///
/// The device outlives the handle's uses: targets keep it no longer than their table lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappedDev(NonNull<bindings::mapped_device>);

// SAFETY: a handle; device-mapper synchronises what is done through it.
unsafe impl Send for MappedDev {}
// SAFETY: as above.
unsafe impl Sync for MappedDev {}

impl MappedDev {
    /// The device's number as text, for log lines ("254:3").
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: the device lives by the type invariant, and so does its name.
        unsafe { CStr::from_char_ptr(bindings::dm_device_name(self.0.as_ptr())) }
    }

    /// The device's own block device: what file systems on it have as theirs.
    pub(crate) fn disk(&self) -> Option<BlockDev> {
        // SAFETY: the device lives by the type invariant.
        BlockDev::from_raw(unsafe { bindings::drr_md_part0(self.0.as_ptr()) })
    }

    /// Suspends without flushing, on behalf of the pool below. Sleeps.
    pub(crate) fn internal_suspend_noflush(&self) {
        // SAFETY: the device lives by the type invariant.
        unsafe { bindings::dm_internal_suspend_noflush(self.0.as_ptr()) };
    }

    /// Undoes [`Self::internal_suspend_noflush`]. Sleeps.
    pub(crate) fn internal_resume(&self) {
        // SAFETY: the device lives by the type invariant.
        unsafe { bindings::dm_internal_resume(self.0.as_ptr()) };
    }
}

/// The table that a target belongs to, for raising events.
///
/// # Invariants
///
/// The table lives: the handle is dropped no later than in the target's destructor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableRef(NonNull<bindings::dm_table>);

// SAFETY: a handle; events are synchronised by device-mapper.
unsafe impl Send for TableRef {}
// SAFETY: as above.
unsafe impl Sync for TableRef {}

impl TableRef {
    /// Wakes whoever waits for events of the table's device. Process context.
    pub(crate) fn event(&self) {
        // SAFETY: the table lives by the type invariant.
        unsafe { bindings::dm_table_event(self.0.as_ptr()) };
    }
}

/// How a device is to be opened.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    Read,
    ReadWrite,
    /// As the table itself was loaded.
    AsTable,
}

impl Ti<'_> {
    /// # Safety
    ///
    /// `raw` is valid for as long as the value is used.
    unsafe fn from_raw(raw: *mut bindings::dm_target) -> Self {
        // INVARIANT: the caller's promise; device-mapper never passes null.
        Self {
            // SAFETY: not null, by the caller's promise.
            raw: unsafe { NonNull::new_unchecked(raw) },
            _life: PhantomData,
        }
    }

    fn get(&self) -> &bindings::dm_target {
        // SAFETY: valid by the type invariant.
        unsafe { self.raw.as_ref() }
    }

    /// The target's length in sectors.
    pub(crate) fn sectors(&self) -> u64 {
        self.get().len
    }

    /// The name under which the target was loaded.
    pub(crate) fn type_name(&self) -> &CStr {
        // SAFETY: a target has a type, and the type a name, while it exists.
        unsafe { CStr::from_char_ptr((*self.get().type_).name) }
    }

    /// The mapped device that the table belongs to.
    pub(crate) fn mapped_dev(&self) -> Option<MappedDev> {
        // SAFETY: a target's table has a device for as long as the target exists.
        NonNull::new(unsafe { bindings::dm_table_get_md(self.get().table) }).map(MappedDev)
    }

    /// The table.
    pub(crate) fn table(&self) -> Option<TableRef> {
        NonNull::new(self.get().table).map(TableRef)
    }

    /// Opens a device by path or number. Sleeps.
    ///
    /// A target that might take one device twice must take it with the wider access first: on a
    /// wider one device-mapper opens the device anew and frees what it gave out before
    /// (drivers/md/dm-table.c, `upgrade_mode`, 7.2).
    pub(crate) fn get_device(&mut self, path: &str, access: Access) -> Result<DmDev> {
        let path = kernel::str::CString::try_from_fmt(fmt!("{path}"))?;
        let mode = match access {
            Access::Read => bindings::DRR_BLK_OPEN_READ,
            Access::ReadWrite => bindings::DRR_BLK_OPEN_READ | bindings::DRR_BLK_OPEN_WRITE,
            // SAFETY: the target's table is valid.
            Access::AsTable => unsafe { bindings::dm_table_get_mode(self.get().table) },
        };
        let mut dev: *mut bindings::dm_dev = core::ptr::null_mut();
        // SAFETY: all pointers are valid for the call.
        to_result(unsafe {
            bindings::dm_get_device(self.raw.as_ptr(), path.as_char_ptr(), mode, &mut dev)
        })?;
        // INVARIANT: just taken.
        Ok(DmDev {
            raw: NonNull::new(dev).ok_or(ENXIO)?,
        })
    }

    /// Gives a device back.
    pub(crate) fn put_device(&mut self, dev: DmDev) {
        // SAFETY: the device came from `get_device` for this target by its type's invariant.
        unsafe { bindings::dm_put_device(self.raw.as_ptr(), dev.raw.as_ptr()) };
    }

    /// Lets no bio cross a multiple of `sectors`.
    pub(crate) fn set_max_io_len(&mut self, sectors: u64) -> Result {
        // SAFETY: the target is valid.
        to_result(unsafe { bindings::dm_set_target_max_io_len(self.raw.as_ptr(), sectors) })
    }

    /// What kinds of bios the target wants.
    pub(crate) fn set_wants(&mut self, w: Wants) {
        // SAFETY: the target is valid, and only its constructor runs.
        let t = unsafe { self.raw.as_mut() };
        t.num_flush_bios = 1;
        t.set_limit_swap_bios(true);
        t.set_flush_supported(w.flush_always);
        t.set_accounts_remapped_io(w.accounts_remapped_io);
        if w.discards {
            t.num_discard_bios = 1;
            t.set_discards_supported(true);
            t.set_max_discard_granularity(true);
        }
    }

    /// Whether the device is being suspended without flushing.
    pub(crate) fn noflush_suspending(&self) -> bool {
        // SAFETY: the target is valid.
        unsafe { bindings::dm_noflush_suspending(self.raw.as_ptr()) != 0 }
    }

    /// Whether the device is suspended.
    pub(crate) fn suspended(&self) -> bool {
        // SAFETY: the target is valid.
        unsafe { bindings::dm_suspended(self.raw.as_ptr()) != 0 }
    }
}

/// What a target's constructor asks of device-mapper.
#[derive(Clone, Copy)]
pub(crate) struct Wants {
    /// Flushes even when the device below has no cache.
    pub(crate) flush_always: bool,
    pub(crate) discards: bool,
    /// The target submits with `dm_submit_bio_remap`.
    pub(crate) accounts_remapped_io: bool,
}

/// The mapped device behind `dev`, kept by a reference while `f` looks at it.
pub(crate) fn with_mapped_dev<R>(dev: &DmDev, f: impl FnOnce(Option<MappedDev>) -> R) -> R {
    let number = dev.number().0;
    // SAFETY: takes a reference when the number is that of a mapped device, else NULL.
    let md = unsafe { bindings::dm_get_md(number) };
    let r = f(NonNull::new(md).map(MappedDev));
    if !md.is_null() {
        // SAFETY: the reference was taken above.
        unsafe { bindings::dm_put(md) };
    }
    r
}

/// The queue limits that io_hints may change.
pub(crate) struct Limits<'a> {
    raw: &'a mut bindings::queue_limits,
}

impl Limits<'_> {
    pub(crate) fn io_opt(&self) -> u32 {
        self.raw.io_opt
    }
    pub(crate) fn max_sectors(&self) -> u32 {
        self.raw.max_sectors
    }
    pub(crate) fn set_max_sectors(&mut self, v: u32) {
        self.raw.max_sectors = v;
    }
    /// Lets the block layer cut bios at multiples of `n` sectors only. `max_sectors` follows from
    /// the two that are set here (block/blk-settings.c, `blk_validate_limits`).
    pub(crate) fn cut_at_multiples_of(&mut self, n: u32) {
        for max in [&mut self.raw.max_hw_sectors, &mut self.raw.max_dev_sectors] {
            if let Some(rest) = max.checked_rem(n).filter(|_| *max >= n) {
                *max = max.saturating_sub(rest);
            }
        }
    }
    pub(crate) fn set_io_min(&mut self, bytes: u32) {
        self.raw.io_min = bytes;
    }
    pub(crate) fn set_io_opt(&mut self, bytes: u32) {
        self.raw.io_opt = bytes;
    }
    /// Admits no I/O that `dev` could not read: neither shorter nor less aligned in memory.
    pub(crate) fn readable_from(&mut self, dev: BlockDev) {
        let block = dev.logical_block_size();
        for least in [
            &mut self.raw.logical_block_size,
            &mut self.raw.physical_block_size,
            &mut self.raw.io_min,
        ] {
            *least = block.max(*least);
        }
        self.raw.dma_alignment |= dev.dma_alignment();
    }
    /// Refuses polled I/O: its submitter gets EOPNOTSUPP (block/blk-core.c, `__submit_bio`).
    pub(crate) fn refuse_polling(&mut self) {
        self.raw.features &= !bindings::BLK_FEAT_POLL;
    }
    pub(crate) fn set_discard_granularity(&mut self, bytes: u32) {
        self.raw.discard_granularity = bytes;
    }
    pub(crate) fn set_max_hw_discard_sectors(&mut self, v: u32) {
        self.raw.max_hw_discard_sectors = v;
    }
}

/// A text reply of bounded length; what does not fit is cut off, and C sees a full buffer.
pub(crate) struct Reply<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Reply<'a> {
    /// # Safety
    ///
    /// `buf` is valid for writes of `max` bytes for `'a`.
    unsafe fn from_raw(buf: *mut c_char, max: c_uint) -> Self {
        let buf = if buf.is_null() || max == 0 {
            &mut []
        } else {
            // SAFETY: the caller's promise.
            unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), max as usize) }
        };
        let mut r = Self { buf, len: 0 };
        r.terminate();
        r
    }

    fn terminate(&mut self) {
        if let Some(b) = self.buf.get_mut(self.len) {
            *b = 0;
        }
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Write for Reply<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // One byte is kept for the terminator.
        let room = self.buf.len().saturating_sub(1).saturating_sub(self.len);
        let n = room.min(s.len());
        if let (Some(dst), Some(src)) = (
            self.buf.get_mut(self.len..self.len.saturating_add(n)),
            s.as_bytes().get(..n),
        ) {
            dst.copy_from_slice(src);
            self.len = self.len.saturating_add(n);
        }
        self.terminate();
        Ok(())
    }
}

/// A target's name, version and object type made known to device-mapper.
///
/// # Invariants
///
/// `inner` is registered, and stays at its address until it is unregistered by `drop`.
pub(crate) struct Registration<T: Target> {
    inner: NonNull<Inner<T>>,
}

// SAFETY: registration is synchronised by device-mapper.
unsafe impl<T: Target> Send for Registration<T> {}
// SAFETY: as above.
unsafe impl<T: Target> Sync for Registration<T> {}

#[repr(C)]
struct Inner<T: Target> {
    /// First, so that a pointer to it is a pointer to the whole.
    tt: bindings::target_type,
    ctx: Arc<T::Context>,
}

impl<T: Target> Registration<T> {
    /// Registers; `EBUSY` when the name is taken.
    pub(crate) fn new(
        module: &'static ThisModule,
        name: &'static CStr,
        version: [u32; 3],
        ctx: Arc<T::Context>,
    ) -> Result<Self> {
        let tt = bindings::target_type {
            features: T::FEATURES.to_raw(),
            name: name.as_char_ptr(),
            module: module.as_ptr(),
            version,
            ctr: Some(ctr::<T>),
            dtr: Some(dtr::<T>),
            map: Some(map::<T>),
            end_io: if T::PER_BIO { Some(end_io::<T>) } else { None },
            presuspend: Some(presuspend::<T>),
            presuspend_undo: Some(presuspend_undo::<T>),
            postsuspend: Some(postsuspend::<T>),
            preresume: Some(preresume::<T>),
            resume: Some(resume::<T>),
            status: Some(status::<T>),
            message: Some(message::<T>),
            iterate_devices: Some(iterate_devices::<T>),
            io_hints: Some(io_hints::<T>),
            ..Default::default()
        };
        let inner = KBox::into_raw(KBox::new(Inner::<T> { tt, ctx }, GFP_KERNEL)?);
        // SAFETY: `inner` is a valid box whose address stays.
        let r = to_result(unsafe { bindings::dm_register_target(addr_of_mut!((*inner).tt)) });
        if let Err(e) = r {
            // SAFETY: not registered, so still ours alone.
            drop(unsafe { KBox::from_raw(inner) });
            return Err(e);
        }
        // SAFETY: boxes are not null.
        let inner = unsafe { NonNull::new_unchecked(inner) };
        // INVARIANT: registered above.
        Ok(Self { inner })
    }
}

impl<T: Target> Drop for Registration<T> {
    fn drop(&mut self) {
        let p = self.inner.as_ptr();
        // SAFETY: registered by the type invariant. No target exists any more: each held the
        // module, and the module is going.
        unsafe { bindings::dm_unregister_target(addr_of_mut!((*p).tt)) };
        // SAFETY: the box came from `new`, and C has forgotten it.
        drop(unsafe { KBox::from_raw(p) });
    }
}

/// Room for the arguments of one table line or message.
const MAX_ARGS: usize = 32;

/// What stands for arguments that are no text: no number, no keyword, and no device's path. Those
/// of neighbouring arguments differ, as most likely the arguments do.
const NO_TEXT: [&str; 3] = ["\u{fffd}0", "\u{fffd}1", "\u{fffd}2"];

/// Runs `f` with the C argument vector as text. What is beyond [`MAX_ARGS`] is left out: no target
/// looks that far, and none takes that many for fewer.
///
/// # Safety
///
/// `argv` holds `argc` C strings that are valid for the call.
unsafe fn with_args<R>(argc: c_uint, argv: *mut *mut c_char, f: impl FnOnce(&[&str]) -> R) -> R {
    let mut room = [""; MAX_ARGS];
    let mut n = 0;
    for (i, a) in room.iter_mut().enumerate().take(argc as usize) {
        // SAFETY: within `argc`, by the caller's promise.
        let c = unsafe { CStr::from_char_ptr(*argv.add(i)) };
        *a = c
            .to_str()
            .unwrap_or_else(|_| NO_TEXT.get(i % NO_TEXT.len()).copied().unwrap_or(""));
        n = i.saturating_add(1);
    }
    f(room.get(..n).unwrap_or(&[]))
}

extern "C" fn ctr<T: Target>(
    raw: *mut bindings::dm_target,
    argc: c_uint,
    argv: *mut *mut c_char,
) -> c_int {
    // SAFETY: device-mapper passes a valid target.
    let mut ti = unsafe { Ti::from_raw(raw) };
    // SAFETY: the type is the `tt` of a live `Inner<T>`: it is what was registered with this
    // function.
    let ctx = unsafe { &(*ti.get().type_.cast::<Inner<T>>()).ctx };
    // SAFETY: argc and argv are device-mapper's.
    let r = unsafe { with_args(argc, argv, |args| T::ctr(ctx, &mut ti, args)) };
    match r {
        Ok(target) => {
            // SAFETY: the target is valid and ours to fill in.
            unsafe {
                (*raw).private = KBox::into_raw(target).cast::<c_void>();
                if T::PER_BIO {
                    (*raw).per_io_data_size = core::mem::size_of::<PerBio>() as c_uint;
                }
            }
            0
        }
        Err(e) => {
            // SAFETY: the phrase is static; device-mapper only prints it.
            unsafe { (*raw).error = e.phrase.as_char_ptr().cast_mut() };
            e.errno.to_errno()
        }
    }
}

/// The target's object.
///
/// # Safety
///
/// `raw` is a target that `ctr::<T>` built, not yet destroyed.
unsafe fn object<'a, T: Target>(raw: *mut bindings::dm_target) -> &'a T {
    // SAFETY: `private` is the box that `ctr` stored.
    unsafe { &*(*raw).private.cast::<T>() }
}

extern "C" fn dtr<T: Target>(raw: *mut bindings::dm_target) {
    // SAFETY: called once for a target that `ctr` built; no other callback runs any more.
    let target = unsafe { KBox::from_raw((*raw).private.cast::<T>()) };
    // SAFETY: valid for the callback.
    let mut ti = unsafe { Ti::from_raw(raw) };
    T::dtr(target, &mut ti);
}

extern "C" fn map<T: Target>(raw: *mut bindings::dm_target, bio: *mut bindings::bio) -> c_int {
    // SAFETY: a built target.
    let target = unsafe { object::<T>(raw) };
    if T::PER_BIO {
        // SAFETY: device-mapper reserved this much in front of the clone; uninitialised until now.
        unsafe {
            bindings::dm_per_bio_data(bio, core::mem::size_of::<PerBio>())
                .cast::<PerBio>()
                .write(PerBio::default())
        };
    }
    // SAFETY: a clone for this target, ours until we say otherwise.
    let mut bio = unsafe { Bio::from_raw(NonNull::new_unchecked(bio)) };
    // SAFETY: the target is valid.
    let begin = unsafe { (*raw).begin };
    // Sectors count from the target's begin from here on.
    bio.rebase(begin);
    if T::PER_BIO {
        bio.clear_polled();
    }
    match target.map(bio) {
        MapIo::Submitted => bindings::DRR_MAPIO_SUBMITTED as c_int,
        MapIo::Remapped(bio) => {
            let _ = bio.into_raw();
            bindings::DRR_MAPIO_REMAPPED as c_int
        }
    }
}

extern "C" fn end_io<T: Target>(
    raw: *mut bindings::dm_target,
    bio: *mut bindings::bio,
    error: *mut bindings::blk_status_t,
) -> c_int {
    // SAFETY: a built target.
    let target = unsafe { object::<T>(raw) };
    // SAFETY: the clone came back to us.
    let owned = unsafe { Bio::from_raw(NonNull::new_unchecked(bio)) };
    // SAFETY: a valid out parameter.
    let status = Status::from_raw(unsafe { *error });
    match target.end_io(owned, status) {
        EndIo::Done(bio, status) => {
            let bio = bio.into_raw().as_ptr();
            // SAFETY: initialised by `map`, and not used after this.
            unsafe {
                core::ptr::drop_in_place(
                    bindings::dm_per_bio_data(bio, core::mem::size_of::<PerBio>()).cast::<PerBio>(),
                );
                *error = status.to_raw();
            }
            bindings::DRR_ENDIO_DONE as c_int
        }
        EndIo::Kept => bindings::DRR_ENDIO_INCOMPLETE as c_int,
    }
}

macro_rules! notification {
    ($name:ident) => {
        extern "C" fn $name<T: Target>(raw: *mut bindings::dm_target) {
            // SAFETY: a built target, valid for the callback.
            let (target, ti) = unsafe { (object::<T>(raw), Ti::from_raw(raw)) };
            target.$name(&ti);
        }
    };
}
notification!(presuspend);
notification!(presuspend_undo);
notification!(postsuspend);
notification!(resume);

extern "C" fn preresume<T: Target>(raw: *mut bindings::dm_target) -> c_int {
    // SAFETY: a built target, valid for the callback.
    let (target, ti) = unsafe { (object::<T>(raw), Ti::from_raw(raw)) };
    from_result(|| target.preresume(&ti).map(|()| 0))
}

extern "C" fn status<T: Target>(
    raw: *mut bindings::dm_target,
    what: bindings::status_type_t,
    flags: c_uint,
    result: *mut c_char,
    max: c_uint,
) {
    // SAFETY: a built target, valid for the callback.
    let (target, ti) = unsafe { (object::<T>(raw), Ti::from_raw(raw)) };
    // SAFETY: device-mapper's buffer.
    let mut out = unsafe { Reply::from_raw(result, max) };
    let what = match what {
        bindings::status_type_t_STATUSTYPE_INFO => StatusType::Info,
        bindings::status_type_t_STATUSTYPE_TABLE => StatusType::Table,
        _ => StatusType::Ima,
    };
    target.status(
        &ti,
        what,
        flags & bindings::DRR_STATUS_NOFLUSH != 0,
        &mut out,
    );
}

extern "C" fn message<T: Target>(
    raw: *mut bindings::dm_target,
    argc: c_uint,
    argv: *mut *mut c_char,
    result: *mut c_char,
    max: c_uint,
) -> c_int {
    // SAFETY: a built target, valid for the callback.
    let (target, ti) = unsafe { (object::<T>(raw), Ti::from_raw(raw)) };
    // SAFETY: device-mapper's buffer.
    let mut out = unsafe { Reply::from_raw(result, max) };
    // SAFETY: argc and argv are device-mapper's.
    let r = unsafe { with_args(argc, argv, |args| target.message(&ti, args, &mut out)) };
    from_result(|| {
        r?;
        // 1 tells device-mapper that there is a reply.
        Ok(c_int::from(!out.is_empty()))
    })
}

extern "C" fn iterate_devices<T: Target>(
    raw: *mut bindings::dm_target,
    func: bindings::iterate_devices_callout_fn,
    data: *mut c_void,
) -> c_int {
    // SAFETY: a built target, valid for the callback.
    let (target, ti) = unsafe { (object::<T>(raw), Ti::from_raw(raw)) };
    match (target.underlying(&ti), func) {
        (Some((dev, start, len)), Some(f)) => {
            // SAFETY: device-mapper's callback with its own data.
            unsafe { f(raw, dev.raw.as_ptr(), start, len, data) }
        }
        _ => 0,
    }
}

extern "C" fn io_hints<T: Target>(
    raw: *mut bindings::dm_target,
    limits: *mut bindings::queue_limits,
) {
    // SAFETY: a built target, valid for the callback.
    let (target, ti) = unsafe { (object::<T>(raw), Ti::from_raw(raw)) };
    // SAFETY: device-mapper's limits, ours for the callback.
    let raw = unsafe { &mut *limits };
    let mut limits = Limits { raw };
    target.io_hints(&ti, &mut limits);
}

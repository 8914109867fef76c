// SPDX-License-Identifier: GPL-2.0

//! Bios as owned values: whoever holds a [`Bio`] must end it, submit it, or give it back.
//!
//! All bios here are clones that device-mapper made for a target of this module, so each
//! carries the module's per-bio data ([`PerBio`]).

use super::{bdev::BlockDev, bindings, PerBio};
use crate::units::Sectors;
use core::ptr::NonNull;

/// How an I/O ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Ok,
    /// EIO.
    IoError,
    /// ENOSPC.
    NoSpace,
    /// Out of memory now; the submitter may try again.
    Resource,
    /// Back to device-mapper's queue (only while suspending without flushing).
    Requeue,
    /// EOPNOTSUPP.
    NotSupported,
    /// Another code of the block layer, passed on as it came.
    Other(u8),
}

impl Status {
    pub(super) fn to_raw(self) -> u8 {
        match self {
            Self::Ok => bindings::DRR_STS_OK,
            Self::IoError => bindings::DRR_STS_IOERR,
            Self::NoSpace => bindings::DRR_STS_NOSPC,
            Self::Resource => bindings::DRR_STS_RESOURCE,
            Self::Requeue => bindings::DRR_STS_DM_REQUEUE,
            Self::NotSupported => bindings::DRR_STS_NOTSUPP,
            Self::Other(v) => v,
        }
    }

    pub(super) fn from_raw(v: u8) -> Self {
        match v {
            bindings::DRR_STS_OK => Self::Ok,
            bindings::DRR_STS_IOERR => Self::IoError,
            bindings::DRR_STS_NOSPC => Self::NoSpace,
            bindings::DRR_STS_RESOURCE => Self::Resource,
            bindings::DRR_STS_DM_REQUEUE => Self::Requeue,
            bindings::DRR_STS_NOTSUPP => Self::NotSupported,
            other => Self::Other(other),
        }
    }

    /// Whether the I/O succeeded.
    pub(crate) fn is_ok(self) -> bool {
        self == Self::Ok
    }
}

/// What a bio asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Read,
    Write,
    Flush,
    Discard,
    Other,
}

impl Op {
    /// For the figures of a device: a flush counts as a write of nothing, as device-mapper's do.
    pub(super) fn to_raw(self) -> u32 {
        match self {
            Self::Read => bindings::DRR_OP_READ,
            Self::Write | Self::Flush | Self::Other => bindings::DRR_OP_WRITE,
            Self::Discard => bindings::DRR_OP_DISCARD,
        }
    }
}

/// A device-mapper clone that this module owns at the moment.
///
/// Dropping one without a decision ends it with an error, so that no submitter waits for ever.
///
/// # Invariants
///
/// `raw` is a live clone made by device-mapper for a target of this module (per-bio data of
/// `size_of::<PerBio>()` bytes in front of it), and nobody else ends or submits it.
#[must_use]
pub(crate) struct Bio {
    raw: NonNull<bindings::bio>,
}

// SAFETY: a bio may be handled by any thread; ownership is exclusive.
unsafe impl Send for Bio {}

impl Bio {
    /// # Safety
    ///
    /// `raw` must fulfil the type's invariants, and the caller gives its ownership up.
    pub(super) unsafe fn from_raw(raw: NonNull<bindings::bio>) -> Self {
        // INVARIANT: the caller's promise.
        Self { raw }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::bio {
        self.raw.as_ptr()
    }

    /// Gives up ownership without ending the bio.
    pub(super) fn into_raw(self) -> NonNull<bindings::bio> {
        let raw = self.raw;
        core::mem::forget(self);
        raw
    }

    fn opf(&self) -> u32 {
        // SAFETY: the bio is live by the type invariant.
        unsafe { (*self.as_ptr()).bi_opf }
    }

    /// The operation.
    pub(crate) fn op(&self) -> Op {
        match self.opf() & bindings::DRR_OP_MASK {
            bindings::DRR_OP_READ => Op::Read,
            bindings::DRR_OP_WRITE => Op::Write,
            bindings::DRR_OP_FLUSH => Op::Flush,
            bindings::DRR_OP_DISCARD => Op::Discard,
            _ => Op::Other,
        }
    }

    /// Whether the submitter asks for durability: PREFLUSH or FUA.
    pub(crate) fn is_flush(&self) -> bool {
        self.opf() & (bindings::REQ_PREFLUSH | bindings::REQ_FUA) != 0
    }

    /// Whether a file system reads or writes its metadata (REQ_META). Direct I/O of programs never has it.
    pub(crate) fn is_metadata(&self) -> bool {
        self.opf() & bindings::REQ_META != 0
    }

    /// Has the bio end by an interrupt, though its submitter may poll for it.
    ///
    /// Polled bios are refused (`Limits::refuse_polling`), but one may pass the block layer's check
    /// while the device's table is being replaced. The submitter's poll finds what the interrupt has
    /// ended (drivers/md/dm.c, `dm_poll_dm_io`); it must not look into the bio while another context
    /// submits it, and does not once this flag is gone.
    pub(super) fn clear_polled(&mut self) {
        // SAFETY: the bio is live and ours alone.
        unsafe { (*self.as_ptr()).bi_opf &= !bindings::REQ_POLLED };
    }

    /// The first sector, on whatever device the bio is directed to at the moment.
    pub(crate) fn sector(&self) -> Sectors {
        // SAFETY: the bio is live by the type invariant; `bi_iter` is packed, so it is copied.
        let iter = unsafe { (*self.as_ptr()).bi_iter };
        Sectors(iter.bi_sector)
    }

    /// Makes sectors count from `begin`.
    pub(super) fn rebase(&mut self, begin: u64) {
        if begin != 0 {
            let s = self.sector().0.saturating_sub(begin);
            // SAFETY: the bio is live and ours.
            unsafe { bindings::drr_bio_set_sector(self.as_ptr(), s) };
        }
    }

    /// Length in bytes that are still to be done.
    pub(crate) fn bytes(&self) -> u32 {
        // SAFETY: as in `sector`.
        let iter = unsafe { (*self.as_ptr()).bi_iter };
        iter.bi_size
    }

    /// Length in sectors that are still to be done.
    pub(crate) fn sectors(&self) -> u64 {
        u64::from(self.bytes()) >> crate::units::SECTOR_SHIFT
    }

    /// Directs the bio to `sector` of `dev`.
    pub(crate) fn remap(&mut self, dev: BlockDev, sector: Sectors) {
        // SAFETY: both are live by their types' invariants; the bio is ours alone.
        unsafe {
            bindings::drr_bio_set_dev(self.as_ptr(), dev.as_ptr());
            bindings::drr_bio_set_sector(self.as_ptr(), sector.0);
        }
    }

    /// Directs the bio to `dev`, its sector as it is.
    pub(crate) fn set_dev(&mut self, dev: BlockDev) {
        // SAFETY: as in `remap`.
        unsafe { bindings::drr_bio_set_dev(self.as_ptr(), dev.as_ptr()) };
    }

    /// Keeps the first `n` sectors in this bio; device-mapper maps the rest as a bio of its own.
    /// Only inside a target's map, only for reads and writes, `0 < n <= sectors()`.
    pub(crate) fn accept_partial(&mut self, n: u32) {
        if n == 0 || u64::from(n) >= self.sectors() {
            return;
        }
        // SAFETY: called within map on the bio that map was given; the bound was checked.
        unsafe { bindings::dm_accept_partial_bio(self.as_ptr(), n) };
    }

    /// The module's data of this bio.
    pub(crate) fn data(&mut self) -> &mut PerBio {
        // SAFETY: by the type invariant device-mapper reserved a `PerBio` in front of the bio, and
        // map initialises it before anything else; `&mut self` makes the access exclusive.
        unsafe {
            &mut *bindings::dm_per_bio_data(self.as_ptr(), core::mem::size_of::<PerBio>())
                .cast::<PerBio>()
        }
    }

    /// Ends the bio.
    pub(crate) fn end(self, status: Status) {
        let raw = self.into_raw().as_ptr();
        // SAFETY: the bio was live and ours; ownership passes to its submitter here.
        unsafe { bindings::drr_bio_end(raw, status.to_raw()) };
    }

    /// Fills the data with zeroes (a read of what was never written).
    pub(crate) fn zero_fill(&mut self) {
        // SAFETY: the bio is live and ours, and its iterator describes its own pages.
        unsafe { bindings::drr_zero_fill_bio(self.as_ptr()) };
    }

    /// Fills the data from sector `n` of the bio on with zeroes, and leaves only what is before it
    /// to be read. `0 < n < sectors()`, else nothing is done.
    pub(crate) fn end_in_zeroes(&mut self, n: u64) {
        if n == 0 || n >= self.sectors() {
            return;
        }
        // Less than the bio's length, which is a u32 of bytes.
        let bytes = (n << crate::units::SECTOR_SHIFT) as u32;
        // SAFETY: the bio is live and ours, its iterator describes its own pages, and `bytes` lies
        // inside. device-mapper completes what it cloned by the original's length.
        unsafe { bindings::drr_bio_end_in_zeroes(self.as_ptr(), bytes) };
    }

    /// Sends the bio to the device that it was directed to. For bios that map kept
    /// (`MapIo::submitted`).
    pub(crate) fn submit(self) {
        let raw = self.into_raw().as_ptr();
        // SAFETY: the bio was live and ours; device-mapper takes it over.
        unsafe { bindings::dm_submit_bio_remap(raw, core::ptr::null_mut()) };
    }
}

impl Drop for Bio {
    fn drop(&mut self) {
        // SAFETY: the bio is live and ours, and cannot be used after this.
        unsafe { bindings::drr_bio_end(self.as_ptr(), bindings::DRR_STS_IOERR) };
    }
}

/// A first-in first-out list of bios, linked through the bios themselves: never allocates.
///
/// # Invariants
///
/// The bios from `head` along `bi_next` are owned by the list, `tail` is the last of them, and
/// both are `None` when it is empty.
pub(crate) struct BioList {
    head: Option<NonNull<bindings::bio>>,
    tail: Option<NonNull<bindings::bio>>,
}

// SAFETY: the list owns its bios, which may be handled by any thread.
unsafe impl Send for BioList {}

impl BioList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
        }
    }

    /// Whether no bio is in the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Appends a bio.
    pub(crate) fn push(&mut self, bio: Bio) {
        let raw = bio.into_raw();
        // SAFETY: the bio was ours and is not in any list, so its link is free to use.
        unsafe { (*raw.as_ptr()).bi_next = core::ptr::null_mut() };
        match self.tail {
            // SAFETY: by the type invariant the tail is a live bio that the list owns.
            Some(t) => unsafe { (*t.as_ptr()).bi_next = raw.as_ptr() },
            None => self.head = Some(raw),
        }
        // INVARIANT: linked behind the former tail, or alone.
        self.tail = Some(raw);
    }

    /// Takes the first bio.
    pub(crate) fn pop(&mut self) -> Option<Bio> {
        let raw = self.head?;
        // SAFETY: by the type invariant the head is a live bio that the list owns.
        let next = unsafe {
            let next = (*raw.as_ptr()).bi_next;
            (*raw.as_ptr()).bi_next = core::ptr::null_mut();
            next
        };
        self.head = NonNull::new(next);
        if self.head.is_none() {
            self.tail = None;
        }
        // SAFETY: the list owned it and has just let go of it.
        Some(unsafe { Bio::from_raw(raw) })
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> BioList {
        core::mem::replace(self, BioList::new())
    }

    /// Appends all bios of `other`, however many.
    pub(crate) fn append(&mut self, mut other: BioList) {
        // INVARIANT: `other` gives all its bios up.
        let (Some(head), Some(tail)) = (other.head.take(), other.tail.take()) else {
            return;
        };
        match self.tail {
            // SAFETY: by the type invariant the tail is a live bio that the list owns.
            Some(t) => unsafe { (*t.as_ptr()).bi_next = head.as_ptr() },
            None => self.head = Some(head),
        }
        // INVARIANT: linked behind the former tail, or alone; the last of `other` ends the list.
        self.tail = Some(tail);
    }

    /// Ends all bios with one status.
    pub(crate) fn end_all(mut self, status: Status) {
        while let Some(bio) = self.pop() {
            bio.end(status);
        }
    }

    /// Takes over a list that C code filled.
    ///
    /// # Safety
    ///
    /// All bios of `raw` fulfil [`Bio`]'s invariants and are given up by the caller.
    pub(super) unsafe fn from_raw(raw: bindings::bio_list) -> Self {
        // INVARIANT: the caller's promise; a `bio_list` has the same form.
        Self {
            head: NonNull::new(raw.head),
            tail: if raw.head.is_null() {
                None
            } else {
                NonNull::new(raw.tail)
            },
        }
    }
}

impl Default for BioList {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for BioList {
    fn drop(&mut self) {
        while let Some(bio) = self.pop() {
            bio.end(Status::IoError);
        }
    }
}

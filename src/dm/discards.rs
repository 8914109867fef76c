// SPDX-License-Identifier: GPL-2.0

//! Discards of a block device, many under way at once.

use super::{bdev::BlockDev, bindings, work::WorkQueue};
use core::{ffi::c_void, marker::PhantomData, ptr::NonNull};
use kernel::{ffi::c_uint, prelude::*};

/// Where bios of the module's own come from: with a reserve, so that some can always be had.
///
/// # Invariants
///
/// The set is initialised, owned by this value, and no bio of it outlives the call that made it.
pub(crate) struct BioSet(NonNull<bindings::bio_set>);

// SAFETY: sets are synchronised inside.
unsafe impl Send for BioSet {}
// SAFETY: as above.
unsafe impl Sync for BioSet {}

impl BioSet {
    /// Allocates a set and its reserve (`GFP_KERNEL`).
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: an allocation without requirements; NULL on failure.
        let raw = NonNull::new(unsafe { bindings::drr_bio_set_new() }).ok_or(ENOMEM)?;
        // INVARIANT: initialised above, owned by the new value.
        Ok(Self(raw))
    }
}

impl Drop for BioSet {
    fn drop(&mut self) {
        // SAFETY: owned, and without bios under way by the type invariant.
        unsafe { bindings::drr_bio_set_free(self.0.as_ptr()) };
    }
}

/// Discards that one caller waits for.
///
/// # Invariants
///
/// `raw` is live and owned by this value; its device is open, and its set lives for `'a`. While something
/// is under way `ranges` stays as it is.
pub(crate) struct Discards<'a> {
    raw: NonNull<bindings::drr_discards>,
    ranges: KVec<bindings::drr_range>,
    wq: &'a WorkQueue,
    _set: PhantomData<&'a BioSet>,
}

impl<'a> Discards<'a> {
    /// Readies `dev` for discards whose bios come from `set`, and which a work of `wq` submits. That work waits
    /// for the device alone; it must not have to wait for one that waits for these discards. Does no I/O to
    /// have the memory for it.
    pub(crate) fn new(dev: BlockDev, set: &'a BioSet, wq: &'a WorkQueue) -> Result<Self> {
        // SAFETY: an allocation that keeps the pointers, which are valid for as long as it is used.
        let raw = unsafe { bindings::drr_discards_new(dev.as_ptr(), set.0.as_ptr()) };
        // INVARIANT: allocated above, and the borrow is part of the type.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            ranges: KVec::new(),
            wq,
            _set: PhantomData,
        })
    }

    /// Waits for those of before, and starts discards of what `ranges` yields: first sector, and
    /// sectors, less than 4 GiB. The device has a queue that may be full: what submits them waits there
    /// while the caller goes on, if there is memory for that. Sleeps, for the device alone.
    pub(crate) fn start(&mut self, ranges: impl Iterator<Item = (u64, u32)>) {
        self.wait();
        self.ranges.clear();
        // Reclaim must not be entered: it may wait for chunks that the caller is about to let go.
        let mut rest = ranges.fuse();
        while self.ranges.reserve(1, GFP_NOWAIT | __GFP_NOWARN).is_ok() {
            let Some((sector, sectors)) = rest.next() else {
                self.queue();
                return;
            };
            // Cannot fail: there is room.
            let range = bindings::drr_range { sector, sectors };
            let _ = self.ranges.push_within_capacity(range);
        }
        let noted = core::mem::take(&mut self.ranges);
        let noted = noted.iter().map(|r| (r.sector, r.sectors));
        self.submit(Iterator::chain(noted, rest));
    }

    /// Has the work submit what is noted.
    fn queue(&self) {
        // SAFETY: live by the type invariant, and nothing is under way: `start` has waited. The ranges
        // stay until the next `wait`, which all users of them come before, and the queue outlives `'a`.
        unsafe {
            bindings::drr_discards_queue(
                self.raw.as_ptr(),
                self.wq.as_ptr(),
                self.ranges.as_ptr(),
                self.ranges.len(),
            )
        };
    }

    fn submit<I: Iterator<Item = (u64, u32)>>(&mut self, mut ranges: I) {
        // SAFETY: live by the type invariant, and nothing is under way. `next_range` takes a context
        // of this type, which lives until the call returns, and is not used after it.
        unsafe {
            bindings::drr_discards_start(
                self.raw.as_ptr(),
                Some(next_range::<I>),
                core::ptr::from_mut(&mut ranges).cast(),
            )
        };
    }

    /// Waits until all that was started has ended, well or not. Sleeps; the device alone decides how
    /// long.
    pub(crate) fn wait(&mut self) {
        // SAFETY: live by the type invariant.
        unsafe { bindings::drr_discards_wait(self.raw.as_ptr()) };
    }
}

impl Drop for Discards<'_> {
    fn drop(&mut self) {
        self.wait();
        // SAFETY: owned by the type invariant, and nothing is under way any more.
        unsafe { bindings::drr_discards_free(self.raw.as_ptr()) };
    }
}

extern "C" fn next_range<I: Iterator<Item = (u64, u32)>>(
    ctx: *mut c_void,
    sector: *mut u64,
    sectors: *mut c_uint,
) -> bool {
    // SAFETY: the context is the iterator that `start` lends for the call, to nobody else.
    let ranges = unsafe { &mut *ctx.cast::<I>() };
    let Some((first, n)) = ranges.next() else {
        return false;
    };
    // SAFETY: a valid out parameter.
    unsafe { sector.write(first) };
    // SAFETY: as above.
    unsafe { sectors.write(n) };
    true
}

// SPDX-License-Identifier: GPL-2.0

//! The page cache as DRR sees it: the memory that a read fills, and frames that may hold what it
//! asks for.
//!
//! No reference on a folio or an inode outlives a call of this module's users: [`HeldSource`]
//! is taken and released inside one serve, and everything kept longer is a number that is checked
//! again (docs/invariants.md, DRR).
//!
//! A source is copied without its folio's lock: that would neither keep its bytes, which who has it mapped
//! can change, nor its memory, which the reference keeps. The hash of the copy is the proof. So a sibling whose
//! folios stay locked holds no reader up, and readers of one page do not hold each other up.
//!
//! Lock order: a source is only ever try-locked, one at a time, and only to take it out of the page cache; nothing
//! here waits.
//!
//! # Invariants
//!
//! 1. A bio's `bio_vec` table and the pages in it stay as they are until the bio ends. The bio
//!    that map works on is borrowed; the bio of a read in flight is named by its [`Armed`], which
//!    lives in that bio's own data and is checked to do so.
//! 2. A locked, not uptodate folio of a layer's page cache is written by nobody but the read that
//!    locked it; the bytes of a completed bio are stable until the bio is ended.
//!
//! Neighbours: shim/folio.c (inlines, RCU sections), drr/serve.rs and drr/record.rs (users).

use super::{
    bdev::BlockDev,
    bindings,
    bio::{Bio, Status},
    clnh,
};
use crate::drr::{
    demand::Group,
    hash::{Key, PAGE_WORDS},
    resume,
    table::Table,
    ReadHook,
};
use core::{ffi::c_void, marker::PhantomData, mem::offset_of, ptr::NonNull};
use kernel::{prelude::*, sync::Arc, types::Opaque};

/// Bytes of a page of the data device.
pub(crate) const PAGE_BYTES: u32 = 4096;

/// The contents of a page.
pub(crate) type Words = [u64; PAGE_WORDS];

/// Waits until the kernel's random generator has been seeded, which takes seconds at most after a boot: it makes
/// entropy of its own for who waits. EINTR: a signal came. Process context; sleeps.
pub(crate) fn wait_for_random() -> Result {
    // SAFETY: no requirements.
    if unsafe { bindings::wait_for_random_bytes() } == 0 {
        Ok(())
    } else {
        Err(EINTR)
    }
}

/// Fills a word from the kernel's random generator, which has been waited for ([`wait_for_random`]). Any
/// context.
pub(crate) fn random_word() -> u64 {
    let mut word = [0];
    fill_random(&mut word);
    let [word] = word;
    word
}

/// Fills many words, as [`random_word`] does one, in the time of a few.
pub(crate) fn fill_random(words: &mut [u64]) {
    // SAFETY: the buffer is the slice's.
    unsafe { bindings::get_random_bytes(words.as_mut_ptr().cast(), core::mem::size_of_val(words)) };
}

/// Why a recorded frame could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reject {
    Offline,
    Gone,
    Mapping,
    Locked,
    NotUptodate,
    Dirty,
    Writeback,
    Pinned,
    Poisoned,
}

impl Reject {
    fn from_raw(v: i32) -> Self {
        match v as u32 {
            bindings::DRR_SRC_OFFLINE => Self::Offline,
            bindings::DRR_SRC_GONE => Self::Gone,
            bindings::DRR_SRC_MAPPING => Self::Mapping,
            bindings::DRR_SRC_LOCKED => Self::Locked,
            bindings::DRR_SRC_NOT_UPTODATE => Self::NotUptodate,
            bindings::DRR_SRC_DIRTY => Self::Dirty,
            bindings::DRR_SRC_WRITEBACK => Self::Writeback,
            bindings::DRR_SRC_PINNED => Self::Pinned,
            _ => Self::Poisoned,
        }
    }
}

/// A page of page cache, referenced, which looked usable as a source when it was taken.
///
/// # Invariants
///
/// `page` belongs to a folio that this value holds a reference on.
pub(crate) struct HeldSource {
    page: NonNull<bindings::page>,
}

impl HeldSource {
    /// Takes frame `pfn` if it is page `index` of the mapping at address `mapping` and may be
    /// copied. That can change at any time: the hash of the copy tells. Never waits. Any context but hard
    /// interrupt.
    pub(crate) fn take(pfn: u32, mapping: usize, index: u64) -> Result<Self, Reject> {
        let mut page = core::ptr::null_mut();
        // SAFETY: any number may be asked for; `page` is ours to be written.
        let why =
            unsafe { bindings::drr_source_take(u64::from(pfn), mapping, index, &raw mut page) };
        match NonNull::new(page) {
            // INVARIANT: success hands over the reference.
            Some(page) if why as u32 == bindings::DRR_SRC_OK => Ok(Self { page }),
            _ => Err(Reject::from_raw(why)),
        }
    }

    /// Copies into a page that nobody else sees; the copy's hash.
    pub(crate) fn copy_to(&self, to: &mut PrivatePage, key: &Key) -> Result<u64, Reject> {
        match key.carry_less() {
            Some(words) if clnh::is_usable() => Ok(key.of_sum(self.copy_and_sum(to.page, words)?)),
            _ => {
                self.copy(to.page)?;
                Ok(key.hash(to.words()))
            }
        }
    }

    /// Copies into a page that the read in hand is to fill; the copy's hash.
    pub(crate) fn copy_to_own(&self, to: &mut OwnPage<'_>, key: &Key) -> Result<u64, Reject> {
        match key.carry_less() {
            Some(words) if clnh::is_usable() => {
                Ok(key.of_sum(self.copy_and_sum(to.piece.page, words)?))
            }
            _ => {
                self.copy(to.piece.page)?;
                Ok(to.with_words(|words| key.hash(words)))
            }
        }
    }

    fn copy(&self, to: NonNull<bindings::page>) -> Result<(), Reject> {
        // SAFETY: the source is live by the type invariant; `to` is a page that the caller may
        // write, and no reference to its bytes exists (both types lend theirs by borrow). The source
        // may be changed meanwhile by who has it mapped: C copies, and the hash of the copy decides.
        let err = unsafe { bindings::drr_source_copy(self.page.as_ptr(), to.as_ptr()) };
        if err == 0 {
            Ok(())
        } else {
            Err(Reject::Poisoned)
        }
    }

    /// The same, and the sum of the bytes that have been copied, each loaded once. Where vector
    /// registers can be used only.
    fn copy_and_sum(
        &self,
        to: NonNull<bindings::page>,
        key: &[u64; PAGE_WORDS],
    ) -> Result<[u64; 2], Reject> {
        let mut sum = [0u64; 2];
        // SAFETY: as in `copy`; the key has a page's size, `sum` two words.
        let err = unsafe {
            bindings::drr_clnh_copy(
                self.page.as_ptr(),
                to.as_ptr(),
                key.as_ptr().cast(),
                sum.as_mut_ptr(),
            )
        };
        if err == 0 {
            Ok(sum)
        } else {
            Err(Reject::Poisoned)
        }
    }
}

impl Drop for HeldSource {
    fn drop(&mut self) {
        // SAFETY: by the type invariant the reference is ours.
        unsafe { bindings::drr_source_release(self.page.as_ptr()) };
    }
}

/// The same with its folio locked, so that all that was checked still holds, but for the bytes.
///
/// # Invariants
///
/// The lock of the folio of `held` is this value's, and it is as `drr_source_check` has found it under the lock.
pub(crate) struct LockedSource {
    held: HeldSource,
}

impl LockedSource {
    /// As [`HeldSource::take`], and locks the folio.
    pub(crate) fn take(pfn: u32, mapping: usize, index: u64) -> Result<Self, Reject> {
        let held = HeldSource::take(pfn, mapping, index)?;
        // SAFETY: the page's folio is referenced by the type invariant of `held`.
        let why = unsafe { bindings::drr_source_lock(held.page.as_ptr(), mapping, index) };
        if why as u32 == bindings::DRR_SRC_OK {
            // INVARIANT: success hands over the lock.
            Ok(Self { held })
        } else {
            Err(Reject::from_raw(why))
        }
    }

    /// How its layer uses the folio that the page is in.
    pub(crate) fn usage(&self) -> Use {
        let mut raw = bindings::drr_use::default();
        // SAFETY: the folio is live and locked by the type invariant; `raw` is ours.
        unsafe { bindings::drr_source_use(self.held.page.as_ptr(), &raw mut raw) };
        Use {
            before: raw.before,
            pages: raw.pages,
            used: raw.used,
            hot: raw.hot,
            group: raw.group,
        }
    }

    /// Takes the folio out of the page cache, if it is of a file on the device `own`, no journal needs
    /// it and nobody else has a reference. Process context; does not sleep.
    pub(crate) fn drop_from_cache(self, own: BlockDev) -> Dropped {
        // SAFETY: the folio is locked and referenced by the type invariant, and in a mapping and clean, as
        // `drr_source_lock` has checked under the lock that is still held. Whether others have references
        // is checked there; `own` is only compared.
        let done = unsafe { bindings::drr_source_drop(self.held.page.as_ptr(), own.as_ptr()) };
        match done as u32 {
            bindings::DRR_DROP_DONE => Dropped::Done,
            bindings::DRR_DROP_BUSY => Dropped::Busy,
            _ => Dropped::Refused,
        }
    }
}

/// The answer of [`LockedSource::drop_from_cache`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Done,
    /// The folio may not leave like this, or is mapped.
    Refused,
    /// Somebody refers to the folio: a reader, I/O, or the batch in which another processor gathers up to 31 pages
    /// for its LRU lists (mm/swap.c).
    Busy,
}

/// A folio of page cache, as its layer uses it.
#[derive(Clone, Copy)]
pub(crate) struct Use {
    /// Pages in front of the one in question in its folio.
    pub(crate) before: u32,
    /// Pages of the folio.
    pub(crate) pages: u32,
    /// Read since it came.
    pub(crate) used: bool,
    /// Read again, mapped, or told to stay.
    pub(crate) hot: bool,
    /// The memory control group that it is charged to.
    pub(crate) group: Group,
}

impl Drop for LockedSource {
    fn drop(&mut self) {
        // SAFETY: by the type invariant the lock is ours; the reference goes after it.
        unsafe { bindings::drr_source_unlock(self.held.page.as_ptr()) };
    }
}

/// A page of our own.
///
/// # Invariants
///
/// `page` is an allocated page that this value owns, `words` its permanent address.
pub(crate) struct PrivatePage {
    page: NonNull<bindings::page>,
    words: NonNull<Words>,
}

// SAFETY: plain memory that the value owns.
unsafe impl Send for PrivatePage {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for PrivatePage {}

impl PrivatePage {
    /// Allocates without waiting. Any context but NMI.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: an allocation without requirements.
        let page = NonNull::new(unsafe { bindings::drr_page_alloc() })?;
        // SAFETY: just allocated, and not from high memory.
        let virt = unsafe { bindings::drr_page_virt(page.as_ptr()) };
        match NonNull::new(virt.cast::<Words>()) {
            // INVARIANT: as allocated.
            Some(words) => Some(Self { page, words }),
            None => {
                // SAFETY: allocated above and not handed out.
                unsafe { bindings::drr_page_free(page.as_ptr()) };
                None
            }
        }
    }

    /// The contents (arbitrary before the first copy).
    pub(crate) fn words(&self) -> &Words {
        // SAFETY: a page of ours by the type invariant, aligned to its size, and not written
        // while borrowed: `copy_to` takes `&mut`.
        unsafe { self.words.as_ref() }
    }

    /// Copies all of `from`.
    pub(crate) fn copy_from(&mut self, from: &Self) {
        // SAFETY: both are pages of their own by the type invariant.
        unsafe {
            self.words
                .as_ptr()
                .copy_from_nonoverlapping(from.words.as_ptr(), 1)
        };
    }

    fn bytes_at(&self, at: u32, len: u32) -> Option<*const c_void> {
        if at.checked_add(len)? > PAGE_BYTES {
            return None;
        }
        // SAFETY: inside the page by the check above.
        Some(unsafe { self.words.as_ptr().cast::<u8>().add(at as usize) }.cast())
    }
}

impl Drop for PrivatePage {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant.
        unsafe { bindings::drr_page_free(self.page.as_ptr()) };
    }
}

impl Bio {
    /// Whether this is a read of plain data: neither inline encryption nor integrity data, which
    /// make what the disk returns and what the reader gets two things.
    pub(crate) fn is_plain_read(&self) -> bool {
        // SAFETY: the bio is live by its type invariant.
        unsafe { bindings::drr_bio_is_plain_read(self.as_ptr()) }
    }
}

/// A walk over the memory that a bio fills, page by page.
///
/// # Invariants
///
/// `bvecs` and `iter` describe pages that the bio borrowed for `'a` will fill or has filled
/// (file invariant 1).
#[derive(Clone)]
pub(crate) struct Pieces<'a> {
    bvecs: *const bindings::bio_vec,
    iter: bindings::bvec_iter,
    /// What `own` has found last.
    last: Option<Found>,
    _bio: PhantomData<&'a ()>,
}

/// A page that is one of the own page cache of the layer on device `own`.
#[derive(Clone, Copy)]
struct Found {
    page: NonNull<bindings::page>,
    own: BlockDev,
    place: Place,
}

/// Where a page of a layer's own page cache is.
#[derive(Clone, Copy)]
struct Place {
    mapping: usize,
    index: u64,
    pfn: u64,
    /// Pages of the same folio after it.
    left: u32,
}

impl Found {
    /// Where the page after it is: in the same folio, of which all that was found holds.
    fn after(&self, page: NonNull<bindings::page>, own: BlockDev) -> Option<Place> {
        let follows = self.page.as_ptr().wrapping_add(1) == page.as_ptr();
        if !follows || own != self.own {
            return None;
        }
        Some(Place {
            left: self.place.left.checked_sub(1)?,
            index: self.place.index.checked_add(1)?,
            pfn: self.place.pfn.checked_add(1)?,
            mapping: self.place.mapping,
        })
    }
}

impl<'a> Pieces<'a> {
    /// All that is still to be done of `bio`.
    pub(crate) fn of(bio: &'a Bio) -> Self {
        let raw = bio.as_ptr();
        // SAFETY: the bio is live by its type invariant.
        let bvecs = unsafe { (*raw).bi_io_vec };
        // SAFETY: as above.
        let iter = unsafe { (*raw).bi_iter };
        // INVARIANT: the bio's own table, borrowed with it.
        Self {
            bvecs,
            iter,
            last: None,
            _bio: PhantomData,
        }
    }

    /// Bytes that are left.
    pub(crate) fn bytes(&self) -> u32 {
        self.iter.bi_size
    }

    /// The next part of one page, at most `max` bytes of it, and steps over it.
    pub(crate) fn next(&mut self, max: u32) -> Option<Piece<'a>> {
        let mut raw = bindings::drr_piece::default();
        // SAFETY: by the type invariant the iterator is inside the table.
        if !unsafe { bindings::drr_bvec_next(self.bvecs, &raw mut self.iter, max, &raw mut raw) } {
            return None;
        }
        // INVARIANT: a part of the bio's memory.
        Some(Piece {
            page: NonNull::new(raw.page)?,
            offset: raw.offset,
            len: raw.len,
            _bio: PhantomData,
        })
    }

    /// [`Piece::own`], for pieces of this bio in their order: it is asked once for each folio.
    pub(crate) fn own(&mut self, piece: &Piece<'a>, own: BlockDev) -> Option<OwnPage<'a>> {
        let known = self.last.take().filter(|_| piece.is_whole_page());
        let place = known.and_then(|last| last.after(piece.page, own));
        // INVARIANT: the folio of the page before was locked and not uptodate a moment ago, and is one that this
        // bio fills, as was found then: so it still is (file invariant 2).
        let found = match place {
            Some(place) => OwnPage {
                piece: *piece,
                place,
            },
            None => piece.own(own)?,
        };
        self.last = Some(Found {
            page: piece.page,
            own,
            place: found.place,
        });
        Some(found)
    }

    /// The same, with the pages after it that are in the same folio and next in this bio, `max` pages in
    /// all; steps over them.
    pub(crate) fn own_run(
        &mut self,
        piece: &Piece<'a>,
        own: BlockDev,
        max: u32,
    ) -> Option<OwnRun<'a>> {
        let first = self.own(piece, own)?;
        let next = piece.page.as_ptr().wrapping_add(1);
        let more = self
            .pages_of_vec(next)
            .min(first.place.left)
            .min(max.saturating_sub(1));
        self.skip(more.saturating_mul(PAGE_BYTES));
        let place = Place {
            mapping: first.place.mapping,
            index: first.place.index.checked_add(more.into())?,
            pfn: first.place.pfn.checked_add(more.into())?,
            left: first.place.left.saturating_sub(more),
        };
        self.last = NonNull::new(piece.page.as_ptr().wrapping_add(more as usize))
            .map(|page| Found { page, own, place });
        // INVARIANT: as `own` found for the first; the others are its neighbours in its folio and in its `bio_vec`.
        Some(OwnRun {
            first,
            pages: more.saturating_add(1),
        })
    }

    /// Whole pages that are left of the `bio_vec` in hand, if `next` is the first.
    fn pages_of_vec(&self, next: *mut bindings::page) -> u32 {
        // SAFETY: by the type invariant the iterator is inside the table; `next` is only compared.
        unsafe { bindings::drr_bvec_pages(self.bvecs, &raw const self.iter, next) }
    }

    /// Steps over `bytes`.
    pub(crate) fn skip(&mut self, bytes: u32) {
        let n = bytes.min(self.bytes());
        if n != 0 {
            // SAFETY: by the type invariant and the bound.
            unsafe { bindings::drr_bvec_advance(self.bvecs, &raw mut self.iter, n) };
        }
    }
}

/// A part of one page that a bio fills.
///
/// # Invariants
///
/// `offset .. offset + len` of `page` belongs to the bio borrowed for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    page: NonNull<bindings::page>,
    offset: u32,
    len: u32,
    _bio: PhantomData<&'a ()>,
}

impl<'a> Piece<'a> {
    /// Length in bytes.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Whether the CPU may touch the memory at all (not so for peer-to-peer DMA).
    pub(crate) fn is_ordinary(&self) -> bool {
        // SAFETY: live by the type invariant.
        unsafe { bindings::drr_page_is_ordinary(self.page.as_ptr()) }
    }

    /// Whether the memory is in a buffer of `own` that a file system on it reads its metadata into. Any
    /// context.
    pub(crate) fn is_buffer(&self, own: BlockDev) -> bool {
        // SAFETY: the page is live by the type invariant, the device by its own.
        unsafe { bindings::drr_page_is_buffer(self.page.as_ptr(), own.as_ptr()) }
    }

    fn is_whole_page(&self) -> bool {
        self.offset == 0 && self.len == PAGE_BYTES
    }

    /// The page as one of the layer's own page cache, when it is whole, locked, not uptodate,
    /// and in the mapping of a file on `own` or of `own` itself. Any context.
    pub(crate) fn own(&self, own: BlockDev) -> Option<OwnPage<'a>> {
        if !self.is_whole_page() {
            return None;
        }
        let mut raw = bindings::drr_place::default();
        // SAFETY: the page is live by the type invariant, the device by its own; `raw` is ours.
        if !unsafe { bindings::drr_page_own(self.page.as_ptr(), own.as_ptr(), &raw mut raw) } {
            return None;
        }
        // INVARIANT: whole, and found to be locked and not uptodate.
        Some(OwnPage {
            piece: *self,
            place: Place {
                mapping: raw.mapping,
                index: raw.index,
                pfn: raw.pfn,
                left: raw.left,
            },
        })
    }

    /// Writes bytes of `from`, beginning at `at`, over the whole piece.
    pub(crate) fn fill(&self, from: &PrivatePage, at: u32) -> bool {
        let Some(bytes) = from.bytes_at(at, self.len) else {
            return false;
        };
        // SAFETY: the piece is memory that this bio is to fill, by the type invariant; `bytes`
        // has `len` bytes.
        unsafe { bindings::drr_page_fill(self.page.as_ptr(), self.offset, bytes, self.len) };
        true
    }

    /// Copies the whole piece into `to`, from byte `at` on.
    pub(crate) fn take(&self, to: &mut PrivatePage, at: u32) -> bool {
        let Some(bytes) = to.bytes_at(at, self.len) else {
            return false;
        };
        // SAFETY: the piece is live by the type invariant; `bytes` has `len` bytes, which are ours to
        // write while `to` is borrowed mutably.
        unsafe {
            bindings::drr_page_take(self.page.as_ptr(), self.offset, bytes.cast_mut(), self.len);
        };
        true
    }

    /// The first of its bytes that is another one than that of `from`, from `at` on, if any is.
    pub(crate) fn difference(&self, from: &PrivatePage, at: u32) -> Option<u32> {
        let Some(bytes) = from.bytes_at(at, self.len) else {
            return Some(0);
        };
        // SAFETY: live by the type invariant; `bytes` has `len` bytes.
        let n = unsafe {
            bindings::drr_page_difference(self.page.as_ptr(), self.offset, bytes, self.len)
        };
        (n < self.len).then_some(n)
    }
}

/// A whole page of the layer's own page cache that the bio in hand fills.
///
/// # Invariants
///
/// The piece is a whole page whose folio is locked and not uptodate (file invariant 2).
pub(crate) struct OwnPage<'a> {
    piece: Piece<'a>,
    place: Place,
}

/// Whole pages of one folio of the layer's own page cache, which the bio in hand fills.
///
/// # Invariants
///
/// `first` and the `pages - 1` after it are pages of one folio, as [`OwnPage`] says of each.
pub(crate) struct OwnRun<'a> {
    first: OwnPage<'a>,
    pages: u32,
}

impl<'a> OwnRun<'a> {
    pub(crate) fn first(&self) -> &OwnPage<'a> {
        &self.first
    }

    /// How many.
    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    /// The contents, where memory has permanent addresses.
    pub(crate) fn into_words(self) -> Option<&'a [Words]> {
        // SAFETY: the page is live by the invariants.
        let virt = unsafe { bindings::drr_page_virt(self.first.piece.page.as_ptr()) };
        let words = NonNull::new(virt.cast::<Words>())?;
        // SAFETY: a folio's pages are one after the other where memory has permanent addresses. Nobody writes them as
        // long as the bio, which fills them, is borrowed and has not ended (file invariant 2); `copy_to_own`
        // needs what is given up here.
        Some(unsafe { core::slice::from_raw_parts(words.as_ptr(), self.pages as usize) })
    }
}

impl OwnPage<'_> {
    /// Address of the mapping.
    pub(crate) fn mapping(&self) -> usize {
        self.place.mapping
    }

    /// Index in the mapping.
    pub(crate) fn index(&self) -> u64 {
        self.place.index
    }

    /// The frame, when it fits a record.
    pub(crate) fn pfn(&self) -> Option<u32> {
        u32::try_from(self.place.pfn).ok()
    }

    /// Runs `f` over the contents.
    pub(crate) fn with_words<R>(&self, f: impl FnOnce(&Words) -> R) -> R {
        // SAFETY: the page is live by the invariants.
        let addr = unsafe { bindings::drr_page_map(self.piece.page.as_ptr()) };
        // SAFETY: a mapped page, aligned to its size; nobody writes it (file invariant 2), and
        // `copy_to_own` needs `&mut`.
        let out = f(unsafe { &*addr.cast::<Words>() });
        // SAFETY: mapped above, unmapped once, in order.
        unsafe { bindings::drr_page_unmap(addr) };
        out
    }
}

/// The bio of a read in flight, named from inside its own data.
///
/// # Invariants
///
/// The value came from a bio in `arm`; it is used only where its address shows that it lies in
/// the data in front of that bio, hence while the bio is alive.
pub(crate) struct Armed {
    bio: NonNull<bindings::bio>,
    iter: bindings::bvec_iter,
}

// SAFETY: a name for a bio that any thread may handle.
unsafe impl Send for Armed {}

/// More than the per-bio data and device-mapper's own header in front of a bio take.
const NEAR: usize = 4096;

impl Armed {
    /// Notes what `bio` will fill; to be stored in the bio's data.
    pub(crate) fn arm(bio: &Bio) -> Self {
        let raw = bio.as_ptr();
        Self {
            // SAFETY: a bio's address is never null.
            bio: unsafe { NonNull::new_unchecked(raw) },
            // SAFETY: the bio is live by its type invariant.
            iter: unsafe { (*raw).bi_iter },
        }
    }

    fn is_in_place(&self) -> bool {
        let here = core::ptr::from_ref(self).addr();
        let bio = self.bio.as_ptr().addr();
        here < bio && bio.wrapping_sub(here) < NEAR
    }

    /// The memory that the read fills. `None` when this is not in its bio's data.
    pub(crate) fn pieces(&self) -> Option<Pieces<'_>> {
        if !self.is_in_place() {
            return None;
        }
        // SAFETY: the data that `self` lies in belongs to the bio, which is therefore alive.
        let bvecs = unsafe { (*self.bio.as_ptr()).bi_io_vec };
        // INVARIANT: the iterator was the bio's own; lower layers advance the bio's, not this copy.
        Some(Pieces {
            bvecs,
            iter: self.iter,
            last: None,
            _bio: PhantomData,
        })
    }
}

/// What puts the end of a read off to a worker; a field of [`ReadHook`].
///
/// # Invariants
///
/// While the work is queued, `bio` is the bio in whose data this lies, and nobody else touches the
/// hook.
pub(crate) struct Deferred {
    work: Opaque<bindings::work_struct>,
    bio: *mut bindings::bio,
    /// How the read has ended.
    status: Status,
}

// SAFETY: handled by one thread at a time (type invariant).
unsafe impl Send for Deferred {}
// SAFETY: has no method that takes `&self`.
unsafe impl Sync for Deferred {}

impl Default for Deferred {
    fn default() -> Self {
        Self {
            work: Opaque::uninit(),
            bio: core::ptr::null_mut(),
            status: Status::Ok,
        }
    }
}

/// The worker that finishes reads which are too large for interrupt context.
///
/// # Invariants
///
/// `wq` is a workqueue that this value owns.
pub(crate) struct ReadQueue {
    wq: NonNull<bindings::workqueue_struct>,
}

// SAFETY: a workqueue may be used from any thread.
unsafe impl Send for ReadQueue {}
// SAFETY: as above.
unsafe impl Sync for ReadQueue {}

impl ReadQueue {
    /// Process context.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: no requirements.
        let wq = NonNull::new(unsafe { bindings::drr_read_queue_new() }).ok_or(ENOMEM)?;
        // INVARIANT: created above.
        Ok(Self { wq })
    }

    /// Takes a bio over whose read has ended and whose end_io callback is running: a worker calls
    /// `ReadHook::run_deferred` on its hook, then ends it again, as it has ended, and then resumes
    /// who waited for it. The callback
    /// answers DM_ENDIO_INCOMPLETE (drivers/md/dm.c, clone_endio: the clone is left alone, and
    /// ending it again comes to the same callback). Any context but NMI.
    pub(crate) fn defer(&self, mut bio: Bio, status: Status) {
        let raw = bio.as_ptr();
        bio.data().read_hook.deferred.status = status;
        let deferred = &raw mut bio.data().read_hook.deferred;
        let _ = bio.into_raw();
        // SAFETY: the hook is in the data of a live bio, which was ours alone until here.
        // INVARIANT: `raw` is the bio whose data this is, and was given up.
        unsafe { (*deferred).bio = raw };
        // SAFETY: as above; this only computes an address.
        let work = unsafe { Opaque::cast_into(&raw const (*deferred).work) };
        // SAFETY: the queue is live by the type invariant; the work is not queued now (a read ends
        // once), and stays in place until it has run, because the bio does.
        unsafe { bindings::drr_read_work_queue(self.wq.as_ptr(), work, Some(run_deferred)) };
    }
}

impl Drop for ReadQueue {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant. Waits for what is queued; never called from its own
        // worker, because a read that is being finished keeps its pool alive until it has ended.
        unsafe { bindings::destroy_workqueue(self.wq.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the workqueue with the work of a [`Deferred`] that `ReadQueue::defer` queued.
unsafe extern "C" fn run_deferred(work: *mut bindings::work_struct) {
    let deferred = work
        .wrapping_byte_sub(offset_of!(Deferred, work))
        .cast::<Deferred>();
    let hook = deferred
        .wrapping_byte_sub(offset_of!(ReadHook, deferred))
        .cast::<ReadHook>();
    // SAFETY: the work is a field of a live `Deferred` (function contract).
    let bio = unsafe { (*deferred).bio };
    // SAFETY: as above.
    let status = unsafe { (*deferred).status };
    // SAFETY: that one is a field of a live hook, which is ours alone while queued (invariant of
    // `Deferred`).
    let followers = unsafe { (*hook).run_deferred() };
    let Some(bio) = NonNull::new(bio) else { return };
    // SAFETY: the bio was given up to us in `defer`, which only takes clones of this module's
    // targets. Its end_io comes a second time now, and finds the hook empty.
    unsafe { Bio::from_raw(bio) }.end(status);
    // What the bio belongs to may be gone by now; each of these holds its own.
    resume(followers);
}

/// Tells a table when memory goes off line, so that no record leads there any more.
///
/// # Invariants
///
/// `raw` is registered with `_table`'s address as its context.
pub(crate) struct Hotplug {
    raw: NonNull<bindings::drr_hotplug>,
    /// Outlives the registration: it is dropped after it.
    _table: Arc<Table>,
}

// SAFETY: the registration may be ended from any thread.
unsafe impl Send for Hotplug {}
// SAFETY: no method takes `&self`.
unsafe impl Sync for Hotplug {}

impl Hotplug {
    /// Process context; sleeps.
    pub(crate) fn new(table: Arc<Table>) -> Result<Self> {
        let ctx = core::ptr::from_ref::<Table>(&table)
            .cast_mut()
            .cast::<c_void>();
        // SAFETY: the context stays valid until the registration ends: `_table` is dropped after.
        let raw = unsafe { bindings::drr_hotplug_new(Some(memory_leaves), ctx) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // INVARIANT: registered above.
        Ok(Self { raw, _table: table })
    }
}

impl Drop for Hotplug {
    fn drop(&mut self) {
        // SAFETY: registered by the type invariant. Waits for a callback that is running.
        unsafe { bindings::drr_hotplug_free(self.raw.as_ptr()) };
    }
}

/// # Safety
///
/// `ctx` is the address of a live `Table`.
unsafe extern "C" fn memory_leaves(ctx: *mut c_void) {
    // SAFETY: the function's contract, kept by `Hotplug`.
    let table = unsafe { &*ctx.cast::<Table>() };
    table.drop_all();
}

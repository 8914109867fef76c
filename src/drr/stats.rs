// SPDX-License-Identifier: GPL-2.0

//! What DRR counts, for a pool and for each of its layers.
//!
//! `stats` prints a pool's counters, one `name value` a line, in the order of [`Counter`]; all are
//! totals since the pool was loaded or `stats reset`. Units: `_pages` are 4 KiB pages of the
//! data device (or the part of one that a smaller read asked for), `_bytes` are bytes.
//!
//! A read is counted once: while one bio is handled the counts are gathered in a [`Tally`], which
//! is added to pool and layer at its end.
//!
//! Pure: compiled by the kernel and by the host tests.

use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// One counter.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub(crate) enum Counter {
            $($(#[$doc])* $variant,)*
        }

        /// All counters, in the order in which they are printed.
        pub(crate) const ALL: &[(Counter, &str)] = &[$((Counter::$variant, $name),)*];
        const COUNT: usize = ALL.len();
    };
}

counters! {
    /// Pages that were filled from a sibling's memory (with verify: would have been).
    ServedPages => "served_pages",
    /// Bytes of them.
    ServedBytes => "served_bytes",
    /// Pages of shared reads that went to disk.
    MissPages => "miss_pages",
    /// Bytes of them.
    MissBytes => "miss_bytes",
    /// Pages of file systems' metadata that were filled from the pool's own pages.
    MetaServedPages => "meta_served_pages",
    /// Bytes of them.
    MetaServedBytes => "meta_served_bytes",
    /// Pages of metadata that were read from disk and kept.
    MetaKeptPages => "meta_kept_pages",
    /// Records made or renewed, by disk reads and by served reads.
    RecordedPages => "recorded_pages",
    /// Records that a write, or the layer's end, overtook while they were made.
    CancelledPages => "cancelled_pages",
    /// Pages of reads that were to be recorded, but are not whole pages of the layer's page cache.
    UnrecordedForeign => "unrecorded_foreign",
    /// Pages of reads that were not recorded because it has not paid lately (sampling).
    UnsampledPages => "unsampled_pages",
    /// Copies whose hash was not the record's: never handed out.
    HashRejects => "hash_rejects",
    /// Records that no longer led to their page; the lines below give the reasons.
    IdentityRejects => "identity_rejects",
    /// ... the frame is not online memory.
    RejectOffline => "reject_offline",
    /// ... the frame is free, or was while it was looked at.
    RejectGone => "reject_gone",
    /// ... the frame holds another page.
    RejectMapping => "reject_mapping",
    /// ... not uptodate.
    RejectNotUptodate => "reject_not_uptodate",
    /// ... dirty.
    RejectDirty => "reject_dirty",
    /// ... under writeback.
    RejectWriteback => "reject_writeback",
    /// ... pinned for DMA: its owner may change it at any time.
    RejectPinned => "reject_pinned",
    /// ... poisoned by a memory error.
    RejectPoisoned => "reject_poisoned",
    /// Copies that were locked by somebody else when they were to leave (cache management): the record stays.
    TrylockFails => "trylock_fails",
    /// Served pages that went through a private page, because the destination was not a
    /// page-cache page of the layer.
    BouncedPages => "bounced_pages",
    /// Served pages that were compared with the disk.
    VerifyPages => "verify_pages",
    /// Of these, the ones that differed: must be 0.
    VerifyMismatches => "verify_mismatches",
    /// Pages of reads that waited for another read of the same pages (coalescing).
    FollowedPages => "followed_pages",
    /// Of these reads, the ones that went on without the other one, which took too long.
    DetachedReads => "detached_reads",
    /// Pages that left a layer's page cache because a sibling has them (cache management).
    CacheDroppedPages => "cache_dropped_pages",
    /// Folios that could have left, but are in use, or needed by a journal.
    CacheKeptBusy => "cache_kept_busy",
    /// Folios of which a sibling has only a part.
    CacheKeptPartial => "cache_kept_partial",
    /// Reads whose recording or verification was put off to a worker, or for which others waited.
    DeferredReads => "deferred_reads",
}

/// A set of counters. Any context.
pub(crate) struct Stats {
    values: [AtomicU64; COUNT],
}

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            values: [const { AtomicU64::new(0) }; COUNT],
        }
    }

    /// The value of `c`.
    pub(crate) fn get(&self, c: Counter) -> u64 {
        self.values
            .get(c as usize)
            .map_or(0, |v| v.load(Ordering::Relaxed))
    }

    /// Adds what was gathered.
    pub(crate) fn add(&self, tally: &Tally) {
        let mut left = tally.touched;
        while left != 0 {
            let n = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            if let (Some(value), Some(n)) = (self.values.get(n), tally.values.get(n)) {
                value.fetch_add(u64::from(*n), Ordering::Relaxed);
            }
        }
    }

    /// Starts again from zero.
    pub(crate) fn reset(&self) {
        for value in &self.values {
            value.store(0, Ordering::Relaxed);
        }
    }
}

/// Counts of one bio.
pub(crate) struct Tally {
    values: [u32; COUNT],
    /// A bit for each counter that has been added to: few are, of many.
    touched: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        const { assert!(COUNT <= u64::BITS as usize) };
        Self {
            values: [0; COUNT],
            touched: 0,
        }
    }

    /// Adds `n` to `c`.
    pub(crate) fn add(&mut self, c: Counter, n: u32) {
        if let Some(value) = self.values.get_mut(c as usize) {
            *value = value.saturating_add(n);
            self.touched |= 1u64.checked_shl(c as u32).unwrap_or(0);
        }
    }
}

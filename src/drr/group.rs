// SPDX-License-Identifier: GPL-2.0

//! Groups of records: what the access table (table.rs) keeps of 16 aligned pages of the data device, what is
//! handed out of one, and what is put into one.
//!
//! Pure: compiled by the kernel and by the host tests. Any context; no locks, no memory.

/// log2 of the pages of a group.
pub(crate) const GROUP_SHIFT: u32 = 4;
/// Pages of a group.
pub(crate) const GROUP_PAGES: usize = 1 << GROUP_SHIFT;
/// Sources that are kept of one page in one domain.
pub(crate) const MAX_SOURCES: usize = 4;
/// What one group costs: its allocation comes from the 256-byte slab.
pub(crate) const GROUP_BYTES: usize = 256;

/// Who recorded, and where in memory the pages are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Identity {
    /// Address of the mapping; compared, never followed.
    pub(crate) mapping: usize,
    /// Index in the mapping of the group's first page (wraps below zero).
    pub(crate) base: u64,
    /// Serial of the layer.
    pub(crate) layer: u64,
    /// Domain of the layer: sources are offered inside one domain only.
    pub(crate) domain: u32,
}

/// Up to 16 records of one layer, mapping and key.
pub(crate) struct Group {
    pub(super) key: u64,
    pub(super) id: Identity,
    pub(super) age: u64,
    pub(super) valid: u16,
    pub(super) pfn: [u32; GROUP_PAGES],
    pub(super) hash: [u64; GROUP_PAGES],
}

impl Group {
    /// Where in the order of a bucket it is.
    pub(super) fn place(&self) -> (u64, u32) {
        (self.key, self.id.domain)
    }
}

/// One record, as handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Source {
    pub(crate) pfn: u32,
    pub(crate) mapping: usize,
    pub(crate) index: u64,
    pub(crate) layer: u64,
    pub(crate) hash: u64,
}

/// The records of one page, newest first.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sources {
    len: usize,
    items: [Source; MAX_SOURCES],
}

impl Sources {
    pub(super) fn push(&mut self, s: Source) {
        if let Some(slot) = self.items.get_mut(self.len) {
            *slot = s;
            self.len = self.len.saturating_add(1);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Source> {
        self.items.get(..self.len).unwrap_or(&[]).iter()
    }
}

/// One record of a page, for who goes through the pages of a key one after the other: they mostly have theirs in
/// one group, which is looked up once and copied. It grows old meanwhile, which weak records may.
pub(crate) struct Known {
    /// The key, and the domain.
    pub(super) key: Option<(u64, u32)>,
    /// The page in hand.
    pub(super) slot: usize,
    pub(super) group: KnownGroup,
}

/// The records of a [`Group`].
#[derive(Clone, Copy, Default)]
pub(super) struct KnownGroup {
    pub(super) id: Identity,
    pub(super) valid: u16,
    pub(super) pfn: [u32; GROUP_PAGES],
    pub(super) hash: [u64; GROUP_PAGES],
}

impl KnownGroup {
    fn source(&self, slot: usize) -> Option<Source> {
        Some(Source {
            pfn: *self.pfn.get(slot)?,
            mapping: self.id.mapping,
            index: self.id.base.wrapping_add(slot as u64),
            layer: self.id.layer,
            hash: *self.hash.get(slot)?,
        })
    }
}

impl Known {
    pub(crate) fn nothing() -> Self {
        Self {
            key: None,
            slot: 0,
            group: KnownGroup::default(),
        }
    }

    /// A record of the page that was looked up last, if it has any.
    pub(crate) fn source(&self) -> Option<Source> {
        if self.group.valid & bit(self.slot) == 0 {
            return None;
        }
        self.group.source(self.slot)
    }
}

/// A folio in the order of the data device: consecutive pages of that in consecutive frames.
#[derive(Clone, Copy)]
pub(crate) struct Frames {
    /// The first page.
    pub(super) ppn: u64,
    pub(super) pages: u32,
    /// The first frame.
    pub(super) pfn: u32,
    /// Where the folio is: the index is its own.
    pub(super) mapping: usize,
    pub(super) index: u64,
    pub(super) layer: u64,
    pub(super) domain: u32,
}

impl Frames {
    /// The folio of `pages` pages that `source`, a record of page `ppn` inside `domain`, leads to, which
    /// has `before` pages before that one. `None` where the data device has fewer.
    pub(crate) fn of(
        ppn: u64,
        source: &Source,
        before: u32,
        pages: u32,
        domain: u32,
    ) -> Option<Self> {
        Some(Self {
            ppn: ppn.checked_sub(before.into())?,
            pages,
            pfn: source.pfn.checked_sub(before)?,
            mapping: source.mapping,
            index: source.index.checked_sub(before.into())?,
            layer: source.layer,
            domain,
        })
    }

    /// Whether a group is of the places that the folio takes.
    pub(super) fn are_of(&self, group: &Group) -> bool {
        let start = group.key << GROUP_SHIFT;
        let base = self.index.wrapping_add(start).wrapping_sub(self.ppn);
        group.id.mapping == self.mapping
            && group.id.base == base
            && group.id.layer == self.layer
            && group.id.domain == self.domain
    }

    /// The pages of such a group whose records lead to the folio.
    pub(super) fn led_to_by(&self, group: &Group) -> u16 {
        let start = group.key << GROUP_SHIFT;
        let first = u64::from(self.pfn)
            .wrapping_add(start)
            .wrapping_sub(self.ppn);
        let mut out = 0;
        let mut left = group.valid & mask_of(group.key, self.ppn, self.pages.into());
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            let pfn = group.pfn.get(slot).copied().map(u64::from);
            if pfn == Some(first.wrapping_add(slot as u64)) {
                out |= bit(slot);
            }
        }
        out
    }
}

/// Records that are to be published together: pages of one key, mapping and layer, or none yet.
pub(crate) struct Batch {
    pub(super) key: u64,
    pub(super) id: Identity,
    /// Serial of the layer whose memory they were copied from; 0: they come from the disk.
    pub(super) from: u64,
    pub(super) valid: u16,
    pub(super) pfn: [u32; GROUP_PAGES],
    pub(super) hash: [u64; GROUP_PAGES],
}

impl Batch {
    pub(crate) fn empty() -> Self {
        Self {
            key: 0,
            id: Identity::default(),
            from: 0,
            valid: 0,
            pfn: [0; GROUP_PAGES],
            hash: [0; GROUP_PAGES],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.valid == 0
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.valid = 0;
        self.from = 0;
    }

    /// Notes from which layer's memory the pages, or most of them, were copied.
    pub(crate) fn copied_from(&mut self, layer: u64) {
        self.from = layer;
    }

    /// Adds a page; `false` when it belongs to another batch than those which are in it.
    pub(crate) fn add(&mut self, ppn: u64, page: &Page) -> bool {
        let added = self.add_run(ppn, page, 1);
        if let Some(hash) = self.hash.get_mut(slot_of(ppn)).filter(|_| added) {
            *hash = page.hash;
        }
        added
    }

    /// Adds `page` and those after it, `pages` in all, whose frames and places in the mapping are those after
    /// its own, and whose hashes come later. At most [`pages_of_group_from`] `ppn`.
    pub(crate) fn add_run(&mut self, ppn: u64, page: &Page, pages: u32) -> bool {
        let (key, id) = (key_of(ppn), page.identity(ppn));
        if self.is_empty() {
            self.key = key;
            self.id = id;
        } else if key != self.key || id != self.id {
            return false;
        }
        let run = slot_of(ppn)..slot_of(ppn).saturating_add(pages as usize);
        if let Some(places) = self.pfn.get_mut(run) {
            for (place, pfn) in places.iter_mut().zip(page.pfn..) {
                *place = pfn;
            }
        }
        self.valid |= mask_of(key, ppn, pages.into());
        true
    }

    /// Adds its pages to a group of the same ones.
    pub(super) fn copy_to(&self, group: &mut Group) {
        let mut left = self.valid;
        while left != 0 {
            let n = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            if let (Some(p), Some(q)) = (group.pfn.get_mut(n), self.pfn.get(n)) {
                *p = *q;
            }
            if let (Some(p), Some(q)) = (group.hash.get_mut(n), self.hash.get(n)) {
                *p = *q;
            }
        }
        group.valid |= self.valid;
    }

    /// Gives its pages other hashes, in their order.
    pub(crate) fn set_hashes(&mut self, hashes: &[u64]) {
        let mut left = self.valid;
        for hash in hashes {
            if let Some(place) = self.hash.get_mut(left.trailing_zeros() as usize) {
                *place = *hash;
            }
            left &= left.wrapping_sub(1);
        }
    }

    /// The key of its pages.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// The domain of its layer.
    pub(crate) fn domain(&self) -> u32 {
        self.id.domain
    }

    /// Pages in the batch.
    pub(crate) fn pages(&self) -> u32 {
        self.valid.count_ones()
    }
}

/// A page in a layer's page cache, as a batch takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) pfn: u32,
    pub(crate) mapping: usize,
    pub(crate) index: u64,
    pub(crate) layer: u64,
    pub(crate) domain: u32,
    pub(crate) hash: u64,
}

impl Page {
    fn identity(&self, ppn: u64) -> Identity {
        Identity {
            mapping: self.mapping,
            base: self.index.wrapping_sub(slot_of(ppn) as u64),
            layer: self.layer,
            domain: self.domain,
        }
    }
}

pub(super) fn key_of(ppn: u64) -> u64 {
    ppn >> GROUP_SHIFT
}

pub(super) fn slot_of(ppn: u64) -> usize {
    (ppn & (GROUP_PAGES as u64 - 1)) as usize
}

/// The pages of a group that are left from `ppn` on, with that.
pub(super) fn pages_of_group_from(ppn: u64) -> u32 {
    (GROUP_PAGES as u32).saturating_sub(slot_of(ppn) as u32)
}

pub(super) fn bit(slot: usize) -> u16 {
    1u16.checked_shl(slot as u32).unwrap_or(0)
}

/// The bits of key `key` that `first .. first + pages` covers.
pub(super) fn mask_of(key: u64, first: u64, pages: u64) -> u16 {
    let start = key << GROUP_SHIFT;
    let from = first.saturating_sub(start).min(GROUP_PAGES as u64);
    let to = first
        .saturating_add(pages)
        .saturating_sub(start)
        .min(GROUP_PAGES as u64);
    if from >= to {
        return 0;
    }
    let below = |n: u64| 1u32.checked_shl(n as u32).unwrap_or(0).wrapping_sub(1);
    (below(to) & !below(from)) as u16
}

/// The keys that `first .. first + pages` touches.
pub(super) fn keys(first: u64, pages: u64) -> core::ops::Range<u64> {
    if pages == 0 {
        return 0..0;
    }
    let last = first.saturating_add(pages.saturating_sub(1));
    key_of(first)..key_of(last).saturating_add(1)
}

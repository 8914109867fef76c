// SPDX-License-Identifier: GPL-2.0

//! Whether metadata on a disk is what dm-persistent-data takes it for.
//!
//! The library follows what it reads. A node's own check covers its number, its checksum and the
//! bounds of its entry counts; nothing looks at value sizes, depth, cycles, or pointers whose
//! counts are too low, and block numbers of a hostile tree index an array of the metadata space
//! map unchecked (dm-space-map-common.c, `metadata_ll_load_ie`, 7.2). So before a pool's metadata
//! is opened, every block that the library could reach is visited here once. What holds after
//! that, the library's own changes preserve:
//!
//! 1. Every block is of one kind (a node of one sort of tree at one height, a bitmap, the index),
//!    lies on the device, and carries its number and a right checksum.
//! 2. Trees are at most [`HEIGHT_MAX`] high, all leaves at the same height, keys in order within
//!    their parents' bounds, entries of the tree's value size, nodes of the one capacity that
//!    goes with it. No node but a root leaf is empty.
//! 3. No block has more references than its count says, and all counts are well formed.
//! 4. Mappings name chunks that the data space map has, counted at least as often as mapped, and
//!    no time stamp is beyond [`format::TIME_MAX`].
//!
//! Counts that are too high only leak, and are left to thin_check. Figures that thin_check does not
//! compare may be wrong, for released tools write such: how much is free is told in [`Findings`], and
//! so is the latest time stamp, below which the pool's clock must not be. Chunks of pools with more
//! than [`TALLY_MAX`] chunks are not tallied: there (4) is the bound alone.
//!
//! Neighbours: `dm::rawdisk` reads the blocks, `meta::Metadata` asks before it opens. Pure:
//! compiled by the kernel and by the host tests.

use super::counts::{Chunks, Word, WORD_ENTRIES};
use super::figures::Correction;
use super::format::{
    self, bytes, u32_at, u64_at, Details, Root, Superblock, BLOCK_SIZE, MAX_BLOCKS,
};
use crate::drr::platform::{array, insert, remove, Array};

/// Levels of nodes below a root, at most; blocks of the largest device need fewer.
pub(crate) const HEIGHT_MAX: u8 = 12;
/// Chunks of the largest pool whose mappings are counted (half a byte each).
pub(crate) const TALLY_MAX: u64 = 1 << 27;
/// Counts in a bitmap block: two bits each, after a header of 16 bytes.
pub(crate) const BITMAP_ENTRIES: u64 = (BLOCK_SIZE as u64 - 16) * 4;
/// Initial exclusive-or of the checksums (persistent-data/dm-btree-spine.c,
/// dm-space-map-common.c).
pub(crate) const NODE_XOR: u32 = 121_107;
pub(crate) const BITMAP_XOR: u32 = 240_779;
pub(crate) const INDEX_XOR: u32 = 160_478;

pub(super) const NODE_HEADER: usize = 32;
pub(super) const INTERNAL: u32 = 1;
pub(super) const LEAF: u32 = 2;
/// Entries of a list that are read ahead at a time.
const AHEAD: usize = 64;
/// When so many leaves or fewer are being read ahead, others are as well: a node has that many.
const LEAVES_AHEAD: usize = 252;
/// A count above this could overflow by being raised.
const COUNT_MAX: u32 = 1 << 31;

/// Where the blocks come from.
pub(crate) trait Disk {
    type Error;
    /// Shows a block of [`BLOCK_SIZE`] bytes.
    fn read<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R, Self::Error>;
    /// Starts to read so many blocks in a row that will be asked for.
    fn prefetch(&mut self, first: u64, blocks: u32);
    /// The library's checksum.
    fn checksum(&self, bytes: &[u8], xor: u32) -> u32;
}

/// What is wrong with a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// A space map's size does not fit the format.
    Size,
    /// The block carries another block's number.
    Number,
    Checksum,
    /// Neither the leaf nor the internal node that belongs there.
    Height,
    /// Value size or capacity are not those of the tree.
    Layout,
    /// No entries, or more than the node has room for.
    Entries,
    /// Keys out of order or out of the parent's bounds.
    Keys,
    /// A reference to a block that does not exist, or to the superblock.
    Pointer,
    /// Two uses of a block that exclude each other.
    Use,
    /// Fewer references are counted than exist.
    Count,
    /// A space map's index is not complete or its figures are wrong.
    Index,
    /// A count above two is missing, superfluous or impossible.
    Overflow,
    /// A mapping to a chunk that does not exist.
    Chunk,
    /// Fewer mappings of a chunk are counted than exist.
    ChunkCount,
    /// A time stamp that does not fit in a mapping.
    Time,
    /// The metadata snapshot is no superblock.
    Snapshot,
}

/// Why metadata did not pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure<E> {
    Read(E),
    NoMemory,
    Damage { block: u64, wrong: Wrong },
}

/// What was found besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Findings {
    /// What the metadata space map's figure of free blocks is worth.
    pub(crate) metadata: Correction,
    /// What the data space map's figure of free chunks is worth.
    pub(crate) data: Correction,
    /// The latest time stamp: a repaired superblock may be behind its devices.
    pub(crate) time: u32,
    /// Blocks that were visited.
    pub(crate) visited: u64,
}

/// What a block is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Superblock = 1,
    Index,
    Bitmap,
    DataIndex,
    MetadataCounts,
    DataCounts,
    Details,
    Devices,
    Device,
}

impl Kind {
    /// Bytes in a leaf's value.
    fn value_size(self) -> usize {
        match self {
            Self::Superblock | Self::Index | Self::Bitmap => 0,
            Self::DataIndex => 16,
            Self::MetadataCounts | Self::DataCounts => 4,
            Self::Details => Details::SIZE,
            Self::Devices | Self::Device => 8,
        }
    }

    /// Kind and height in one byte that is never zero.
    fn tag(self, height: u8) -> u8 {
        (self as u8) << 4 | (height & 15)
    }
}

/// Entries that a node with values of `size` bytes has room for: a multiple of three.
pub(crate) fn capacity(size: usize) -> usize {
    (BLOCK_SIZE - NODE_HEADER) / (8 + size) / 3 * 3
}

/// A node whose header has been checked: as many keys as values.
#[derive(Clone, Copy)]
struct Node<'a> {
    keys: &'a [u8],
    values: &'a [u8],
    /// Not 0.
    value_size: usize,
}

impl<'a> Node<'a> {
    /// `None`: the entries do not fit in the block.
    fn new(block: &'a [u8], entries: usize, value_size: usize) -> Option<Self> {
        let (keys, values) = (NODE_HEADER, NODE_HEADER + 8 * capacity(value_size));
        let part = |at: usize, size: usize| {
            let end = at.checked_add(entries.checked_mul(size)?)?;
            block.get(at..end)
        };
        if value_size == 0 {
            return None;
        }
        Some(Self {
            keys: part(keys, 8)?,
            values: part(values, value_size)?,
            value_size,
        })
    }

    fn keys(&self) -> impl Iterator<Item = u64> + 'a {
        let keys = self.keys.chunks_exact(8);
        keys.map(|k| u64_at(k, 0).unwrap_or(0))
    }

    fn values(&self) -> impl Iterator<Item = &'a [u8]> {
        self.values.chunks_exact(self.value_size)
    }
}

/// A node that is still to be visited, with the bounds of its keys.
struct Visit {
    block: u64,
    low: u64,
    /// Inclusive.
    high: u64,
    height: u8,
    root: bool,
}

/// A space map's root in the superblock.
struct MapRoot {
    blocks: u64,
    allocated: u64,
    bitmaps: u64,
    counts: u64,
}

impl MapRoot {
    fn decode(root: &Root) -> Option<Self> {
        Some(Self {
            blocks: u64_at(root, 0)?,
            allocated: u64_at(root, 8)?,
            bitmaps: u64_at(root, 16)?,
            counts: u64_at(root, 24)?,
        })
    }
}

/// A bitmap as a space map's index has it.
#[derive(Clone, Copy)]
struct IndexEntry {
    block: u64,
    free: u32,
    none_free_before: u32,
}

impl IndexEntry {
    fn decode(v: &[u8]) -> Option<Self> {
        Some(Self {
            block: u64_at(v, 0)?,
            free: u32_at(v, 8)?,
            none_free_before: u32_at(v, 12)?,
        })
    }
}

/// Figures of a space map's bitmaps.
#[derive(Default)]
struct Tally {
    used: u64,
    /// Entries that say "three or more".
    many: u64,
    /// Free ones that the library would find.
    usable: u64,
    /// Places past the end of the map that it would not find after growth.
    lost_to_growth: u64,
}

impl Tally {
    /// What the root's figure is worth. Released tools are wrong by leaks and by single blocks, so
    /// more than the map has places is damage, with which nothing could be calculated.
    fn correction(&self, root: &MapRoot) -> Result<Correction, Wrong> {
        if root.allocated.abs_diff(self.used) > root.blocks {
            return Err(Wrong::Index);
        }
        let told = root.blocks.wrapping_sub(root.allocated);
        Ok(Correction::new(told, self.usable, self.lost_to_growth))
    }
}

/// One inspection.
struct Check<'a, D> {
    disk: &'a mut D,
    /// What the space map says of each metadata block.
    counts: Array<u32>,
    /// References found.
    refs: Array<u32>,
    /// What each block is used for; 0: nothing yet.
    tags: Array<u8>,
    todo: Array<Visit>,
    /// Leaves in `todo`, which are on top of all else.
    leaves: usize,
    /// Blocks to be read ahead, in order.
    ahead: Array<u64>,
    buffer: Array<u8>,
    /// The block that is in the buffer, and has been checked, and the checksum's exclusive-or.
    loaded: Option<(u64, u32)>,
    chunks: Chunks,
    findings: Findings,
}

type Outcome<T, D> = Result<T, Failure<<D as Disk>::Error>>;

fn damage<E>(block: u64, wrong: Wrong) -> Failure<E> {
    Failure::Damage { block, wrong }
}

fn push<T, E>(to: &mut Array<T>, value: T) -> Result<(), Failure<E>> {
    let at = to.len();
    if insert(to, at, value) {
        Ok(())
    } else {
        Err(Failure::NoMemory)
    }
}

/// Bitmaps that `n` counts need.
fn bitmaps_of(n: u64) -> u64 {
    n.div_ceil(BITMAP_ENTRIES)
}

impl<D: Disk> Check<'_, D> {
    /// Reads a block into the buffer, unless it is there already, and checks its number and checksum.
    fn load(&mut self, block: u64, xor: u32) -> Outcome<(), D> {
        if self.loaded == Some((block, xor)) {
            return Ok(());
        }
        self.loaded = None;
        let buffer = &mut self.buffer;
        self.disk
            .read(block, |bytes| {
                // By its length the compiler makes this one copy of memory.
                let parts = (buffer.first_chunk_mut(), bytes.first_chunk());
                if let (Some(to), Some(from)) = parts {
                    let (to, from): (&mut [u8; BLOCK_SIZE], &[u8; BLOCK_SIZE]) = (to, from);
                    *to = *from;
                }
            })
            .map_err(Failure::Read)?;
        self.findings.visited = self.findings.visited.saturating_add(1);
        if u64_at(&self.buffer, 8) != Some(block) {
            return Err(damage(block, Wrong::Number));
        }
        let sum = self.disk.checksum(self.buffer.get(4..).unwrap_or(&[]), xor);
        if u32_at(&self.buffer, 0) != Some(sum) {
            return Err(damage(block, Wrong::Checksum));
        }
        self.loaded = Some((block, xor));
        Ok(())
    }

    /// Notes a block that is to be read ahead.
    fn note_ahead(&mut self, block: u64) -> Outcome<(), D> {
        let at = self.ahead.partition_point(|b| *b < block);
        if self.ahead.get(at) == Some(&block) {
            return Ok(());
        }
        if insert(&mut self.ahead, at, block) {
            Ok(())
        } else {
            Err(Failure::NoMemory)
        }
    }

    /// The same, unless it has been read for a visit.
    fn note_unvisited(&mut self, block: u64) -> Outcome<(), D> {
        match self.tag(block) {
            Some(0) => self.note_ahead(block),
            _ => Ok(()),
        }
    }

    /// Starts to read the blocks in `ahead` that exist, neighbours in one go.
    fn read_ahead(&mut self) {
        let end = u64::try_from(self.counts.len()).unwrap_or(u64::MAX);
        let blocks = self.ahead.iter().copied().filter(|b| *b < end);
        for (first, end) in format::Runs::new(blocks) {
            let n = u32::try_from(end.saturating_sub(first)).unwrap_or(u32::MAX);
            self.disk.prefetch(first, n);
        }
        self.ahead.clear();
    }

    /// Reads ahead in a list of blocks, of which the one at `at` comes next.
    fn ahead_of<T>(
        &mut self,
        at: u64,
        list: &Array<T>,
        block: impl Fn(&T) -> u64,
    ) -> Outcome<(), D> {
        let Some(at) = usize::try_from(at).ok().filter(|at| at % AHEAD == 0) else {
            return Ok(());
        };
        // The first time for two steps, so that one is always under way.
        let from = if at == 0 { 0 } else { at.saturating_add(AHEAD) };
        let to = at.saturating_add(2 * AHEAD).min(list.len());
        for entry in list.get(from..to).unwrap_or(&[]) {
            // Snapshots share roots, which were visited before.
            self.note_unvisited(block(entry))?;
        }
        self.read_ahead();
        Ok(())
    }

    /// Runs `f` on the buffer.
    fn with_buffer<R>(&mut self, f: impl FnOnce(&mut Self, &[u8]) -> R) -> R {
        let buffer = core::mem::take(&mut self.buffer);
        let r = f(self, &buffer);
        self.buffer = buffer;
        r
    }

    /// What a block is used for, 0: nothing yet; `None`: there is no such block.
    fn tag(&self, block: u64) -> Option<u8> {
        let at = usize::try_from(block).ok()?;
        self.tags.get(at).copied()
    }

    /// The count of a block; `None`: there is no such block.
    fn count(&self, block: u64) -> Option<u32> {
        let at = usize::try_from(block).ok()?;
        self.counts.get(at).copied()
    }

    /// Notes a reference; whether it is the first.
    fn refer(&mut self, block: u64, kind: Kind, height: u8) -> Result<bool, Wrong> {
        let at = usize::try_from(block).map_err(|_| Wrong::Pointer)?;
        let (Some(count), Some(refs), Some(tag)) = (
            self.counts.get(at),
            self.refs.get_mut(at),
            self.tags.get_mut(at),
        ) else {
            return Err(Wrong::Pointer);
        };
        let wanted = kind.tag(height);
        if *tag != 0 && *tag != wanted {
            return Err(Wrong::Use);
        }
        let first = *tag == 0;
        *tag = wanted;
        *refs = refs.saturating_add(1);
        if *refs > *count {
            return Err(Wrong::Count);
        }
        Ok(first)
    }

    /// The same for what can have one reference only.
    fn own(&mut self, block: u64, kind: Kind) -> Outcome<(), D> {
        match self.refer(block, kind, 0) {
            Ok(true) => Ok(()),
            Ok(false) => Err(damage(block, Wrong::Use)),
            Err(wrong) => Err(damage(block, wrong)),
        }
    }

    /// The node in `block`, whose header is checked against what belongs there.
    fn node<'b>(
        &self,
        block: &'b [u8],
        kind: Kind,
        height: u8,
        root: bool,
    ) -> Result<Node<'b>, Wrong> {
        let field = |at| u32_at(block, at).ok_or(Wrong::Layout);
        let (flags, entries) = (field(4)?, field(16)?);
        let (room, size) = (field(20)?, field(24)?);
        let (want_flags, want_size) = if height > 0 {
            (INTERNAL, 8)
        } else {
            (LEAF, kind.value_size())
        };
        if flags != want_flags {
            return Err(Wrong::Height);
        }
        if usize::try_from(size) != Ok(want_size)
            || usize::try_from(room) != Ok(capacity(want_size))
        {
            return Err(Wrong::Layout);
        }
        if entries > room || (entries == 0 && !(root && height == 0)) {
            return Err(Wrong::Entries);
        }
        let entries = usize::try_from(entries).map_err(|_| Wrong::Entries)?;
        Node::new(block, entries, want_size).ok_or(Wrong::Layout)
    }

    /// How many levels are below a root, by its leftmost branch. The walk holds all others to it.
    fn height(&mut self, kind: Kind, root: u64) -> Outcome<u8, D> {
        let mut at = root;
        for height in 0..=HEIGHT_MAX {
            if self.count(at).is_none() {
                return Err(damage(at, Wrong::Pointer));
            }
            // A tree that was visited before is as high as it was then.
            if let Some(tag) = self.tag(at).filter(|t| *t != 0) {
                let below = tag & 15;
                if tag != kind.tag(below) {
                    return Err(damage(at, Wrong::Use));
                }
                // Tags tell heights up to the maximum alone, and so cycles.
                let height = height.saturating_add(below);
                if height > HEIGHT_MAX {
                    return Err(damage(root, Wrong::Height));
                }
                return Ok(height);
            }
            self.load(at, NODE_XOR)?;
            if u32_at(&self.buffer, 4) != Some(INTERNAL) {
                return Ok(height);
            }
            let first = NODE_HEADER + 8 * capacity(8);
            let next = u64_at(&self.buffer, first).ok_or(damage(at, Wrong::Layout))?;
            // The walk comes this way as well: what it wants is read while this reads on.
            let entries = u32_at(&self.buffer, 16).and_then(|n| usize::try_from(n).ok());
            for child in 0..entries.unwrap_or(0).min(capacity(8)) {
                if let Some(block) = u64_at(&self.buffer, first + 8 * child) {
                    self.note_unvisited(block)?;
                }
            }
            self.read_ahead();
            at = next;
        }
        Err(damage(root, Wrong::Height))
    }

    /// Visits the nodes of a tree that were not visited yet; `each` sees the leaves' entries.
    fn walk(
        &mut self,
        kind: Kind,
        root: u64,
        mut each: impl FnMut(&mut Self, u64, &[u8]) -> Result<(), Wrong>,
    ) -> Outcome<(), D> {
        let height = self.height(kind, root)?;
        let first = self.refer(root, kind, height);
        if !first.map_err(|wrong| damage(root, wrong))? {
            return Ok(());
        }
        let visit = Visit {
            block: root,
            low: 0,
            high: u64::MAX,
            height,
            root: true,
        };
        push(&mut self.todo, visit)?;
        while let Some(v) = self.todo.pop() {
            if v.height == 0 {
                self.leaves = self.leaves.saturating_sub(1);
            }
            self.visit(kind, &v, &mut each)?;
            if v.height <= 1 {
                self.keep_reading_ahead(kind, &mut each)?;
            }
        }
        Ok(())
    }

    /// Visits a node.
    fn visit(
        &mut self,
        kind: Kind,
        v: &Visit,
        each: &mut impl FnMut(&mut Self, u64, &[u8]) -> Result<(), Wrong>,
    ) -> Outcome<(), D> {
        self.load(v.block, NODE_XOR)?;
        self.with_buffer(|s, block| {
            let node = s.node(block, kind, v.height, v.root);
            let node = node.map_err(|wrong| damage(v.block, wrong))?;
            Self::keys(&node, v).map_err(|wrong| damage(v.block, wrong))?;
            if v.height > 0 {
                return s.children(&node, v, kind);
            }
            for (key, value) in node.keys().zip(node.values()) {
                each(s, key, value).map_err(|wrong| damage(v.block, wrong))?;
            }
            Ok(())
        })
    }

    /// When few leaves are left before the next node above leaves, visits that one, so that the disk has
    /// something to do meanwhile. Its leaves come after those that are left.
    fn keep_reading_ahead(
        &mut self,
        kind: Kind,
        each: &mut impl FnMut(&mut Self, u64, &[u8]) -> Result<(), Wrong>,
    ) -> Outcome<(), D> {
        let leaves = self.leaves;
        let at = self.todo.len().checked_sub(leaves.saturating_add(1));
        let at = at.filter(|_| leaves <= LEAVES_AHEAD);
        let Some(at) = at.filter(|at| self.todo.get(*at).is_some_and(|v| v.height == 1)) else {
            return Ok(());
        };
        let Some(v) = remove(&mut self.todo, at) else {
            return Ok(());
        };
        self.visit(kind, &v, each)?;
        if let Some(todo) = self.todo.get_mut(at..) {
            // There are so many at least.
            todo.rotate_left(leaves.min(todo.len()));
        }
        Ok(())
    }

    /// Keys ascend within the bounds.
    fn keys(node: &Node<'_>, v: &Visit) -> Result<(), Wrong> {
        let mut low = Some(v.low);
        for key in node.keys() {
            if low.is_none_or(|low| key < low) || key > v.high {
                return Err(Wrong::Keys);
            }
            low = key.checked_add(1);
        }
        Ok(())
    }

    /// Notes a node's references, and what is to be visited below, the leftmost first.
    fn children(&mut self, node: &Node<'_>, v: &Visit, kind: Kind) -> Outcome<(), D> {
        let height = v.height.saturating_sub(1);
        let begin = self.todo.len();
        let mut next = node.keys().skip(1);
        for (low, value) in node.keys().zip(node.values()) {
            let block = u64_at(value, 0).ok_or(damage(v.block, Wrong::Layout))?;
            let high = next.next().map_or(v.high, |key| key.saturating_sub(1));
            let first = self.refer(block, kind, height);
            if first.map_err(|wrong| damage(v.block, wrong))? {
                self.note_ahead(block)?;
                let visit = Visit {
                    block,
                    low,
                    high,
                    height,
                    root: false,
                };
                push(&mut self.todo, visit)?;
            }
        }
        if let Some(added) = self.todo.get_mut(begin..) {
            added.reverse();
            if height == 0 {
                self.leaves = self.leaves.saturating_add(added.len());
            }
        }
        self.read_ahead();
        Ok(())
    }

    /// Counts of a bitmap block's first `limit` places, which `each` sees, some at a time: the number of
    /// the first, and [`Word::counts`].
    fn bitmap(
        &mut self,
        entry: &IndexEntry,
        limit: u64,
        tally: &mut Tally,
        mut each: impl FnMut(&mut Self, u64, u64),
    ) -> Outcome<(), D> {
        self.load(entry.block, BITMAP_XOR)?;
        self.with_buffer(|s, block| {
            let (mut found, mut past) = (0u64, 0u64);
            let words = block.get(16..).unwrap_or(&[]).chunks_exact(8);
            let places = (0u64..).step_by(WORD_ENTRIES as usize);
            for (at, word) in places.zip(words) {
                let word = u64_at(word, 0).unwrap_or(0);
                let w = Word::new(word, at, limit, u64::from(entry.none_free_before));
                tally.used = tally.used.saturating_add(u64::from(w.used));
                tally.many = tally.many.saturating_add(u64::from(w.many));
                found = found.saturating_add(u64::from(w.free));
                past = past.saturating_add(u64::from(w.free_past));
                if w.counts != 0 {
                    each(s, at, w.counts);
                }
            }
            let usable = u64::from(entry.free).min(found);
            tally.usable = tally.usable.saturating_add(usable);
            let past = past.saturating_add(found);
            let gained = u64::from(entry.free).min(past).saturating_sub(usable);
            tally.lost_to_growth = tally
                .lost_to_growth
                .saturating_add((BITMAP_ENTRIES - limit).saturating_sub(gained));
        });
        Ok(())
    }

    /// The metadata space map: counts of all blocks.
    fn metadata_map(&mut self, root: &MapRoot) -> Outcome<(), D> {
        if self.count(root.bitmaps).is_none() {
            return Err(damage(root.bitmaps, Wrong::Pointer));
        }
        self.load(root.bitmaps, INDEX_XOR)?;
        let mut index = Array::new();
        for i in 0..bitmaps_of(root.blocks) {
            let at = usize::try_from(i).ok().and_then(|i| i.checked_mul(16));
            let entry = at
                .and_then(|at| bytes::<16>(&self.buffer, at.checked_add(16)?))
                .and_then(|v| IndexEntry::decode(&v))
                .ok_or(damage(root.bitmaps, Wrong::Index))?;
            if self.count(entry.block).is_none() {
                return Err(damage(root.bitmaps, Wrong::Pointer));
            }
            self.note_ahead(entry.block)?;
            push(&mut index, entry)?;
        }
        self.read_ahead();
        let mut tally = Tally::default();
        for (i, entry) in (0u64..).zip(index.iter()) {
            let first = i.saturating_mul(BITMAP_ENTRIES);
            let limit = root.blocks.saturating_sub(first).min(BITMAP_ENTRIES);
            self.bitmap(entry, limit, &mut tally, |s, at, mut counts| {
                let at = usize::try_from(first.saturating_add(at)).unwrap_or(usize::MAX);
                for c in s.counts.get_mut(at..).unwrap_or(&mut []) {
                    if counts == 0 {
                        return;
                    }
                    *c = (counts & 3) as u32;
                    counts >>= 2;
                }
            })?;
        }
        let correction = tally.correction(root);
        self.findings.metadata = correction.map_err(|wrong| damage(root.bitmaps, wrong))?;
        // Whoever is "three or more" so far has its count in this tree.
        self.own(format::SUPERBLOCK_LOCATION, Kind::Superblock)?;
        self.own(root.bitmaps, Kind::Index)?;
        for entry in index.iter() {
            self.own(entry.block, Kind::Bitmap)?;
        }
        let mut many = tally.many;
        self.walk(Kind::MetadataCounts, root.counts, |s, key, value| {
            let count = u32_at(value, 0).ok_or(Wrong::Layout)?;
            let at = usize::try_from(key).map_err(|_| Wrong::Overflow)?;
            let known = s.counts.get_mut(at).ok_or(Wrong::Overflow)?;
            if *known != 3 || !(3..=COUNT_MAX).contains(&count) {
                return Err(Wrong::Overflow);
            }
            *known = count;
            many = many.saturating_sub(1);
            Ok(())
        })?;
        if many != 0 {
            return Err(damage(root.counts, Wrong::Overflow));
        }
        Ok(())
    }

    /// The data space map: counts of all chunks.
    fn data_map(&mut self, root: &MapRoot) -> Outcome<(), D> {
        if root.blocks >= format::CHUNK_LIMIT {
            return Err(damage(format::SUPERBLOCK_LOCATION, Wrong::Size));
        }
        let wanted = bitmaps_of(root.blocks);
        let mut index: Array<IndexEntry> = Array::new();
        let mut memory = true;
        self.walk(Kind::DataIndex, root.bitmaps, |_, key, value| {
            let at = index.len();
            if u64::try_from(at) != Ok(key) || key >= wanted {
                return Err(Wrong::Index);
            }
            let entry = IndexEntry::decode(value).ok_or(Wrong::Layout)?;
            memory &= insert(&mut index, at, entry);
            Ok(())
        })?;
        if !memory {
            return Err(Failure::NoMemory);
        }
        if u64::try_from(index.len()) != Ok(wanted) {
            return Err(damage(root.bitmaps, Wrong::Index));
        }
        // Their number fits what is on the disk now.
        if !self.chunks.begin(root.blocks, root.blocks <= TALLY_MAX) {
            return Err(Failure::NoMemory);
        }
        let mut tally = Tally::default();
        for (i, entry) in (0u64..).zip(index.iter()) {
            self.ahead_of(i, &index, |e| e.block)?;
            self.own(entry.block, Kind::Bitmap)?;
            let first = i.saturating_mul(BITMAP_ENTRIES);
            let limit = root.blocks.saturating_sub(first).min(BITMAP_ENTRIES);
            self.bitmap(entry, limit, &mut tally, |s, at, counts| {
                s.chunks.set_counts(first.saturating_add(at), counts);
            })?;
        }
        let correction = tally.correction(root);
        self.findings.data = correction.map_err(|wrong| damage(root.bitmaps, wrong))?;
        let mut many = tally.many;
        self.walk(Kind::DataCounts, root.counts, |s, key, value| {
            let count = u32_at(value, 0).ok_or(Wrong::Layout)?;
            if key >= s.chunks.count
                || s.chunks.count_of(key) != 3
                || !(3..=COUNT_MAX).contains(&count)
            {
                return Err(Wrong::Overflow);
            }
            many = many.checked_sub(1).ok_or(Wrong::Overflow)?;
            Ok(())
        })?;
        if many != 0 {
            return Err(damage(root.counts, Wrong::Overflow));
        }
        Ok(())
    }

    /// The trees of details and of mappings that a superblock names.
    fn devices(&mut self, mappings: u64, details: u64) -> Outcome<(), D> {
        self.walk(Kind::Details, details, |s, _, value| {
            let value = bytes(value, 0).ok_or(Wrong::Layout)?;
            let d = Details::decode(&value).ok_or(Wrong::Layout)?;
            let time = d.creation_time.max(d.snapshotted_time);
            if time > format::TIME_MAX {
                return Err(Wrong::Time);
            }
            s.findings.time = s.findings.time.max(time);
            Ok(())
        })?;
        let mut roots = Array::new();
        let mut memory = true;
        self.walk(Kind::Devices, mappings, |_, _, value| {
            let root = u64_at(value, 0).ok_or(Wrong::Layout)?;
            let at = roots.len();
            memory &= insert(&mut roots, at, root);
            Ok(())
        })?;
        if !memory {
            return Err(Failure::NoMemory);
        }
        for (i, root) in (0u64..).zip(roots.iter()) {
            self.ahead_of(i, &roots, |root| *root)?;
            self.walk(Kind::Device, *root, |s, _, value| {
                let (chunk, time) = format::unpack(u64_at(value, 0).ok_or(Wrong::Layout)?);
                if chunk >= s.chunks.count {
                    return Err(Wrong::Chunk);
                }
                s.findings.time = s.findings.time.max(time);
                if !s.chunks.map(chunk) {
                    return Err(Wrong::ChunkCount);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The metadata snapshot and its trees.
    fn snapshot(&mut self, block: u64) -> Outcome<(), D> {
        self.own(block, Kind::Superblock)?;
        self.load(block, format::SUPERBLOCK_CSUM_XOR)?;
        let sb = self.with_buffer(|s, bytes| {
            let sum = s
                .disk
                .checksum(format::checksummed(bytes), format::SUPERBLOCK_CSUM_XOR);
            format::check(bytes, block, sum).ok()?;
            Superblock::decode(bytes)
        });
        let sb = sb.ok_or(damage(block, Wrong::Snapshot))?;
        self.devices(sb.mapping_root, sb.details_root)
    }
}

/// Whether the metadata on `disk` can be opened, whose superblock is `sb`.
pub(crate) fn check<D: Disk>(disk: &mut D, sb: &Superblock) -> Outcome<Findings, D> {
    let bad_size = damage(format::SUPERBLOCK_LOCATION, Wrong::Size);
    let (Some(metadata), Some(data)) = (
        MapRoot::decode(&sb.metadata_map),
        MapRoot::decode(&sb.data_map),
    ) else {
        return Err(bad_size);
    };
    // A device that has shrunk is refused later, as dm-thin does, unless blocks in use are gone.
    if metadata.blocks == 0 || metadata.blocks > MAX_BLOCKS {
        return Err(bad_size);
    }
    let n = usize::try_from(metadata.blocks).map_err(|_| Failure::NoMemory)?;
    let mut c = Check {
        disk,
        counts: array(n, |_| 0).ok_or(Failure::NoMemory)?,
        refs: array(n, |_| 0).ok_or(Failure::NoMemory)?,
        tags: array(n, |_| 0).ok_or(Failure::NoMemory)?,
        todo: Array::new(),
        leaves: 0,
        ahead: Array::new(),
        buffer: array(BLOCK_SIZE, |_| 0).ok_or(Failure::NoMemory)?,
        loaded: None,
        chunks: Chunks::none(),
        findings: Findings {
            time: sb.time,
            ..Findings::default()
        },
    };
    for root in [metadata.bitmaps, metadata.counts, data.bitmaps, data.counts]
        .into_iter()
        .chain([sb.mapping_root, sb.details_root])
    {
        c.note_ahead(root)?;
    }
    c.read_ahead();
    c.metadata_map(&metadata)?;
    c.data_map(&data)?;
    c.devices(sb.mapping_root, sb.details_root)?;
    if sb.held_root != 0 {
        c.snapshot(sb.held_root)?;
    }
    Ok(c.findings)
}

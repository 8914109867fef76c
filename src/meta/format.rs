// SPDX-License-Identifier: GPL-2.0

//! dm-thin's on-disk format, version 2: superblock, device details, mapping values.
//!
//! All integers are little endian. The superblock is block 0 of the metadata device; its
//! checksum covers the whole 4 KiB block after the checksum field, and encoding changes only
//! the named fields, so that whatever else the block holds (uuid, bytes after the last field)
//! stays as it was.
//!
//! Neighbours: `dm::pdata` computes checksums and moves blocks, `meta::Metadata` keeps the state
//! that these structures store. Pure: compiled by the kernel and by the host tests.

/// Bytes in a metadata block.
pub(crate) const BLOCK_SIZE: usize = 4096;
/// Sectors in a metadata block.
pub(crate) const BLOCK_SECTORS: u32 = 8;
/// Where the superblock is.
pub(crate) const SUPERBLOCK_LOCATION: u64 = 0;
/// Initial exclusive-or of the superblock's checksum.
pub(crate) const SUPERBLOCK_CSUM_XOR: u32 = 160_774;
/// What the superblock's magic field holds.
pub(crate) const MAGIC: u64 = 27_022_010;
/// The version that is written.
pub(crate) const VERSION: u32 = 2;
/// The oldest version with this layout.
pub(crate) const VERSION_OLDEST: u32 = 1;
/// Superblock flag: the metadata must be checked before it is written again.
pub(crate) const FLAG_NEEDS_CHECK: u32 = 1;
/// Bytes that a space map's root may take in the superblock.
pub(crate) const ROOT_SIZE: usize = 128;
/// Metadata blocks that the format can address: 255 index entries, each for a bitmap block of
/// `2^14 - 64` blocks (DM_SM_METADATA_MAX_BLOCKS, persistent-data/dm-space-map-metadata.h).
pub(crate) const MAX_BLOCKS: u64 = 255 * ((1 << 14) - 64);
/// The largest time stamp that a mapping value can carry.
pub(crate) const TIME_MAX: u32 = (1 << TIME_BITS) - 1;
/// The first chunk number that a mapping value cannot carry.
pub(crate) const CHUNK_LIMIT: u64 = 1 << (64 - TIME_BITS);

const TIME_BITS: u32 = 24;

/// A space map's root, as the superblock stores it.
pub(crate) type Root = [u8; ROOT_SIZE];

mod at {
    pub(super) const CSUM: usize = 0;
    pub(super) const FLAGS: usize = 4;
    pub(super) const LOCATION: usize = 8;
    pub(super) const MAGIC: usize = 32;
    pub(super) const VERSION: usize = 40;
    pub(super) const TIME: usize = 44;
    pub(super) const TRANSACTION_ID: usize = 48;
    pub(super) const HELD_ROOT: usize = 56;
    pub(super) const DATA_MAP: usize = 64;
    pub(super) const METADATA_MAP: usize = 192;
    pub(super) const MAPPING_ROOT: usize = 320;
    pub(super) const DETAILS_ROOT: usize = 328;
    pub(super) const CHUNK_SECTORS: usize = 336;
    pub(super) const BLOCK_SECTORS: usize = 340;
    pub(super) const BLOCKS: usize = 344;
    pub(super) const COMPAT: usize = 352;
    pub(super) const COMPAT_RO: usize = 356;
    pub(super) const INCOMPAT: usize = 360;
}

/// Where a space map's root has its bitmaps: their index, or the root of the tree of it.
pub(crate) fn bitmap_root(root: &Root) -> Option<u64> {
    u64_at(root, 16)
}

pub(super) fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(super) fn u32_at(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_le_bytes)
}

fn put(to: &mut [u8], at: usize, what: &[u8]) -> Option<()> {
    to.get_mut(at..at.checked_add(what.len())?)?
        .copy_from_slice(what);
    Some(())
}

/// The part of a block that its checksum covers.
pub(crate) fn checksummed(block: &[u8]) -> &[u8] {
    block.get(at::FLAGS..).unwrap_or(&[])
}

/// Why a block is not a superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The block carries another block's number.
    Location,
    /// The magic is not dm-thin's.
    Magic,
    /// The checksum does not fit the contents.
    Checksum,
}

/// Whether `block`, found at `location`, is a sound superblock; `checksum` is that of
/// [`checksummed`].
pub(crate) fn check(block: &[u8], location: u64, checksum: u32) -> Result<(), Fault> {
    if u64_at(block, at::MAGIC) != Some(MAGIC) {
        return Err(Fault::Magic);
    }
    if u64_at(block, at::LOCATION) != Some(location) {
        return Err(Fault::Location);
    }
    if u32_at(block, at::CSUM) != Some(checksum) {
        return Err(Fault::Checksum);
    }
    Ok(())
}

/// Writes the block's own number, which the checksum covers. `None` when `block` is too short.
pub(crate) fn set_location(block: &mut [u8], location: u64) -> Option<()> {
    put(block, at::LOCATION, &location.to_le_bytes())
}

/// Writes the checksum of [`checksummed`]. `None` when `block` is too short.
pub(crate) fn set_checksum(block: &mut [u8], checksum: u32) -> Option<()> {
    put(block, at::CSUM, &checksum.to_le_bytes())
}

/// Tells superblocks from each other: a hash of all but the block's number and checksum.
pub(crate) fn fingerprint(block: &[u8]) -> u64 {
    let fields = block.get(at::FLAGS..at::LOCATION).unwrap_or(&[]);
    let rest = block.get(at::LOCATION.saturating_add(8)..).unwrap_or(&[]);
    // FNV-1a.
    fields
        .iter()
        .chain(rest)
        .fold(0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Whether a block was never written.
pub(crate) fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|b| *b == 0)
}

/// The superblock's fields, but for its number and checksum, which belong to the block's I/O.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Superblock {
    pub(crate) flags: u32,
    pub(crate) version: u32,
    pub(crate) time: u32,
    pub(crate) transaction_id: u64,
    pub(crate) held_root: u64,
    pub(crate) data_map: Root,
    pub(crate) metadata_map: Root,
    pub(crate) mapping_root: u64,
    pub(crate) details_root: u64,
    /// Sectors in a chunk of the data device.
    pub(crate) chunk_sectors: u32,
    /// Sectors in a metadata block.
    pub(crate) block_sectors: u32,
    /// Size of the metadata device, in blocks, when it was formatted.
    pub(crate) blocks: u64,
    pub(crate) compat: u32,
    pub(crate) compat_ro: u32,
    pub(crate) incompat: u32,
}

impl Superblock {
    /// Reads the fields; `None` when `block` is too short. Says nothing about their soundness.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        Some(Self {
            flags: u32_at(block, at::FLAGS)?,
            version: u32_at(block, at::VERSION)?,
            time: u32_at(block, at::TIME)?,
            transaction_id: u64_at(block, at::TRANSACTION_ID)?,
            held_root: u64_at(block, at::HELD_ROOT)?,
            data_map: bytes(block, at::DATA_MAP)?,
            metadata_map: bytes(block, at::METADATA_MAP)?,
            mapping_root: u64_at(block, at::MAPPING_ROOT)?,
            details_root: u64_at(block, at::DETAILS_ROOT)?,
            chunk_sectors: u32_at(block, at::CHUNK_SECTORS)?,
            block_sectors: u32_at(block, at::BLOCK_SECTORS)?,
            blocks: u64_at(block, at::BLOCKS)?,
            compat: u32_at(block, at::COMPAT)?,
            compat_ro: u32_at(block, at::COMPAT_RO)?,
            incompat: u32_at(block, at::INCOMPAT)?,
        })
    }

    /// Writes all fields and the magic; other bytes stay. `None` when `block` is too short.
    pub(crate) fn encode(&self, block: &mut [u8]) -> Option<()> {
        put(block, at::MAGIC, &MAGIC.to_le_bytes())?;
        put(block, at::VERSION, &self.version.to_le_bytes())?;
        put(block, at::CHUNK_SECTORS, &self.chunk_sectors.to_le_bytes())?;
        put(block, at::BLOCK_SECTORS, &self.block_sectors.to_le_bytes())?;
        put(block, at::BLOCKS, &self.blocks.to_le_bytes())?;
        put(block, at::COMPAT, &self.compat.to_le_bytes())?;
        put(block, at::COMPAT_RO, &self.compat_ro.to_le_bytes())?;
        put(block, at::INCOMPAT, &self.incompat.to_le_bytes())?;
        self.changing()
            .encode(block, &self.data_map, &self.metadata_map)
    }

    /// The fields that a commit changes.
    pub(crate) fn changing(&self) -> Changing {
        Changing {
            flags: self.flags,
            time: self.time,
            transaction_id: self.transaction_id,
            held_root: self.held_root,
            mapping_root: self.mapping_root,
            details_root: self.details_root,
        }
    }
}

/// The superblock's fields that a transaction changes, besides the space maps' roots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Changing {
    pub(crate) flags: u32,
    /// The current time stamp: the number of snapshots ever taken.
    pub(crate) time: u32,
    pub(crate) transaction_id: u64,
    /// Block of the metadata snapshot's superblock; 0: none.
    pub(crate) held_root: u64,
    pub(crate) mapping_root: u64,
    pub(crate) details_root: u64,
}

impl Changing {
    /// Writes these fields and the roots; other bytes stay. `None` when `block` is too short.
    pub(crate) fn encode(&self, block: &mut [u8], data: &Root, metadata: &Root) -> Option<()> {
        put_flags(block, self.flags)?;
        put(block, at::TIME, &self.time.to_le_bytes())?;
        put(
            block,
            at::TRANSACTION_ID,
            &self.transaction_id.to_le_bytes(),
        )?;
        put(block, at::HELD_ROOT, &self.held_root.to_le_bytes())?;
        put_roots(block, data, metadata)?;
        put(block, at::MAPPING_ROOT, &self.mapping_root.to_le_bytes())?;
        put(block, at::DETAILS_ROOT, &self.details_root.to_le_bytes())
    }
}

/// Writes the flags alone. `None` when `block` is too short.
pub(crate) fn put_flags(block: &mut [u8], flags: u32) -> Option<()> {
    put(block, at::FLAGS, &flags.to_le_bytes())
}

/// Writes the space maps' roots alone. `None` when `block` is too short.
pub(crate) fn put_roots(block: &mut [u8], data: &Root, metadata: &Root) -> Option<()> {
    put(block, at::DATA_MAP, data)?;
    put(block, at::METADATA_MAP, metadata)
}

/// What the details tree holds of a thin device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Details {
    /// Entries of the device's mapping tree.
    pub(crate) mapped: u64,
    /// The pool's transaction id when the device was made.
    pub(crate) transaction_id: u64,
    /// The time stamp when the device was made.
    pub(crate) creation_time: u32,
    /// The time stamp of the last snapshot that the device took part in.
    pub(crate) snapshotted_time: u32,
}

impl Details {
    /// Bytes in the tree's value.
    pub(crate) const SIZE: usize = 24;

    /// From a value of the tree.
    pub(crate) fn decode(v: &[u8; Self::SIZE]) -> Option<Self> {
        Some(Self {
            mapped: u64_at(v, 0)?,
            transaction_id: u64_at(v, 8)?,
            creation_time: u32_at(v, 16)?,
            snapshotted_time: u32_at(v, 20)?,
        })
    }

    /// To a value of the tree.
    pub(crate) fn encode(&self) -> [u8; Self::SIZE] {
        let mut v = [0; Self::SIZE];
        let (mapped, rest) = v.split_at_mut(8);
        mapped.copy_from_slice(&self.mapped.to_le_bytes());
        let (id, times) = rest.split_at_mut(8);
        id.copy_from_slice(&self.transaction_id.to_le_bytes());
        let (created, snapshotted) = times.split_at_mut(4);
        created.copy_from_slice(&self.creation_time.to_le_bytes());
        snapshotted.copy_from_slice(&self.snapshotted_time.to_le_bytes());
        v
    }
}

/// A value of a mapping tree; `None` when chunk or time do not fit in it.
pub(crate) fn pack(chunk: u64, time: u32) -> Option<u64> {
    if chunk >= CHUNK_LIMIT || time > TIME_MAX {
        return None;
    }
    Some(chunk << TIME_BITS | u64::from(time))
}

/// Chunk and time of a mapping tree's value.
pub(crate) fn unpack(value: u64) -> (u64, u32) {
    // The mask leaves 24 bits.
    (value >> TIME_BITS, (value & u64::from(TIME_MAX)) as u32)
}

/// Joins chunks that follow one another into runs `[begin, end)`: reference counts are changed
/// a run at a time.
pub(crate) struct Runs<I> {
    chunks: I,
    next: Option<u64>,
}

impl<I: Iterator<Item = u64>> Runs<I> {
    pub(crate) fn new(mut chunks: I) -> Self {
        let next = chunks.next();
        Self { chunks, next }
    }
}

impl<I: Iterator<Item = u64>> Iterator for Runs<I> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let begin = self.next.take()?;
        let mut end = begin.saturating_add(1);
        for chunk in self.chunks.by_ref() {
            if chunk != end {
                self.next = Some(chunk);
                break;
            }
            end = end.saturating_add(1);
        }
        Some((begin, end))
    }
}

//! Metadata as bytes: what its blocks are, and how to damage them so that checksums hold.

use crate::rng::Rng;

pub const BLOCK: usize = 4096;
const NODE_XOR: u32 = 121_107;
const BITMAP_XOR: u32 = 240_779;
const INDEX_XOR: u32 = 160_478;
const SUPERBLOCK_XOR: u32 = 160_774;
const NODE_HEADER: usize = 32;
const BITMAP_ENTRIES: u64 = 16320;

/// What a block is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Superblock,
    Index,
    Bitmap,
    Node(Tree),
}

/// Which tree a node belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tree {
    DataIndex,
    MetadataCounts,
    DataCounts,
    Details,
    Devices,
    Device,
}

#[derive(Clone)]
pub struct Image {
    pub bytes: Vec<u8>,
    /// Blocks in use, each once.
    pub used: Vec<(u64, Kind)>,
}

fn crc_table() -> [u32; 256] {
    std::array::from_fn(|i| {
        (0..8).fold(i as u32, |c, _| {
            c >> 1 ^ (0x82f6_3b78 & 0u32.wrapping_sub(c & 1))
        })
    })
}

fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::OnceLock<[u32; 256]> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(crc_table);
    bytes.iter().fold(!0, |c, b| {
        c >> 8 ^ table[((c ^ u32::from(*b)) & 255) as usize]
    })
}

fn capacity(size: usize) -> usize {
    (BLOCK - NODE_HEADER) / (8 + size) / 3 * 3
}

impl Image {
    /// The image, with its used blocks found by walking it from the superblock.
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut image = Self {
            bytes,
            used: vec![(0, Kind::Superblock)],
        };
        let (data, metadata) = (64, 192);
        let index = image.u64(0, metadata + 16);
        image.note(index, Kind::Index);
        for i in 0..image.u64(0, metadata).div_ceil(BITMAP_ENTRIES) {
            let b = image.u64(index, 16 + 16 * i as usize);
            image.note(b, Kind::Bitmap);
        }
        let roots = [
            (Tree::MetadataCounts, metadata + 24),
            (Tree::DataIndex, data + 16),
            (Tree::DataCounts, data + 24),
            (Tree::Details, 328),
            (Tree::Devices, 320),
        ];
        for (tree, at) in roots {
            let root = image.u64(0, at);
            image.walk(root, tree);
        }
        let held = image.u64(0, 56);
        if held != 0 {
            image.note(held, Kind::Superblock);
            let (mappings, details) = (image.u64(held, 320), image.u64(held, 328));
            image.walk(details, Tree::Details);
            image.walk(mappings, Tree::Devices);
        }
        image
    }

    pub fn blocks(&self) -> u64 {
        (self.bytes.len() / BLOCK) as u64
    }

    fn note(&mut self, block: u64, kind: Kind) -> bool {
        if block >= self.blocks() || self.used.iter().any(|u| u.0 == block) {
            return false;
        }
        self.used.push((block, kind));
        true
    }

    fn walk(&mut self, root: u64, tree: Tree) {
        if !self.note(root, Kind::Node(tree)) {
            return;
        }
        let internal = self.u32(root, 4) & 1 == 1;
        for i in 0..self.entries(root) {
            let at = self.value_at(root, i);
            if internal {
                let child = self.u64(root, at);
                self.walk(child, tree);
            } else if tree == Tree::Devices {
                let child = self.u64(root, at);
                self.walk(child, Tree::Device);
            } else if tree == Tree::DataIndex {
                let bitmap = self.u64(root, at);
                self.note(bitmap, Kind::Bitmap);
            }
        }
    }

    fn place(&self, block: u64, at: usize) -> usize {
        (block as usize * BLOCK + at.min(BLOCK)).min(self.bytes.len() - 8)
    }

    pub fn u64(&self, block: u64, at: usize) -> u64 {
        let p = self.place(block, at);
        u64::from_le_bytes(self.bytes[p..p + 8].try_into().unwrap_or_default())
    }

    fn u32(&self, block: u64, at: usize) -> u32 {
        self.u64(block, at) as u32
    }

    fn put64(&mut self, block: u64, at: usize, v: u64) {
        let p = self.place(block, at.min(BLOCK - 8));
        self.bytes[p..p + 8].copy_from_slice(&v.to_le_bytes());
    }

    fn put32(&mut self, block: u64, at: usize, v: u32) {
        let p = self.place(block, at.min(BLOCK - 4));
        self.bytes[p..p + 4].copy_from_slice(&v.to_le_bytes());
    }

    fn entries(&self, node: u64) -> usize {
        (self.u32(node, 16) as usize).min(capacity(4))
    }

    fn value_at(&self, node: u64, i: usize) -> usize {
        let (room, size) = (self.u32(node, 20) as usize, self.u32(node, 24) as usize);
        NODE_HEADER + 8 * room.min(508) + size.min(64) * i
    }

    /// Writes the block's number and the checksum that its kind has.
    fn seal(&mut self, block: u64, kind: Kind) {
        // A pointer that was damaged before may lead beyond the device: nothing is there.
        if block >= self.blocks() {
            return;
        }
        let xor = match kind {
            Kind::Superblock => SUPERBLOCK_XOR,
            Kind::Index => INDEX_XOR,
            Kind::Bitmap => BITMAP_XOR,
            Kind::Node(_) => NODE_XOR,
        };
        let begin = block as usize * BLOCK;
        let sum = crc32c(&self.bytes[begin + 4..begin + BLOCK]) ^ xor;
        self.bytes[begin..begin + 4].copy_from_slice(&sum.to_le_bytes());
    }

    fn pick(&self, rng: &mut Rng, wanted: impl Fn(Kind) -> bool) -> Option<(u64, Kind)> {
        let fitting: Vec<_> = self.used.iter().filter(|u| wanted(u.1)).copied().collect();
        (!fitting.is_empty()).then(|| *rng.pick(&fitting))
    }

    fn pick_node(&self, rng: &mut Rng) -> (u64, Kind) {
        // Every sort of tree as likely, whatever its size.
        let trees = [
            Tree::DataIndex,
            Tree::MetadataCounts,
            Tree::DataCounts,
            Tree::Details,
            Tree::Devices,
            Tree::Device,
        ];
        let tree = *rng.pick(&trees);
        self.pick(rng, |k| k == Kind::Node(tree))
            .unwrap_or((0, Kind::Superblock))
    }

    fn internal_node(&self, rng: &mut Rng) -> Option<(u64, Kind)> {
        let fitting: Vec<_> = self
            .used
            .iter()
            .filter(|u| matches!(u.1, Kind::Node(_)) && self.u32(u.0, 4) == 1)
            .copied()
            .collect();
        (!fitting.is_empty()).then(|| *rng.pick(&fitting))
    }

    /// A number that something may choke on.
    fn number(&self, rng: &mut Rng, old: u64) -> u64 {
        let n = self.blocks();
        match rng.below(24) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => 1 << 63,
            4 => u64::from(u32::MAX),
            5 => 1 << 32,
            6 => 1 << 24,
            7 => n,
            8 => n - 1,
            9 => n + 1,
            10 => old.wrapping_add(1),
            11 => old.wrapping_sub(1),
            12 => old ^ 1 << rng.below(64),
            13 => BITMAP_ENTRIES * rng.below(300) as u64,
            14 => BITMAP_ENTRIES * 255,
            15 => rng.next(),
            16 => 1 << rng.below(64),
            17 => (1 << 61) + rng.below(64) as u64,
            18 => old << 1,
            19 => rng.below(512) as u64,
            _ => rng.pick(&self.used).0,
        }
    }

    /// A block that nothing uses, from the end of the device.
    fn spare(&self, rng: &mut Rng) -> u64 {
        loop {
            let b = rng.below(self.blocks() as usize) as u64;
            if !self.used.iter().any(|u| u.0 == b) {
                return b;
            }
        }
    }

    /// Makes `block` an internal node of `n` entries that all lead to `child`.
    fn fake_internal(&mut self, block: u64, child: u64, n: usize) {
        let begin = block as usize * BLOCK;
        self.bytes[begin..begin + BLOCK].fill(0);
        self.put32(block, 4, 1);
        self.put64(block, 8, block);
        self.put32(block, 16, n as u32);
        self.put32(block, 20, capacity(8) as u32);
        self.put32(block, 24, 8);
        for i in 0..n {
            self.put64(block, NODE_HEADER + 8 * i, i as u64);
            let at = self.value_at(block, i);
            self.put64(block, at, child);
        }
        self.seal(block, Kind::Node(Tree::Device));
    }

    /// Sets the count of a metadata block in the space map's bitmap.
    fn set_count(&mut self, block: u64, count: u8) {
        let index = self.u64(0, 192 + 16);
        if index >= self.blocks() || block >= BITMAP_ENTRIES {
            return;
        }
        let bitmap = self.u64(index, 16);
        if bitmap >= self.blocks() {
            return;
        }
        self.set_bits(bitmap, block, count);
        self.seal(bitmap, Kind::Bitmap);
    }

    fn set_bits(&mut self, bitmap: u64, place: u64, count: u8) {
        let at = bitmap as usize * BLOCK + 16 + (place / 4) as usize;
        let shift = place % 4 * 2;
        let bits = (count & 1) << 1 | count >> 1 & 1;
        self.bytes[at] = self.bytes[at] & !(3 << shift) | bits << shift;
    }

    /// Where a tree is entered: a place in the superblock, or an entry of the tree of devices.
    fn set_root(&mut self, rng: &mut Rng, root: u64) -> String {
        if rng.one_in(2) {
            if let Some((b, k)) = self.pick(rng, |k| k == Kind::Node(Tree::Devices)) {
                let n = self.entries(b).max(1);
                let i = rng.below(n);
                let at = self.value_at(b, i);
                self.put64(b, at, root);
                self.seal(b, k);
                return format!("entry {i} of block {b}");
            }
        }
        let at = *rng.pick(&[320usize, 328, 64 + 16, 64 + 24, 192 + 24]);
        self.put64(0, at, root);
        self.seal(0, Kind::Superblock);
        format!("superblock byte {at}")
    }

    /// Damages one thing; says what.
    pub fn damage(&mut self, rng: &mut Rng, others: &[Image]) -> String {
        match rng.below(22) {
            0 => {
                let fields: [(usize, usize); 17] = [
                    (4, 4),
                    (8, 8),
                    (16, 8),
                    (32, 8),
                    (40, 4),
                    (44, 4),
                    (48, 8),
                    (56, 8),
                    (320, 8),
                    (328, 8),
                    (336, 4),
                    (340, 4),
                    (344, 8),
                    (352, 4),
                    (356, 4),
                    (360, 4),
                    (56, 8),
                ];
                let (at, size) = *rng.pick(&fields);
                let v = self.number(rng, self.u64(0, at));
                if size == 8 {
                    self.put64(0, at, v);
                } else {
                    self.put32(0, at, v as u32);
                }
                self.seal(0, Kind::Superblock);
                format!("superblock byte {at} = {v:#x}")
            }
            1 => {
                let at = *rng.pick(&[64usize, 192]) + 8 * rng.below(4);
                let v = self.number(rng, self.u64(0, at));
                self.put64(0, at, v);
                self.seal(0, Kind::Superblock);
                format!("space map root at {at} = {v:#x}")
            }
            2 => {
                let (b, k) = self.pick_node(rng);
                let at = *rng.pick(&[4usize, 16, 20, 24]);
                let old = u64::from(self.u32(b, at));
                let v = match rng.below(3) {
                    0 => self.number(rng, old),
                    1 => rng.below(600) as u64,
                    _ => rng.below(4) as u64,
                };
                self.put32(b, at, v as u32);
                self.seal(b, k);
                format!("{k:?} {b}: header byte {at} = {v:#x}")
            }
            3 => {
                // Sizes that the library's own check lets pass, with values beyond the block.
                let (b, k) = self.pick_node(rng);
                let size = rng.below(32);
                let room = (BLOCK - NODE_HEADER) / (8 + size);
                self.put32(b, 20, room as u32);
                self.put32(b, 24, size as u32);
                if rng.one_in(2) {
                    self.put32(b, 16, room as u32);
                }
                self.seal(b, k);
                format!("{k:?} {b}: {room} entries of {size} bytes")
            }
            4 => {
                let (b, k) = self.pick_node(rng);
                let n = self.entries(b).max(1);
                let (i, j) = (rng.below(n), rng.below(n));
                let (x, y) = (NODE_HEADER + 8 * i, NODE_HEADER + 8 * j);
                let (a, c) = (self.u64(b, x), self.u64(b, y));
                self.put64(b, x, c);
                if rng.one_in(2) {
                    self.put64(b, y, a);
                }
                self.seal(b, k);
                format!("{k:?} {b}: keys {i} and {j}")
            }
            5 => {
                let (b, k) = self.pick_node(rng);
                let i = rng.below(self.entries(b).max(1));
                let at = NODE_HEADER + 8 * i;
                let v = self.number(rng, self.u64(b, at));
                self.put64(b, at, v);
                self.seal(b, k);
                format!("{k:?} {b}: key {i} = {v:#x}")
            }
            6 | 7 => {
                let (b, k) = self.pick_node(rng);
                let i = rng.below(self.entries(b).max(1));
                let at = self.value_at(b, i);
                let v = self.number(rng, self.u64(b, at));
                self.put64(b, at, v);
                self.seal(b, k);
                format!("{k:?} {b}: value {i} = {v:#x}")
            }
            8 => {
                // A cycle: an internal node below itself.
                let Some((b, k)) = self.internal_node(rng) else {
                    return self.chain(rng);
                };
                let to = match rng.below(3) {
                    0 => b,
                    1 => self.u64(0, *rng.pick(&[320usize, 328, 80, 88, 216])),
                    _ => self.internal_node(rng).map_or(b, |n| n.0),
                };
                let n = self.entries(b).max(1);
                for i in 0..n {
                    if n == 1 || rng.one_in(3) {
                        let at = self.value_at(b, i);
                        self.put64(b, at, to);
                    }
                }
                self.seal(b, k);
                format!("{k:?} {b} leads to {to}")
            }
            9 => self.chain(rng),
            10 => {
                // Few blocks, very many ways through them.
                let levels = 2 + rng.below(7);
                let mut child = self.pick_node(rng).0;
                for _ in 0..levels {
                    let b = self.spare(rng);
                    self.fake_internal(b, child, capacity(8));
                    self.used.push((b, Kind::Node(Tree::Device)));
                    self.set_count(b, 1);
                    child = b;
                }
                let at = self.set_root(rng, child);
                format!("{levels} levels of 252 ways each, entered from {at}")
            }
            11 => {
                // A block that also pretends to be another one.
                let (from, kind) = *rng.pick(&self.used.clone());
                let to = if rng.one_in(2) {
                    self.spare(rng)
                } else {
                    rng.pick(&self.used).0
                };
                let at = from as usize * BLOCK;
                self.bytes.copy_within(at..at + BLOCK, to as usize * BLOCK);
                self.put64(to, 8, to);
                self.seal(to, kind);
                format!("{kind:?} {from} copied to {to}")
            }
            12 => {
                let (b, k) = *rng.pick(&self.used.clone());
                let flips = 1 + rng.below(16);
                for _ in 0..flips {
                    let at = b as usize * BLOCK + 4 + rng.below(BLOCK - 4);
                    self.bytes[at] ^= 1 << rng.below(8);
                }
                self.seal(b, k);
                format!("{flips} bits of {k:?} {b}")
            }
            13 => {
                let flips = 1 + rng.below(3);
                for _ in 0..flips {
                    let (b, _) = *rng.pick(&self.used.clone());
                    let at = b as usize * BLOCK + rng.below(BLOCK);
                    self.bytes[at] ^= 1 << rng.below(8);
                }
                format!("{flips} bits, checksums left")
            }
            14 => {
                let Some((b, k)) = self.pick(rng, |k| k == Kind::Bitmap) else {
                    return self.chain(rng);
                };
                let how = rng.below(4);
                match how {
                    0 | 1 => {
                        for _ in 0..1 + rng.below(4) {
                            let place = rng.below(2048) as u64;
                            let count = rng.below(4) as u8;
                            self.set_bits(b, place, count);
                        }
                    }
                    2 => self.bytes[b as usize * BLOCK + 16..][..BLOCK - 16].fill(0),
                    _ => self.bytes[b as usize * BLOCK + 16..][..BLOCK - 16].fill(0xff),
                }
                self.seal(b, k);
                format!("{k:?} {b}: counts ({how})")
            }
            15 => {
                // A used block that counts as free, or as shared.
                let (b, k) = *rng.pick(&self.used.clone());
                let count = rng.below(4) as u8;
                self.set_count(b, count);
                if rng.one_in(2) {
                    // And the figure that would give it away.
                    let v = self.u64(0, 200);
                    self.put64(0, 200, if count == 0 { v.wrapping_sub(1) } else { v });
                    self.seal(0, Kind::Superblock);
                }
                format!("{k:?} {b} counted {count} times")
            }
            16 => {
                // An entry of a space map's index.
                let index = self.u64(0, 192 + 16);
                let (b, at, k) = if rng.one_in(2) {
                    (index, 16, Kind::Index)
                } else {
                    let Some((b, k)) = self.pick(rng, |k| k == Kind::Node(Tree::DataIndex)) else {
                        return self.chain(rng);
                    };
                    (b, self.value_at(b, 0), k)
                };
                let v = self.number(rng, self.u64(b, at));
                match rng.below(3) {
                    0 => self.put64(b, at, v),
                    1 => self.put32(b, at + 8, v as u32),
                    _ => self.put32(b, at + 12, v as u32),
                }
                self.seal(b, k);
                format!("{k:?} {b}: index entry, {v:#x}")
            }
            17 => {
                let tree = *rng.pick(&[Tree::MetadataCounts, Tree::DataCounts]);
                let Some((b, k)) = self.pick(rng, |k| k == Kind::Node(tree)) else {
                    return self.chain(rng);
                };
                let i = rng.below(self.entries(b).max(1));
                let v = *rng.pick(&[0u32, 1, 2, 3, 4, 1 << 31, u32::MAX, u32::MAX - 1]);
                let at = self.value_at(b, i);
                self.put32(b, at, v);
                self.seal(b, k);
                format!("{k:?} {b}: count {i} = {v}")
            }
            18 => {
                // Mappings beyond the device, of another's chunks, of the future.
                let Some((b, k)) = self.pick(rng, |k| k == Kind::Node(Tree::Device)) else {
                    return self.chain(rng);
                };
                let i = rng.below(self.entries(b).max(1));
                let at = self.value_at(b, i);
                let old = self.u64(b, at);
                let v = match rng.below(6) {
                    0 => (rng.next() & 0xff_ffff_ffff) << 24,
                    1 => (2048 + rng.below(4) as u64) << 24,
                    2 => old | 0xff_ffff,
                    3 => old.wrapping_add(1 << 24),
                    4 => old.wrapping_add(1),
                    _ => u64::MAX,
                };
                self.put64(b, at, v);
                self.seal(b, k);
                format!("{k:?} {b}: mapping {i} = {v:#x}")
            }
            19 => {
                let Some((b, k)) = self.pick(rng, |k| k == Kind::Node(Tree::Details)) else {
                    return self.chain(rng);
                };
                let i = rng.below(self.entries(b).max(1));
                let at = self.value_at(b, i) + 8 * rng.below(3);
                let v = self.number(rng, self.u64(b, at));
                self.put64(b, at, v);
                self.seal(b, k);
                format!("{k:?} {b}: details {i} = {v:#x}")
            }
            20 => {
                // A block of another pool.
                let other = rng.pick(others);
                let (b, k) = *rng.pick(&other.used);
                let at = b as usize * BLOCK;
                self.bytes[at..at + BLOCK].copy_from_slice(&other.bytes[at..at + BLOCK]);
                format!("{k:?} {b} of another pool")
            }
            _ => {
                let (b, k) = *rng.pick(&self.used.clone());
                let fill = *rng.pick(&[0u8, 0xff, 0x55]);
                let at = b as usize * BLOCK;
                self.bytes[at + 16..at + BLOCK].fill(fill);
                self.seal(b, k);
                format!("{k:?} {b} filled with {fill:#x}")
            }
        }
    }

    /// A tree that is too deep, counted as if it were sound.
    fn chain(&mut self, rng: &mut Rng) -> String {
        let levels = 1 + rng.below(90);
        let mut child = self.pick_node(rng).0;
        for _ in 0..levels {
            let b = self.spare(rng);
            self.fake_internal(b, child, 1);
            self.used.push((b, Kind::Node(Tree::Device)));
            self.set_count(b, 1);
            child = b;
        }
        if rng.one_in(2) {
            let v = self.u64(0, 200).wrapping_add(levels as u64);
            self.put64(0, 200, v);
            self.seal(0, Kind::Superblock);
        }
        let at = self.set_root(rng, child);
        format!("{levels} levels above a node, entered from {at}")
    }
}

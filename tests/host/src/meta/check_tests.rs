// SPDX-License-Identifier: GPL-2.0

//! Metadata made from nothing: what is sound passes, and each kind of damage has its name.

use super::check::*;
use super::figures::Correction;
use super::format::{self, Superblock, BLOCK_SECTORS, BLOCK_SIZE, ROOT_SIZE, VERSION};
use proptest::prelude::*;
use std::sync::OnceLock;

const INDEX: u64 = 1;
const BITMAP: u64 = 2;
const METADATA_COUNTS: u64 = 3;
const DATA_INDEX: u64 = 4;
const DATA_BITMAP: u64 = 5;
const DATA_COUNTS: u64 = 6;
const DETAILS: u64 = 7;
const DEVICES: u64 = 8;
/// The root of device 0, with two leaves below; device 1 shares it.
const DEVICE: u64 = 9;
const LEAF_A: u64 = 10;
const LEAF_B: u64 = 11;
const USED: u64 = 12;
const BLOCKS: u64 = 64;
const CHUNKS: u64 = 500;
const TIME: u32 = 5;

fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: OnceLock<[u32; 256]> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        std::array::from_fn(|i| {
            (0..8).fold(i as u32, |c, _| {
                (c >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(c & 1))
            })
        })
    });
    bytes.iter().fold(!0, |crc, b| {
        crc >> 8 ^ table[((crc ^ u32::from(*b)) & 255) as usize]
    })
}

#[derive(Clone)]
struct Memory {
    bytes: Vec<u8>,
    reads: usize,
    /// What was read, in order, and how many runs had been read ahead by then.
    order: Vec<(u64, usize)>,
    /// Runs that were read ahead.
    ahead: Vec<(u64, u32)>,
}

impl Disk for Memory {
    type Error = ();
    fn read<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R, ()> {
        self.reads += 1;
        self.order.push((block, self.ahead.len()));
        let at = usize::try_from(block).map_err(|_| ())? * BLOCK_SIZE;
        self.bytes.get(at..at + BLOCK_SIZE).map(f).ok_or(())
    }
    fn prefetch(&mut self, first: u64, blocks: u32) {
        self.ahead.push((first, blocks));
    }
    fn checksum(&self, bytes: &[u8], xor: u32) -> u32 {
        crc32c(bytes) ^ xor
    }
}

impl Memory {
    fn block(&mut self, block: u64) -> &mut [u8] {
        &mut self.bytes[block as usize * BLOCK_SIZE..][..BLOCK_SIZE]
    }

    fn put(&mut self, block: u64, at: usize, v: &[u8]) {
        self.block(block)[at..at + v.len()].copy_from_slice(v);
    }

    fn seal(&mut self, block: u64, xor: u32) {
        self.put(block, 8, &block.to_le_bytes());
        let sum = crc32c(&self.block(block)[4..]) ^ xor;
        self.put(block, 0, &sum.to_le_bytes());
    }

    fn node(&mut self, block: u64, leaf: bool, size: usize, entries: &[(u64, Vec<u8>)]) {
        self.block(block).fill(0);
        let room = capacity(size);
        let flags: u32 = if leaf { 2 } else { 1 };
        let fields = [
            (4, flags),
            (16, entries.len() as u32),
            (20, room as u32),
            (24, size as u32),
        ];
        for (at, v) in fields {
            self.put(block, at, &v.to_le_bytes());
        }
        for (i, (key, value)) in entries.iter().enumerate() {
            self.put(block, 32 + 8 * i, &key.to_le_bytes());
            self.put(block, 32 + 8 * room + size * i, value);
        }
        self.seal(block, NODE_XOR);
    }

    fn set_bits(&mut self, bitmap: u64, place: u64, count: u8) {
        let bits = (count & 1) << 1 | count >> 1;
        let shift = place % 4 * 2;
        let at = 16 + (place / 4) as usize;
        let old = self.block(bitmap)[at];
        self.block(bitmap)[at] = old & !(3 << shift) | bits << shift;
        self.seal(bitmap, BITMAP_XOR);
    }
}

fn v64(v: u64) -> Vec<u8> {
    v.to_le_bytes().to_vec()
}

fn entry(block: u64, free: u32, none_free_before: u32) -> Vec<u8> {
    let mut v = v64(block);
    v.extend(free.to_le_bytes());
    v.extend(none_free_before.to_le_bytes());
    v
}

fn root(blocks: u64, allocated: u64, bitmaps: u64, counts: u64) -> format::Root {
    let mut r = [0; ROOT_SIZE];
    for (i, v) in [blocks, allocated, bitmaps, counts].iter().enumerate() {
        r[8 * i..8 * i + 8].copy_from_slice(&v.to_le_bytes());
    }
    r
}

fn mapping(chunk: u64, time: u32) -> Vec<u8> {
    v64(format::pack(chunk, time).unwrap())
}

/// Two devices that share 300 mappings; block 9 counts 2, and chunk 7 says 3 and is counted 4.
fn sound() -> (Memory, Superblock) {
    static MADE: OnceLock<(Memory, Superblock)> = OnceLock::new();
    MADE.get_or_init(make_sound).clone()
}

fn make_sound() -> (Memory, Superblock) {
    let mut m = Memory {
        bytes: vec![0; BLOCKS as usize * BLOCK_SIZE],
        reads: 0,
        order: Vec::new(),
        ahead: Vec::new(),
    };
    m.put(INDEX, 16, &entry(BITMAP, 16320 - USED as u32, 0));
    m.seal(INDEX, INDEX_XOR);
    for b in 0..USED {
        m.set_bits(BITMAP, b, if b == DEVICE { 2 } else { 1 });
    }
    m.node(METADATA_COUNTS, true, 4, &[]);
    m.node(
        DATA_INDEX,
        true,
        16,
        &[(0, entry(DATA_BITMAP, 16320 - 300, 300))],
    );
    for c in 0..300 {
        m.set_bits(DATA_BITMAP, c, if c == 7 { 3 } else { 1 });
    }
    m.node(DATA_COUNTS, true, 4, &[(7, 4u32.to_le_bytes().to_vec())]);
    let details = format::Details {
        mapped: 300,
        transaction_id: 0,
        creation_time: 1,
        snapshotted_time: TIME,
    };
    let both: Vec<_> = (0..2).map(|id| (id, details.encode().to_vec())).collect();
    m.node(DETAILS, true, 24, &both);
    m.node(DEVICES, true, 8, &[(0, v64(DEVICE)), (1, v64(DEVICE))]);
    m.node(DEVICE, false, 8, &[(0, v64(LEAF_A)), (1000, v64(LEAF_B))]);
    let leaf = |first: u64, chunk: u64| -> Vec<_> {
        (0..150)
            .map(|i| (first + i, mapping(chunk + i, 2)))
            .collect()
    };
    m.node(LEAF_A, true, 8, &leaf(3, 0));
    m.node(LEAF_B, true, 8, &leaf(1000, 150));
    let sb = Superblock {
        flags: 0,
        version: VERSION,
        time: TIME,
        transaction_id: 0,
        held_root: 0,
        data_map: root(CHUNKS, 300, DATA_INDEX, DATA_COUNTS),
        metadata_map: root(BLOCKS, USED, INDEX, METADATA_COUNTS),
        mapping_root: DEVICES,
        details_root: DETAILS,
        chunk_sectors: 128,
        block_sectors: BLOCK_SECTORS,
        blocks: BLOCKS,
        compat: 0,
        compat_ro: 0,
        incompat: 0,
    };
    (m, sb)
}

/// What is wrong after `f` has been at it.
fn wrong(f: impl FnOnce(&mut Memory, &mut Superblock)) -> Wrong {
    let (mut m, mut sb) = sound();
    f(&mut m, &mut sb);
    match check(&mut m, &sb) {
        Err(Failure::Damage { wrong, .. }) => wrong,
        other => panic!("expected damage, got {other:?}"),
    }
}

#[test]
fn sound_metadata_passes() {
    let (mut m, sb) = sound();
    let found = check(&mut m, &sb).unwrap();
    assert_eq!(found.metadata, Correction::default());
    assert_eq!(found.data, Correction::default());
    assert_eq!(found.time, TIME);
}

#[test]
fn a_node_that_leads_to_itself_is_found() {
    assert_eq!(
        wrong(|m, _| m.node(DEVICE, false, 8, &[(0, v64(DEVICE))])),
        Wrong::Height
    );
    assert_eq!(
        wrong(|m, _| m.node(DEVICE, false, 8, &[(0, v64(LEAF_A)), (1000, v64(DEVICE))])),
        Wrong::Use
    );
}

#[test]
fn a_tree_that_is_too_deep_is_found() {
    let deep = wrong(|m, sb| {
        let mut child = LEAF_A;
        for b in 20..20 + u64::from(HEIGHT_MAX) + 1 {
            m.node(b, false, 8, &[(0, v64(child))]);
            m.set_bits(BITMAP, b, 1);
            child = b;
        }
        sb.metadata_map = root(
            BLOCKS,
            USED + u64::from(HEIGHT_MAX) + 1,
            INDEX,
            METADATA_COUNTS,
        );
        m.node(DEVICES, true, 8, &[(0, v64(child))]);
    });
    assert_eq!(deep, Wrong::Height);
}

#[test]
fn a_tree_that_is_too_deep_over_one_that_is_not_is_found() {
    let deep = wrong(|m, sb| {
        let top = 20 + u64::from(HEIGHT_MAX);
        let mut child = LEAF_A;
        for b in 20..=top {
            m.node(b, false, 8, &[(0, v64(child))]);
            m.set_bits(BITMAP, b, 1);
            child = b;
        }
        // The first device's tree is as high as may be; the second one's root is above it.
        m.set_bits(BITMAP, top - 1, 2);
        let used = USED + u64::from(HEIGHT_MAX) + 1;
        sb.metadata_map = root(BLOCKS, used, INDEX, METADATA_COUNTS);
        m.node(DEVICES, true, 8, &[(0, v64(top - 1)), (1, v64(top))]);
    });
    assert_eq!(deep, Wrong::Height);
}

#[test]
fn leaves_at_different_heights_are_found() {
    let uneven = wrong(|m, sb| {
        m.node(20, false, 8, &[(1000, v64(LEAF_B))]);
        m.set_bits(BITMAP, 20, 1);
        sb.metadata_map = root(BLOCKS, USED + 1, INDEX, METADATA_COUNTS);
        m.node(DEVICE, false, 8, &[(0, v64(LEAF_A)), (1000, v64(20))]);
    });
    assert_eq!(uneven, Wrong::Height);
}

#[test]
fn more_ways_to_a_block_than_are_counted_are_found() {
    let ways: Vec<_> = (0..252).map(|i| (i, v64(LEAF_A))).collect();
    assert_eq!(wrong(|m, _| m.node(DEVICE, false, 8, &ways)), Wrong::Count);
}

#[test]
fn a_block_that_counts_as_free_is_found() {
    for b in [DETAILS, DEVICES, LEAF_B, DATA_COUNTS, DATA_BITMAP, INDEX, 0] {
        let freed = wrong(|m, sb| {
            m.set_bits(BITMAP, b, 0);
            sb.metadata_map = root(BLOCKS, USED - 1, INDEX, METADATA_COUNTS);
        });
        assert_eq!(freed, Wrong::Count, "block {b}");
    }
}

#[test]
fn one_block_in_two_trees_is_found() {
    assert_eq!(
        wrong(|m, sb| {
            m.set_bits(BITMAP, DATA_COUNTS, 2);
            sb.details_root = DATA_COUNTS;
        }),
        Wrong::Use
    );
}

#[test]
fn pointers_out_of_the_device_are_found() {
    for to in [BLOCKS, 1 << 24, 1 << 61, u64::MAX] {
        assert_eq!(
            wrong(|m, _| m.node(DEVICE, false, 8, &[(0, v64(LEAF_A)), (1000, v64(to))])),
            Wrong::Pointer
        );
        assert_eq!(wrong(|_, sb| sb.mapping_root = to), Wrong::Pointer);
        assert_eq!(
            wrong(|_, sb| sb.metadata_map = root(BLOCKS, USED, to, METADATA_COUNTS)),
            Wrong::Pointer
        );
    }
}

#[test]
fn a_value_size_that_is_not_the_trees_is_found() {
    assert_eq!(
        wrong(|m, _| {
            m.put(LEAF_A, 24, &0u32.to_le_bytes());
            m.put(LEAF_A, 20, &508u32.to_le_bytes());
            m.seal(LEAF_A, NODE_XOR);
        }),
        Wrong::Layout
    );
}

#[test]
fn keys_in_disorder_or_out_of_bounds_are_found() {
    assert_eq!(
        wrong(|m, _| m.node(LEAF_A, true, 8, &[(5, mapping(0, 0)), (5, mapping(1, 0))])),
        Wrong::Keys
    );
    assert_eq!(
        wrong(|m, _| m.node(LEAF_A, true, 8, &[(1000, mapping(0, 0))])),
        Wrong::Keys
    );
}

#[test]
fn mappings_that_cannot_be_are_found() {
    let leaf = |chunk, time| {
        move |m: &mut Memory, _: &mut Superblock| {
            m.node(LEAF_A, true, 8, &[(5, mapping(chunk, time))]);
        }
    };
    assert_eq!(wrong(leaf(CHUNKS, 0)), Wrong::Chunk);
    let time = |m: &mut Memory, _: &mut Superblock| {
        let details = format::Details {
            snapshotted_time: format::TIME_MAX + 1,
            ..format::Details::default()
        };
        m.node(DETAILS, true, 24, &[(0, details.encode().to_vec())]);
    };
    assert_eq!(wrong(time), Wrong::Time);
    // Counted by nobody, and mapped twice with a count of one.
    assert_eq!(wrong(leaf(400, 0)), Wrong::ChunkCount);
    assert_eq!(wrong(leaf(150, 0)), Wrong::ChunkCount);
}

#[test]
fn wrong_space_map_figures_are_found() {
    assert_eq!(
        wrong(|_, sb| sb.metadata_map = root(BLOCKS, USED + BLOCKS + 1, INDEX, METADATA_COUNTS)),
        Wrong::Index
    );
    assert_eq!(
        wrong(|_, sb| sb.data_map = root(1 << 39, 300, DATA_INDEX, DATA_COUNTS)),
        Wrong::Index
    );
    assert_eq!(
        wrong(|_, sb| sb.metadata_map = root(format::MAX_BLOCKS + 1, USED, INDEX, METADATA_COUNTS)),
        Wrong::Size
    );
    assert_eq!(
        wrong(|m, _| m.node(DATA_COUNTS, true, 4, &[])),
        Wrong::Overflow
    );
    assert_eq!(
        wrong(|m, _| m.node(DATA_COUNTS, true, 4, &[(7, 2u32.to_le_bytes().to_vec())])),
        Wrong::Overflow
    );
}

#[test]
fn blocks_that_the_index_hides_are_told() {
    let (mut m, sb) = sound();
    m.put(INDEX, 16, &entry(BITMAP, 10, 0));
    m.seal(INDEX, INDEX_XOR);
    let found = check(&mut m, &sb).unwrap().metadata;
    assert_eq!(found.free(BLOCKS - USED, BLOCKS), 10);
}

#[test]
fn counts_that_thin_check_does_not_compare_are_no_damage() {
    let (mut m, sound) = sound();
    // thin_restore 0.9.0 counts one too many; thin_check frees leaks and leaves the figures.
    for (metadata, data) in [(USED + 1, 300), (USED, 320), (USED - 3, 290)] {
        let mut sb = sound.clone();
        sb.metadata_map = root(BLOCKS, metadata, INDEX, METADATA_COUNTS);
        sb.data_map = root(CHUNKS, data, DATA_INDEX, DATA_COUNTS);
        let found = check(&mut m, &sb).unwrap();
        assert_eq!(
            found.metadata.free(BLOCKS - metadata, BLOCKS),
            BLOCKS - USED
        );
        assert_eq!(found.data.free(CHUNKS - data, CHUNKS), CHUNKS - 300);
    }
}

#[test]
fn growth_past_what_the_index_says_is_told() {
    let (mut m, sb) = sound();
    // As thin_restore 0.9.0 writes it: without the places past the map's end.
    m.put(INDEX, 16, &entry(BITMAP, (BLOCKS - USED) as u32, 0));
    m.seal(INDEX, INDEX_XOR);
    let mut found = check(&mut m, &sb).unwrap().metadata;
    assert_eq!(found.free(BLOCKS - USED, BLOCKS), BLOCKS - USED);
    found.grown(100);
    assert_eq!(found.free(BLOCKS - USED + 100, BLOCKS + 100), BLOCKS - USED);
    // Places past the end that look used are lost, too.
    let (mut m, sb) = super::check_tests::sound();
    m.set_bits(BITMAP, BLOCKS + 5, 1);
    let mut found = check(&mut m, &sb).unwrap().metadata;
    found.grown(100);
    assert_eq!(
        found.free(BLOCKS - USED + 100, BLOCKS + 100),
        BLOCKS - USED + 99
    );
}

#[test]
fn a_clock_behind_its_devices_is_told() {
    let (mut m, mut sb) = sound();
    sb.time = 0;
    assert_eq!(check(&mut m, &sb).unwrap().time, TIME);
    m.node(LEAF_A, true, 8, &[(5, mapping(0, TIME + 1))]);
    assert_eq!(check(&mut m, &sb).unwrap().time, TIME + 1);
}

#[test]
fn neighbours_are_read_ahead_in_one_go() {
    let (mut m, sb) = sound();
    check(&mut m, &sb).unwrap();
    assert!(m.ahead.contains(&(LEAF_A, 2)), "{:?}", m.ahead);
}

/// One device with a tree of three levels: a root, three nodes, and below each of them `n` leaves.
fn with_three_levels(n: u64) -> (Memory, Superblock) {
    let (mut m, mut sb) = sound();
    let last = USED + 3 + 3 * n;
    m.bytes.resize(last as usize * BLOCK_SIZE, 0);
    sb.metadata_map = root(last, last, INDEX, METADATA_COUNTS);
    m.put(INDEX, 16, &entry(BITMAP, 0, 0));
    m.seal(INDEX, INDEX_XOR);
    for b in 0..last {
        m.set_bits(BITMAP, b, 1);
    }
    m.node(DEVICES, true, 8, &[(0, v64(DEVICE))]);
    let children: Vec<_> = (0..3).map(|i| (i * n, v64(USED + i))).collect();
    m.node(DEVICE, false, 8, &children);
    for i in 0..3 {
        let leaf = |k: u64| (i * n + k, v64(USED + 3 + i * n + k));
        m.node(USED + i, false, 8, &(0..n).map(leaf).collect::<Vec<_>>());
        for k in 0..n {
            let (key, block) = leaf(k);
            let block = u64::from_le_bytes(block.try_into().unwrap());
            m.node(block, true, 8, &[(key, mapping(key % 300, 2))]);
        }
    }
    // Chunks are mapped more than once.
    for c in 0..300 {
        m.set_bits(DATA_BITMAP, c, 3);
    }
    let counts: Vec<_> = (0..200).map(|c| (c, 9u32.to_le_bytes().to_vec())).collect();
    m.node(DATA_COUNTS, true, 4, &counts);
    for c in 200..300 {
        m.set_bits(DATA_BITMAP, c, 2);
    }
    (m, sb)
}

#[test]
fn the_disk_is_never_without_something_to_read() {
    let n = 60;
    let (mut m, sb) = with_three_levels(n);
    check(&mut m, &sb).unwrap();
    let first_leaf = USED + 3;
    for (block, runs) in m.order.iter().filter(|(b, _)| *b >= first_leaf) {
        let begun = |b: u64| {
            let mut begun = m.ahead[..*runs].iter();
            begun.any(|(first, n)| (*first..first + u64::from(*n)).contains(&b))
        };
        assert!(begun(*block), "{block} is not read ahead");
        // Before a leaf is waited for, so are the leaves of the next node, where there is one.
        let next = first_leaf + ((block - first_leaf) / n + 1) * n;
        let there = next < first_leaf + 3 * n;
        // The first leaf shows how high the tree is.
        assert!(
            !there || *block == first_leaf || begun(next),
            "{next} is not"
        );
    }
    let mut blocks: Vec<_> = m.order.iter().map(|(b, _)| *b).collect();
    let reads = blocks.len();
    blocks.sort_unstable();
    blocks.dedup();
    // A second time only what has shown the height.
    assert!(reads <= blocks.len() + 3, "{reads} of {}", blocks.len());
}

proptest! {
    /// Whatever happens to whichever block, with its checksum right: an answer, after a number of
    /// reads that is bounded by the device's size.
    #[test]
    fn any_damage_ends_in_an_answer(
        block in 1..USED,
        at in 4..BLOCK_SIZE - 8,
        value in any::<u64>(),
        small in any::<bool>(),
    ) {
        let (mut m, sb) = sound();
        let value = if small { value % BLOCKS } else { value };
        m.put(block, at, &value.to_le_bytes());
        let xor = match block {
            INDEX => INDEX_XOR,
            BITMAP | DATA_BITMAP => BITMAP_XOR,
            _ => NODE_XOR,
        };
        m.seal(block, xor);
        let _ = check(&mut m, &sb);
        prop_assert!(m.reads <= 4 * BLOCKS as usize);
    }
}

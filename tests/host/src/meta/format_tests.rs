// SPDX-License-Identifier: GPL-2.0

//! The on-disk format: fields where dm-thin has them, and nothing else touched.

use super::format::*;
use proptest::prelude::*;

/// The library's checksum: CRC-32C (reflected, all ones first, no final inversion).
fn checksum(block: &[u8]) -> u32 {
    let crc = checksummed(block).iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| {
            (c >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(c & 1))
        })
    });
    crc ^ SUPERBLOCK_CSUM_XOR
}

fn example() -> Superblock {
    Superblock {
        flags: FLAG_NEEDS_CHECK,
        version: VERSION,
        time: 0x0102_0304,
        transaction_id: 7,
        held_root: 11,
        data_map: [0xd1; ROOT_SIZE],
        metadata_map: [0x3e; ROOT_SIZE],
        mapping_root: 0x1122_3344_5566_7788,
        details_root: 9,
        chunk_sectors: 128,
        block_sectors: BLOCK_SECTORS,
        blocks: 8192,
        compat: 1,
        compat_ro: 2,
        incompat: 4,
    }
}

#[test]
fn fields_are_where_dm_thin_has_them() {
    let mut block = vec![0; BLOCK_SIZE];
    example().encode(&mut block).unwrap();
    // thin_disk_superblock, drivers/md/dm-thin-metadata.c
    assert_eq!(block[4..8], 1u32.to_le_bytes());
    assert_eq!(block[32..40], MAGIC.to_le_bytes());
    assert_eq!(block[40..44], 2u32.to_le_bytes());
    assert_eq!(block[44..48], 0x0102_0304u32.to_le_bytes());
    assert_eq!(block[48..56], 7u64.to_le_bytes());
    assert_eq!(block[56..64], 11u64.to_le_bytes());
    assert_eq!(block[64..192], [0xd1; 128]);
    assert_eq!(block[192..320], [0x3e; 128]);
    assert_eq!(block[320..328], 0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(block[328..336], 9u64.to_le_bytes());
    assert_eq!(block[336..340], 128u32.to_le_bytes());
    assert_eq!(block[340..344], 8u32.to_le_bytes());
    assert_eq!(block[344..352], 8192u64.to_le_bytes());
    assert_eq!(block[352..364], [1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0]);
    assert!(is_zero(&block[364..]));
}

#[test]
fn superblock_survives_the_disk() {
    let mut block = vec![0; BLOCK_SIZE];
    example().encode(&mut block).unwrap();
    assert_eq!(Superblock::decode(&block), Some(example()));
}

#[test]
fn encoding_leaves_other_bytes_alone() {
    let mut block = vec![0xa5; BLOCK_SIZE];
    example().encode(&mut block).unwrap();
    assert_eq!(block[0..4], [0xa5; 4]);
    assert_eq!(block[8..32], [0xa5; 24]);
    assert!(block[364..].iter().all(|b| *b == 0xa5));
}

#[test]
fn a_commit_changes_its_fields_only() {
    let mut block = vec![0xa5; BLOCK_SIZE];
    example()
        .changing()
        .encode(&mut block, &[1; ROOT_SIZE], &[2; ROOT_SIZE])
        .unwrap();
    assert_eq!(block[32..44], [0xa5; 12]);
    assert!(block[336..].iter().all(|b| *b == 0xa5));
    assert_eq!(block[64..192], [1; 128]);
    assert_eq!(block[192..320], [2; 128]);
}

#[test]
fn faults_are_told_apart() {
    let mut block = vec![0; BLOCK_SIZE];
    assert_eq!(check(&block, 0, checksum(&block)), Err(Fault::Magic));
    example().encode(&mut block).unwrap();
    set_location(&mut block, 3).unwrap();
    let sum = checksum(&block);
    set_checksum(&mut block, sum).unwrap();
    assert_eq!(check(&block, 3, checksum(&block)), Ok(()));
    assert_eq!(check(&block, 0, checksum(&block)), Err(Fault::Location));
    block[4000] ^= 1;
    assert_eq!(check(&block, 3, checksum(&block)), Err(Fault::Checksum));
}

#[test]
fn short_blocks_are_refused() {
    let mut block = vec![0; 363];
    assert_eq!(Superblock::decode(&block), None);
    assert_eq!(example().encode(&mut block), None);
    assert_eq!(check(&block[..10], 0, 0), Err(Fault::Magic));
    assert_eq!(checksummed(&block[..2]), &[] as &[u8]);
}

#[test]
fn details_are_packed_like_dm_thins() {
    let d = Details {
        mapped: 1,
        transaction_id: 2,
        creation_time: 3,
        snapshotted_time: 4,
    };
    let v = d.encode();
    assert_eq!(v[0], 1);
    assert_eq!(v[8], 2);
    assert_eq!(v[16], 3);
    assert_eq!(v[20], 4);
    assert_eq!(Details::decode(&v), Some(d));
}

#[test]
fn what_does_not_fit_a_mapping_is_refused() {
    assert_eq!(pack(CHUNK_LIMIT, 0), None);
    assert_eq!(pack(0, TIME_MAX + 1), None);
    assert_eq!(pack(CHUNK_LIMIT - 1, TIME_MAX), Some(u64::MAX));
    assert_eq!(pack(5, 6), Some(5 << 24 | 6));
}

proptest! {
    #[test]
    fn mappings_unpack_to_what_was_packed(chunk in 0..CHUNK_LIMIT, time in 0..=TIME_MAX) {
        let v = pack(chunk, time).unwrap();
        prop_assert_eq!(unpack(v), (chunk, time));
    }

    #[test]
    fn runs_are_the_chunks_joined(chunks in prop::collection::vec(0u64..20, 0..60)) {
        let runs: Vec<_> = Runs::new(chunks.iter().copied()).collect();
        let flat: Vec<u64> = runs.iter().flat_map(|(b, e)| *b..*e).collect();
        prop_assert_eq!(&flat, &chunks);
        // As long as they can be.
        for pair in runs.windows(2) {
            prop_assert_ne!(pair[0].1, pair[1].0);
        }
    }
}

#[test]
fn superblocks_are_told_from_each_other() {
    let mut block = vec![0; BLOCK_SIZE];
    let before = fingerprint(&block);
    // What the block's I/O adds does not count.
    set_location(&mut block, 7).unwrap();
    set_checksum(&mut block, 1234).unwrap();
    assert_eq!(fingerprint(&block), before);
    put_flags(&mut block, 1).unwrap();
    assert_ne!(fingerprint(&block), before);
    put_flags(&mut block, 0).unwrap();
    block[BLOCK_SIZE - 1] = 1;
    assert_ne!(fingerprint(&block), before);
}

// SPDX-License-Identifier: GPL-2.0

//! The arguments of table lines and messages, as text in and values out.
//!
//! Pure: compiled by the kernel and by the host tests. Every refusal names what was wrong.

use crate::units::DevId;

/// Smallest chunk in sectors (64 KiB), and the step of chunk sizes (drivers/md/dm-thin.c).
pub(crate) const CHUNK_STEP_SECTORS: u64 = 128;
/// Largest chunk in sectors (1 GiB).
pub(crate) const CHUNK_MAX_SECTORS: u64 = 2 * 1024 * 1024;

/// Which set of names a pool was loaded under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    /// `drr-pool` and `drr`.
    Own,
    /// `thin-pool` and `thin`: table and status are dm-thin's to the letter.
    DropIn,
}

/// The feature arguments of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolFeatures {
    /// Fill the rest of a newly provisioned chunk with zeroes.
    pub(crate) zero_new_chunks: bool,
    pub(crate) discard: bool,
    pub(crate) discard_passdown: bool,
    pub(crate) read_only: bool,
    pub(crate) error_if_no_space: bool,
    /// `drr` or `no_drr`, where the table says one of them.
    pub(crate) drr: Option<bool>,
    /// Whether the table says `no_fine_cow`, which is also what happens without it.
    pub(crate) no_fine_cow: bool,
}

impl Default for PoolFeatures {
    fn default() -> Self {
        Self {
            zero_new_chunks: true,
            discard: true,
            discard_passdown: true,
            read_only: false,
            error_if_no_space: false,
            drr: None,
            no_fine_cow: false,
        }
    }
}

/// A pool's table line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolArgs<'a> {
    pub(crate) metadata: &'a str,
    pub(crate) data: &'a str,
    /// What is wrong with them is said after the devices have been opened, as dm-thin does.
    pub(crate) sizes: Result<Sizes, PoolArgsError>,
    pub(crate) features: PoolFeatures,
}

/// The numbers of a pool's table line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    pub(crate) chunk_sectors: u64,
    pub(crate) low_water_chunks: u64,
}

/// What is wrong with a pool's table line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PoolArgsError {
    Count,
    SameDevice,
    ChunkSize,
    LowWater,
    FeatureCount,
    Feature,
    OwnFeature,
    FineCow,
    DrrTwice,
}

/// Decimal digits only, an optional `+` before them, no overflow: what the kernel's kstrtoull
/// takes in base 10.
pub(crate) fn parse_u64(s: &str) -> Option<u64> {
    let digits = s.strip_prefix('+').unwrap_or(s);
    if digits.is_empty() {
        return None;
    }
    let mut v: u64 = 0;
    for b in digits.bytes() {
        let d = b.checked_sub(b'0').filter(|d| *d < 10)?;
        v = v.checked_mul(10)?.checked_add(u64::from(d))?;
    }
    Some(v)
}

/// Decimal digits only, as the kernel's sscanf takes them for `%u` (device-mapper reads the counts
/// of table lines so): 64 bits that stay at the largest value, of which the low half counts.
pub(crate) fn parse_count(s: &str) -> Option<u32> {
    if s.is_empty() {
        return None;
    }
    let mut v: u64 = 0;
    for b in s.bytes() {
        let d = b.checked_sub(b'0').filter(|d| *d < 10)?;
        v = v.saturating_mul(10).saturating_add(u64::from(d));
    }
    // The mask leaves 32 bits.
    Some((v & u64::from(u32::MAX)) as u32)
}

/// A thin device's id: 24 bits.
pub(crate) fn parse_dev_id(s: &str) -> Option<DevId> {
    let v = parse_u64(s)?;
    let v = u32::try_from(v).ok()?;
    (v <= DevId::MAX).then_some(DevId(v))
}

fn parse_features<'a>(
    mut rest: impl Iterator<Item = &'a str>,
    left: usize,
    names: Names,
) -> Result<PoolFeatures, PoolArgsError> {
    let mut f = PoolFeatures::default();
    let Some(count) = rest.next() else {
        return Ok(f);
    };
    let max = match names {
        Names::DropIn => 4,
        Names::Own => 7,
    };
    let count = parse_count(count)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n <= max && *n <= left)
        .ok_or(PoolArgsError::FeatureCount)?;
    for name in rest.take(count) {
        if name.eq_ignore_ascii_case("skip_block_zeroing") {
            f.zero_new_chunks = false;
        } else if name.eq_ignore_ascii_case("ignore_discard") {
            f.discard = false;
        } else if name.eq_ignore_ascii_case("no_discard_passdown") {
            f.discard_passdown = false;
        } else if name.eq_ignore_ascii_case("read_only") {
            f.read_only = true;
        } else if name.eq_ignore_ascii_case("error_if_no_space") {
            f.error_if_no_space = true;
        } else {
            let drr = name.eq_ignore_ascii_case("drr");
            let no_drr = name.eq_ignore_ascii_case("no_drr");
            let fine = name.eq_ignore_ascii_case("fine_cow");
            let no_fine = name.eq_ignore_ascii_case("no_fine_cow");
            if !(drr || no_drr || fine || no_fine) {
                return Err(PoolArgsError::Feature);
            }
            if names == Names::DropIn {
                return Err(PoolArgsError::OwnFeature);
            }
            if fine {
                return Err(PoolArgsError::FineCow);
            }
            if no_fine {
                f.no_fine_cow = true;
            } else if f.drr.replace(drr).is_some_and(|before| before != drr) {
                return Err(PoolArgsError::DrrTwice);
            }
        }
    }
    Ok(f)
}

/// Reads a pool's table line:
/// `<metadata dev> <data dev> <chunk sectors> <low water chunks> [<#features> [<feature>]*]`.
pub(crate) fn parse_pool<'a>(
    args: &[&'a str],
    names: Names,
) -> Result<PoolArgs<'a>, PoolArgsError> {
    let [metadata, data, chunk, low_water, rest @ ..] = args else {
        return Err(PoolArgsError::Count);
    };
    if metadata == data {
        return Err(PoolArgsError::SameDevice);
    }
    let features = parse_features(rest.iter().copied(), rest.len().saturating_sub(1), names)?;
    Ok(PoolArgs {
        metadata,
        data,
        sizes: parse_sizes(chunk, low_water),
        features,
    })
}

fn parse_sizes(chunk: &str, low_water: &str) -> Result<Sizes, PoolArgsError> {
    let chunk_sectors = parse_u64(chunk)
        .filter(|n| (CHUNK_STEP_SECTORS..=CHUNK_MAX_SECTORS).contains(n))
        .filter(|n| n & (CHUNK_STEP_SECTORS - 1) == 0)
        .ok_or(PoolArgsError::ChunkSize)?;
    let low_water_chunks = parse_u64(low_water).ok_or(PoolArgsError::LowWater)?;
    Ok(Sizes {
        chunk_sectors,
        low_water_chunks,
    })
}

/// Writes the feature arguments as a table shows them: count, then names, each with a space.
pub(crate) fn write_features(
    f: &PoolFeatures,
    out: &mut impl core::fmt::Write,
) -> core::fmt::Result {
    let shown = [
        (!f.zero_new_chunks, "skip_block_zeroing"),
        (!f.discard, "ignore_discard"),
        (!f.discard_passdown, "no_discard_passdown"),
        (f.read_only, "read_only"),
        (f.error_if_no_space, "error_if_no_space"),
        (f.drr == Some(true), "drr"),
        (f.drr == Some(false), "no_drr"),
        (f.no_fine_cow, "no_fine_cow"),
    ];
    write!(out, "{} ", shown.iter().filter(|(on, _)| *on).count())?;
    for (_, name) in shown.iter().filter(|(on, _)| *on) {
        write!(out, "{name} ")?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! The modes of a pool and what each allows.
//!
//! Pure: compiled by the kernel and by the host tests. The order is dm-thin's: later is worse.

/// How far a pool can be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mode {
    /// Everything.
    Write,
    /// No chunk is left: what is mapped can be read and written, discards give space back.
    OutOfDataSpace,
    /// No metadata block is left: as read-only.
    OutOfMetadataSpace,
    /// The metadata is not changed any more.
    ReadOnly,
    /// All I/O fails.
    Fail,
}

impl Mode {
    /// The mode stored as a number.
    pub(crate) fn from_u32(v: u32) -> Self {
        match v {
            0 => Self::Write,
            1 => Self::OutOfDataSpace,
            2 => Self::OutOfMetadataSpace,
            3 => Self::ReadOnly,
            _ => Self::Fail,
        }
    }

    /// The mode as a number.
    pub(crate) fn to_u32(self) -> u32 {
        match self {
            Self::Write => 0,
            Self::OutOfDataSpace => 1,
            Self::OutOfMetadataSpace => 2,
            Self::ReadOnly => 3,
            Self::Fail => 4,
        }
    }

    /// Whether metadata may be changed and committed.
    pub(crate) fn metadata_writable(self) -> bool {
        self < Self::OutOfMetadataSpace
    }

    /// The mode that a request for `wanted` leads to from here, when the metadata's needs_check
    /// flag is as told: failure is for ever, an unchecked pool is not written to, and running
    /// out of something does not make a worse mode better.
    pub(crate) fn transition(self, wanted: Self, needs_check: bool) -> Self {
        if self == Self::Fail {
            return Self::Fail;
        }
        match wanted {
            Self::Write if needs_check => Self::ReadOnly,
            Self::OutOfDataSpace | Self::OutOfMetadataSpace => self.max(wanted),
            _ => wanted,
        }
    }

    /// The word in a pool's status line (`Fail` is a line of its own).
    pub(crate) fn status_word(self) -> &'static str {
        match self {
            Self::Write => "rw",
            Self::OutOfDataSpace => "out_of_data_space",
            _ => "ro",
        }
    }

    /// The mode's name in the log.
    pub(crate) fn log_name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::OutOfDataSpace => "out-of-data-space",
            Self::OutOfMetadataSpace => "out-of-metadata-space",
            Self::ReadOnly => "read-only",
            Self::Fail => "fail",
        }
    }
}

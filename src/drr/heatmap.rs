// SPDX-License-Identifier: GPL-2.0

//! Who was served from whose memory: a layer's row of the heatmap.
//!
//! Each layer counts the pages and bytes that it was served, by source. A row has room for [`SOURCES`]
//! sources; what comes from others besides is counted together, as [`Row::other`].
//!
//! Locks: one interrupt-safe spinlock a row, taken once for the pages of a bio that have one source.
//! Nothing is allocated. Any context but NMI.
//!
//! Pure: compiled by the kernel and by the host tests.

use super::platform::IrqLock;

/// Sources that a row tells apart.
pub(crate) const SOURCES: usize = 16;

/// How much came from one source.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Heat {
    /// Serial of the source's layer; 0: the place is free.
    pub(crate) source: u64,
    pub(crate) pages: u64,
    pub(crate) bytes: u64,
}

impl Heat {
    fn add(&mut self, pages: u64, bytes: u64) {
        self.pages = self.pages.saturating_add(pages);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// A row, as it is at one moment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) heats: [Heat; SOURCES],
    /// What came from sources beyond these.
    pub(crate) other: Heat,
}

/// The row of one layer.
pub(crate) struct Heatmap {
    row: IrqLock<Row>,
}

impl Heatmap {
    pub(crate) fn new() -> Self {
        Self {
            row: IrqLock::new(Row::default()),
        }
    }

    /// That much came from the layer with that serial, which is not 0.
    pub(crate) fn served(&self, source: u64, pages: u64, bytes: u64) {
        self.row.with(|row| {
            let place = row
                .heats
                .iter_mut()
                .find(|h| h.source == source || h.source == 0);
            match place {
                Some(heat) => {
                    heat.source = source;
                    heat.add(pages, bytes);
                }
                None => row.other.add(pages, bytes),
            }
        });
    }

    /// The row as it is now.
    pub(crate) fn row(&self) -> Row {
        self.row.with(|row| *row)
    }

    /// Starts again from nothing.
    pub(crate) fn reset(&self) {
        self.row.with(|row| *row = Row::default());
    }
}

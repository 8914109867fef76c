// SPDX-License-Identifier: GPL-2.0

//! Chunks that earlier transactions have freed, until no I/O can still touch them.
//!
//! freed.rs explains the protocol, and has the filter. Neighbours: `meta::State`, which calls everything here under the
//! exclusive metadata lock; the epochs do not sleep under it. Also compiled by the models.

use crate::dm::{
    epoch::{Cookie, Epochs},
    pdata::FreedFilter,
};

/// Chunks freed by earlier transactions that I/O may still touch.
pub(crate) struct Recent {
    pending: FreedFilter,
    /// When this is past, `pending` is history.
    cookie: Option<Cookie>,
}

impl Recent {
    /// What `pending` contains, which is nothing.
    pub(crate) fn new(pending: FreedFilter) -> Self {
        Self {
            pending,
            cookie: None,
        }
    }

    /// Takes over what the transaction that has just been committed freed.
    pub(crate) fn committed(&mut self, filling: &mut FreedFilter, epochs: &Epochs) {
        self.expire(epochs);
        if !filling.is_empty() {
            self.pending.absorb(filling);
            self.cookie = Some(epochs.cookie());
        }
    }

    /// After an abort: any chunk may have been used by what is undone now.
    pub(crate) fn aborted(&mut self, filling: &mut FreedFilter, epochs: &Epochs) {
        filling.clear();
        self.pending.fill();
        self.cookie = Some(epochs.cookie());
    }

    fn expire(&mut self, epochs: &Epochs) {
        if self.cookie.is_some_and(|c| epochs.is_past(c)) {
            self.pending.clear();
            self.cookie = None;
        }
    }

    /// Whether I/O that looked `chunk` up before it was freed may still be under way.
    pub(crate) fn contains(&mut self, chunk: u64, epochs: &Epochs) -> bool {
        if !self.pending.contains(chunk) {
            return false;
        }
        self.expire(epochs);
        self.pending.contains(chunk)
    }
}

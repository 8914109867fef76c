// SPDX-License-Identifier: GPL-2.0

//! How much of something scarce each of many may have.
//!
//! Nobody may take one who has a quarter as many as are free, or more. So one who never gives back has
//! a fifth of all at most, and leaves four fifths of what was free to the next. The rule needs no list
//! of those who take part, and sets nothing aside for those who do not.
//!
//! Contexts: the lock is a leaf, for any context. Pure: compiled by the kernel and by the host tests.

use crate::drr::platform::IrqLock;

/// How many must be free for each that somebody has, and one more, to take another one.
const FREE_FOR_EACH: u32 = 4;

/// So many of something.
pub(crate) struct Quota {
    most: u32,
    used: IrqLock<u32>,
}

impl Quota {
    /// `most`, all of them free.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            used: IrqLock::new(0),
        }
    }

    /// How many more somebody may take who has `own` of them, if nobody else takes any.
    pub(crate) fn left_for(&self, own: u32) -> u32 {
        let free = self.most.saturating_sub(self.used.with(|used| *used));
        let above = free.saturating_sub(own.saturating_mul(FREE_FOR_EACH));
        // Each that is taken needs that many more, and is free no more.
        above.div_ceil(FREE_FOR_EACH.saturating_add(1))
    }

    /// Takes one for somebody who has `own` of them; `false`: nothing has been taken, at no time.
    #[must_use]
    pub(crate) fn take(&self, own: u32) -> bool {
        self.used.with(|used| {
            let may = own.saturating_mul(FREE_FOR_EACH) < self.most.saturating_sub(*used);
            if may {
                *used = used.saturating_add(1);
            }
            may
        })
    }

    /// Gives one back that was taken.
    pub(crate) fn give_back(&self) {
        self.used.with(|used| *used = used.saturating_sub(1));
    }
}

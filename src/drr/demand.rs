// SPDX-License-Identifier: GPL-2.0

//! Who wants copies to leave, and how many pages: the system, and memory control groups that are at limits
//! of their own.
//!
//! Asked in the middle of reclaim, answered by a worker later. So no more is asked for than the worker has before it,
//! up to a bound: reclaim that goes on asks again. A group of which nothing could leave is not
//! heard again for a while: its reclaim would have the whole table looked through each time.
//!
//! Each request begins a *lap*: the worker looks through the whole table once more before it gives up. A lap in which
//! nobody recorded anything leaves the table *barren*, if the system still wants something: until a record is
//! made nobody need ask. What is recorded during the lap may be behind the worker, so it counts as new. Copies that were
//! hot, mapped or locked can leave one day without a record, so that is true for a while only.
//!
//! Pure: compiled by the kernel and by the host tests.

use super::platform::IrqLock;
use core::sync::atomic::{AtomicU64, AtomicU8, Ordering};

/// Groups that are heard at the same time.
pub(crate) const GROUPS: usize = 8;
/// How long a group is not heard when nothing of it could leave, and how long a table is barren at most, in nanoseconds.
pub(crate) const QUIET_NS: u64 = 1_000_000_000;

/// Pages that the system, and that a group, can have asked for and not got yet: 256 MiB, and 4 MiB.
pub(crate) const MAX_FOR_ALL: usize = 65_536;
pub(crate) const MAX_FOR_GROUP: usize = 1024;

/// A memory control group's name: only compared. 0: none.
pub(crate) type Group = usize;

#[derive(Clone, Copy, Default)]
struct Asked {
    group: Group,
    pages: usize,
    quiet_until: u64,
}

impl Asked {
    /// Whether somebody else may have its place.
    fn is_free(&self, now_ns: u64) -> bool {
        self.pages == 0 && self.quiet_until <= now_ns
    }
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Pages that the system wants back.
    all: usize,
    groups: [Asked; GROUPS],
    /// Buckets that the lap has before it.
    ahead: usize,
}

/// Something has been recorded since the last lap began.
const FRESH: u8 = 0;
/// Nothing has, since the lap began that is under way.
const STALE: u8 = 1;
/// Nothing has, since the beginning of the lap that has ended, and what the system wanted was not there.
const BARREN: u8 = 2;

/// What is wanted of one pool.
pub(crate) struct Demand {
    state: IrqLock<State>,
    /// [`FRESH`] is set by anybody, the others under the lock of `state`. Sequentially consistent: a lap passes
    /// empty buckets over by the table's bits without their locks. So whoever records where the lap
    /// has been sees that it has begun.
    news: AtomicU8,
    /// The end of what [`BARREN`] says. Written under the lock of `state`, before that is.
    barren_until: AtomicU64,
    /// Of a lap.
    buckets: usize,
}

impl Demand {
    /// Of a table of that many buckets.
    pub(crate) fn new(buckets: usize) -> Self {
        Self {
            state: IrqLock::new(State::default()),
            news: AtomicU8::new(FRESH),
            barren_until: AtomicU64::new(0),
            buckets,
        }
    }

    /// A record has been made, which may tell of a copy: to be called afterwards. Any context but NMI.
    pub(crate) fn recorded(&self) {
        // Mostly it is there, and the line stays shared.
        if self.news.load(Ordering::SeqCst) != FRESH {
            self.news.store(FRESH, Ordering::SeqCst);
        }
    }

    /// Whether nothing can leave that anybody knows of: nothing could a moment ago, and nothing has come since.
    /// Any context.
    pub(crate) fn is_barren(&self, now_ns: u64) -> bool {
        self.news.load(Ordering::SeqCst) == BARREN
            && now_ns < self.barren_until.load(Ordering::SeqCst)
    }

    /// Under the lock.
    fn begin_lap(&self, state: &mut State) {
        state.ahead = self.buckets;
        self.news.store(STALE, Ordering::SeqCst);
    }

    /// Steps over `buckets` of the lap, or what is left of it; `false` when it is over. One thread at a time.
    pub(crate) fn step(&self, buckets: usize) -> bool {
        self.state.with(|s| {
            let goes_on = s.ahead != 0;
            s.ahead = s.ahead.saturating_sub(buckets);
            goes_on
        })
    }

    /// How many more pages the system may ask for. Any context but NMI.
    pub(crate) fn room_for_all(&self) -> usize {
        self.state.with(|s| MAX_FOR_ALL.saturating_sub(s.all))
    }

    /// How many more pages a group may ask for. Any context but NMI.
    pub(crate) fn room_for_group(&self, group: Group, now_ns: u64) -> usize {
        self.state
            .with(|s| match s.groups.iter().find(|a| a.group == group) {
                Some(asked) if asked.quiet_until > now_ns => 0,
                Some(asked) => MAX_FOR_GROUP.saturating_sub(asked.pages),
                None if s.groups.iter().any(|a| a.is_free(now_ns)) => MAX_FOR_GROUP,
                None => 0,
            })
    }

    /// The system wants pages back; whether it is heard. Any context but NMI.
    pub(crate) fn ask_for_all(&self, pages: usize) -> bool {
        self.state.with(|s| {
            let heard = s.all < MAX_FOR_ALL;
            s.all = s.all.saturating_add(pages).min(MAX_FOR_ALL);
            if heard {
                self.begin_lap(s);
            }
            heard
        })
    }

    /// A group wants pages of its own back; whether it is heard. Any context but NMI.
    pub(crate) fn ask_for_group(&self, group: Group, pages: usize, now_ns: u64) -> bool {
        self.state.with(|s| {
            let known = s.groups.iter().position(|a| a.group == group);
            let free = || s.groups.iter().position(|a| a.is_free(now_ns));
            let Some(n) = known.or_else(free) else {
                return false;
            };
            let Some(asked) = s.groups.get_mut(n) else {
                return false;
            };
            if known.is_none() {
                *asked = Asked {
                    group,
                    ..Asked::default()
                };
            }
            if asked.quiet_until > now_ns || asked.pages >= MAX_FOR_GROUP {
                return false;
            }
            asked.pages = asked.pages.saturating_add(pages).min(MAX_FOR_GROUP);
            self.begin_lap(s);
            true
        })
    }

    /// What is wanted now.
    pub(crate) fn wanted(&self) -> Wanted {
        self.state.with(|s| Wanted {
            state: *s,
            gone: 0,
            gone_of: [0; GROUPS],
        })
    }

    /// Takes what has left off what is wanted.
    pub(crate) fn left(&self, wanted: &Wanted) {
        self.state.with(|s| {
            s.all = s.all.saturating_sub(wanted.gone);
            for (n, asked) in s.groups.iter_mut().enumerate() {
                let (Some(then), Some(gone)) = (wanted.state.groups.get(n), wanted.gone_of.get(n))
                else {
                    continue;
                };
                if then.group == asked.group {
                    asked.pages = asked.pages.saturating_sub(*gone);
                }
            }
        });
    }

    /// Takes back what was asked for: nobody looks for it any more. Any context but NMI.
    pub(crate) fn withdraw(&self) {
        self.state.with(|s| {
            s.all = 0;
            s.ahead = 0;
            for asked in &mut s.groups {
                asked.pages = 0;
            }
        });
    }

    /// Gives up what is still wanted, the lap being over; `false` when somebody has asked meanwhile, and so begun
    /// another one.
    pub(crate) fn give_up(&self, now_ns: u64) -> bool {
        self.state.with(|s| {
            if s.ahead != 0 {
                return false;
            }
            for asked in s.groups.iter_mut().filter(|a| a.pages != 0) {
                asked.pages = 0;
                asked.quiet_until = now_ns.saturating_add(QUIET_NS);
            }
            if core::mem::take(&mut s.all) != 0 {
                self.barren_until
                    .store(now_ns.saturating_add(QUIET_NS), Ordering::SeqCst);
                // Unless something was recorded since it began.
                let _ =
                    self.news
                        .compare_exchange(STALE, BARREN, Ordering::SeqCst, Ordering::SeqCst);
            }
            true
        })
    }
}

/// What was wanted at one moment, and what has left since.
pub(crate) struct Wanted {
    state: State,
    gone: usize,
    gone_of: [usize; GROUPS],
}

impl Wanted {
    /// Of everybody, as much as there is.
    pub(crate) fn everything() -> Self {
        Self {
            state: State {
                all: usize::MAX,
                ..State::default()
            },
            gone: 0,
            gone_of: [0; GROUPS],
        }
    }

    /// Whether anything is.
    pub(crate) fn is_nothing(&self) -> bool {
        self.state.all == 0 && self.state.groups.iter().all(|a| a.pages == 0)
    }

    /// Whether the group itself has asked for pages of its own, and they are not all gone.
    pub(crate) fn by_group(&self, group: Group) -> bool {
        self.asked(group).is_some()
    }

    /// Whether pages that are charged to `group` may leave.
    pub(crate) fn lets_go(&self, group: Group) -> bool {
        self.state.all > self.gone || self.by_group(group)
    }

    /// Pages that are charged to `group` have left.
    pub(crate) fn gone(&mut self, group: Group, pages: usize) {
        self.gone = self.gone.saturating_add(pages);
        if let Some(gone) = self.asked(group).and_then(|n| self.gone_of.get_mut(n)) {
            *gone = gone.saturating_add(pages);
        }
    }

    /// How many have left in all.
    pub(crate) fn pages_gone(&self) -> usize {
        self.gone
    }

    fn asked(&self, group: Group) -> Option<usize> {
        let n = self
            .state
            .groups
            .iter()
            .position(|a| a.group == group && a.pages != 0 && group != 0)?;
        let wanted = self.state.groups.get(n)?.pages;
        (self.gone_of.get(n).copied()? < wanted).then_some(n)
    }
}

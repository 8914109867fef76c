// SPDX-License-Identifier: GPL-2.0

//! The messages of a pool: dm-thin's six, and this module's own.

use super::{
    args::{parse_dev_id, parse_u64},
    reads_pages, Pool, NO_PAGES,
};
use crate::{
    dm::{
        pdata::{enodata, eopnotsupp},
        sync::Completion,
        target::Reply,
        work::Once,
    },
    drr::on_off,
    units::DevId,
};
use kernel::{prelude::*, sync::Arc};

/// State that messages leave for others.
#[derive(Default)]
pub(crate) struct Changing {
    /// The last time that DRR was switched off: whether that has come to its end.
    off: Option<Arc<Completion>>,
    /// The last time that a device's records moved to another domain: whether no read is served across
    /// the border any more, nor across those of moves before.
    moved: Option<Arc<Completion>>,
}

/// The rest of a message that has made its changes. It is waited for with no lock held: that may take as
/// long as somebody's I/O below the pool, and other messages go on.
pub(super) enum Rest {
    Nothing,
    /// The message is answered after this. It comes even if the sender is killed.
    Wait(Arc<Completion>),
    /// The message has changed nothing, and is served after this.
    After(Arc<Completion>),
}

impl Pool {
    /// Answers a message. EINTR: the sender is killed; what was changed stays so. Process context.
    pub(crate) fn message(self: &Arc<Self>, args: &[&str], out: &mut Reply<'_>) -> Result {
        if let Some(r) = self.drr.message(args, out) {
            return r;
        }
        loop {
            let rest = {
                let mut changing = self.changing.write_killable()?;
                self.change_by(args, &mut changing)?
            };
            match rest {
                Rest::Nothing => return Ok(()),
                Rest::Wait(end) => return end.wait_killable(),
                Rest::After(end) => end.wait_killable()?,
            }
        }
    }

    /// Serves a message that changes something.
    fn change_by(self: &Arc<Self>, args: &[&str], changing: &mut Changing) -> Result<Rest> {
        // Those that only switch work in every mode.
        match args {
            ["drr", word] => return self.switch_drr(on_off(word)?, changing),
            ["drr", ..] => return Err(EINVAL),
            ["domain", rest @ ..] => return self.domain(rest, changing),
            _ => {}
        }
        let [name, rest @ ..] = args else {
            return Err(EINVAL);
        };
        if !self.mode().metadata_writable() {
            pr_err!(
                "{}: unable to service message {} in {} mode\n",
                self.name(),
                name,
                self.mode().log_name()
            );
            return Err(eopnotsupp());
        }
        let is = |n: &str| name.eq_ignore_ascii_case(n);
        let nothing = |()| Rest::Nothing;
        let r = if is("create_thin") {
            self.create_thin(rest).map(nothing)
        } else if is("create_snap") {
            self.create_snap(rest)
        } else if is("delete") {
            self.delete(rest).map(nothing)
        } else if is("set_transaction_id") {
            self.set_transaction_id(rest).map(nothing)
        } else if is("reserve_metadata_snap") {
            self.reserve_metadata_snap(rest).map(nothing)
        } else if is("release_metadata_snap") {
            self.release_metadata_snap(rest).map(nothing)
        } else {
            pr_warn!("{}: unknown message {}\n", self.name(), name);
            Err(EINVAL)
        };
        r.inspect_err(|e| {
            pr_warn!(
                "{}: message {} failed: error {}\n",
                self.name(),
                name,
                e.to_errno()
            );
        })
    }

    /// Switches DRR. When `off` is answered no read is served or recorded any more.
    fn switch_drr(self: &Arc<Self>, on: bool, changing: &mut Changing) -> Result<Rest> {
        if on && !reads_pages(self.data_dev) {
            pr_warn!("{}: message drr on: {}\n", self.name(), NO_PAGES);
            return Err(EINVAL);
        }
        let ending = changing.off.clone().filter(|end| !end.is_complete());
        match (on, ending) {
            (true, Some(end)) => Ok(Rest::After(end)),
            (false, Some(end)) => Ok(Rest::Wait(end)),
            (false, None) if self.drr.is_enabled() => {
                let end = Arc::new(Completion::new()?, GFP_KERNEL)?;
                let (pool, done) = (self.clone(), end.clone());
                let work = Once::new(move || {
                    pool.drr.end_switching_off();
                    done.complete();
                })?;
                self.drr.set_enabled(false);
                work.queue(&self.thin_wq);
                changing.off = Some(end.clone());
                Ok(Rest::Wait(end))
            }
            (on, None) => {
                self.drr.set_enabled(on);
                Ok(Rest::Nothing)
            }
        }
    }

    /// Puts a device into a domain. When this is answered no read is served across its border.
    fn domain(self: &Arc<Self>, args: &[&str], changing: &mut Changing) -> Result<Rest> {
        let [id, tag] = self.count(args)?;
        let id = self.dev_id(id)?;
        if !self.meta.exists(id)? {
            return Err(enodata());
        }
        // All that can fail without harm comes before the move.
        let end = Arc::new(Completion::new()?, GFP_KERNEL)?;
        let (pool, done) = (self.clone(), end.clone());
        let work = Once::new(move || {
            pool.epochs.wait();
            done.complete();
        })?;
        if self.drr.set_domain(id, tag)? {
            work.queue(&self.thin_wq);
            changing.moved = Some(end);
        }
        // The sender that moved it may have been killed.
        Ok(changing.moved.clone().map_or(Rest::Nothing, Rest::Wait))
    }

    fn dev_id(&self, arg: &str) -> Result<DevId> {
        parse_dev_id(arg).ok_or_else(|| {
            pr_warn!("{}: message with invalid device id: {}\n", self.name(), arg);
            EINVAL
        })
    }

    fn number(&self, arg: &str) -> Result<u64> {
        parse_u64(arg).ok_or_else(|| {
            pr_warn!("{}: message with invalid number: {}\n", self.name(), arg);
            EINVAL
        })
    }

    fn count<'a, 'b, const N: usize>(&self, args: &'b [&'a str]) -> Result<&'b [&'a str; N]> {
        args.try_into().map_err(|_| {
            pr_warn!(
                "{}: message with {} arguments instead of {}\n",
                self.name(),
                args.len(),
                N
            );
            EINVAL
        })
    }

    /// Makes a device by `change`. Its domain is known before anybody can open it.
    fn create<R>(
        &self,
        id: DevId,
        origin: Option<DevId>,
        change: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        self.drr.creating(id, origin)?;
        let made = change().inspect_err(|_| self.drr.deleted(id))?;
        self.commit()?;
        Ok(made)
    }

    fn create_thin(&self, args: &[&str]) -> Result {
        let [id] = self.count(args)?;
        let id = self.dev_id(id)?;
        if self.meta.exists(id)? {
            return Err(EEXIST);
        }
        self.create(id, None, || self.meta.create_thin(id))
    }

    /// A snapshot needs no suspended origin (`snapshots`). It is durable before the message waits for its
    /// origin's writers.
    fn create_snap(self: &Arc<Self>, args: &[&str]) -> Result<Rest> {
        let [id, origin] = self.count(args)?;
        let (id, origin) = (self.dev_id(id)?, self.dev_id(origin)?);
        if self.meta.exists(id)? {
            return Err(EEXIST);
        }
        if let Some(end) = self.making.before(origin) {
            return Ok(Rest::After(end));
        }
        self.create(id, Some(origin), || self.make_snapshot(id, origin))
    }

    /// What DRR knows of the device goes once it cannot come back by a roll-back.
    fn delete(&self, args: &[&str]) -> Result {
        let [id] = self.count(args)?;
        let id = self.dev_id(id)?;
        self.meta.delete(id)?;
        self.commit()?;
        self.making.deleted(id);
        self.drr.deleted(id);
        Ok(())
    }

    fn set_transaction_id(&self, args: &[&str]) -> Result {
        let [old, new] = self.count(args)?;
        let (old, new) = (self.number(old)?, self.number(new)?);
        self.meta.set_transaction_id(old, new)?;
        self.commit()
    }

    fn reserve_metadata_snap(&self, args: &[&str]) -> Result {
        let [] = self.count(args)?;
        self.commit()?;
        self.meta.reserve_metadata_snap()?;
        self.commit()
    }

    fn release_metadata_snap(&self, args: &[&str]) -> Result {
        let [] = self.count(args)?;
        self.meta.release_metadata_snap()?;
        self.commit()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The messages of a pool: dm-thin's six, and this module's own.

use super::{
    args::{parse_dev_id, parse_u64},
    reads_pages, Pool, NO_PAGES,
};
use crate::{
    dm::{
        pdata::{enodata, eopnotsupp},
        target::Reply,
    },
    drr::on_off,
    units::DevId,
};
use kernel::prelude::*;

impl Pool {
    /// Answers a message. Process context.
    pub(crate) fn message(&self, args: &[&str], out: &mut Reply<'_>) -> Result {
        if let Some(r) = self.drr.message(args, out) {
            return r;
        }
        let _one = self.changing.write();
        // Those that only switch work in every mode.
        match args {
            ["drr", word] => {
                let on = on_off(word)?;
                if on && !reads_pages(self.data_dev) {
                    pr_warn!("{}: message drr on: {}\n", self.name(), NO_PAGES);
                    return Err(EINVAL);
                }
                self.drr.set_enabled(on);
                return Ok(());
            }
            ["drr", ..] => return Err(EINVAL),
            ["domain", rest @ ..] => return self.domain(rest),
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
        let r = if is("create_thin") {
            self.create_thin(rest)
        } else if is("create_snap") {
            self.create_snap(rest)
        } else if is("delete") {
            self.delete(rest)
        } else if is("set_transaction_id") {
            self.set_transaction_id(rest)
        } else if is("reserve_metadata_snap") {
            self.reserve_metadata_snap(rest)
        } else if is("release_metadata_snap") {
            self.release_metadata_snap(rest)
        } else {
            pr_warn!("{}: unknown message {}\n", self.name(), name);
            Err(EINVAL)
        };
        if let Err(e) = r {
            pr_warn!(
                "{}: message {} failed: error {}\n",
                self.name(),
                name,
                e.to_errno()
            );
        }
        r
    }

    /// Puts a device into a domain. When this returns no read is served across its border.
    fn domain(&self, args: &[&str]) -> Result {
        let [id, tag] = self.count(args)?;
        let id = self.dev_id(id)?;
        if !self.meta.exists(id)? {
            return Err(enodata());
        }
        self.drr.set_domain(id, tag)
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
    fn create(&self, id: DevId, origin: Option<DevId>, change: impl FnOnce() -> Result) -> Result {
        if self.meta.exists(id)? {
            return Err(EEXIST);
        }
        self.drr.creating(id, origin)?;
        change()
            .inspect_err(|_| self.drr.deleted(id))
            .and_then(|()| self.commit())
    }

    fn create_thin(&self, args: &[&str]) -> Result {
        let [id] = self.count(args)?;
        let id = self.dev_id(id)?;
        self.create(id, None, || self.meta.create_thin(id))
    }

    /// A snapshot needs no suspended origin: what looked its mapping up before the snapshot may
    /// still be writing in place, so copies of now shared chunks begin only after it has ended
    /// (`making_snapshot`), reads of them are recorded only after that too, and so does whatever
    /// the sender does next. Other devices' I/O is not waited for, and goes on.
    fn create_snap(&self, args: &[&str]) -> Result {
        let [id, origin] = self.count(args)?;
        let (id, origin) = (self.dev_id(id)?, self.dev_id(origin)?);
        self.create(id, Some(origin), || {
            self.drr.without_recording(origin, || -> Result {
                self.making_snapshot(id, origin, || {
                    // Who activates the origin after this finds the chunks shared.
                    let active = self.devices.with(origin, |active| -> Result<_> {
                        self.meta.create_snap(id, origin)?;
                        Ok(active.cloned())
                    })?;
                    if let Some(device) = active {
                        device.wait_for_writes();
                    }
                    Ok(())
                })
            })
        })
    }

    /// What DRR knows of the device goes once it cannot come back by a roll-back.
    fn delete(&self, args: &[&str]) -> Result {
        let [id] = self.count(args)?;
        let id = self.dev_id(id)?;
        self.meta.delete(id)?;
        self.commit()?;
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

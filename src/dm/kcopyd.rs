// SPDX-License-Identifier: GPL-2.0

//! Copying and zeroing of whole chunks by the kernel's kcopyd.

use super::{bdev::BlockDev, bindings, pooled::Pooled};
use core::{ffi::c_void, ptr::NonNull};
use kernel::{
    cpu::nr_cpu_ids,
    error::from_err_ptr,
    ffi::{c_int, c_ulong},
    prelude::*,
};

/// A range of a device in sectors.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub(crate) dev: BlockDev,
    pub(crate) sector: u64,
    pub(crate) sectors: u64,
}

impl Region {
    fn to_raw(self) -> bindings::dm_io_region {
        bindings::dm_io_region {
            bdev: self.dev.as_ptr(),
            sector: self.sector,
            count: self.sectors,
        }
    }
}

/// What is told when a copy has ended.
pub(crate) trait CopyDone: Sized + Send {
    /// Called in kcopyd's thread (process context, must not wait for I/O of the same client).
    fn copy_done(this: Pooled<Self>, ok: bool);
}

/// Clients of one [`Kcopyd`], at most: each keeps half a MiB of pages back.
const CLIENTS_MAX: u32 = 4;

/// A kcopyd client: one thread at a time.
///
/// # Invariants
///
/// `raw` is a client that this value owns.
struct Client {
    raw: NonNull<bindings::dm_kcopyd_client>,
}

// SAFETY: clients are synchronised inside.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a client (`GFP_KERNEL`). All of the module share the throttle that the parameter
    /// `snapshot_copy_throttle` sets: kcopyd's thread sleeps a second before a job, at most.
    fn new() -> Result<Self> {
        // SAFETY: the address of a static of the module, which its clients do not outlive.
        let throttle = unsafe { bindings::drr_param_copy_throttle() };
        // SAFETY: the throttle is valid as above; an error pointer on failure.
        let raw = unsafe { bindings::dm_kcopyd_client_create(throttle) };
        let raw = from_err_ptr(raw)?;
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }
}

/// Several clients, so that copies run beside each other.
pub(crate) struct Kcopyd {
    first: Client,
    rest: KVec<Client>,
}

impl Kcopyd {
    /// Makes a client for each CPU, up to a bound (`GFP_KERNEL`).
    pub(crate) fn new() -> Result<Self> {
        let first = Client::new()?;
        let mut rest = KVec::new();
        for _ in 1..nr_cpu_ids().min(CLIENTS_MAX) {
            rest.push(Client::new()?, GFP_KERNEL)?;
        }
        Ok(Self { first, rest })
    }

    /// The client for jobs that share `stream`.
    fn client(&self, stream: u64) -> &Client {
        let clients = u64::try_from(self.rest.len())
            .unwrap_or(0)
            .saturating_add(1);
        let i = stream.checked_rem(clients).unwrap_or(0);
        let rest = usize::try_from(i).ok().and_then(|i| i.checked_sub(1));
        rest.and_then(|i| self.rest.get(i)).unwrap_or(&self.first)
    }

    /// Copies `from` to `to` (as many sectors), then tells `job`. Jobs of one `stream` run one
    /// after the other. Process context.
    pub(crate) fn copy<T: CopyDone>(&self, stream: u64, from: Region, to: Region, job: Pooled<T>) {
        let mut from = from.to_raw();
        let mut to = to.to_raw();
        // SAFETY: kcopyd copies the regions before it returns; the context is the job, which the
        // callback takes back exactly once.
        unsafe {
            bindings::dm_kcopyd_copy(
                self.client(stream).raw.as_ptr(),
                &mut from,
                1,
                &mut to,
                0,
                Some(notify::<T>),
                job.into_raw(),
            )
        };
    }

    /// Writes zeroes to `to`, then tells `job`; `stream` as for [`Self::copy`]. Process context.
    pub(crate) fn zero<T: CopyDone>(&self, stream: u64, to: Region, job: Pooled<T>) {
        let mut to = to.to_raw();
        // SAFETY: as in `copy`.
        unsafe {
            bindings::dm_kcopyd_zero(
                self.client(stream).raw.as_ptr(),
                1,
                &mut to,
                0,
                Some(notify::<T>),
                job.into_raw(),
            )
        };
    }
}

extern "C" fn notify<T: CopyDone>(read_err: c_int, write_err: c_ulong, ctx: *mut c_void) {
    // SAFETY: the context is the job that `copy` or `zero` gave up.
    let job = unsafe { Pooled::<T>::from_raw(ctx) };
    T::copy_done(job, read_err == 0 && write_err == 0);
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: owned by the type invariant; destroying waits for jobs under way.
        unsafe { bindings::dm_kcopyd_client_destroy(self.raw.as_ptr()) };
    }
}

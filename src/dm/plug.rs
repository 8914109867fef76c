// SPDX-License-Identifier: GPL-2.0

//! Plugs: bios that are submitted one after the other reach the devices below together.

use super::bindings;
use core::mem::MaybeUninit;

/// Runs `f`, and gathers what it submits until it ends, or sleeps: a task that blocks sends off
/// first what its plug has gathered (kernel/sched/core.c, `sched_submit_work`). So `f` may wait for
/// anything, bios of its own included. Process context.
pub(crate) fn plugged<R>(f: impl FnOnce() -> R) -> R {
    let mut plug = MaybeUninit::uninit();
    // SAFETY: room for a plug, which stays where it is until it is finished below: `f` does not
    // unwind, and nobody moves it.
    unsafe { bindings::blk_start_plug(plug.as_mut_ptr()) };
    let r = f();
    // SAFETY: started above by this very task.
    unsafe { bindings::blk_finish_plug(plug.as_mut_ptr()) };
    r
}

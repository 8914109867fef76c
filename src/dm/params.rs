// SPDX-License-Identifier: GPL-2.0

//! A module parameter that changes at run time, which `module!` cannot declare. Another one,
//! `snapshot_copy_throttle`, is `kcopyd`'s.

use super::bindings;

/// Seconds until queued writes of a full pool fail; 0: never. Any context.
pub(crate) fn no_space_timeout() -> u32 {
    // SAFETY: reads one integer.
    unsafe { bindings::drr_param_no_space_timeout() }
}

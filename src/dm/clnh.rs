// SPDX-License-Identifier: GPL-2.0

//! The content hash's sum (drr/hash.rs) in vector registers: AVX2 and carry-less multiplication of
//! x86-64.
//!
//! The registers are the kernel's inside of one call, with preemption and softirqs off for as long as
//! one page takes (arch/x86/include/asm/fpu/api.h). dm/folio.rs has the copy that sums at once.

use super::bindings;
use crate::drr::hash::PAGE_WORDS;

/// Whether the processor has the instructions. Any context.
pub(crate) fn is_available() -> bool {
    // SAFETY: no requirements.
    unsafe { bindings::drr_clnh_available() }
}

/// Whether the registers can be used here and now: not in an interrupt that came while they were in
/// use. Where they are available only. Any context but NMI.
pub(crate) fn is_usable() -> bool {
    // SAFETY: no requirements.
    unsafe { bindings::drr_clnh_usable() }
}

/// The sum of a page's carry-less products; `None` when the registers cannot be used. Where they are
/// available only. Any context but NMI.
pub(crate) fn sum(page: &[u64; PAGE_WORDS], key: &[u64; PAGE_WORDS]) -> Option<u128> {
    if !is_usable() {
        return None;
    }
    let mut sum = [0u64; 2];
    // SAFETY: both are of a page's size, `sum` of two words; the registers can be used, as has been
    // asked, and an interrupt in between leaves that so.
    unsafe {
        bindings::drr_clnh_sum(page.as_ptr().cast(), key.as_ptr().cast(), sum.as_mut_ptr());
    }
    Some(joined(sum))
}

/// The sum that C gives in two words.
pub(super) fn joined([low, high]: [u64; 2]) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

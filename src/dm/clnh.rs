// SPDX-License-Identifier: GPL-2.0

//! The content hash's sum (drr/hash.rs) in vector registers: AVX2 and carry-less multiplication of
//! x86-64.
//!
//! The registers are the kernel's inside of one call, with preemption and softirqs off for as long as
//! its pages take, 16 at most (a microsecond each) (arch/x86/include/asm/fpu/api.h). dm/folio.rs has the copy that sums at once.

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

/// The sums of pages' carry-less products, in their order, the lower halves first; `false` when the
/// registers cannot be used, or `out` has less room. Where they are available only. Any context but NMI.
pub(crate) fn sums(
    pages: &[&[u64; PAGE_WORDS]],
    key: &[u64; PAGE_WORDS],
    out: &mut [[u64; 2]],
) -> bool {
    let Ok(n) = u32::try_from(pages.len()) else {
        return false;
    };
    if pages.len() > out.len() || !is_usable() {
        return false;
    }
    // SAFETY: `n` addresses of pages, room for as many sums, and a key of a page's size; the registers
    // can be used, as has been asked, and an interrupt in between leaves that so.
    unsafe {
        bindings::drr_clnh_sums(
            pages.as_ptr().cast(),
            n,
            key.as_ptr().cast(),
            out.as_mut_ptr(),
        );
    }
    true
}

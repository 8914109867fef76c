// SPDX-License-Identifier: GPL-2.0

//! The module's C code that sums pages in vector registers (src/dm/shim/clnh.c), compiled for this machine. All unsafe code of
//! this crate.

/// 64-bit words in a page.
pub const PAGE_WORDS: usize = 512;

/// A page, or the key for one. The C code copies pages whole.
#[repr(C, align(4096))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page(pub [u64; PAGE_WORDS]);

#[allow(improper_ctypes)]
extern "C" {
    fn drr_clnh_available() -> bool;
    fn drr_clnh_sums(pages: *const *const Page, n: u32, key: *const Page, sums: *mut [u64; 2]);
    fn drr_clnh_copy(source: *const Page, to: *mut Page, key: *const Page, sum: *mut u64) -> i32;
}

/// Whether this processor has the instructions.
pub fn is_available() -> bool {
    // SAFETY: no requirements.
    unsafe { drr_clnh_available() }
}

/// The sums of pages, the lower halves first. Panics where the instructions are missing.
pub fn sums(pages: &[&Page], key: &Page, out: &mut [[u64; 2]]) {
    assert!(is_available() && out.len() >= pages.len());
    let n = u32::try_from(pages.len()).expect("so many pages have no room");
    // SAFETY: `n` addresses of pages, room for as many sums, a key of a page's size.
    unsafe { drr_clnh_sums(pages.as_ptr().cast(), n, key, out.as_mut_ptr()) };
}

/// Copies a page; the copy's sum. Panics where the instructions are missing.
pub fn copy(source: &Page, to: &mut Page, key: &Page) -> [u64; 2] {
    assert!(is_available());
    let mut sum = [0; 2];
    // SAFETY: two pages, a key of a page's size, room for two words.
    let err = unsafe { drr_clnh_copy(source, to, key, sum.as_mut_ptr()) };
    assert_eq!(err, 0, "no memory is broken here");
    sum
}

/// The time stamp counter.
#[cfg(target_arch = "x86_64")]
pub fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// There is none here.
#[cfg(not(target_arch = "x86_64"))]
pub fn cycles() -> u64 {
    0
}

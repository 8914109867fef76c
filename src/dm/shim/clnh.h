/* SPDX-License-Identifier: GPL-2.0 */
/* The content hash's sum in vector registers; the contracts are at its Rust wrapper (clnh.rs). */
#ifndef DRR_SHIM_CLNH_H
#define DRR_SHIM_CLNH_H

#include <linux/mm_types.h>
#include <linux/types.h>

bool drr_clnh_available(void);
bool drr_clnh_usable(void);
void drr_clnh_sums(const void *const *pages, u32 n, const void *key, u64 (*sums)[2]);
int drr_clnh_copy(struct page *source, struct page *to, const void *key, u64 sum[2]);

#endif

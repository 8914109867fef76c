/* SPDX-License-Identifier: GPL-2.0 */
/* The registers are a program's own. */
#define XFEATURE_MASK_SSE 0
#define XFEATURE_MASK_YMM 0
#define cpu_has_xfeatures(mask, name) true
#define irq_fpu_usable() true
#define kernel_fpu_begin() ((void)0)
#define kernel_fpu_end() ((void)0)

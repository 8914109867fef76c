/* SPDX-License-Identifier: GPL-2.0 */
#define X86_FEATURE_AVX2 "avx2"
#define X86_FEATURE_PCLMULQDQ "pclmul"
#define boot_cpu_has(feature) __builtin_cpu_supports(feature)

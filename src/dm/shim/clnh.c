// SPDX-License-Identifier: GPL-2.0
/*
 * CLNH of a page: the exclusive or of the carry-less products of its pairs of 64-bit words, each word combined with
 * one of the key before. 32 bytes a step: one key load, one exclusive or with the page, two products.
 *
 * The registers are written by number, as no compiler of kernel code uses them (-mno-sse); they are the kernel's
 * between kernel_fpu_begin and kernel_fpu_end.
 */
#include <linux/cacheflush.h>
#include <linux/highmem.h>

#include "clnh.h"

#ifdef CONFIG_X86_64
#include <asm/asm.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>

/* Adds the products of what is in register n (keyed) to register 8 and 9; uses n and n + 4. */
#define DRR_CLNH_PRODUCTS(n, m)						\
	"vextracti128 $1, %%ymm" #n ", %%xmm" #m "\n\t"			\
	"vpclmulqdq $0x10, %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t"	\
	"vpclmulqdq $0x10, %%xmm" #m ", %%xmm" #m ", %%xmm" #m "\n\t"	\
	"vpxor %%xmm" #n ", %%xmm8, %%xmm8\n\t"				\
	"vpxor %%xmm" #m ", %%xmm9, %%xmm9\n\t"

#define DRR_CLNH_STEP(n, m, at)						\
	"vmovdqu " #at "(%[key],%[i]), %%ymm" #n "\n\t"			\
	"vpxor " #at "(%[page],%[i]), %%ymm" #n ", %%ymm" #n "\n\t"	\
	DRR_CLNH_PRODUCTS(n, m)

/* Only the load from the source may meet memory that is broken; what has been stored is of no more use then. */
#define DRR_CLNH_COPY_STEP(n, m, at)					\
	"2: vmovdqu " #at "(%[page],%[i]), %%ymm" #n "\n\t"		\
	_ASM_EXTABLE_TYPE(2b, 3f, EX_TYPE_DEFAULT_MCE_SAFE)		\
	"vmovdqu %%ymm" #n ", " #at "(%[to],%[i])\n\t"			\
	"vpxor " #at "(%[key],%[i]), %%ymm" #n ", %%ymm" #n "\n\t"	\
	DRR_CLNH_PRODUCTS(n, m)

#define DRR_CLNH_BEGIN							\
	"vpxor %%xmm8, %%xmm8, %%xmm8\n\t"				\
	"vpxor %%xmm9, %%xmm9, %%xmm9\n\t"				\
	"1:\n\t"

#define DRR_CLNH_END							\
	"add $128, %[i]\n\t"						\
	"jne 1b\n\t"							\
	"vpxor %%xmm9, %%xmm8, %%xmm8\n\t"				\
	"vmovdqu %%xmm8, (%[sum])\n\t"					\
	"3: vzeroupper"

bool drr_clnh_available(void)
{
	return boot_cpu_has(X86_FEATURE_AVX2) && boot_cpu_has(X86_FEATURE_PCLMULQDQ) &&
	       cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL);
}

bool drr_clnh_usable(void)
{
	return irq_fpu_usable();
}

void drr_clnh_sum(const void *page, const void *key, u64 sum[2])
{
	long i = -(long)PAGE_SIZE;

	kernel_fpu_begin();
	asm volatile(DRR_CLNH_BEGIN
		     DRR_CLNH_STEP(0, 4, 0)
		     DRR_CLNH_STEP(1, 5, 32)
		     DRR_CLNH_STEP(2, 6, 64)
		     DRR_CLNH_STEP(3, 7, 96)
		     DRR_CLNH_END
		     : [i] "+r" (i)
		     : [page] "r" (page + PAGE_SIZE), [key] "r" (key + PAGE_SIZE), [sum] "r" (sum)
		     : "cc", "memory");
	kernel_fpu_end();
}

int drr_clnh_copy(struct page *source, struct page *to, const void *key, u64 sum[2])
{
	void *from_addr = kmap_local_page(source);
	void *to_addr = kmap_local_page(to);
	/* Not back to 0 after a fault. */
	long i = -(long)PAGE_SIZE;

	kernel_fpu_begin();
	asm volatile(DRR_CLNH_BEGIN
		     DRR_CLNH_COPY_STEP(0, 4, 0)
		     DRR_CLNH_COPY_STEP(1, 5, 32)
		     DRR_CLNH_COPY_STEP(2, 6, 64)
		     DRR_CLNH_COPY_STEP(3, 7, 96)
		     DRR_CLNH_END
		     : [i] "+r" (i)
		     : [page] "r" (from_addr + PAGE_SIZE), [to] "r" (to_addr + PAGE_SIZE), [key] "r" (key + PAGE_SIZE),
		       [sum] "r" (sum)
		     : "cc", "memory");
	kernel_fpu_end();
	kunmap_local(to_addr);
	kunmap_local(from_addr);
	if (i)
		return -EFAULT;
	flush_dcache_page(to);
	return 0;
}
#else
bool drr_clnh_available(void)
{
	return false;
}

bool drr_clnh_usable(void)
{
	return false;
}

void drr_clnh_sum(const void *page, const void *key, u64 sum[2])
{
}

int drr_clnh_copy(struct page *source, struct page *to, const void *key, u64 sum[2])
{
	return -EOPNOTSUPP;
}
#endif

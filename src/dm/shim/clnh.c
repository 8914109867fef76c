// SPDX-License-Identifier: GPL-2.0
/*
 * CLNH of a page: the exclusive or of the carry-less products of its pairs of 64-bit words, each word combined with
 * one of the key before. 32 bytes a step: one key load, one exclusive or with the page, two products. Of eight
 * pages the same 32 bytes share one key load.
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

/* Adds the products of what is in register n (keyed) to registers x and y; uses n and m. */
#define DRR_CLNH_PRODUCTS(n, m, x, y)					\
	"vextracti128 $1, %%ymm" #n ", %%xmm" #m "\n\t"			\
	"vpclmulqdq $0x10, %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t"	\
	"vpclmulqdq $0x10, %%xmm" #m ", %%xmm" #m ", %%xmm" #m "\n\t"	\
	"vpxor %%xmm" #n ", %%xmm" #x ", %%xmm" #x "\n\t"		\
	"vpxor %%xmm" #m ", %%xmm" #y ", %%xmm" #y "\n\t"

#define DRR_CLNH_STEP(n, m, at)						\
	"vmovdqu " #at "(%[key],%[i]), %%ymm" #n "\n\t"			\
	"vpxor " #at "(%[page],%[i]), %%ymm" #n ", %%ymm" #n "\n\t"	\
	DRR_CLNH_PRODUCTS(n, m, 8, 9)

/* Of page k, with the key in register 0, to register x. */
#define DRR_CLNH_STEP_OF(k, n, m, x, at)					\
	"vpxor " #at "(%[page" #k "],%[i]), %%ymm0, %%ymm" #n "\n\t"	\
	DRR_CLNH_PRODUCTS(n, m, x, x)

#define DRR_CLNH_STEP_EIGHT(at)						\
	"vmovdqu " #at "(%[key],%[i]), %%ymm0\n\t"			\
	DRR_CLNH_STEP_OF(0, 1, 2, 8, at)				\
	DRR_CLNH_STEP_OF(1, 3, 4, 9, at)				\
	DRR_CLNH_STEP_OF(2, 5, 6, 10, at)				\
	DRR_CLNH_STEP_OF(3, 1, 2, 11, at)				\
	DRR_CLNH_STEP_OF(4, 3, 4, 12, at)				\
	DRR_CLNH_STEP_OF(5, 5, 6, 13, at)				\
	DRR_CLNH_STEP_OF(6, 1, 2, 14, at)				\
	DRR_CLNH_STEP_OF(7, 3, 4, 15, at)

#define DRR_CLNH_CLEAR(x)						\
	"vpxor %%xmm" #x ", %%xmm" #x ", %%xmm" #x "\n\t"
#define DRR_CLNH_STORE(x, at)						\
	"vmovdqu %%xmm" #x ", " #at "(%[key])\n\t"

/* Only the load from the source may meet memory that is broken; what has been stored is of no more use then. */
#define DRR_CLNH_COPY_STEP(n, m, at)					\
	"2: vmovdqu " #at "(%[page],%[i]), %%ymm" #n "\n\t"		\
	_ASM_EXTABLE_TYPE(2b, 3f, EX_TYPE_DEFAULT_MCE_SAFE)		\
	"vmovdqu %%ymm" #n ", " #at "(%[to],%[i])\n\t"			\
	"vpxor " #at "(%[key],%[i]), %%ymm" #n ", %%ymm" #n "\n\t"	\
	DRR_CLNH_PRODUCTS(n, m, 8, 9)

#define DRR_CLNH_BEGIN							\
	"vpxor %%xmm8, %%xmm8, %%xmm8\n\t"				\
	"vpxor %%xmm9, %%xmm9, %%xmm9\n\t"				\
	"1:\n\t"

#define DRR_CLNH_END							\
	"sub $-256, %[i]\n\t"						\
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

static void drr_clnh_one(const void *page, const void *key, u64 sum[2])
{
	long i = -(long)PAGE_SIZE;

	asm volatile(DRR_CLNH_BEGIN
		     DRR_CLNH_STEP(0, 4, 0)
		     DRR_CLNH_STEP(1, 5, 32)
		     DRR_CLNH_STEP(2, 6, 64)
		     DRR_CLNH_STEP(3, 7, 96)
		     DRR_CLNH_STEP(0, 4, 128)
		     DRR_CLNH_STEP(1, 5, 160)
		     DRR_CLNH_STEP(2, 6, 192)
		     DRR_CLNH_STEP(3, 7, 224)
		     DRR_CLNH_END
		     : [i] "+r" (i)
		     : [page] "r" (page + PAGE_SIZE), [key] "r" (key + PAGE_SIZE), [sum] "r" (sum)
		     : "cc", "memory");
}

static void drr_clnh_eight(const void *const pages[8], const void *key, u64 (*sums)[2])
{
	long i = -(long)PAGE_SIZE;

	key += PAGE_SIZE;
	asm volatile(DRR_CLNH_CLEAR(8)
		     DRR_CLNH_CLEAR(9)
		     DRR_CLNH_CLEAR(10)
		     DRR_CLNH_CLEAR(11)
		     DRR_CLNH_CLEAR(12)
		     DRR_CLNH_CLEAR(13)
		     DRR_CLNH_CLEAR(14)
		     DRR_CLNH_CLEAR(15)
		     "1:\n\t"
		     DRR_CLNH_STEP_EIGHT(0)
		     DRR_CLNH_STEP_EIGHT(32)
		     "add $64, %[i]\n\t"
		     "jne 1b\n\t"
		     /* The key has done its work. */
		     "mov %[sums], %[key]\n\t"
		     DRR_CLNH_STORE(8, 0)
		     DRR_CLNH_STORE(9, 16)
		     DRR_CLNH_STORE(10, 32)
		     DRR_CLNH_STORE(11, 48)
		     DRR_CLNH_STORE(12, 64)
		     DRR_CLNH_STORE(13, 80)
		     DRR_CLNH_STORE(14, 96)
		     DRR_CLNH_STORE(15, 112)
		     "vzeroupper"
		     : [i] "+r" (i), [key] "+r" (key)
		     : [page0] "r" (pages[0] + PAGE_SIZE), [page1] "r" (pages[1] + PAGE_SIZE),
		       [page2] "r" (pages[2] + PAGE_SIZE), [page3] "r" (pages[3] + PAGE_SIZE),
		       [page4] "r" (pages[4] + PAGE_SIZE), [page5] "r" (pages[5] + PAGE_SIZE),
		       [page6] "r" (pages[6] + PAGE_SIZE), [page7] "r" (pages[7] + PAGE_SIZE),
		       [sums] "m" (sums)
		     : "cc", "memory");
}

void drr_clnh_sums(const void *const *pages, u32 n, const void *key, u64 (*sums)[2])
{
	kernel_fpu_begin();
	for (; n >= 8; n -= 8, pages += 8, sums += 8)
		drr_clnh_eight(pages, key, sums);
	for (; n; n--, pages++, sums++)
		drr_clnh_one(*pages, key, *sums);
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
		     DRR_CLNH_COPY_STEP(0, 4, 128)
		     DRR_CLNH_COPY_STEP(1, 5, 160)
		     DRR_CLNH_COPY_STEP(2, 6, 192)
		     DRR_CLNH_COPY_STEP(3, 7, 224)
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

void drr_clnh_sums(const void *const *pages, u32 n, const void *key, u64 (*sums)[2])
{
}

int drr_clnh_copy(struct page *source, struct page *to, const void *key, u64 sum[2])
{
	return -EOPNOTSUPP;
}
#endif

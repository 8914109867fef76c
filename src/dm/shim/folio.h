/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shims of the page-cache side: what needs inlines or several of them in one
 * RCU section. The contracts are at their Rust wrappers (folio.rs, irqlock.rs).
 */
#ifndef DRR_SHIM_FOLIO_H
#define DRR_SHIM_FOLIO_H

#include <linux/bio.h>
#include <linux/memory.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

/* Why a source was not taken; mirrored by folio.rs:Reject. */
#define DRR_SRC_OK		0
#define DRR_SRC_OFFLINE		1
#define DRR_SRC_GONE		2
#define DRR_SRC_MAPPING		3
#define DRR_SRC_LOCKED		4
#define DRR_SRC_NOT_UPTODATE	5
#define DRR_SRC_DIRTY		6
#define DRR_SRC_WRITEBACK	7
#define DRR_SRC_PINNED		8
#define DRR_SRC_POISONED	9

/* A part of one page that a bio fills. */
struct drr_piece {
	struct page *page;
	u32 offset;
	u32 len;
};

/* Where a page of a layer's own page cache is. */
struct drr_place {
	unsigned long mapping;
	u64 index;
	u64 pfn;
	/* Pages of the same folio after it. */
	u32 left;
};

bool drr_bio_is_plain_read(const struct bio *bio);
bool drr_bvec_next(const struct bio_vec *bvecs, struct bvec_iter *iter, u32 max,
		   struct drr_piece *piece);
u32 drr_bvec_pages(const struct bio_vec *bvecs, const struct bvec_iter *iter,
		   const struct page *next);
void drr_bvec_advance(const struct bio_vec *bvecs, struct bvec_iter *iter,
		      u32 bytes);
bool drr_page_is_ordinary(struct page *page);
bool drr_page_own(struct page *page, struct block_device *own,
		  struct drr_place *place);
bool drr_page_is_buffer(struct page *page, struct block_device *own);
u64 drr_page_pfn(struct page *page);

int drr_source_take(u64 pfn, unsigned long mapping, u64 index,
		    struct page **out);
void drr_source_release(struct page *page);
int drr_source_lock(struct page *page, unsigned long mapping, u64 index);
void drr_source_unlock(struct page *page);
int drr_source_copy(struct page *source, struct page *to);

/* The folio of a page of page cache, as its layer uses it. */
struct drr_use {
	/* Pages in front of this one in the folio, and in all of it. */
	u32 before;
	u32 pages;
	/* Read at all; read again, mapped, or told to stay. */
	bool used;
	bool hot;
	/* The memory control group that it is charged to; only compared. */
	unsigned long group;
};

void drr_source_use(struct page *page, struct drr_use *use);

/* What drr_source_drop has done. */
#define DRR_DROP_DONE		0
#define DRR_DROP_REFUSED	1
/* Somebody else refers to the folio at the moment. */
#define DRR_DROP_BUSY		2

int drr_source_drop(struct page *page, struct block_device *own);

void *drr_page_map(struct page *page);
void drr_page_unmap(void *addr);
void drr_page_fill(struct page *page, u32 offset, const void *from, u32 len);
void drr_page_take(struct page *page, u32 offset, void *to, u32 len);
u32 drr_page_difference(struct page *page, u32 offset, const void *from, u32 len);

struct page *drr_page_alloc(void);
void *drr_page_virt(struct page *page);
void drr_page_free(struct page *page);

spinlock_t *drr_irqlock_init(spinlock_t *lock);
unsigned long drr_irqlock(spinlock_t *lock);
void drr_irqunlock(spinlock_t *lock, unsigned long flags);

struct workqueue_struct *drr_read_queue_new(void);
void drr_read_work_queue(struct workqueue_struct *wq, struct work_struct *work,
		    void (*fn)(struct work_struct *work));

struct drr_hotplug;
struct drr_hotplug *drr_hotplug_new(void (*leaving)(void *ctx), void *ctx);
void drr_hotplug_free(struct drr_hotplug *hp);

#endif

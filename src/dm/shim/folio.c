// SPDX-License-Identifier: GPL-2.0
/*
 * Shims of the page-cache side. Logic is here only where several steps must
 * share one RCU section (drr_source_take, drr_page_own).
 */
#include <linux/blk-integrity.h>
#include <linux/blk-crypto.h>
#include <linux/bvec.h>
#include <linux/folio_batch.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/pipe_fs_i.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "folio.h"

/* The module takes its units, 4 KiB, for the kernel's pages (units.rs). */
static_assert(PAGE_SIZE == 4096);

bool drr_bio_is_plain_read(const struct bio *bio)
{
	return bio_op(bio) == REQ_OP_READ && !bio_has_crypt_ctx((struct bio *)bio) &&
	       !bio_integrity((struct bio *)bio);
}

bool drr_bvec_next(const struct bio_vec *bvecs, struct bvec_iter *iter, u32 max,
		   struct drr_piece *piece)
{
	struct bio_vec bv;

	if (!iter->bi_size)
		return false;
	bv = mp_bvec_iter_bvec(bvecs, *iter);
	piece->page = bv.bv_page + bv.bv_offset / PAGE_SIZE;
	piece->offset = offset_in_page(bv.bv_offset);
	piece->len = min3(bv.bv_len, (u32)PAGE_SIZE - piece->offset, max);
	if (!piece->len)
		return false;
	bvec_iter_advance_single(bvecs, iter, piece->len);
	return true;
}

/* Whole pages that are left of the bio_vec in hand, if "next" is the first. */
u32 drr_bvec_pages(const struct bio_vec *bvecs, const struct bvec_iter *iter,
		   const struct page *next)
{
	struct bio_vec bv;

	if (!iter->bi_size)
		return 0;
	bv = mp_bvec_iter_bvec(bvecs, *iter);
	if (offset_in_page(bv.bv_offset) || bv.bv_page + bv.bv_offset / PAGE_SIZE != next)
		return 0;
	return bv.bv_len / PAGE_SIZE;
}

void drr_bvec_advance(const struct bio_vec *bvecs, struct bvec_iter *iter,
		      u32 bytes)
{
	bvec_iter_advance(bvecs, iter, bytes);
}

/* Memory of a device (peer-to-peer DMA) must not be touched by the CPU. */
bool drr_page_is_ordinary(struct page *page)
{
	return !is_zone_device_page(page);
}

u64 drr_page_pfn(struct page *page)
{
	return page_to_pfn(page);
}

/*
 * The flags come first: ->mapping means something else in pages that are not
 * page cache. With the folio locked by the read that fills it, ->mapping is
 * stable; where it is locked by somebody else, RCU keeps the inode (freed by
 * RCU) and the super block (likewise) readable.
 *
 * Locked, but not by this read: the page may be the pinned buffer of a direct
 * read while another read, or nobody yet, fills it as page cache (a file system
 * that takes the uptodate mark away from a mapped page makes it so). A page
 * that its own read fills is neither mapped nor pinned.
 */
bool drr_page_own(struct page *page, struct block_device *own,
		  struct drr_place *place)
{
	struct address_space *mapping;
	struct super_block *sb;
	struct folio *folio;
	struct inode *inode;
	bool mine = false;

	if (PageSlab(page))
		return false;
	folio = page_folio(page);
	if (!folio_test_locked(folio) || folio_test_uptodate(folio) ||
	    folio_test_anon(folio) || folio_test_swapcache(folio) ||
	    folio_test_hugetlb(folio) || folio_test_writeback(folio) ||
	    folio_mapped(folio) || folio_maybe_dma_pinned(folio))
		return false;

	rcu_read_lock();
	mapping = READ_ONCE(folio->mapping);
	if (mapping && !((unsigned long)mapping & FOLIO_MAPPING_FLAGS)) {
		if (mapping == own->bd_mapping) {
			mine = true;
		} else {
			inode = READ_ONCE(mapping->host);
			sb = inode ? READ_ONCE(inode->i_sb) : NULL;
			mine = sb && READ_ONCE(sb->s_bdev) == own;
		}
	}
	rcu_read_unlock();

	if (mine) {
		place->mapping = (unsigned long)mapping;
		place->index = folio->index + folio_page_idx(folio, page);
		place->pfn = page_to_pfn(page);
		place->left = folio_nr_pages(folio) - folio_page_idx(folio, page) - 1;
	}
	return mine;
}

/*
 * A block of a file system's metadata that is being read by way of a buffer
 * head: it locks the buffer, and not the folio. As above, a folio that is not
 * uptodate, nor mapped or pinned, is nobody's buffer of a direct read.
 */
bool drr_page_is_buffer(struct page *page, struct block_device *own)
{
	struct folio *folio;

	if (PageSlab(page))
		return false;
	folio = page_folio(page);
	return !folio_test_anon(folio) && !folio_test_hugetlb(folio) &&
	       READ_ONCE(folio->mapping) == own->bd_mapping &&
	       folio_test_private(folio) && !folio_test_uptodate(folio) &&
	       !folio_mapped(folio) && !folio_maybe_dma_pinned(folio);
}

static bool drr_is_there(struct folio *folio, struct page *page,
			 unsigned long mapping, u64 index)
{
	return (unsigned long)READ_ONCE(folio->mapping) == mapping &&
	       READ_ONCE(folio->index) + folio_page_idx(folio, page) == index;
}

/*
 * Why a folio that the caller has a reference on is no source, with its lock or
 * without. A read marks a folio uptodate when all of it is there, and then
 * unlocks it; a page of one that is still locked may be what the disk returned.
 */
static int drr_source_check(struct folio *folio, struct page *page,
			    unsigned long mapping, u64 index, bool locked)
{
	if (!drr_is_there(folio, page, mapping, index))
		return DRR_SRC_MAPPING;
	if (!folio_test_uptodate(folio) &&
	    (locked || (!folio_test_locked(folio) && !folio_test_uptodate(folio))))
		return DRR_SRC_NOT_UPTODATE;
	if (folio_test_dirty(folio))
		return DRR_SRC_DIRTY;
	if (folio_test_writeback(folio))
		return DRR_SRC_WRITEBACK;
	if (folio_maybe_dma_pinned(folio))
		return DRR_SRC_PINNED;
	if (folio_contain_hwpoisoned_page(folio) || PageHWPoison(page))
		return DRR_SRC_POISONED;
	return DRR_SRC_OK;
}

/*
 * From the frame number to a page of a folio with a reference, or the reason why
 * not. The mapping's address is compared and never followed. Without the folio's
 * lock all of this may have changed at once: the reference keeps the memory, and
 * the hash of what is copied from it decides.
 */
int drr_source_take(u64 pfn, unsigned long mapping, u64 index,
		    struct page **out)
{
	struct folio *folio;
	struct page *page;
	int why;

	/* Memory that goes off line waits for this section (drr_hotplug). */
	rcu_read_lock();
	page = pfn_to_online_page(pfn);
	if (!page) {
		rcu_read_unlock();
		return DRR_SRC_OFFLINE;
	}
	folio = page_folio(page);
	if (!folio_try_get(folio)) {
		rcu_read_unlock();
		return DRR_SRC_GONE;
	}
	rcu_read_unlock();

	/* It may have been split, or freed and used again, before the get. */
	why = DRR_SRC_GONE;
	if (page_folio(page) == folio)
		why = drr_source_check(folio, page, mapping, index, false);
	if (why != DRR_SRC_OK) {
		folio_put(folio);
		return why;
	}
	*out = page;
	return DRR_SRC_OK;
}

void drr_source_release(struct page *page)
{
	folio_put(page_folio(page));
}

/*
 * Locks the folio of a page from drr_source_take, and checks it again under the
 * lock; or tells the reason why not.
 */
int drr_source_lock(struct page *page, unsigned long mapping, u64 index)
{
	struct folio *folio = page_folio(page);
	int why;

	if (!folio_trylock(folio))
		return DRR_SRC_LOCKED;
	why = drr_source_check(folio, page, mapping, index, true);
	if (why != DRR_SRC_OK)
		folio_unlock(folio);
	return why;
}

void drr_source_unlock(struct page *page)
{
	folio_unlock(page_folio(page));
}

/* Accesses that multi-generational LRU lists have counted. */
static int drr_lru_refs(const struct folio *folio)
{
#ifdef CONFIG_LRU_GEN
	return folio_lru_refs(folio);
#else
	return 0;
#endif
}

/*
 * With the folio locked. One pass of a reader counts as one access, or, by
 * splice, as one for each filling of a pipe (fs/splice.c, PIPE_DEF_BUFFERS).
 */
void drr_source_use(struct page *page, struct drr_use *use)
{
	struct folio *folio = page_folio(page);
	int once = max(1L, folio_nr_pages(folio) / PIPE_DEF_BUFFERS);

	use->before = folio_page_idx(folio, page);
	use->pages = folio_nr_pages(folio);
	/* mm/swap.c, folio_mark_accessed, for either kind of LRU list. */
	use->hot = folio_test_active(folio) || folio_test_workingset(folio) ||
		   drr_lru_refs(folio) > once ||
		   folio_mapped(folio) || folio_test_mlocked(folio) ||
		   folio_test_unevictable(folio);
	use->used = use->hot || folio_test_referenced(folio);
	rcu_read_lock();
	use->group = (unsigned long)folio_memcg(folio);
	rcu_read_unlock();
}

/* References that neither the page cache nor the caller has. */
static int drr_folio_others(struct folio *folio)
{
	return folio_ref_count(folio) -
	       (folio_nr_pages(folio) + !!folio_has_private(folio) + 1);
}

/*
 * Whether nobody else refers to the folio. The batch in which this processor
 * gathers what goes to the LRU lists is emptied first. lru_add_drain is not
 * exported; what gives a batch of folios back, here an empty one, begins with it
 * (mm/swap.c). Other processors' batches stay as they are.
 */
static bool drr_folio_is_ours(struct folio *folio)
{
	struct folio_batch none;

	if (drr_folio_others(folio) == 1 && !folio_test_lru(folio)) {
		folio_batch_init(&none);
		__folio_batch_release(&none);
	}
	return !drr_folio_others(folio);
}

/*
 * Takes the page's folio, which is locked, clean and referenced once by the
 * caller, out of the page cache, if it is of a file on the device `own` and
 * nobody uses it. Does not sleep.
 *
 * The locked folio in its mapping keeps the inode until it is out; what
 * filemap_remove_folio looks at afterwards is kept by RCU, as the inode is freed
 * by it. filemap_release_folio comes first: it refuses what a journal still
 * needs, which generic_error_remove_folio would throw away. Whoever finds the
 * folio in the meantime has a reference, and sees what a truncation would show.
 */
int drr_source_drop(struct page *page, struct block_device *own)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio->mapping;
	struct inode *inode = mapping->host;
	bool done = false;

	if (!inode || !S_ISREG(inode->i_mode) || inode->i_sb->s_bdev != own)
		return DRR_DROP_REFUSED;
	/* Not every file system lets its folios be taken away like this: f2fs, EROFS and FAT do not say so. */
	if (mapping->a_ops->error_remove_folio != generic_error_remove_folio)
		return DRR_DROP_REFUSED;
	if (folio_mapped(folio))
		return DRR_DROP_REFUSED;
	if (!drr_folio_is_ours(folio))
		return DRR_DROP_BUSY;
	if (!filemap_release_folio(folio, 0) || folio_test_dirty(folio))
		return DRR_DROP_REFUSED;
	rcu_read_lock();
	if (drr_folio_is_ours(folio))
		done = !generic_error_remove_folio(mapping, folio);
	rcu_read_unlock();
	return done ? DRR_DROP_DONE : DRR_DROP_REFUSED;
}

int drr_source_copy(struct page *source, struct page *to)
{
	void *from_addr = kmap_local_page(source);
	void *to_addr = kmap_local_page(to);
	unsigned long left;

#ifdef copy_mc_to_kernel
	left = copy_mc_to_kernel(to_addr, from_addr, PAGE_SIZE);
#else
	memcpy(to_addr, from_addr, PAGE_SIZE);
	left = 0;
#endif
	kunmap_local(to_addr);
	kunmap_local(from_addr);
	if (left)
		return -EFAULT;
	flush_dcache_page(to);
	return 0;
}

void *drr_page_map(struct page *page)
{
	return kmap_local_page(page);
}

void drr_page_unmap(void *addr)
{
	kunmap_local(addr);
}

void drr_page_fill(struct page *page, u32 offset, const void *from, u32 len)
{
	memcpy_to_page(page, offset, from, len);
}

void drr_page_take(struct page *page, u32 offset, void *to, u32 len)
{
	memcpy_from_page(to, page, offset, len);
}

/* The first byte that differs; len if none does. */
u32 drr_page_difference(struct page *page, u32 offset, const void *from, u32 len)
{
	u8 *addr = kmap_local_page(page);
	const u8 *there = addr + offset;
	const u8 *here = from;
	u32 n = len;

	if (memcmp(there, here, len)) {
		for (n = 0; n < len; n++)
			if (there[n] != here[n])
				break;
	}
	kunmap_local(addr);
	return n;
}

struct page *drr_page_alloc(void)
{
	return alloc_page(GFP_NOWAIT | __GFP_NOWARN | __GFP_NORETRY);
}

void *drr_page_virt(struct page *page)
{
	return page_address(page);
}

void drr_page_free(struct page *page)
{
	__free_page(page);
}

spinlock_t *drr_irqlock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
	return lock;
}

unsigned long drr_irqlock(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void drr_irqunlock(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

struct workqueue_struct *drr_read_queue_new(void)
{
	return alloc_workqueue("drr_read", WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_HIGHPRI, 0);
}

void drr_read_work_queue(struct workqueue_struct *wq, struct work_struct *work,
		    void (*fn)(struct work_struct *work))
{
	INIT_WORK(work, fn);
	queue_work(wq, work);
}

struct drr_hotplug {
	struct notifier_block nb;
	void (*leaving)(void *ctx);
	void *ctx;
};

/*
 * GOING_OFFLINE: what is recorded is about to move. OFFLINE: the sections are
 * marked, so no new reader gets past pfn_to_online_page; those that did are
 * waited for before the memory map goes.
 */
static int drr_hotplug_event(struct notifier_block *nb, unsigned long action,
			     void *data)
{
	struct drr_hotplug *hp = container_of(nb, struct drr_hotplug, nb);

	if (action == MEM_GOING_OFFLINE || action == MEM_OFFLINE) {
		hp->leaving(hp->ctx);
		synchronize_rcu();
	}
	return NOTIFY_OK;
}

struct drr_hotplug *drr_hotplug_new(void (*leaving)(void *ctx), void *ctx)
{
	struct drr_hotplug *hp = kzalloc(sizeof(*hp), GFP_KERNEL);

	if (!hp)
		return NULL;
	hp->nb.notifier_call = drr_hotplug_event;
	hp->leaving = leaving;
	hp->ctx = ctx;
	if (register_memory_notifier(&hp->nb)) {
		kfree(hp);
		return NULL;
	}
	return hp;
}

void drr_hotplug_free(struct drr_hotplug *hp)
{
	unregister_memory_notifier(&hp->nb);
	kfree(hp);
}

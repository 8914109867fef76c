// SPDX-License-Identifier: GPL-2.0
/* Shims of the target and I/O side: inlines and macros as real functions. */
#include <linux/dm-kcopyd.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "core.h"

/* dm-thin's default (Documentation/admin-guide/device-mapper/thin-provisioning.rst). */
static unsigned int no_space_timeout = 60;
module_param(no_space_timeout, uint, 0644);
MODULE_PARM_DESC(no_space_timeout,
		 "Seconds until queued writes of a full pool fail, 0: never");

unsigned int drr_param_no_space_timeout(void)
{
	return READ_ONCE(no_space_timeout);
}

/* One for all pools, as dm-thin's: kcopyd keeps its account in it, under a lock. */
DECLARE_DM_KCOPYD_THROTTLE_WITH_MODULE_PARM(snapshot_copy_throttle,
	"Percentage of time that copies and zeroing of chunks may take, from 100 on: all");

struct dm_kcopyd_throttle *drr_param_copy_throttle(void)
{
	return &dm_kcopyd_throttle;
}

/* So many bios can be under way whatever the memory situation. */
#define DRR_BIO_RESERVE 4

struct bio_set *drr_bio_set_new(void)
{
	struct bio_set *bs = kzalloc(sizeof(*bs), GFP_KERNEL);

	if (bs && bioset_init(bs, DRR_BIO_RESERVE, 0, 0)) {
		kfree(bs);
		bs = NULL;
	}
	return bs;
}

void drr_bio_set_free(struct bio_set *bs)
{
	bioset_exit(bs);
	kfree(bs);
}

struct drr_discards {
	struct block_device *bdev;
	struct bio_set *bs;
	struct work_struct work;
	/* For the work: the caller's until all has ended. */
	const struct drr_range *ranges;
	size_t n;
	/* One for each bio under way, and one for who submits them. */
	atomic_t left;
	struct completion done;
};

static void drr_discards_run(struct work_struct *work);

struct drr_discards *drr_discards_new(struct block_device *bdev,
				      struct bio_set *bs)
{
	struct drr_discards *d = kmalloc(sizeof(*d), GFP_NOIO | __GFP_NOWARN);

	if (d) {
		d->bdev = bdev;
		d->bs = bs;
		INIT_WORK(&d->work, drr_discards_run);
		atomic_set(&d->left, 0);
		init_completion(&d->done);
		complete_all(&d->done);
	}
	return d;
}

void drr_discards_free(struct drr_discards *d)
{
	kfree(d);
}

static void drr_discarded(struct drr_discards *d)
{
	if (atomic_dec_and_test(&d->left))
		complete_all(&d->done);
}

static void drr_discard_endio(struct bio *bio)
{
	struct drr_discards *d = bio->bi_private;

	/* First: whoever waits for all of them may free the set. */
	bio_put(bio);
	drr_discarded(d);
}

/*
 * No bio waits unsubmitted while the next is allocated, as it would in a chain
 * (blk_next_bio): the set's reserve comes back by what is below alone, however
 * many do this at once.
 */
static void drr_discard(struct drr_discards *d, sector_t sector, unsigned int sectors)
{
	struct bio *bio = bio_alloc_bioset(d->bdev, 0, REQ_OP_DISCARD, GFP_NOIO, d->bs);

	bio->bi_iter.bi_sector = sector;
	bio->bi_iter.bi_size = sectors << SECTOR_SHIFT;
	bio->bi_private = d;
	bio->bi_end_io = drr_discard_endio;
	atomic_inc(&d->left);
	submit_bio(bio);
	cond_resched();
}

static void drr_discards_run(struct work_struct *work)
{
	struct drr_discards *d = container_of(work, struct drr_discards, work);
	struct blk_plug plug;
	size_t i;

	/* Whatever sleeps in here sends off first what the plug has gathered. */
	blk_start_plug(&plug);
	for (i = 0; i < d->n; i++)
		drr_discard(d, d->ranges[i].sector, d->ranges[i].sectors);
	blk_finish_plug(&plug);
	/* Last: whoever waits may free all of this. */
	drr_discarded(d);
}

void drr_discards_queue(struct drr_discards *d, struct workqueue_struct *wq,
			const struct drr_range *ranges, size_t n)
{
	reinit_completion(&d->done);
	atomic_set(&d->left, 1);
	d->ranges = ranges;
	d->n = n;
	queue_work(wq, &d->work);
}

void drr_discards_start(struct drr_discards *d,
			bool (*next)(void *ctx, sector_t *sector, unsigned int *sectors),
			void *ctx)
{
	struct blk_plug plug;
	unsigned int sectors;
	sector_t sector;

	reinit_completion(&d->done);
	atomic_set(&d->left, 1);
	/* As in drr_discards_run. */
	blk_start_plug(&plug);
	while (next(ctx, &sector, &sectors))
		drr_discard(d, sector, sectors);
	blk_finish_plug(&plug);
	drr_discarded(d);
}

void drr_discards_wait(struct drr_discards *d)
{
	wait_for_completion_io(&d->done);
}

void drr_bio_set_dev(struct bio *bio, struct block_device *bdev)
{
	bio_set_dev(bio, bdev);
}

void drr_bio_set_sector(struct bio *bio, sector_t sector)
{
	bio->bi_iter.bi_sector = sector;
}

void drr_bio_end(struct bio *bio, u8 status)
{
	bio->bi_status = (__force blk_status_t)status;
	bio_endio(bio);
}

void drr_zero_fill_bio(struct bio *bio)
{
	zero_fill_bio(bio);
}

void drr_bio_end_in_zeroes(struct bio *bio, unsigned int bytes)
{
	struct bvec_iter tail = bio->bi_iter;
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_advance_iter(bio, &tail, bytes);
	__bio_for_each_segment(bv, bio, iter, tail)
		memzero_bvec(&bv);
	bio->bi_iter.bi_size = bytes;
}

sector_t drr_bdev_nr_sectors(struct block_device *bdev)
{
	return bdev_nr_sectors(bdev);
}

unsigned int drr_bdev_max_discard_sectors(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev);
}

unsigned int drr_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

unsigned int drr_bdev_dma_alignment(struct block_device *bdev)
{
	return bdev_dma_alignment(bdev);
}

/* 0: not counted, as the device's queue/iostats says. */
unsigned long drr_bdev_account(struct block_device *bdev, unsigned int opf)
{
	if (!blk_queue_io_stat(bdev_get_queue(bdev)))
		return 0;
	/* A start at 0 would be taken for none: one in 2^64, or off by a jiffy. */
	return bdev_start_io_acct(bdev, opf & REQ_OP_MASK, jiffies ?: 1);
}

void drr_bdev_account_end(struct block_device *bdev, unsigned int opf,
			  unsigned int sectors, unsigned long since)
{
	bdev_end_io_acct(bdev, opf & REQ_OP_MASK, sectors, since);
}

struct block_device *drr_md_part0(struct mapped_device *md)
{
	return dm_disk(md)->part0;
}

/*
 * Lockdep tells locks apart by where they are made: the key is an address in
 * this module that stands for the place in the Rust code. The initialisers'
 * own keys, one for every call of these shims, would make one class of all.
 */
struct rw_semaphore *drr_rwsem_new(const void *key)
{
	struct rw_semaphore *sem = kmalloc(sizeof(*sem), GFP_KERNEL);

	if (sem) {
		init_rwsem(sem);
		lockdep_set_class_and_name(sem, (struct lock_class_key *)key,
					   "dm_drr_rwsem");
	}
	return sem;
}

void drr_rwsem_free(struct rw_semaphore *sem)
{
	kfree(sem);
}

void drr_pause(void)
{
	cond_resched();
}

struct completion *drr_completion_new(void)
{
	struct completion *x = kmalloc(sizeof(*x), GFP_KERNEL);

	if (x)
		init_completion(x);
	return x;
}

void drr_completion_free(struct completion *x)
{
	kfree(x);
}

struct srcu_struct *drr_srcu_new(void)
{
	struct srcu_struct *ssp = kzalloc(sizeof(*ssp), GFP_KERNEL);

	if (ssp && init_srcu_struct(ssp)) {
		kfree(ssp);
		ssp = NULL;
	}
	return ssp;
}

/*
 * polled: a grace period was begun that nobody need have waited for, and which
 * may still be under way. The removal of a device does not wait for one otherwise.
 */
void drr_srcu_free(struct srcu_struct *ssp, bool polled)
{
	if (polled)
		synchronize_srcu(ssp);
	cleanup_srcu_struct(ssp);
	kfree(ssp);
}

int drr_srcu_down_read(struct srcu_struct *ssp)
{
	return srcu_down_read(ssp);
}

void drr_srcu_up_read(struct srcu_struct *ssp, int idx)
{
	srcu_up_read(ssp, idx);
}

struct drr_spin {
	spinlock_t lock;
};

struct drr_spin *drr_spin_new(const void *key)
{
	struct drr_spin *s = kmalloc(sizeof(*s), GFP_KERNEL);

	if (s) {
		spin_lock_init(&s->lock);
		lockdep_set_class_and_name(&s->lock, (struct lock_class_key *)key,
					   "dm_drr_spin");
	}
	return s;
}

void drr_spin_free(struct drr_spin *s)
{
	kfree(s);
}

unsigned long drr_spin_lock(struct drr_spin *s)
{
	unsigned long flags;

	spin_lock_irqsave(&s->lock, flags);
	return flags;
}

void drr_spin_unlock(struct drr_spin *s, unsigned long flags)
{
	spin_unlock_irqrestore(&s->lock, flags);
}

mempool_t *drr_mempool_new(int min_nr, size_t size)
{
	return mempool_create_kmalloc_pool(min_nr, size);
}

void *drr_mempool_alloc_nowait(mempool_t *pool)
{
	return mempool_alloc(pool, GFP_NOWAIT | __GFP_NOWARN);
}

struct workqueue_struct *drr_workqueue_new_ordered(const char *name)
{
	return alloc_ordered_workqueue("%s", WQ_MEM_RECLAIM, name);
}

struct workqueue_struct *drr_workqueue_new_parallel(const char *name)
{
	return alloc_workqueue("%s", WQ_MEM_RECLAIM | WQ_UNBOUND, 0, name);
}

void drr_workqueue_flush(struct workqueue_struct *wq)
{
	flush_workqueue(wq);
}

/* A delayed work and the Rust function and object that it runs. */
struct drr_work {
	struct delayed_work dw;
	void (*fn)(void *ctx);
	void *ctx;
};

static void drr_work_run(struct work_struct *work)
{
	struct drr_work *w = container_of(to_delayed_work(work), struct drr_work, dw);

	w->fn(READ_ONCE(w->ctx));
}

struct drr_work *drr_work_new(void (*fn)(void *ctx), const void *key)
{
	struct drr_work *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (w) {
		INIT_DELAYED_WORK(&w->dw, drr_work_run);
		lockdep_init_map(&w->dw.work.lockdep_map, "dm_drr_work",
				 (struct lock_class_key *)key, 0);
		w->fn = fn;
	}
	return w;
}

void drr_work_free(struct drr_work *w)
{
	kfree(w);
}

void drr_work_set_ctx(struct drr_work *w, void *ctx)
{
	WRITE_ONCE(w->ctx, ctx);
}

void *drr_work_disable(struct drr_work *w)
{
	disable_delayed_work_sync(&w->dw);
	return xchg(&w->ctx, NULL);
}

void drr_work_queue(struct workqueue_struct *wq, struct drr_work *w,
		    unsigned int ms)
{
	queue_delayed_work(wq, &w->dw, msecs_to_jiffies(ms));
}

void drr_work_cancel(struct drr_work *w)
{
	cancel_delayed_work_sync(&w->dw);
}

/* A work that runs once and is gone then. */
struct drr_once {
	struct work_struct work;
	void (*fn)(void *ctx);
	void *ctx;
};

static void drr_once_run(struct work_struct *work)
{
	struct drr_once *once = container_of(work, struct drr_once, work);

	once->fn(once->ctx);
	/*
	 * A work may free itself (kernel/workqueue.c, process_one_work), but only
	 * now: another one at its address would be taken for the same, and wait
	 * for its end (find_worker_executing_work).
	 */
	kfree(once);
}

struct drr_once *drr_once_new(void (*fn)(void *ctx), const void *key)
{
	struct drr_once *once = kzalloc(sizeof(*once), GFP_KERNEL);

	if (once) {
		INIT_WORK(&once->work, drr_once_run);
		lockdep_init_map(&once->work.lockdep_map, "dm_drr_once",
				 (struct lock_class_key *)key, 0);
		once->fn = fn;
	}
	return once;
}

void drr_once_free(struct drr_once *once)
{
	kfree(once);
}

void drr_once_queue(struct workqueue_struct *wq, struct drr_once *once,
		    void *ctx)
{
	once->ctx = ctx;
	queue_work(wq, &once->work);
}

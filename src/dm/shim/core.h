/* SPDX-License-Identifier: GPL-2.0 */
/* Shims of the target and I/O side; the contracts are at their Rust wrappers. */
#ifndef DRR_SHIM_CORE_H
#define DRR_SHIM_CORE_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/device-mapper.h>
#include <linux/mempool.h>
#include <linux/rwsem.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

void drr_bio_set_dev(struct bio *bio, struct block_device *bdev);
void drr_bio_set_sector(struct bio *bio, sector_t sector);
void drr_bio_end(struct bio *bio, u8 status);
void drr_zero_fill_bio(struct bio *bio);
void drr_bio_end_in_zeroes(struct bio *bio, unsigned int bytes);

sector_t drr_bdev_nr_sectors(struct block_device *bdev);
unsigned int drr_bdev_max_discard_sectors(struct block_device *bdev);
unsigned int drr_bdev_logical_block_size(struct block_device *bdev);
unsigned int drr_bdev_dma_alignment(struct block_device *bdev);
unsigned long drr_bdev_account(struct block_device *bdev, unsigned int opf);
void drr_bdev_account_end(struct block_device *bdev, unsigned int opf,
			  unsigned int sectors, unsigned long since);

struct rw_semaphore *drr_rwsem_new(const void *key);
void drr_rwsem_free(struct rw_semaphore *sem);

void drr_pause(void);
struct completion *drr_completion_new(void);
void drr_completion_free(struct completion *x);

struct srcu_struct *drr_srcu_new(void);
void drr_srcu_free(struct srcu_struct *ssp, bool polled);
int drr_srcu_down_read(struct srcu_struct *ssp);
void drr_srcu_up_read(struct srcu_struct *ssp, int idx);

unsigned int drr_param_no_space_timeout(void);
struct dm_kcopyd_throttle;
struct dm_kcopyd_throttle *drr_param_copy_throttle(void);

struct bio_set *drr_bio_set_new(void);
void drr_bio_set_free(struct bio_set *bs);

struct drr_discards;
struct drr_range {
	u64 sector;
	u32 sectors;
};
struct drr_discards *drr_discards_new(struct block_device *bdev,
				      struct bio_set *bs);
void drr_discards_free(struct drr_discards *d);
void drr_discards_start(struct drr_discards *d,
			bool (*next)(void *ctx, sector_t *sector, unsigned int *sectors),
			void *ctx);
void drr_discards_queue(struct drr_discards *d, struct workqueue_struct *wq,
			const struct drr_range *ranges, size_t n);
void drr_discards_wait(struct drr_discards *d);

struct block_device *drr_md_part0(struct mapped_device *md);

struct drr_spin;
struct drr_spin *drr_spin_new(const void *key);
void drr_spin_free(struct drr_spin *s);
unsigned long drr_spin_lock(struct drr_spin *s);
void drr_spin_unlock(struct drr_spin *s, unsigned long flags);

mempool_t *drr_mempool_new(int min_nr, size_t size);
void *drr_mempool_alloc_nowait(mempool_t *pool);

struct workqueue_struct *drr_workqueue_new_ordered(const char *name);
struct workqueue_struct *drr_workqueue_new_parallel(const char *name);
void drr_workqueue_flush(struct workqueue_struct *wq);

struct drr_work;
struct drr_work *drr_work_new(void (*fn)(void *ctx), const void *key);
void drr_work_free(struct drr_work *w);
void drr_work_set_ctx(struct drr_work *w, void *ctx);
void *drr_work_disable(struct drr_work *w);
void drr_work_queue(struct workqueue_struct *wq, struct drr_work *w,
		    unsigned int ms);
void drr_work_cancel(struct drr_work *w);

struct drr_once;
struct drr_once *drr_once_new(void (*fn)(void *ctx), const void *key);
void drr_once_free(struct drr_once *once);
void drr_once_queue(struct workqueue_struct *wq, struct drr_once *once,
		    void *ctx);

#endif

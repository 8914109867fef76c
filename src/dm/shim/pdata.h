/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shims of the persistent-data side; the contracts are at their Rust wrappers
 * (src/dm/pdata.rs).
 */
#ifndef DRR_SHIM_PDATA_H
#define DRR_SHIM_PDATA_H

#include <linux/blkdev.h>
#include <linux/types.h>

#include "persistent-data/dm-space-map.h"

void drr_clients_lock(void);
void drr_clients_unlock(void);

void drr_sm_destroy(struct dm_space_map *sm);
int drr_sm_extend(struct dm_space_map *sm, u64 extra);
int drr_sm_nr_blocks(struct dm_space_map *sm, u64 *count);
int drr_sm_nr_free(struct dm_space_map *sm, u64 *count);
int drr_sm_count(struct dm_space_map *sm, u64 b, u32 *count);
int drr_sm_inc(struct dm_space_map *sm, u64 b, u64 e);
int drr_sm_dec(struct dm_space_map *sm, u64 b, u64 e);
int drr_sm_new_block(struct dm_space_map *sm, u64 *b);
int drr_sm_commit(struct dm_space_map *sm);
int drr_sm_copy_root(struct dm_space_map *sm, void *to, size_t len);
int drr_sm_threshold(struct dm_space_map *sm, u64 threshold,
		     dm_sm_threshold_fn fn, void *context);

bool drr_bdev_is_read_only(struct block_device *bdev);

unsigned int drr_noio_save(void);
void drr_noio_restore(unsigned int flags);

#endif

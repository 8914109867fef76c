// SPDX-License-Identifier: GPL-2.0
/* Shims of the persistent-data side: space-map calls go through a vtable. */
#include <linux/mutex.h>
#include <linux/sched/mm.h>

#include "pdata.h"

static DEFINE_MUTEX(drr_clients);

void drr_clients_lock(void)
{
	mutex_lock(&drr_clients);
}

void drr_clients_unlock(void)
{
	mutex_unlock(&drr_clients);
}

void drr_sm_destroy(struct dm_space_map *sm)
{
	dm_sm_destroy(sm);
}

int drr_sm_extend(struct dm_space_map *sm, u64 extra)
{
	return dm_sm_extend(sm, extra);
}

int drr_sm_nr_blocks(struct dm_space_map *sm, u64 *count)
{
	return dm_sm_get_nr_blocks(sm, count);
}

int drr_sm_nr_free(struct dm_space_map *sm, u64 *count)
{
	return dm_sm_get_nr_free(sm, count);
}

int drr_sm_count(struct dm_space_map *sm, u64 b, u32 *count)
{
	return dm_sm_get_count(sm, b, count);
}

int drr_sm_inc(struct dm_space_map *sm, u64 b, u64 e)
{
	return dm_sm_inc_blocks(sm, b, e);
}

int drr_sm_dec(struct dm_space_map *sm, u64 b, u64 e)
{
	return dm_sm_dec_blocks(sm, b, e);
}

int drr_sm_new_block(struct dm_space_map *sm, u64 *b)
{
	return dm_sm_new_block(sm, b);
}

int drr_sm_commit(struct dm_space_map *sm)
{
	return dm_sm_commit(sm);
}

/* The root may be shorter than the place for it: the rest is zeroed. */
int drr_sm_copy_root(struct dm_space_map *sm, void *to, size_t len)
{
	size_t size;
	int r = dm_sm_root_size(sm, &size);

	if (r)
		return r;
	if (size > len)
		return -ENOSPC;
	memset(to, 0, len);
	return dm_sm_copy_root(sm, to, size);
}

int drr_sm_threshold(struct dm_space_map *sm, u64 threshold,
		     dm_sm_threshold_fn fn, void *context)
{
	return dm_sm_register_threshold_callback(sm, threshold, fn, context);
}

bool drr_bdev_is_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

unsigned int drr_noio_save(void)
{
	return memalloc_noio_save();
}

void drr_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

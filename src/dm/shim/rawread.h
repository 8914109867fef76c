/* SPDX-License-Identifier: GPL-2.0 */
/* Reads into memory of the module's own; the contracts are at src/dm/rawdisk.rs. */
#ifndef DRR_SHIM_RAWREAD_H
#define DRR_SHIM_RAWREAD_H

#include <linux/blkdev.h>
#include <linux/dm-io.h>
#include <linux/types.h>

struct drr_window;

struct drr_window *drr_window_read(struct dm_io_client *client, struct block_device *bdev,
				   sector_t sector, size_t bytes, bool must);
const void *drr_window_wait(struct drr_window *w);
void drr_window_free(struct drr_window *w);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* Shim of the walk down a stack of devices; the contract is at its Rust wrapper. */
#ifndef DRR_SHIM_STACK_H
#define DRR_SHIM_STACK_H

#include <linux/blkdev.h>

dev_t drr_disk_number(struct block_device *bdev);
void drr_devices_below(dev_t dev, void (*found)(void *ctx, dev_t dev), void *ctx);

#endif

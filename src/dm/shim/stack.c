// SPDX-License-Identifier: GPL-2.0
/*
 * Shim of the walk down a stack of devices.
 *
 * device-mapper exports nothing that leads from a device to the table in
 * force, so this looks into its own structures (drivers/md/dm-core.h, from the
 * sources that the module is built with).
 */
#include <linux/device-mapper.h>
#include <linux/srcu.h>

#include "dm-core.h"

#include "stack.h"

dev_t drr_disk_number(struct block_device *bdev)
{
	return disk_devt(bdev->bd_disk);
}

void drr_devices_below(dev_t dev, void (*found)(void *ctx, dev_t dev), void *ctx)
{
	struct mapped_device *md = dm_get_md(dev);
	struct dm_dev_internal *dd;
	struct dm_table *table;
	int idx;

	if (!md)
		return;
	/* As dm_get_live_table (drivers/md/dm.c, 7.2): keeps the table. */
	idx = srcu_read_lock(&md->io_barrier);
	table = srcu_dereference(md->map, &md->io_barrier);
	/*
	 * A table's devices come with its targets' constructors and go with
	 * their destructors; dm itself walks the list of a live table without a
	 * lock (drivers/md/dm.c, __send_empty_flush, 7.2).
	 */
	if (table)
		list_for_each_entry(dd, &table->devices, list)
			found(ctx, drr_disk_number(dd->dm_dev->bdev));
	srcu_read_unlock(&md->io_barrier, idx);
	dm_put(md);
}

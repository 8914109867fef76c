// SPDX-License-Identifier: GPL-2.0
/* Shim of reads into memory of the module's own, which are waited for when they are wanted. */
#include <linux/completion.h>
#include <linux/ioprio.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "rawread.h"

struct drr_window {
	struct completion done;
	bool failed;
	void *memory;
};

/* Any context. */
static void drr_window_done(unsigned long error, unsigned long unsup, void *context)
{
	struct drr_window *w = context;

	w->failed = error || unsup;
	complete_all(&w->done);
}

struct drr_window *drr_window_read(struct dm_io_client *client, struct block_device *bdev,
				   sector_t sector, size_t bytes, bool must)
{
	/* What is only read ahead is not worth that others lose memory. */
	gfp_t gfp = must ? GFP_KERNEL : GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN;
	struct drr_window *w = kzalloc(sizeof(*w), gfp);
	struct dm_io_region region = {
		.bdev = bdev,
		.sector = sector,
		.count = bytes >> SECTOR_SHIFT,
	};
	struct dm_io_request request = {
		.bi_opf = REQ_OP_READ,
		.notify.fn = drr_window_done,
		.notify.context = w,
		.client = client,
	};

	if (!w)
		return NULL;
	init_completion(&w->done);
	w->memory = kvmalloc(bytes, gfp);
	if (!w->memory) {
		kfree(w);
		return NULL;
	}
	if (is_vmalloc_addr(w->memory)) {
		request.mem.type = DM_IO_VMA;
		request.mem.ptr.vma = w->memory;
	} else {
		request.mem.type = DM_IO_KMEM;
		request.mem.ptr.addr = w->memory;
	}
	/* An error is told of here only if the request was not begun. */
	if (dm_io(&request, 1, &region, NULL, NULL, IOPRIO_DEFAULT))
		drr_window_done(1, 0, w);
	return w;
}

const void *drr_window_wait(struct drr_window *w)
{
	wait_for_completion(&w->done);
	return w->failed ? NULL : w->memory;
}

void drr_window_free(struct drr_window *w)
{
	wait_for_completion(&w->done);
	kvfree(w->memory);
	kfree(w);
}

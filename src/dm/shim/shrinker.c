// SPDX-License-Identifier: GPL-2.0
/* Shims of the shrinkers: callbacks with a context, and the name as a string of a given length. */
#include <linux/shrinker.h>
#include <linux/slab.h>

#include "shrinker.h"

struct drr_shrinker {
	struct shrinker *shrinker;
	size_t (*count)(void *ctx);
	size_t (*scan)(void *ctx, size_t n);
	void *ctx;
};

static unsigned long drr_shrinker_count(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	struct drr_shrinker *s = shrinker->private_data;
	size_t n = s->count(s->ctx);

	return n ? min_t(size_t, n, SHRINK_EMPTY - 1) : SHRINK_EMPTY;
}

static unsigned long drr_shrinker_scan(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	struct drr_shrinker *s = shrinker->private_data;
	size_t freed = s->scan(s->ctx, sc->nr_to_scan);

	/* Nothing to be had: do not ask again in this pass. */
	return freed ? freed : SHRINK_STOP;
}

struct drr_shrinker *drr_shrinker_new(const char *pool, size_t pool_len, const char *name,
				      size_t (*count)(void *ctx),
				      size_t (*scan)(void *ctx, size_t n), void *ctx)
{
	struct drr_shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->count = count;
	s->scan = scan;
	s->ctx = ctx;
	s->shrinker = shrinker_alloc(0, "dm-drr-%s:%.*s", name, (int)pool_len, pool);
	if (!s->shrinker) {
		kfree(s);
		return NULL;
	}
	s->shrinker->count_objects = drr_shrinker_count;
	s->shrinker->scan_objects = drr_shrinker_scan;
	s->shrinker->private_data = s;
	shrinker_register(s->shrinker);
	return s;
}

void drr_shrinker_free(struct drr_shrinker *s)
{
	/* Waits for callbacks that are running. */
	shrinker_free(s->shrinker);
	kfree(s);
}

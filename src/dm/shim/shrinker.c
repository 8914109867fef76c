// SPDX-License-Identifier: GPL-2.0
/* Shims of the shrinkers: callbacks with a context, and the name as a string of a given length. */
#include <linux/list_lru.h>
#include <linux/memcontrol.h>
#include <linux/page_counter.h>
#include <linux/shrinker.h>
#include <linux/slab.h>

#include "pdata.h"
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

/*
 * A shrinker that memory control groups ask, too. Reclaim for a group asks only
 * those shrinkers of which the group has something in a list_lru: for each group
 * that has copies there is a token in one, on node 0, where it asks shrinkers
 * that do not tell nodes apart (mm/shrinker.c, shrink_slab_memcg).
 */
struct drr_cgroup_shrinker {
	struct shrinker *shrinker;
	struct list_lru tokens;
	struct kmem_cache *cache;
	char *cache_name;
	size_t (*count)(void *ctx, unsigned long cgroup);
	bool (*ask)(void *ctx, size_t n, unsigned long cgroup);
	void *ctx;
};

#define DRR_TOKEN_NODE 0
/* A group inherits the tokens of those below it that are gone. */
#define DRR_TOKENS_MAX 8

struct drr_token {
	struct list_head lru;
};

static struct mem_cgroup *drr_asking_group(struct shrink_control *sc)
{
#ifdef CONFIG_MEMCG
	if (sc->memcg && !mem_cgroup_is_root(sc->memcg))
		return sc->memcg;
#endif
	return NULL;
}

struct drr_token_walk {
	struct kmem_cache *cache;
	unsigned int keep;
};

static void drr_token_cache_destroy(struct kmem_cache *cache)
{
	drr_clients_lock();
	kmem_cache_destroy(cache);
	drr_clients_unlock();
}

static enum lru_status drr_token_take(struct list_head *item, struct list_lru_one *list,
				      void *arg)
{
	struct drr_token_walk *walk = arg;

	if (walk->keep) {
		walk->keep--;
		return LRU_SKIP;
	}
	list_lru_isolate(list, item);
	kmem_cache_free(walk->cache, container_of(item, struct drr_token, lru));
	return LRU_REMOVED;
}

static unsigned long drr_cgroup_shrinker_count(struct shrinker *shrinker,
					       struct shrink_control *sc)
{
	struct drr_cgroup_shrinker *s = shrinker->private_data;
	struct mem_cgroup *group = drr_asking_group(sc);
	unsigned long n = min_t(size_t, s->count(s->ctx, (unsigned long)group), SHRINK_EMPTY - 1);

	if (list_lru_count_one(&s->tokens, DRR_TOKEN_NODE, sc->memcg) > DRR_TOKENS_MAX) {
		struct drr_token_walk walk = { .cache = s->cache, .keep = 1 };
		unsigned long all = ULONG_MAX;

		list_lru_walk_one(&s->tokens, DRR_TOKEN_NODE, sc->memcg, drr_token_take, &walk, &all);
	}
#ifdef CONFIG_MEMCG
	/* SHRINK_EMPTY would have it never asked again, as the token stays. */
	if (group)
		return min(n, page_counter_read(&group->memory));
#endif
	return n ? n : SHRINK_EMPTY;
}

static unsigned long drr_cgroup_shrinker_scan(struct shrinker *shrinker,
					      struct shrink_control *sc)
{
	struct drr_cgroup_shrinker *s = shrinker->private_data;

	/* Nothing is free yet: a work sees to that. Else drop_caches asks until nothing is freed any more. */
	return s->ask(s->ctx, sc->nr_to_scan, (unsigned long)drr_asking_group(sc)) ? 0 : SHRINK_STOP;
}

struct drr_cgroup_shrinker *
drr_cgroup_shrinker_new(const char *pool, size_t pool_len, const char *name,
			size_t (*count)(void *ctx, unsigned long cgroup),
			bool (*ask)(void *ctx, size_t n, unsigned long cgroup), void *ctx)
{
	struct drr_cgroup_shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->count = count;
	s->ask = ask;
	s->ctx = ctx;
	s->cache_name = kasprintf(GFP_KERNEL, "drr_token-%.*s", (int)pool_len, pool);
	if (!s->cache_name)
		goto no_name;
	/* The kernel takes a cache's name away after it has forgotten the cache (blocks.rs, `alone`). */
	drr_clients_lock();
	s->cache = kmem_cache_create(s->cache_name, sizeof(struct drr_token), 0, SLAB_ACCOUNT, NULL);
	drr_clients_unlock();
	if (!s->cache)
		goto no_cache;
	s->shrinker = shrinker_alloc(SHRINKER_MEMCG_AWARE, "dm-drr-%s:%.*s", name, (int)pool_len, pool);
	if (!s->shrinker)
		goto no_shrinker;
	if (list_lru_init_memcg(&s->tokens, s->shrinker))
		goto no_tokens;
	s->shrinker->count_objects = drr_cgroup_shrinker_count;
	s->shrinker->scan_objects = drr_cgroup_shrinker_scan;
	/*
	 * What can be had again without the disk: each pass of reclaim asks for half of
	 * it, in batches of 128 (mm/shrinker.c). Otherwise the first passes, which are
	 * all that a group with page cache of its own makes, would ask for a 2,048th,
	 * and that is less than a batch.
	 */
	s->shrinker->seeks = 0;
	s->shrinker->private_data = s;
	shrinker_register(s->shrinker);
	return s;

no_tokens:
	shrinker_free(s->shrinker);
no_shrinker:
	drr_token_cache_destroy(s->cache);
no_cache:
	kfree(s->cache_name);
no_name:
	kfree(s);
	return NULL;
}

void drr_cgroup_shrinker_note(struct drr_cgroup_shrinker *s)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *group;
	struct drr_token *token;

	if (mem_cgroup_disabled())
		return;
	rcu_read_lock();
	group = mem_cgroup_from_task(current);
	if (!group || mem_cgroup_is_root(group) ||
	    list_lru_count_one(&s->tokens, DRR_TOKEN_NODE, group) || !css_tryget(&group->css))
		group = NULL;
	rcu_read_unlock();
	if (!group)
		return;
	/* Makes the group's list, too. */
	token = kmem_cache_alloc_lru(s->cache, &s->tokens, GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
	if (token) {
		INIT_LIST_HEAD(&token->lru);
		list_lru_add(&s->tokens, &token->lru, DRR_TOKEN_NODE, group);
	}
	css_put(&group->css);
#endif
}

void drr_cgroup_shrinker_free(struct drr_cgroup_shrinker *s)
{
	struct drr_token_walk walk = { .cache = s->cache };

	/* Waits for callbacks that are running. */
	shrinker_free(s->shrinker);
	list_lru_walk(&s->tokens, drr_token_take, &walk, ULONG_MAX);
	list_lru_destroy(&s->tokens);
	drr_token_cache_destroy(s->cache);
	kfree(s->cache_name);
	kfree(s);
}

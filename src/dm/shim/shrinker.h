/* SPDX-License-Identifier: GPL-2.0 */
/* Shims of the shrinkers; the contracts are at their Rust wrapper (shrinker.rs). */
#ifndef DRR_SHIM_SHRINKER_H
#define DRR_SHIM_SHRINKER_H

#include <linux/types.h>

struct drr_shrinker;
struct drr_shrinker *drr_shrinker_new(const char *pool, size_t pool_len, const char *name,
				      size_t (*count)(void *ctx),
				      size_t (*scan)(void *ctx, size_t n), void *ctx);
void drr_shrinker_free(struct drr_shrinker *s);

/* A control group's name: only compared. 0: the whole system. */
struct drr_cgroup_shrinker;
struct drr_cgroup_shrinker *
drr_cgroup_shrinker_new(const char *pool, size_t pool_len, const char *name,
			size_t (*count)(void *ctx, unsigned long cgroup),
			bool (*ask)(void *ctx, size_t n, unsigned long cgroup), void *ctx);
void drr_cgroup_shrinker_note(struct drr_cgroup_shrinker *s);
void drr_cgroup_shrinker_free(struct drr_cgroup_shrinker *s);

#endif

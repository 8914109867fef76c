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

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The C interfaces that bindgen translates for src/dm (see bindgen_parameters
 * for the selection).
 */
#include <linux/hrtimer_types.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/dm-bufio.h>
#include <linux/dm-io.h>
#include <linux/dm-kcopyd.h>

#include "dm.h"
#include "persistent-data/dm-block-manager.h"
#include "persistent-data/dm-btree.h"
#include "persistent-data/dm-space-map.h"
#include "persistent-data/dm-space-map-disk.h"
#include "persistent-data/dm-transaction-manager.h"
#include "dm-bio-prison-v1.h"

#include "core.h"
#include "pdata.h"
#include "folio.h"
#include "shrinker.h"
#include "stack.h"
#include "rawread.h"
#include "clnh.h"

/* Macros that bindgen cannot evaluate by itself. */
const u32 RUST_CONST_HELPER_REQ_POLLED = (__force u32)REQ_POLLED;
const u32 RUST_CONST_HELPER_BLK_FEAT_POLL = (__force u32)BLK_FEAT_POLL;
const u32 RUST_CONST_HELPER_REQ_PREFLUSH = (__force u32)REQ_PREFLUSH;
const u32 RUST_CONST_HELPER_REQ_FUA = (__force u32)REQ_FUA;
const u32 RUST_CONST_HELPER_REQ_META = (__force u32)REQ_META;
const u32 RUST_CONST_HELPER_REQ_RAHEAD = (__force u32)REQ_RAHEAD;
const u32 RUST_CONST_HELPER_REQ_NOWAIT = (__force u32)REQ_NOWAIT;
const u32 RUST_CONST_HELPER_DRR_OP_MASK = (__force u32)REQ_OP_MASK;
const u32 RUST_CONST_HELPER_DRR_OP_READ = (__force u32)REQ_OP_READ;
const u32 RUST_CONST_HELPER_DRR_OP_WRITE = (__force u32)REQ_OP_WRITE;
const u32 RUST_CONST_HELPER_DRR_OP_FLUSH = (__force u32)REQ_OP_FLUSH;
const u32 RUST_CONST_HELPER_DRR_OP_DISCARD = (__force u32)REQ_OP_DISCARD;
const u8 RUST_CONST_HELPER_DRR_STS_OK = (__force u8)BLK_STS_OK;
const u8 RUST_CONST_HELPER_DRR_STS_IOERR = (__force u8)BLK_STS_IOERR;
const u8 RUST_CONST_HELPER_DRR_STS_NOSPC = (__force u8)BLK_STS_NOSPC;
const u8 RUST_CONST_HELPER_DRR_STS_RESOURCE = (__force u8)BLK_STS_RESOURCE;
const u8 RUST_CONST_HELPER_DRR_STS_DM_REQUEUE = (__force u8)BLK_STS_DM_REQUEUE;
const u8 RUST_CONST_HELPER_DRR_STS_NOTSUPP = (__force u8)BLK_STS_NOTSUPP;
const u64 RUST_CONST_HELPER_DM_TARGET_FEAT_SINGLETON = DM_TARGET_SINGLETON;
const u64 RUST_CONST_HELPER_DM_TARGET_FEAT_ALWAYS_WRITEABLE = DM_TARGET_ALWAYS_WRITEABLE;
const u64 RUST_CONST_HELPER_DM_TARGET_FEAT_IMMUTABLE = DM_TARGET_IMMUTABLE;
const u64 RUST_CONST_HELPER_DM_TARGET_FEAT_PASSES_CRYPTO = DM_TARGET_PASSES_CRYPTO;
const u32 RUST_CONST_HELPER_DRR_BLK_OPEN_READ = (__force u32)BLK_OPEN_READ;
const u32 RUST_CONST_HELPER_DRR_BLK_OPEN_WRITE = (__force u32)BLK_OPEN_WRITE;
const u32 RUST_CONST_HELPER_DRR_GFP_NOIO = (__force u32)GFP_NOIO;
const u32 RUST_CONST_HELPER_DRR_DM_NAME_LEN = DM_NAME_LEN;
const u32 RUST_CONST_HELPER_DRR_MAPIO_SUBMITTED = DM_MAPIO_SUBMITTED;
const u32 RUST_CONST_HELPER_DRR_MAPIO_REMAPPED = DM_MAPIO_REMAPPED;
const u32 RUST_CONST_HELPER_DRR_ENDIO_DONE = DM_ENDIO_DONE;
const u32 RUST_CONST_HELPER_DRR_ENDIO_INCOMPLETE = DM_ENDIO_INCOMPLETE;
const u32 RUST_CONST_HELPER_DRR_STATUS_NOFLUSH = DM_STATUS_NOFLUSH_FLAG;

// SPDX-License-Identifier: GPL-2.0

//! dm-drr: a device-mapper thin pool that serves shared data from a sibling's memory.
//!
//! This file registers the targets and does little else; docs/architecture.md is the map.

#![deny(unsafe_code)]

use kernel::prelude::*;

#[expect(unsafe_code, reason = "the one room that may")]
mod dm;
mod drr;
mod meta;
mod pool;
mod thin;
mod units;

use dm::target::Registration;
use drr::CachePolicy;
use pool::{target::PoolTarget, Params, Table};
use thin::target::ThinTarget;

module! {
    type: DmDrr,
    name: "dm_drr",
    authors: ["dm-drr maintainers"],
    description: "device-mapper thin pool serving shared data from memory",
    license: "GPL",
    params: {
        thin_names: u32 {
            default: 1,
            description: "Names thin-pool and thin: 0 never, 1 when free, 2 fail to load when taken",
        },
        drr: u32 {
            default: 1,
            description: "Whether pools under the name thin-pool serve reads from siblings",
        },
        table_max_mb: u32 {
            default: 64,
            description: "Memory bound of each pool's access table in MiB",
        },
        meta_max_mb: u32 {
            default: 32,
            description: "Memory bound of each pool's copies of file systems' metadata in MiB, 0: none",
        },
        sampling: u32 {
            default: 1,
            description: "Whether recording is switched down to a sample where hits do not pay for it",
        },
        vector_hash: u32 {
            default: 1,
            description: "Whether the content hash is computed in vector registers where the processor has them",
        },
        cache: u32 {
            default: 0,
            description: "Copies of shared pages in memory: 0 stay, 1 all but one leave when memory is reclaimed, 2 all but two leave soon",
        },
    },
}

/// The names that are this module's own.
const OWN_VERSION: [u32; 3] = [1, 0, 0];
/// The version of dm-thin whose interface the drop-in names have.
const DROP_IN_VERSION: [u32; 3] = [1, 24, 0];

/// The targets under one pair of names.
struct Targets {
    _thin: Registration<ThinTarget>,
    _pool: Registration<PoolTarget>,
}

impl Targets {
    fn register(
        module: &'static ThisModule,
        pool: &'static CStr,
        thin: &'static CStr,
        version: [u32; 3],
        table: &kernel::sync::Arc<Table>,
    ) -> Result<Self> {
        Ok(Self {
            _thin: Registration::new(module, thin, version, table.clone())?,
            _pool: Registration::new(module, pool, version, table.clone())?,
        })
    }
}

/// A parameter's value, which Linux 7.2 gives by reference and 7.3 by copy.
fn param(value: impl core::borrow::Borrow<u32>) -> u32 {
    *value.borrow()
}

/// The loaded module.
struct DmDrr {
    _own: Targets,
    _drop_in: Option<Targets>,
}

impl kernel::Module for DmDrr {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let thin_names = param(module_parameters::thin_names.value());
        if thin_names > 2 {
            pr_err!("thin_names={} is not 0, 1 or 2\n", thin_names);
            return Err(EINVAL);
        }
        let mb = usize::try_from(param(module_parameters::table_max_mb.value()))?;
        let meta_mb = usize::try_from(param(module_parameters::meta_max_mb.value()))?;
        let cache = param(module_parameters::cache.value());
        let Some(cache) = CachePolicy::from_param(cache) else {
            pr_err!("cache={} is not 0, 1 or 2\n", cache);
            return Err(EINVAL);
        };
        let table = Table::new(Params {
            drr_default: param(module_parameters::drr.value()) != 0,
            drr: drr::Options {
                table_max_bytes: mb.checked_mul(1 << 20).ok_or(EINVAL)?,
                meta_max_bytes: meta_mb.checked_mul(1 << 20).ok_or(EINVAL)?,
                sampling: param(module_parameters::sampling.value()) != 0,
                vector_hash: param(module_parameters::vector_hash.value()) != 0,
                cache,
            },
            no_space_timeout: dm::params::no_space_timeout,
        })?;
        let own = Targets::register(module, c"drr-pool", c"drr", OWN_VERSION, &table)?;
        let drop_in = if thin_names == 0 {
            None
        } else {
            match Targets::register(module, c"thin-pool", c"thin", DROP_IN_VERSION, &table) {
                Ok(t) => Some(t),
                Err(e) if e == EBUSY && thin_names == 1 => {
                    pr_info!(
                        "the names thin-pool and thin are taken; only drr-pool and drr are available\n"
                    );
                    None
                }
                Err(e) => {
                    pr_err!(
                        "cannot register thin-pool and thin (thin_names={}): error {}\n",
                        thin_names,
                        e.to_errno()
                    );
                    return Err(e);
                }
            }
        };
        Ok(Self {
            _own: own,
            _drop_in: drop_in,
        })
    }
}

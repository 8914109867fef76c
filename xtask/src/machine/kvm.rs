// SPDX-License-Identifier: GPL-2.0

//! Whether KVM runs an ordinary guest on this machine.

use super::{Accel, Job, Vm};
use crate::kernel::Kernel;
use crate::roots::{self, Root};
use crate::{cache, paths, ui};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::sync::Mutex;
use std::time::Duration;

/// Whether a guest really boots under KVM: a device node alone says nothing. Asked once per boot of this machine.
pub fn kvm_works(kernel: &Kernel) -> Result<bool> {
    static ASKED: Mutex<Option<bool>> = Mutex::new(None);
    let mut asked = ASKED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(verdict) = *asked {
        return Ok(verdict);
    }
    let verdict = probe_kvm(kernel)?;
    *asked = Some(verdict);
    Ok(verdict)
}

fn probe_kvm(kernel: &Kernel) -> Result<bool> {
    let usable = File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    if !usable {
        return Ok(false);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = cache::key(&[boot.trim(), &kernel.release]);
    let verdict = paths::cache()?.join(format!("kvm-{key}"));
    let _lock = cache::lock(&paths::cache()?.join("locks/kvm"))?;
    match fs::read_to_string(&verdict).unwrap_or_default().trim() {
        "yes" => return Ok(true),
        "no" => return Ok(false),
        _ => {}
    }
    roots::ensure_image(Root::Initramfs.image())?;
    let step = ui::step("trying whether KVM runs a guest");
    let mut vm = Vm::new(kernel.clone(), None);
    vm.timeout = Duration::from_secs(15);
    let job = Job::Script(b"exit 42".to_vec());
    let outcome = vm.boot(&job, Accel::Kvm, &mut |_| None)?;
    let works = outcome.status == Some(42);
    fs::write(&verdict, if works { "yes\n" } else { "no\n" })
        .with_context(|| format!("cannot write {}", verdict.display()))?;
    step.done();
    Ok(works)
}

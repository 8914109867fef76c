// SPDX-License-Identifier: GPL-2.0

//! QEMU's command line, part by part.

use super::{Accel, Vm};
use crate::emulator::Emulator;
use crate::kernel::KernelKind;
use crate::proc;
use crate::roots::{self, Root};
use anyhow::{bail, Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The processor that TCG emulates. With erms or fsrm kernel and libc copy by `rep movsb`, with fsrs the kernel fills by
/// `rep stosb`, which TCG carries out, and counts, byte by byte; without them they move 8 bytes and more at a time, near
/// to what real processors do.
const TCG_CPU: &str = "max,-erms,-fsrm,-fsrs";

/// Board, memory and processors.
pub(super) fn machine(qemu: &mut Command, vm: &Vm, accel: Accel) {
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    qemu.args(["-no-reboot", "-monitor", "none"]);
    qemu.args(["-machine", "q35,i8042=off,vmport=off"]);
    qemu.args(["-m", &vm.kernel.memory(vm.mem).to_string()]);
    let smp = vm.smp.to_string();
    match accel {
        Accel::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host", "-smp", &smp]),
        Accel::Tcg => qemu.args(["-accel", "tcg,thread=multi", "-cpu", TCG_CPU, "-smp", &smp]),
        Accel::Icount => {
            qemu.args(["-accel", "tcg", "-cpu", TCG_CPU, "-smp", "1"]);
            qemu.args(["-icount", "shift=0,sleep=off"])
        }
    };
}

/// Kernel, its command line, and the console, which goes to a file.
pub(super) fn system(qemu: &mut Command, vm: &Vm, initrd: &Path, console: &Path) {
    qemu.arg("-kernel").arg(vm.kernel.vmlinuz());
    qemu.arg("-initrd").arg(initrd);
    let mut append = String::from(
        "console=ttyS0 loglevel=7 printk.devkmsg=on oops=panic panic=-1 mitigations=off \
         random.trust_cpu=on no_timer_check audit=0",
    );
    if vm.kernel.kind() == KernelKind::Debug {
        // While identify_cpu looks at the processor anew, KASAN takes it for one without five
        // levels of page tables, and an interrupt's accesses for wild ones (7.2).
        append.push_str(" no5lvl");
    }
    if vm.movable != 0 {
        append.push_str(&format!(" movablecore={}M", vm.movable));
    }
    qemu.args(["-append", &append]);
    qemu.arg("-chardev")
        .arg(option("file,id=console,path=", console));
    qemu.args(["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
    qemu.args(["-device", "virtio-rng-pci"]);
}

/// A port of the guest's that ends in a socket here.
pub(super) fn port(qemu: &mut Command, name: &str, socket: &Path) {
    qemu.arg("-chardev")
        .arg(option(&format!("socket,id={name},path="), socket));
    qemu.arg("-device")
        .arg(format!("virtserialport,chardev={name},name=drr.{name}"));
}

/// The disks. Blank ones come first, so that they are vda, vdb, and so on.
pub(super) fn disks(qemu: &mut Command, vm: &Vm, scratch: &Path) -> Result<()> {
    for (i, size) in vm.disks.iter().enumerate() {
        let id = format!("disk{}", i + 1);
        let file = scratch.join(&id);
        proc::output(proc::command("truncate").args(["-s", size]).arg(&file))?;
        drive(qemu, &id, &file, "cache=unsafe,discard=unmap");
    }
    let root = roots::ensure_image(vm.root.image())?;
    let how = match vm.root {
        Root::Initramfs => "readonly=on",
        Root::Trixie | Root::Bookworm => "snapshot=on,cache=unsafe",
    };
    drive(qemu, "root", &root, how);
    let modules = vm.kernel.modules_image();
    drive(qemu, "modules", &modules, "readonly=on");
    if vm.image {
        let image = roots::ensure_image("image")?;
        drive(qemu, "image", &image, "readonly=on");
    }
    Ok(())
}

fn option(prefix: &str, path: &Path) -> OsString {
    let mut s = OsString::from(prefix);
    // QEMU reads a comma as the end of a value; two are one.
    s.push(path.to_string_lossy().replace(',', ",,"));
    s
}

fn drive(qemu: &mut Command, id: &str, file: &Path, how: &str) {
    qemu.arg("-drive").arg(option(
        &format!("if=none,id={id},format=raw,{how},file="),
        file,
    ));
    qemu.arg("-device")
        .arg(format!("virtio-blk-pci,drive={id},serial=drr-{id}"));
}

/// Starts the daemon that shows a directory to the guest.
pub(super) fn share(
    emulator: &Emulator,
    qemu: &mut Command,
    dir: &Path,
    mem: u32,
    sockets: &Path,
    logs: &Path,
) -> Result<proc::Running> {
    let dir = dir
        .canonicalize()
        .with_context(|| format!("cannot share {}", dir.display()))?;
    if !dir.is_dir() {
        bail!("cannot share {}: not a directory", dir.display());
    }
    let socket = sockets.join("fs");
    let mut c = emulator.virtiofsd();
    c.arg(option("--socket-path=", &socket));
    c.arg("--cache=auto").arg("--shared-dir").arg(&dir);
    let log = logs.join("virtiofsd.log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let again = file.try_clone().context("cannot duplicate a log file")?;
    c.stdout(file).stderr(again);
    let mut running = proc::spawn(&mut c)?;
    let since = Instant::now();
    while !socket.exists() {
        if running.try_wait()?.is_some() || since.elapsed() > Duration::from_secs(10) {
            bail!(
                "virtiofsd does not start: {}\n{}",
                proc::shown(&c),
                proc::tail(&log, 2000)
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    qemu.arg("-chardev")
        .arg(option("socket,id=fs,path=", &socket));
    qemu.args(["-device", "vhost-user-fs-pci,chardev=fs,tag=share"]);
    qemu.arg("-object")
        .arg(format!("memory-backend-memfd,id=mem,size={mem}M,share=on"));
    qemu.args(["-numa", "node,memdev=mem"]);
    Ok(running)
}

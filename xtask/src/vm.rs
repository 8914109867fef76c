// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask vm`: boots the guest, runs one script or command in it as root, and exits with its status.

use crate::klog::Filter;
use crate::machine::{Outcome, Vm};
use crate::roots::Root;
use crate::{build, kernel, paths, proc, ui};
use anyhow::{bail, Context, Result};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// The exit status when the guest was lost, or its kernel log holds a report.
const TROUBLE: i32 = 125;

#[derive(clap::Args)]
#[command(
    after_help = "In the guest: $DISK1, $DISK2, … are the blank disks, $IMAGE the demo's image, $TESTS a copy of \
tests/guest with all its scripts side by side, $KO the module, which `modprobe dm-drr` finds too. Exits with the script's status; with 125 when the VM was \
lost or, the script having ended well, the kernel log holds a report."
)]
pub struct Args {
    /// Which kernel: stock, debug, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// The guest's root file system
    #[arg(long, value_enum, default_value = "initramfs")]
    root: Root,
    /// Shows this directory, readable and writable, at /share
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// Adds a blank disk of this size (K, M, G); may be given again
    #[arg(long, value_name = "SIZE")]
    disk: Vec<String>,
    /// Adds the demo's image as a read-only disk
    #[arg(long)]
    image: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024, value_name = "M")]
    mem: u32,
    /// Number of processors
    #[arg(long, default_value_t = 2, value_name = "N")]
    smp: u32,
    /// Lets guest time count instructions, on one processor, so that times repeat
    #[arg(long)]
    icount: bool,
    /// Gives the guest up after this many seconds
    #[arg(long, default_value_t = 600, value_name = "S")]
    timeout: u64,
    /// Takes this module file instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "no_module")]
    ko: Option<PathBuf>,
    /// Boots without the module
    #[arg(long)]
    no_module: bool,
    /// Shows the kernel log at the end
    #[arg(long)]
    klog: bool,
    /// The script to run; with a #! line any program
    #[arg(long, value_name = "F", conflicts_with = "command")]
    script: Option<PathBuf>,
    /// The command to run
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub fn run(args: Args) -> Result<i32> {
    let script = match (&args.script, args.command.as_slice()) {
        (Some(file), _) => {
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, []) => bail!("nothing to run: give --script FILE or -- COMMAND"),
        (None, [one]) => format!("{one}\n").into_bytes(),
        (None, words) => {
            let quoted: Vec<String> = words
                .iter()
                .map(|w| format!("'{}'", w.replace('\'', "'\\''")))
                .collect();
            format!("exec {}\n", quoted.join(" ")).into_bytes()
        }
    };
    let kernel = kernel::ensure(&args.kernel)?;
    let module = if args.no_module {
        None
    } else if let Some(ko) = &args.ko {
        Some(build::foreign(&kernel, ko)?)
    } else if build::has_sources() {
        Some(build::build(&kernel, false)?)
    } else {
        ui::note("the checkout holds no module: booting without it");
        None
    };
    let mut vm = Vm::new(kernel, module);
    vm.root = args.root;
    vm.mem = args.mem;
    vm.smp = args.smp;
    vm.disks = args.disk;
    vm.image = args.image;
    vm.share = args.share;
    vm.tests = Some(paths::checkout().join("tests/guest"));
    vm.icount = args.icount;
    vm.timeout = Duration::from_secs(args.timeout);
    let outcome = vm.run(&script, |bytes| {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes);
        let _ = out.flush();
    })?;
    if args.klog {
        eprint!("{}", proc::tail(&outcome.console, u64::MAX));
    }
    finish(&outcome)
}

/// Says what is wrong with a run, and what to exit with.
fn finish(outcome: &Outcome) -> Result<i32> {
    let log = std::fs::read_to_string(&outcome.console)
        .or_else(|_| {
            std::fs::read(&outcome.console).map(|b| String::from_utf8_lossy(&b).into_owned())
        })
        .with_context(|| format!("no console log at {}", outcome.console.display()))?;
    let filter = Filter::load()?;
    let reports = filter.scan(&log);
    if !reports.is_empty() {
        eprintln!("kernel log: {} reports, the first:", reports.len());
        for line in reports.iter().take(10) {
            eprintln!("  {line}");
        }
    }
    let Some(status) = outcome.status else {
        let why = outcome.lost.as_deref().unwrap_or("no reason known");
        eprintln!("VM lost: {why}\nconsole: {}", outcome.console.display());
        return Ok(TROUBLE);
    };
    if !reports.is_empty() {
        eprintln!("console: {}", outcome.console.display());
        return Ok(if status == 0 { TROUBLE } else { status });
    }
    Ok(status)
}

// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask`: everything about dm-drr that takes more than one command.
//!
//! One file per subcommand (`bench`, `build`, `demo`, `doctor`, `heatmap`, `lint`, `test`, `vm`); what they share is in `cache` (downloads
//! and images, keyed by content), `kernel` (pins, prepared trees, and the debug kernel, which is built here), `machine`
//! (a boot), `emulator` (QEMU), `klog` (kernel log filter), `sources` (Rust files as tokens), `figures` (what a guest measures),
//! `proc` (child processes that never outlive us) and `ui` (progress).
#![forbid(unsafe_code)]

mod apt;
mod arrows;
mod bars;
mod bench;
mod build;
mod cache;
mod demo;
mod doctor;
mod emulator;
mod figures;
mod frames;
mod guest_test;
mod heatmap;
mod host;
mod kernel;
mod klog;
mod lint;
mod machine;
mod names;
mod paths;
mod picture;
mod proc;
mod roots;
mod sizes;
mod sources;
mod test;
mod test_files;
mod ui;
mod vm;

use clap::{Parser, Subcommand};

/// Builds, boots, tests and demonstrates dm-drr.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows on a real image what a container reads on dm-thin and on dm-drr
    Demo(demo::Args),
    /// Runs the host tests and the guest tests
    Test(test::Args),
    /// Measures dm-thin and dm-drr side by side
    Bench(bench::Args),
    /// Draws who was served from whom
    Heatmap(heatmap::Args),
    /// Boots the guest, runs a script or command in it as root, and exits with its status
    Vm(vm::Args),
    /// Builds the module against a prepared kernel tree
    Build(build::Args),
    /// Checks formatting, lints, documentation, and the module's own rules
    Lint(lint::Args),
    /// Says what is missing on this machine, and how to install it
    Doctor(doctor::Args),
}

fn main() {
    let cli = Cli::parse();
    if let Err(e) = proc::install_signal_handler() {
        eprintln!("error: {e:#}");
        std::process::exit(1);
    }
    let result = match cli.command {
        Command::Demo(a) => demo::run(a),
        Command::Test(a) => test::run(a),
        Command::Bench(a) => bench::run(a),
        Command::Heatmap(a) => heatmap::run(a),
        Command::Vm(a) => vm::run(a),
        Command::Build(a) => build::run(a),
        Command::Lint(a) => lint::run(a),
        Command::Doctor(a) => doctor::run(a),
    };
    let code = match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            1
        }
    };
    proc::exit(code);
}

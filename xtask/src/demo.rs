// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask demo`: containers from a real image on dm-thin and on dm-drr, side by side.
//!
//! The guest's half is vm/demo/run.sh: it runs both sides in one boot and prints `figure SIDE CASE METRIC VALUE` lines, which
//! become the table and the JSON here. What else it prints is progress.

use crate::build::Built;
use crate::figures::{self, commit, Figures, Guest, Media, SIDES};
use crate::kernel::Kernel;
use crate::machine::{Event, Job, Outcome, Vm};
use crate::{build, kernel, paths};
use anyhow::{bail, Result};
use serde_json::{json, Value};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

const MIB: f64 = 1024.0 * 1024.0;

#[derive(clap::Args)]
pub struct Args {
    /// Writes the figures as JSON too
    #[arg(long, value_name = "F")]
    json: Option<PathBuf>,
    /// How many containers to start
    #[arg(short = 'n', long = "containers", default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=16))]
    containers: u32,
    /// Which medium the data device's latency is that of
    #[arg(long, value_enum, default_value = "ssd")]
    media: Media,
    /// Which kernel: stock, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// Runs one side alone; nothing can be compared then
    #[arg(long, value_name = "SIDE", value_parser = SIDES)]
    only: Option<String>,
    /// Takes this module file instead of building one
    #[arg(long, value_name = "FILE")]
    ko: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<i32> {
    let kernel = kernel::ensure(&args.kernel)?;
    let module = if args.only.as_deref() == Some(SIDES[0]) {
        None
    } else if let Some(ko) = &args.ko {
        Some(build::foreign(&kernel, ko)?)
    } else if build::has_sources() {
        Some(build::build(&kernel, false)?)
    } else {
        bail!("the checkout holds no module to show");
    };
    let release = kernel.release.clone();
    let (guest, outcome) = watch(&args, kernel, module)?;
    let report = Report {
        figures: guest.figures,
        differences: guest.differences,
        containers: args.containers,
    };
    report.print(&args, &release, &outcome);
    if let Some(file) = &args.json {
        let object = json!({
            "name": "demo",
            "kernel": release,
            "accel": outcome.accel.name(),
            "commit": commit(),
            "media": args.media.name(),
            "rows": report.rows(),
        });
        figures::write_json(file, &object)?;
    }

    let mut bad = figures::complaints(&outcome)?;
    if args.only.is_none() && outcome.status.is_some() {
        match report.differences {
            Some(0) => {}
            Some(n) => bad.push(format!("{n} differences between the containers' files")),
            None => bad.push("the files were not compared".to_string()),
        }
    }
    if bad.is_empty() {
        return Ok(0);
    }
    for line in &bad {
        eprintln!("demo failed: {line}");
    }
    eprintln!("console: {}", outcome.console.display());
    Ok(1)
}

/// Boots a guest and runs the demo in it.
fn watch(args: &Args, kernel: Kernel, module: Option<Built>) -> Result<(Guest, Outcome)> {
    let mut vm = Vm::new(kernel, module);
    vm.image = true;
    // The image on an emulated disk in memory, and the page cache of every container beside it; one side at a time.
    vm.mem = 2048 + 384 * args.containers;
    // How long a side takes depends on the machine by far more than any limit should: what counts is that it moves on.
    let patience = Duration::from_secs(600);
    vm.timeout = patience;

    let mut guest = Guest::default();
    let job = Job::Script(script(args)?.into_bytes());
    let outcome = vm.run_job(&job, &mut |event| match event {
        Event::Output(bytes) => {
            guest.feed(&bytes);
            Some(patience)
        }
        _ => None,
    })?;
    guest.feed(b"\n");
    Ok((guest, outcome))
}

/// The path of its shell matters: a bare `sh`
/// is busybox's under vm/agent, which then takes busybox's own find and tar as well.
fn script(args: &Args) -> Result<String> {
    let demo = paths::vm().join("demo");
    let files = [
        demo.join("run.sh"),
        demo.join("app.py"),
        paths::checkout().join("tests/guest/lib.sh"),
    ];
    let mut text = figures::bundle("/tmp/demo", &files)?;
    let sides = match args.only.as_deref() {
        Some(side) if side == SIDES[0] => "stock",
        Some(_) => "drr",
        None => "stock drr",
    };
    let _ = write!(
        text,
        "cd /tmp\nTESTS=/tmp/demo SCRATCH=/tmp COUNT={} MEDIA={} SIDES='{sides}' exec /bin/sh /tmp/demo/run.sh\n",
        args.containers,
        args.media.name(),
    );
    Ok(text)
}

struct Report {
    figures: Figures,
    differences: Option<u64>,
    containers: u32,
}

/// A figure of a container in the table and in the JSON.
struct Metric {
    /// In the guest's lines
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    /// From the guest's unit to `unit`
    scale: f64,
    better: &'static str,
}

const METRICS: [Metric; 7] = [
    metric("start_ms", "start", "s", 0.001, "lower"),
    metric("finish_ms", "done", "s", 0.001, "lower"),
    metric("data_bytes", "file data", "MiB", 1.0 / MIB, "lower"),
    metric("meta_bytes", "metadata", "MiB", 1.0 / MIB, "lower"),
    metric(
        "served_pages",
        "served by a sibling",
        "pages",
        1.0,
        "higher",
    ),
    metric("hash_rejects", "hash rejections", "pages", 1.0, "lower"),
    metric("files", "files compared", "files", 1.0, "higher"),
];

const fn metric(
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    scale: f64,
    better: &'static str,
) -> Metric {
    Metric {
        key,
        name,
        unit,
        scale,
        better,
    }
}

impl Report {
    fn get(&self, side: &str, case: &str, metric: &str) -> Option<f64> {
        let key = (side.to_string(), case.to_string(), metric.to_string());
        self.figures.get(&key).copied()
    }

    fn container(&self, side: &str, c: u32, metric: &str) -> Option<f64> {
        self.get(side, &format!("container-{c}"), metric)
    }

    /// The sum of metrics over the second and later containers, if all of them are known.
    fn later(&self, side: &str, metrics: &[&str]) -> Option<f64> {
        let mut sum = 0.0;
        for c in 2..=self.containers {
            for m in metrics {
                sum += self.container(side, c, m)?;
            }
        }
        Some(sum)
    }

    /// By how many per cent dm-drr's second and later containers need less than dm-thin's.
    fn saved(&self, metrics: &[&str]) -> Option<f64> {
        let thin = self.later(SIDES[0], metrics)?;
        let drr = self.later(SIDES[1], metrics)?;
        (thin > 0.0).then(|| (1.0 - drr / thin) * 100.0)
    }

    fn later_name(&self) -> String {
        match self.containers {
            2 => "container 2".to_string(),
            n => format!("containers 2-{n}"),
        }
    }

    fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_table(&mut text);
        text
    }

    /// The head of the report and its table; nothing when there are no figures.
    fn print(&self, args: &Args, release: &str, outcome: &Outcome) {
        if self.figures.is_empty() {
            return;
        }
        println!();
        println!(
            "{} containers of one {}, started one after the other and kept up",
            args.containers,
            match self
                .get(SIDES[0], "image", "bytes")
                .or(self.get(SIDES[1], "image", "bytes"))
            {
                Some(bytes) => format!("image of {:.0} MiB", bytes / MIB),
                None => "image".to_string(),
            },
        );
        println!(
            "kernel {release} under {}; the data device has the latency of {}",
            outcome.accel.name(),
            args.media.describe(),
        );
        print!("{}", self.table());
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        self.write_containers(out)?;
        writeln!(out)?;
        self.write_savings(out)?;
        self.write_proofs(out)
    }

    /// A line a container.
    fn write_containers(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out)?;
        write!(out, "{:<11}", "")?;
        for m in &METRICS[..4] {
            write!(out, " | {:^17}", format!("{}, {}", m.name, m.unit))?;
        }
        writeln!(out, " | from a sibling,  {}", METRICS[4].unit)?;
        write!(out, "{:<11}", "container")?;
        for _ in 0..4 {
            write!(out, " | {:>8} {:>8}", SIDES[0], SIDES[1])?;
        }
        writeln!(out, " | {:>8} {:>13}", "served", "hash-rejected")?;
        let mut line = |label: String, get: &dyn Fn(&str, &Metric) -> Option<f64>| {
            let cell = |side, m: &Metric| number(get(side, m).map(|v| v * m.scale), m.unit);
            write!(out, "{label:<11}")?;
            for m in &METRICS[..4] {
                write!(out, " | {:>8} {:>8}", cell(SIDES[0], m), cell(SIDES[1], m))?;
            }
            let [served, rejected] = [&METRICS[4], &METRICS[5]].map(|m| cell(SIDES[1], m));
            writeln!(out, " | {served:>8} {rejected:>13}")
        };
        for c in 1..=self.containers {
            line(format!("{c}"), &|side, m| self.container(side, c, m.key))?;
        }
        if self.containers > 2 {
            let label = format!("2-{} in all", self.containers);
            line(label, &|side, m| self.later(side, &[m.key]))?;
        }
        Ok(())
    }

    /// How much less the later containers read, and how much sooner they start.
    fn write_savings(&self, out: &mut String) -> std::fmt::Result {
        let total = ["data_bytes", "meta_bytes"];
        let kinds: [(&str, &[&str]); 3] = [
            ("in all", &total),
            ("file data", &total[..1]),
            ("file-system metadata", &total[1..]),
        ];
        writeln!(out, "{} read from the data device:", self.later_name())?;
        for (name, metrics) in kinds {
            let thin = self.later(SIDES[0], metrics).map(|v| v / MIB);
            let drr = self.later(SIDES[1], metrics).map(|v| v / MIB);
            write!(
                out,
                "  {name:<22}{:>9} MiB on dm-thin, {:>9} MiB on dm-drr",
                number(thin, "MiB"),
                number(drr, "MiB"),
            )?;
            match self.saved(metrics) {
                Some(p) if p >= 0.0 => writeln!(out, ": {p:.1} % less")?,
                Some(p) => writeln!(out, ": {:.1} % more", -p)?,
                None => writeln!(out)?,
            }
        }
        if let Some(p) = self.saved(&["start_ms"]) {
            writeln!(
                out,
                "  their start takes {:.1} % {} time",
                p.abs(),
                if p >= 0.0 { "less" } else { "more" }
            )?;
        }
        Ok(())
    }

    /// What was compared, and found.
    fn write_proofs(&self, out: &mut String) -> std::fmt::Result {
        if let Some(n) = self.differences {
            let files: f64 = (1..=self.containers)
                .filter_map(|c| self.container(SIDES[1], c, "files"))
                .sum();
            if files > 0.0 {
                writeln!(
                    out,
                    "SHA-256 of {files:.0} files in {} containers on both: {n} differences",
                    self.containers
                )?;
            }
        }
        if let (Some(n), Some(compared)) = (
            self.get(SIDES[1], "all", "verify_mismatches"),
            self.get(SIDES[1], "all", "verify_pages"),
        ) {
            writeln!(
                out,
                "{compared:.0} served pages compared with the disk under `verify on`: {n:.0} mismatches"
            )?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut row = |case: String, name: &str, unit: &str, thin, drr, better: &str| {
            rows.push(json!({
                "case": case, "metric": name, "unit": unit,
                "dm-thin": thin, "dm-drr": drr, "better": better,
            }));
        };
        for c in 1..=self.containers {
            for m in &METRICS {
                let of = |side| self.container(side, c, m.key).map(|v| v * m.scale);
                let case = format!("container {c}");
                row(case, m.name, m.unit, of(SIDES[0]), of(SIDES[1]), m.better);
            }
        }
        for m in &METRICS[..6] {
            let of = |side| self.later(side, &[m.key]).map(|v| v * m.scale);
            row(
                self.later_name(),
                m.name,
                m.unit,
                of(SIDES[0]),
                of(SIDES[1]),
                m.better,
            );
        }
        let total = ["data_bytes", "meta_bytes"];
        let of = |side| self.later(side, &total).map(|v| v / MIB);
        row(
            self.later_name(),
            "read in all",
            "MiB",
            of(SIDES[0]),
            of(SIDES[1]),
            "lower",
        );
        for (name, metrics) in [
            ("less read in all", &total[..]),
            ("less file data read", &total[..1]),
        ] {
            row(
                self.later_name(),
                name,
                "%",
                None,
                self.saved(metrics),
                "higher",
            );
        }
        let differences = self.differences.map(|n| n as f64);
        row(
            "all".to_string(),
            "differences",
            "files",
            None,
            differences,
            "lower",
        );
        let mismatches = self.get(SIDES[1], "all", "verify_mismatches");
        row(
            "all".to_string(),
            "verify mismatches",
            "pages",
            None,
            mismatches,
            "lower",
        );
        rows
    }
}

fn number(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "-".to_string(),
        Some(v) if unit == "pages" || unit == "files" => format!("{v:.0}"),
        Some(v) => format!("{v:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Report {
        let mut guest = Guest::default();
        // In pieces, as it comes from the guest.
        for piece in lines.as_bytes().chunks(7) {
            guest.feed(piece);
        }
        Report {
            figures: guest.figures,
            differences: guest.differences,
            containers: 2,
        }
    }

    const BOTH: &str = "figure dm-thin container-2 data_bytes 100\nfigure dm-thin container-2 meta_bytes 20\n\
                        figure dm-drr container-2 data_bytes 0\nfigure dm-drr container-2 meta_bytes 30\n\
                        figure dm-thin container-2 served_pages null\nprogress of some kind\ndifferences 0\n";

    #[test]
    fn reductions_are_those_of_the_later_containers() {
        let report = told(BOTH);
        assert_eq!(report.saved(&["data_bytes"]), Some(100.0));
        assert_eq!(report.saved(&["data_bytes", "meta_bytes"]), Some(75.0));
        assert_eq!(report.differences, Some(0));
    }

    #[test]
    fn what_a_side_does_not_have_stays_unknown() {
        let report = told(BOTH);
        assert_eq!(report.later(SIDES[0], &["served_pages"]), None);
        assert_eq!(report.saved(&["start_ms"]), None);
        assert!(report.table().contains("container 2 read"));
    }
}

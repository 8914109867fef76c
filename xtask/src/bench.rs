// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask bench`: dm-thin and dm-drr side by side, in one boot.
//!
//! The guest's half of a benchmark is `vm/bench/<name>.sh`; it prints figures by side, case, metric and round, of which the
//! median goes into the table and the JSON.

use crate::bars::{Bars, Figure};
use crate::build::Built;
use crate::figures::{self, commit, Guest, Media, SIDES};
use crate::kernel::Kernel;
use crate::machine::{Event, Job, Outcome, Vm};
use crate::roots::Root;
use crate::{build, kernel, paths, picture};
use anyhow::{bail, Result};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Which benchmarks; without a name all of them
    #[arg(value_name = "NAME", value_parser = NAMES)]
    names: Vec<String>,
    /// Writes the figures as JSON too; with several benchmarks, a file for each
    #[arg(long, value_name = "F")]
    json: Option<PathBuf>,
    /// Draws the figures too, into .svg or .png; with several benchmarks, a file for each
    #[arg(long, value_name = "F")]
    plot: Vec<PathBuf>,
    /// Which medium the devices' latency is that of, where a benchmark does not run on all of them
    #[arg(long, value_enum, default_value = "nvme")]
    media: Media,
    /// How often each case is measured on each side where time is not counted in instructions; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Number of processors, where time is not counted in instructions
    #[arg(long, default_value_t = 4, value_name = "N")]
    smp: u32,
    /// Which kernel: stock, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// Takes this module file instead of building one
    #[arg(long, value_name = "FILE")]
    ko: Option<PathBuf>,
}

const NAMES: [&str; 9] = [
    "sibling-read",
    "talk",
    "miss",
    "mapped",
    "storm",
    "memory",
    "table",
    "parallel",
    "fsync",
];

/// A figure in the table and in the JSON.
struct Metric {
    /// In the guest's lines, before the round
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    better: &'static str,
}

const fn lower(key: &'static str, name: &'static str, unit: &'static str) -> Metric {
    Metric {
        key,
        name,
        unit,
        better: "lower",
    }
}

/// What its devices are like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Devices {
    /// The media in turn, as cases
    All,
    /// The medium that is asked for
    Asked,
    /// Without latency
    Memory,
}

struct Bench {
    name: &'static str,
    /// What its cases are, by the guest's word and the table's
    cases: &'static [(&'static str, &'static str)],
    metrics: &'static [Metric],
    /// Columns besides dm-thin's and dm-drr's; not all of them have all figures
    others: &'static [&'static str],
    /// Time is counted instructions, on one processor: a figure repeats, and one round is enough
    icount: bool,
    devices: Devices,
}

const BENCHES: [Bench; 9] = [
    Bench {
        name: "sibling-read",
        cases: &[
            ("hdd", "HDD"),
            ("ssd", "SATA SSD"),
            ("nvme", "NVMe SSD"),
            ("none", "no latency"),
        ],
        metrics: &[
            lower("sibling", "first read by the sibling", "ms"),
            lower("first", "first read of all", "ms"),
            lower("again", "read from the own cache", "ms"),
            lower("page", "instructions a page, sibling", "1"),
        ],
        others: &["dm-linear"],
        icount: true,
        devices: Devices::All,
    },
    Bench {
        name: "talk",
        cases: &[
            ("c1", "C1"),
            ("c2", "C2"),
            ("c3", "C3"),
            ("c4", "C4, without C1"),
        ],
        metrics: &[
            lower("read", "a big file", "ms"),
            lower("md5", "md5sum of another", "ms"),
            lower("bytes", "read from the device", "MiB"),
        ],
        others: &[],
        icount: true,
        devices: Devices::Asked,
    },
    Bench {
        name: "miss",
        cases: &[
            ("hdd", "HDD"),
            ("ssd", "SATA SSD"),
            ("nvme", "NVMe SSD"),
            ("none", "no latency"),
        ],
        metrics: &[
            lower("shared", "first read, shared data", "ms"),
            lower("own", "first read, data of its own", "ms"),
            lower("table", "access table, a page of the file", "B"),
        ],
        others: &["drr-off", "sampled"],
        icount: true,
        devices: Devices::All,
    },
    Bench {
        name: "mapped",
        cases: &[
            ("4k-read", "4 KiB read"),
            ("4k-write", "4 KiB write"),
            ("1m-read", "1 MiB read"),
            ("1m-write", "1 MiB write"),
        ],
        metrics: &[lower("bio", "instructions, all above the disk", "1")],
        others: &["dm-linear"],
        icount: true,
        devices: Devices::Memory,
    },
    Bench {
        name: "storm",
        cases: &[
            ("1", "1 container"),
            ("8", "8 containers"),
            ("16", "16 containers"),
            ("32", "32 containers"),
        ],
        metrics: &[
            lower("bytes", "read from the device", "MiB"),
            lower("time", "until all have started", "ms"),
        ],
        others: &["overlayfs"],
        icount: true,
        devices: Devices::Asked,
    },
    Bench {
        name: "memory",
        cases: &[
            ("1", "1 container"),
            ("8", "8 containers"),
            ("16", "16 containers"),
        ],
        metrics: &[
            lower("cache", "page cache, and dm-drr's own", "MiB"),
            lower("again", "all files once more", "ms"),
            lower("disk", "read from the device for that", "MiB"),
        ],
        others: &["overlayfs"],
        icount: true,
        devices: Devices::Asked,
    },
    Bench {
        name: "table",
        cases: &[
            ("sequential", "file in sequence"),
            ("image", "image's files"),
            ("four", "4 containers"),
            ("random", "random quarter"),
        ],
        metrics: &[lower("table", "access table, a page in memory", "B")],
        others: &[],
        icount: true,
        devices: Devices::Memory,
    },
    Bench {
        name: "parallel",
        cases: &[
            ("1", "1 job"),
            ("2", "2 jobs"),
            ("4", "4 jobs"),
            ("8", "8 jobs"),
        ],
        metrics: &[
            Metric {
                key: "rate",
                name: "4 KiB random writes",
                unit: "1/s",
                better: "higher",
            },
            lower("mean", "time of a write, mean", "us"),
            lower("p99", "time of a write, 99 %", "us"),
        ],
        others: &[],
        icount: false,
        devices: Devices::Asked,
    },
    Bench {
        name: "fsync",
        cases: &[
            ("alone", "fsync, alone"),
            ("beside", "fsync, 1,000 idle devices"),
            ("quiet", "read, no commits"),
            ("commits", "read, fsyncs beside"),
            ("flush", "read, fsyncs, 20 ms a flush"),
        ],
        metrics: &[lower("p50", "median", "us"), lower("p99", "99 %", "us")],
        others: &[],
        icount: true,
        devices: Devices::Memory,
    },
];

impl Bench {
    fn sides(&self) -> Vec<&'static str> {
        SIDES.iter().chain(self.others).copied().collect()
    }

    /// How often each case is measured: what is counted in instructions comes out the same each time.
    fn rounds(&self, args: &Args) -> u32 {
        if self.icount {
            1
        } else {
            args.rounds
        }
    }
}

pub fn run(args: Args) -> Result<i32> {
    picture::check_names(&args.plot)?;
    let kernel = kernel::ensure(&args.kernel)?;
    let module = match &args.ko {
        Some(ko) => build::foreign(&kernel, ko)?,
        None => build::build(&kernel, false)?,
    };
    let wanted = |b: &&Bench| args.names.is_empty() || args.names.iter().any(|n| n == b.name);
    let mut bad = false;
    for bench in BENCHES.iter().filter(wanted) {
        let rounds = bench.rounds(&args);
        let (guest, outcome) = measure(bench, &args, &kernel, &module)?;
        let rows = rows(bench, &guest, rounds);
        publish(bench, &args, &kernel, &outcome, &rows)?;
        let complaints = figures::complaints(&outcome)?;
        for line in &complaints {
            eprintln!("bench {} failed: {line}", bench.name);
        }
        if !complaints.is_empty() {
            eprintln!("console: {}", outcome.console.display());
            bad = true;
        } else if let Some(row) = rows.iter().find(|r| r.lacks_some()) {
            bail!(
                "bench {}: the figure is missing: {}, {}",
                bench.name,
                row.case,
                row.metric.name
            );
        }
    }
    Ok(i32::from(bad))
}

/// Boots a guest and runs the benchmark in it.
fn measure(
    bench: &Bench,
    args: &Args,
    kernel: &Kernel,
    module: &Built,
) -> Result<(Guest, Outcome)> {
    let mut vm = Vm::new(kernel.clone(), Some(module.clone()));
    vm.root = Root::Trixie;
    vm.smp = args.smp;
    vm.mem = 4096;
    vm.icount = bench.icount;
    // What counts is that it moves on.
    let patience = Duration::from_secs(600);
    vm.timeout = patience;
    let dir = "/tmp/bench";
    let files = [
        paths::vm().join(format!("bench/{}.sh", bench.name)),
        paths::vm().join("bench/containers.sh"),
        paths::vm().join("bench/read.py"),
        paths::vm().join("bench/direct.py"),
        paths::checkout().join("tests/guest/lib.sh"),
        paths::checkout().join("tests/guest/cached.py"),
    ];
    let script = format!(
        "{}cd /tmp\nTESTS={dir} SCRATCH=/tmp MEDIA={} ROUNDS={} exec /bin/sh {dir}/{}.sh\n",
        figures::bundle(dir, &files)?,
        args.media.name(),
        bench.rounds(args),
        bench.name,
    );
    let mut guest = Guest::default();
    let outcome = vm.run_job(
        &Job::Script(script.into_bytes()),
        &mut |event| match event {
            Event::Output(bytes) => {
                guest.feed(&bytes);
                Some(patience)
            }
            _ => None,
        },
    )?;
    guest.feed(b"\n");
    Ok((guest, outcome))
}

/// Prints the table, draws the pictures and writes the JSON that are wanted.
fn publish(
    bench: &Bench,
    args: &Args,
    kernel: &Kernel,
    outcome: &Outcome,
    rows: &[Row],
) -> Result<()> {
    let heading = heading(bench, args, &kernel.release, outcome);
    println!("\n{}: {heading}", bench.name);
    print!("{}", table(&bench.sides(), rows));
    let named = |file: &PathBuf| named_file(file, bench, args);
    let plots: Vec<PathBuf> = args.plot.iter().map(named).collect();
    picture::write(&bars(bench, &heading, rows), &plots)?;
    if let Some(file) = &args.json {
        let object = json!({
            "name": bench.name,
            "kernel": kernel.release,
            "accel": outcome.accel.name(),
            "commit": commit(),
            "media": match bench.devices {
                Devices::All => "all",
                Devices::Asked => args.media.name(),
                Devices::Memory => "none",
            },
            "processors": if bench.icount { 1 } else { args.smp },
            "rounds": bench.rounds(args),
            "rows": rows.iter().map(|r| r.json(&bench.sides())).collect::<Vec<Value>>(),
        });
        figures::write_json(&named_file(file, bench, args), &object)?;
    }
    Ok(())
}

/// One file a benchmark: several get its name into theirs.
fn named_file(file: &Path, bench: &Bench, args: &Args) -> PathBuf {
    if args.names.len() == 1 {
        return file.to_path_buf();
    }
    let part = |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, end) = (part(file.file_stem()), part(file.extension()));
    file.with_file_name(format!("{stem}-{}.{end}", bench.name))
}

fn bars<'a>(bench: &'a Bench, heading: &'a str, rows: &[Row]) -> Bars<'a> {
    Bars {
        title: bench.name,
        about: heading,
        sides: bench.sides(),
        figures: rows
            .iter()
            .map(|r| Figure {
                label: format!("{}: {}", r.case, r.metric.name),
                unit: r.metric.unit,
                values: r.values.clone(),
            })
            .collect(),
    }
}

fn heading(bench: &Bench, args: &Args, release: &str, outcome: &Outcome) -> String {
    let time = if bench.icount {
        "one instruction is 1 ns".to_string()
    } else {
        format!("{} processors, median of {} rounds", args.smp, args.rounds)
    };
    let media = match bench.devices {
        Devices::All => {
            "HDD: 24 ms, 40 MB/s; SATA SSD: 300 us, 167 MB/s; NVMe SSD: 60 us, 1 GB/s".to_string()
        }
        Devices::Asked => format!("the devices have the latency of {}", args.media.describe()),
        Devices::Memory => "the devices have no latency".to_string(),
    };
    format!(
        "kernel {release} under {}, {time}; {media}",
        outcome.accel.name(),
    )
}

struct Row {
    case: &'static str,
    metric: &'static Metric,
    /// In the order of the sides
    values: Vec<Option<f64>>,
    /// Whether it must be there: some side has it
    wanted: bool,
}

impl Row {
    /// Whether dm-thin or dm-drr has no figure where it must have one; only dm-drr has an access table.
    fn lacks_some(&self) -> bool {
        let of = |side: usize| self.values.get(side).copied().flatten();
        self.wanted && (of(1).is_none() || of(0).is_none() && self.metric.key != "table")
    }

    fn json(&self, sides: &[&str]) -> Value {
        let mut object = json!({
            "case": self.case, "metric": self.metric.name, "unit": self.metric.unit,
            "better": self.metric.better,
        });
        for (side, value) in sides.iter().zip(&self.values) {
            object[*side] = json!(value);
        }
        object
    }
}

/// The rows of a table: those that some side has a figure for, and all that dm-drr should have.
fn rows(bench: &'static Bench, guest: &Guest, rounds: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    for metric in bench.metrics {
        for (case, label) in bench.cases {
            let of = |side: &&str| {
                let values = (1..=rounds).filter_map(|round| {
                    let key = format!("{}.{round}", metric.key);
                    guest
                        .figures
                        .get(&(side.to_string(), case.to_string(), key))
                        .copied()
                });
                median(values.collect())
            };
            let values: Vec<Option<f64>> = bench.sides().iter().map(of).collect();
            // A figure that belongs to a few cases alone is in none of the others.
            let anywhere = guest
                .figures
                .keys()
                .any(|(_, c, m)| c == case && m.starts_with(&format!("{}.", metric.key)));
            let wanted = anywhere || !matches!(metric.key, "page" | "table");
            if wanted {
                rows.push(Row {
                    case: label,
                    metric,
                    values,
                    wanted,
                });
            }
        }
    }
    rows
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().checked_sub(1)? / 2)?;
    Some((lower + upper) / 2.0)
}

fn table(sides: &[&str], rows: &[Row]) -> String {
    let mut text = format!("{:<15} {:<34}", "case", "metric");
    for side in sides {
        text.push_str(&format!(" {side:>10}"));
    }
    text.push_str(&format!(" {:>9}\n", "ratio"));
    for r in rows {
        let metric = format!("{}, {}", r.metric.name, r.metric.unit);
        text.push_str(&format!("{:<15} {metric:<34}", r.case));
        for v in &r.values {
            let cell = v.map_or("-".to_string(), |v| {
                if v < 10.0 {
                    format!("{v:.2}")
                } else {
                    format!("{v:.0}")
                }
            });
            text.push_str(&format!(" {cell:>10}"));
        }
        let ratio = match r.values.as_slice() {
            [Some(thin), Some(drr), ..] if *thin > 0.0 => format!("{:.3}x", drr / thin),
            _ => "-".to_string(),
        };
        text.push_str(&format!(" {ratio:>9}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_benchmarks_and_have_scripts() {
        assert_eq!(BENCHES.each_ref().map(|b| b.name), NAMES);
        for name in NAMES {
            assert!(paths::vm().join(format!("bench/{name}.sh")).is_file());
        }
    }

    #[test]
    fn the_median_counts() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn rounds_of_a_case_become_one_row_a_metric() {
        let mut guest = Guest::default();
        guest.feed(
            b"figure dm-thin 2 rate.1 10\nfigure dm-thin 2 rate.2 30\nfigure dm-drr 2 rate.1 50\n",
        );
        let bench = BENCHES.iter().find(|b| b.name == "parallel").unwrap();
        let rows = rows(bench, &guest, 2);
        let row = rows
            .iter()
            .find(|r| r.case == "2 jobs" && r.metric.key == "rate")
            .unwrap();
        assert_eq!(row.values, [Some(20.0), Some(50.0)]);
        assert!(table(&bench.sides(), &rows).contains("2.500x"));
        assert_eq!(row.json(&bench.sides())["dm-drr"], 50.0);
    }
}

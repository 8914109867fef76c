//! `cargo xtask bench`: dm-thin and dm-drr side by side, in one boot.
//!
//! The guest's half of a benchmark is vm/bench/<name>.sh; it prints figures by side, case, metric and round, of which the
//! median goes into the table and the JSON.

use crate::figures::{self, commit, Guest, Media, SIDES};
use crate::machine::{Event, Job, Vm};
use crate::roots::Root;
use crate::{build, kernel, paths};
use anyhow::{bail, Result};
use serde_json::{json, Value};
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Which benchmarks; without a name all of them
    #[arg(value_name = "NAME", value_parser = NAMES)]
    names: Vec<String>,
    /// Writes the figures as JSON too
    #[arg(long, value_name = "F")]
    json: Option<PathBuf>,
    /// Which medium the devices' latency is that of
    #[arg(long, value_enum, default_value = "nvme")]
    media: Media,
    /// How often each case is measured on each side; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Number of processors
    #[arg(long, default_value_t = 4, value_name = "N")]
    smp: u32,
    /// Which kernel: stock, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// Takes this module file instead of building one
    #[arg(long, value_name = "FILE")]
    ko: Option<PathBuf>,
}

const NAMES: [&str; 1] = ["parallel"];

/// A figure in the table and in the JSON.
struct Metric {
    /// In the guest's lines, before the round
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    better: &'static str,
}

const PARALLEL: [Metric; 3] = [
    Metric {
        key: "rate",
        name: "4 KiB random writes",
        unit: "1/s",
        better: "higher",
    },
    Metric {
        key: "mean",
        name: "time of a write, mean",
        unit: "us",
        better: "lower",
    },
    Metric {
        key: "p99",
        name: "time of a write, 99 %",
        unit: "us",
        better: "lower",
    },
];
const PARALLEL_JOBS: [u32; 4] = [1, 2, 4, 8];

pub fn run(args: Args) -> Result<i32> {
    let kernel = kernel::ensure(&args.kernel)?;
    let module = match &args.ko {
        Some(ko) => build::foreign(&kernel, ko)?,
        None => build::build(&kernel, false)?,
    };
    let names: Vec<&str> = match args.names.as_slice() {
        [] => NAMES.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut bad = false;
    for name in names {
        let release = kernel.release.clone();
        let mut vm = Vm::new(kernel.clone(), Some(module.clone()));
        vm.root = Root::Trixie;
        vm.smp = args.smp;
        vm.mem = 3072;
        // What counts is that it moves on.
        let patience = Duration::from_secs(600);
        vm.timeout = patience;
        let dir = "/tmp/bench";
        let files = [
            paths::vm().join(format!("bench/{name}.sh")),
            paths::checkout().join("tests/guest/lib.sh"),
        ];
        let script = format!(
            "{}cd /tmp\nTESTS={dir} SCRATCH=/tmp MEDIA={} ROUNDS={} exec /bin/sh {dir}/{name}.sh\n",
            figures::bundle(dir, &files)?,
            args.media.name(),
            args.rounds,
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
        let rows = parallel_rows(&guest, args.rounds);
        println!(
            "\n{name}: kernel {release} under {}, {} processors; the devices have the latency of {}; median of {}",
            outcome.accel.name(),
            args.smp,
            args.media.describe(),
            args.rounds,
        );
        print!("{}", table(&rows));
        if let Some(file) = &args.json {
            let object = json!({
                "name": name,
                "kernel": release,
                "accel": outcome.accel.name(),
                "commit": commit(),
                "media": args.media.name(),
                "processors": args.smp,
                "rounds": args.rounds,
                "rows": rows.iter().map(Row::json).collect::<Vec<Value>>(),
            });
            figures::write_json(file, &object)?;
        }
        let complaints = figures::complaints(&outcome)?;
        for line in &complaints {
            eprintln!("bench {name} failed: {line}");
        }
        if !complaints.is_empty() {
            eprintln!("console: {}", outcome.console.display());
            bad = true;
        } else if rows.iter().any(|r| r.values.contains(&None)) {
            bail!("bench {name}: figures are missing");
        }
    }
    Ok(i32::from(bad))
}

struct Row {
    case: String,
    metric: &'static Metric,
    /// dm-thin's and dm-drr's
    values: [Option<f64>; 2],
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "case": self.case, "metric": self.metric.name, "unit": self.metric.unit,
            SIDES[0]: self.values[0], SIDES[1]: self.values[1], "better": self.metric.better,
        })
    }
}

fn parallel_rows(guest: &Guest, rounds: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    for metric in &PARALLEL {
        for jobs in PARALLEL_JOBS {
            let of = |side: &str| {
                let values = (1..=rounds).filter_map(|round| {
                    let key = format!("{}.{round}", metric.key);
                    guest
                        .figures
                        .get(&(side.to_string(), jobs.to_string(), key))
                        .copied()
                });
                median(values.collect())
            };
            rows.push(Row {
                case: format!("{jobs} job{}", if jobs == 1 { "" } else { "s" }),
                metric,
                values: SIDES.map(of),
            });
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

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<10} {:<30} {:>10} {:>10} {:>8}\n",
        "case", "metric", SIDES[0], SIDES[1], "ratio"
    );
    for r in rows {
        let cell = |v: Option<f64>| v.map_or("-".to_string(), |v| format!("{v:.0}"));
        let ratio = match r.values {
            [Some(thin), Some(drr)] if thin > 0.0 => format!("{:.2}x", drr / thin),
            _ => "-".to_string(),
        };
        text.push_str(&format!(
            "{:<10} {:<30} {:>10} {:>10} {ratio:>8}\n",
            r.case,
            format!("{}, {}", r.metric.name, r.metric.unit),
            cell(r.values[0]),
            cell(r.values[1]),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let rows = parallel_rows(&guest, 2);
        let row = rows
            .iter()
            .find(|r| r.case == "2 jobs" && r.metric.key == "rate");
        assert_eq!(row.map(|r| r.values), Some([Some(20.0), Some(50.0)]));
        assert!(table(&rows).contains("2.50x"));
    }
}

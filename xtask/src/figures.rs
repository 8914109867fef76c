// SPDX-License-Identifier: GPL-2.0

//! Figures that a guest's script measures on dm-thin and on dm-drr: what `demo` and `bench` share.
//!
//! A script prints `figure SIDE CASE METRIC VALUE` lines; what else it prints is progress.

use crate::klog::Filter;
use crate::machine::Outcome;
use crate::{paths, proc, ui};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

pub const SIDES: [&str; 2] = ["dm-thin", "dm-drr"];

/// The medium whose latency the data device has.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Media {
    Hdd,
    Ssd,
    Nvme,
}

impl Media {
    pub fn name(self) -> &'static str {
        match self {
            Media::Hdd => "hdd",
            Media::Ssd => "ssd",
            Media::Nvme => "nvme",
        }
    }

    /// As tests/guest/lib.sh sets it up (media_attributes).
    pub fn describe(self) -> &'static str {
        match self {
            Media::Hdd => "a hard disk (24 ms, 40 MB/s)",
            Media::Ssd => "a SATA SSD (300 us, 167 MB/s)",
            Media::Nvme => "an NVMe SSD (60 us, 1 GB/s)",
        }
    }
}

/// What the guest has said so far.
#[derive(Default)]
pub struct Guest {
    partial: Vec<u8>,
    pub figures: Figures,
    pub differences: Option<u64>,
}

/// By side, case and metric; a figure that a side does not have is not there.
pub type Figures = BTreeMap<(String, String, String), f64>;

impl Guest {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end());
        }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["figure", side, case, metric, value] => {
                if let Ok(value) = value.parse() {
                    let key = (side.to_string(), case.to_string(), metric.to_string());
                    self.figures.insert(key, value);
                }
            }
            ["differences", n] => self.differences = n.parse().ok(),
            [] => {}
            _ => ui::note(line),
        }
    }
}

/// The beginning of a script that brings its files along, in `dir`: the guest sees nothing of the checkout.
pub fn bundle(dir: &str, files: &[PathBuf]) -> Result<String> {
    const END: &str = "END-OF-FILE-IN-BUNDLE";
    let mut text = format!("set -eu\nmkdir -p {dir}\n");
    for file in files {
        let content =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "cat >{dir}/{name} <<'{END}'\n{}\n{END}\n",
            content.trim_end()
        );
    }
    Ok(text)
}

/// Writes figures as one JSON object.
pub fn write_json(file: &Path, object: &serde_json::Value) -> Result<()> {
    fs::write(file, format!("{object:#}\n"))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// What is wrong with a run: a lost VM, a script that failed, reports in the kernel log.
pub fn complaints(outcome: &Outcome) -> Result<Vec<String>> {
    let log = fs::read(&outcome.console)
        .with_context(|| format!("no console log at {}", outcome.console.display()))?;
    let log = String::from_utf8_lossy(&log);
    let reports = Filter::load()?.scan(&log);
    let mut bad = Vec::new();
    match outcome.status {
        None => bad.push(format!(
            "the VM was lost: {}",
            outcome.lost.as_deref().unwrap_or("no reason known")
        )),
        Some(0) => {}
        Some(_) => bad.push("the guest's script failed, see above".to_string()),
    }
    if let Some(first) = reports.first() {
        bad.push(format!(
            "{} reports in the kernel log, the first: {first}",
            reports.len()
        ));
    }
    Ok(bad)
}

/// The commit of the checkout, marked when files differ from it.
pub fn commit() -> Option<String> {
    let mut c = proc::command("git");
    c.arg("-C").arg(paths::checkout());
    c.args(["describe", "--always", "--abbrev=12", "--dirty"]);
    proc::output(&mut c).ok().map(|s| s.trim().to_string())
}

// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask test`: host tests and guest tests; the last line is `N passed, N failed`.

use crate::emulator::Emulator;
use crate::guest_test::{self, Done, Setup, Test, Verdict};
use crate::{build, kernel, paths, proc, roots, ui};
use anyhow::{bail, Context, Result};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

#[derive(clap::Args)]
#[command(
    after_help = "Without a name: the host tests and all guest tests but the long ones. The last line of the output \
is `N passed, N failed`, host and guest tests added up; the exit status is 0 only when none failed."
)]
pub struct Args {
    /// Runs the guest tests whose name is this, else contains it
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Which kernel: stock, debug, or a version
    #[arg(long, default_value = "stock", value_name = "K")]
    kernel: String,
    /// Runs the host tests alone
    #[arg(long, conflicts_with = "names")]
    host: bool,
    /// Runs the long guest tests too
    #[arg(long)]
    all: bool,
    /// Lists the guest tests instead of running them
    #[arg(long)]
    list: bool,
    /// Which implementation the guest tests load: drr, dropin (its drop-in names), or stock (dm-thin)
    #[arg(long, default_value = "drr", value_name = "T")]
    targets: String,
    /// Sets a variable in the guest, such as POWER_CUT_SEED (see tests/guest/power_cut.py)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Guests at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Gives each guest at least so many processors: 1, or 2 under --all, unless told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    smp: Option<u32>,
    /// Takes this module file instead of building one
    #[arg(long, value_name = "FILE")]
    ko: Option<PathBuf>,
}

/// What of a failed test's output the summary repeats.
const SUMMARY_LINES: usize = 8;

#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
    skipped: usize,
    bad: Vec<String>,
}

pub fn run(args: Args) -> Result<i32> {
    let dir = paths::checkout().join("tests/guest");
    let tests = select(guest_test::list(&dir)?, &args.names, args.all)?;
    if args.list {
        for t in &tests {
            println!(
                "{}{}\n    {}",
                t.name,
                if t.long { " (long)" } else { "" },
                t.about
            );
        }
        return Ok(0);
    }
    let mut totals = Totals::default();
    if args.names.is_empty() {
        host_tests(&mut totals)?;
    }
    if !args.host && !tests.is_empty() {
        let count = tests.len();
        let done = Mutex::new(Totals::default());
        let result = guest_tests(&args, tests, &done);
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        totals.passed += done.passed;
        totals.failed += done.failed;
        totals.skipped += done.skipped;
        totals.bad.extend(done.bad);
        if let Err(e) = result {
            println!("error: {e:#}");
            let missing = count.saturating_sub(done.passed + done.failed + done.skipped);
            println!("{missing} guest tests could not be run and count as failed");
            totals.failed += missing;
        }
    }
    if !totals.bad.is_empty() {
        println!("failed:");
        for line in &totals.bad {
            println!("  {line}");
        }
    }
    if totals.skipped > 0 {
        println!("{} skipped", totals.skipped);
    }
    println!("{} passed, {} failed", totals.passed, totals.failed);
    Ok(i32::from(totals.failed > 0))
}

/// The tests that are meant: by exact name, else by part of it; long ones when asked for or named.
fn select(all: Vec<Test>, names: &[String], long: bool) -> Result<Vec<Test>> {
    if names.is_empty() {
        return Ok(all.into_iter().filter(|t| long || !t.long).collect());
    }
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        let name = name.trim_end_matches(".sh");
        let exact: Vec<&Test> = all.iter().filter(|t| t.name == name).collect();
        let found = if exact.is_empty() {
            all.iter().filter(|t| t.name.contains(name)).collect()
        } else {
            exact
        };
        if found.is_empty() {
            bail!("no guest test is named {name:?}, or has it in its name: see --list");
        }
        wanted.extend(found.iter().map(|t| t.name.as_str()));
    }
    Ok(all
        .iter()
        .filter(|t| wanted.contains(&t.name.as_str()))
        .cloned()
        .collect())
}

/// Runs `cargo test` on the workspace and adds up what it says.
fn host_tests(totals: &mut Totals) -> Result<()> {
    let step = ui::step("host tests");
    let mut c = proc::command("cargo");
    c.args(["test", "--workspace", "--no-fail-fast", "--color=never"]);
    c.current_dir(paths::checkout());
    c.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, text) = proc::combined(&mut c)?;
    let (passed, failed) = count(&text);
    totals.passed += passed;
    totals.failed += failed;
    if !status.success() {
        println!("{text}");
        let rerun = format!("host tests: rerun with: {}", proc::shown(&c));
        println!("{rerun}");
        totals.bad.push(rerun);
        // What does not compile has no totals of its own.
        totals.failed += usize::from(failed == 0);
    } else if passed == 0 {
        println!("no host test was run: that cannot be right\n{text}");
        totals.failed += 1;
    }
    step.done();
    println!("host tests: {passed} passed, {failed} failed");
    Ok(())
}

/// Passed and failed tests in the output of `cargo test`.
fn count(text: &str) -> (usize, usize) {
    let mut totals = (0, 0);
    for line in text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("test result: "))
    {
        let number = |what: &str| -> usize {
            line.split([';', '.'])
                .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
                .unwrap_or(0)
        };
        totals.0 += number("passed");
        totals.1 += number("failed");
    }
    totals
}

fn guest_tests(args: &Args, mut tests: Vec<Test>, totals: &Mutex<Totals>) -> Result<()> {
    if !["drr", "dropin", "stock"].contains(&args.targets.as_str()) {
        bail!("--targets {}: drr, dropin or stock", args.targets);
    }
    let kernel = kernel::ensure(&args.kernel)?;
    let total = tests.len();
    let tell = |done: Done| {
        let mut t = totals.lock().unwrap_or_else(PoisonError::into_inner);
        let n = t.passed + t.failed + t.skipped + 1;
        report(args, &done, n, total, &mut t);
    };
    tests.retain(|t| match t.unfit(kernel.kind()) {
        Some(why) => {
            tell(Done::skipped(t.clone(), why));
            false
        }
        None => true,
    });
    if tests.is_empty() {
        return Ok(());
    }
    let module = match &args.ko {
        Some(ko) => build::foreign(&kernel, ko)?,
        None => build::build(&kernel, false)?,
    };
    let processors = args.smp.unwrap_or(if args.all { 2 } else { 1 });
    for t in &mut tests {
        t.needs.smp = t.needs.smp.max(processors);
        t.timeout = t.timeout.saturating_mul(kernel.pace.into());
    }
    // Made here, one after another and with progress, rather than in the middle of the tests.
    Emulator::ensure()?;
    for t in &tests {
        roots::ensure_image(t.needs.root.image())?;
        if t.needs.image {
            roots::ensure_image("image")?;
        }
    }
    let mut env = vec![("TARGETS".to_string(), args.targets.clone())];
    for word in &args.env {
        let (name, value) = word
            .split_once('=')
            .with_context(|| format!("--env {word}: NAME=VALUE is wanted"))?;
        env.push((name.into(), value.into()));
    }
    let hostile = match tests.iter().any(|t| t.hostile) {
        true => Some(build::hostile()?),
        false => None,
    };
    let setup = Setup {
        hostile,
        kernel,
        module,
        dir: paths::checkout().join("tests/guest"),
        env,
        // One more than processors: tests wait, too.
        jobs: args
            .jobs
            .unwrap_or_else(|| kernel::cpus().saturating_add(1).clamp(2, 5)),
    };
    if let Some(line) = budget(&tests, setup.jobs) {
        println!("{line}");
    }
    guest_test::run(&setup, tests, &tell).context("the guest tests could not be run")
}

/// The time that the long tests may take, by their deadlines; nothing when there are none.
fn budget(tests: &[Test], jobs: usize) -> Option<String> {
    let long: Vec<u64> = tests.iter().filter(|t| t.long).map(|t| t.timeout).collect();
    let minutes = |s: u64| s.div_ceil(60);
    let sum: u64 = long.iter().sum();
    let most = long.iter().max()?;
    let at_once = sum / u64::try_from(jobs.max(1)).unwrap_or(1);
    Some(format!(
        "{} long tests: a time budget of {} min ({} min by {} guests at once)",
        long.len(),
        minutes(sum),
        minutes(at_once.max(*most)),
        jobs.max(1),
    ))
}

/// Prints a verdict, with everything that is needed to find out more when it is a bad one.
fn report(args: &Args, done: &Done, n: usize, total: usize, totals: &mut Totals) {
    let name = &done.test.name;
    let head = format!("[{n}/{total}]");
    let (word, why) = match &done.verdict {
        Verdict::Pass => {
            totals.passed += 1;
            println!("{head} ok   {name} ({:.1} s)", done.seconds);
            // A long test ends with its figures.
            if let (true, Some(line)) = (done.test.long, done.output.trim().lines().last()) {
                println!("    {line}");
            }
            return;
        }
        Verdict::Skip(why) => {
            totals.skipped += 1;
            println!("{head} skip {name}: {why}");
            return;
        }
        Verdict::Fail(why) => ("FAIL", why),
        Verdict::Lost(why) => ("LOST", why),
    };
    totals.failed += 1;
    let mut rerun = format!("cargo xtask test {name}");
    if args.kernel != "stock" {
        rerun.push_str(&format!(" --kernel {}", args.kernel));
    }
    if args.targets != "drr" {
        rerun.push_str(&format!(" --targets {}", args.targets));
    }
    for word in &args.env {
        rerun.push_str(&format!(" --env '{word}'"));
    }
    if let Some(ko) = &args.ko {
        rerun.push_str(&format!(" --ko {}", ko.display()));
    }
    println!("{head} {word} {name} ({:.1} s): {why}", done.seconds);
    println!("    {}", done.test.about);
    let lines: Vec<&str> = done.output.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(40)) {
        println!("    | {line}");
    }
    for line in done.reports.iter().take(10) {
        println!("    kernel: {line}");
    }
    println!("    console: {}", done.console.display());
    println!("    rerun:   {rerun}");
    // Again with the summary: of a long run often only the end is kept.
    let mut summary = format!("{word} {name}: {why}  ({rerun})");
    // What the test itself said ends where the teardown's report begins.
    let own = format!("--- {name}:");
    let end = lines.iter().position(|l| l.starts_with(&own));
    let said = &lines[..end.unwrap_or(lines.len())];
    let last = said.iter().skip(said.len().saturating_sub(SUMMARY_LINES));
    let kernel = done.reports.iter().take(2);
    for line in last.map(|l| l.to_string()).chain(kernel.cloned()) {
        summary.push_str("\n    | ");
        summary.push_str(&line);
    }
    totals.bad.push(summary);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_all_test_programs_are_added_up() {
        let text =
            "running 3 tests\ntest result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; \
                    0 filtered out; finished in 0.00s\n\n     Running x\n\
                    test result: ok. 40 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(count(text), (42, 1));
        assert_eq!(count("error: could not compile"), (0, 0));
    }
}

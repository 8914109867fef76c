// SPDX-License-Identifier: GPL-2.0

//! Progress: a spinner with the elapsed time on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A step that takes more than a few seconds; says so when it begins and when it ends.
pub struct Step {
    bar: Option<ProgressBar>,
    what: String,
    since: Instant,
    done: bool,
}

/// Begins a step; `what` reads as "fetching the kernel".
pub fn step(what: impl Into<String>) -> Step {
    let what = what.into();
    let bar = if std::io::stderr().is_terminal() {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Some(bar)
    } else {
        eprintln!("  {what} ...");
        None
    };
    Step {
        bar,
        what,
        since: Instant::now(),
        done: false,
    }
}

impl Step {
    /// Ends the step well.
    pub fn done(mut self) {
        self.finish("done");
    }

    fn finish(&mut self, how: &str) {
        self.done = true;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let seconds = self.since.elapsed().as_secs_f64();
        eprintln!("  {}: {how} in {seconds:.1} s", self.what);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.done {
            self.finish("failed");
        }
    }
}

/// A line for the user that is no result.
pub fn note(what: impl AsRef<str>) {
    eprintln!("  {}", what.as_ref());
}

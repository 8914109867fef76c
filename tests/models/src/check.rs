// SPDX-License-Identifier: GPL-2.0

//! Runs a model, and proves that it can fail.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// How often a schedule interrupts its threads at most where they could go on. Each mistake below is found with so many.
const INTERRUPTIONS: usize = 3;

/// Lets `model` run in all schedules of [`INTERRUPTIONS`]: none may panic, or block for ever.
pub(crate) fn holds(model: impl Fn() + Send + Sync + 'static) {
    run(INTERRUPTIONS, model);
}

/// The same with one interruption less: for models of three threads and many steps, which would take minutes.
pub(crate) fn three_hold(model: impl Fn() + Send + Sync + 'static) {
    run(INTERRUPTIONS - 1, model);
}

fn run(interruptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let begun = std::time::Instant::now();
    let schedules = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.max_branches = 20_000;
    let count = schedules.clone();
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let n = schedules.load(Ordering::Relaxed);
    println!("{n} schedules in {} ms", begun.elapsed().as_millis());
    assert!(n > 1, "nothing was interleaved");
}

/// Lets `model`, which has a mistake in it, run until a schedule fails with a text that has `what` in it.
pub(crate) fn finds(what: &str, model: impl Fn() + Send + Sync + 'static) {
    let found = catch_unwind(AssertUnwindSafe(|| run(INTERRUPTIONS, model)));
    let Err(panic) = found else {
        panic!("the mistake was not found: {what}");
    };
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("");
    assert!(
        text.contains(what),
        "another failure than \"{what}\": {text}"
    );
}

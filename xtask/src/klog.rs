// SPDX-License-Identifier: GPL-2.0

//! The kernel log filter: finds reports of trouble in what a guest printed on its console.
//!
//! It fails closed: a log that is missing, or a stretch of it whose end cannot be found, counts as a report.

use crate::paths;
use anyhow::{Context, Result};
use regex::{Regex, RegexSet};
use serde::Deserialize;
use std::fs;

#[derive(Deserialize)]
struct File {
    report: Vec<String>,
    ignore: Vec<String>,
    failing_allocations: Expected,
}

/// What a kernel says when a test lets allocations fail.
#[derive(Deserialize)]
struct Expected {
    /// The first and the last line of a stretch
    begin: String,
    end: String,
    /// Lines inside of a stretch
    inside: Vec<String>,
    /// Lines anywhere
    lines: Vec<String>,
}

/// The patterns of vm/klog.toml.
pub struct Filter {
    report: RegexSet,
    ignore: RegexSet,
    begin: Regex,
    end: Regex,
    inside: RegexSet,
    lines: RegexSet,
}

impl Filter {
    pub fn load() -> Result<Self> {
        let path = paths::vm().join("klog.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        Ok(Filter {
            report: RegexSet::new(&file.report)?,
            ignore: RegexSet::new(&file.ignore)?,
            begin: Regex::new(&file.failing_allocations.begin)?,
            end: Regex::new(&file.failing_allocations.end)?,
            inside: RegexSet::new(&file.failing_allocations.inside)?,
            lines: RegexSet::new(&file.failing_allocations.lines)?,
        })
    }

    /// The lines that report trouble.
    pub fn scan<'a>(&self, log: &'a str) -> Vec<&'a str> {
        log.lines()
            .map(|l| l.trim_end_matches('\r'))
            .filter(|l| {
                let text = message(l);
                self.report.is_match(text) && !self.ignore.is_match(text)
            })
            .collect()
    }

    /// The same for a test that lets allocations fail: what the kernel says of these is no trouble.
    pub fn scan_failing_allocations<'a>(&self, log: &'a str) -> Vec<&'a str> {
        let mut inside = false;
        log.lines()
            .map(|l| l.trim_end_matches('\r'))
            .filter(|l| {
                let text = message(l);
                let begins = self.begin.is_match(text);
                let expected =
                    begins || self.lines.is_match(text) || (inside && self.inside.is_match(text));
                inside = begins || (inside && !self.end.is_match(text));
                !expected && self.report.is_match(text) && !self.ignore.is_match(text)
            })
            .collect()
    }
}

/// A console line without its `[   12.345678]` and `[  T123]` prefixes.
fn message(line: &str) -> &str {
    let mut text = line.trim_start();
    while let Some(rest) = text.strip_prefix('[') {
        let Some((inside, after)) = rest.split_once(']') else {
            break;
        };
        let prefix = inside.trim().trim_start_matches(['T', 'C']);
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            break;
        }
        text = after.trim_start();
    }
    text
}

/// A test's part of a log: from its begin mark to that of `next`, else to the end. What precedes the first mark of all is
/// the first test's too. `None` when a mark is missing, the test's end mark included.
pub fn part<'a>(log: &'a str, name: &str, next: Option<&str>) -> Option<&'a str> {
    let begin = mark(log, "begin", name)?;
    mark(log, "end", name)?;
    let first = log.find("drr-test: begin ").is_some_and(|at| at == begin);
    let end = match next {
        Some(next) => mark(log, "begin", next)?,
        None => log.len(),
    };
    log.get(if first { 0 } else { begin }..end)
}

/// Where the mark of a test's `edge` is.
fn mark(log: &str, edge: &str, name: &str) -> Option<usize> {
    let needle = format!("drr-test: {edge} {name}");
    log.match_indices(&needle)
        .find(|(at, _)| {
            log[at + needle.len()..]
                .chars()
                .next()
                .is_none_or(char::is_whitespace)
        })
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        let text = include_str!("../../vm/klog.toml");
        match Filter::parse(text) {
            Ok(f) => f,
            Err(e) => panic!("{e:#}"),
        }
    }

    #[test]
    fn reports_are_found() {
        for line in [
            "[   12.345678] WARNING: CPU: 0 PID: 1 at mm/slub.c:12 f+0x1/0x2",
            "[   12.345678][  T123] BUG: kernel NULL pointer dereference, address: 0",
            "[    1.0] Oops: 0000 [#1] SMP NOPTI",
            "[    1.0] INFO: task dmsetup:12 blocked for more than 120 seconds.",
            "[    1.0] refcount_t: underflow; use-after-free.",
            "[    1.0] WARNING: possible circular locking dependency detected",
            "[    1.0] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2",
            "[    1.0] BUG kmalloc-64 (Tainted: G  O ): Objects remaining in kmalloc-64",
            "[    1.0] Kernel panic - not syncing: Fatal exception",
            "[    1.0] ------------[ cut here ]------------\r",
            "[    1.0] VFS: Busy inodes after unmount of dm-3",
        ] {
            assert_eq!(filter().scan(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_not() {
        for line in [
            "[    0.0] Command line: console=ttyS0 oops=panic panic=-1",
            "[    1.0] device-mapper: thin: 253:2: metadata operation failed",
            "[    1.0] dm_drr: loading out-of-tree module taints kernel.",
            "[    1.0] debug: nothing",
            "[    0.0] kfence: initialized - using 2097152 bytes for 255 objects",
        ] {
            assert!(filter().scan(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn failing_allocations_may_be_told_of_and_nothing_else() {
        let told = "[ 1.0] kobject: kobject_add_internal failed for dm_bufio_buffer-1 (error: -12 parent: slab)\n\
                    [ 1.1] python3: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)\n\
                    [ 1.2] Call Trace:\n[ 1.3] RIP: 0033:0x7f\n[ 1.4]  </TASK>\n";
        assert_eq!(filter().scan_failing_allocations(told).len(), 0);
        assert_eq!(filter().scan(told).len(), 4);
        // Neither in the middle nor after it.
        let inner = told.replace("[ 1.3] ", "[ 1.3] BUG: KASAN: use-after-free in f\n[ 1.3] ");
        assert_eq!(filter().scan_failing_allocations(&inner).len(), 1);
        let after = format!("{told}[ 2.0] Call Trace:\n");
        assert_eq!(filter().scan_failing_allocations(&after).len(), 1);
        let duplicate = "[ 1.0] kobject: kobject_add_internal failed for x with -EEXIST";
        assert_eq!(filter().scan_failing_allocations(duplicate).len(), 1);
    }

    const LOG: &str =
        "[0] boot\n[1] drr-test: begin ab\n[2] inner\n[3] drr-test: end ab\n[4] late\n\
                       [5] drr-test: begin b\n[6] more\n[7] drr-test: end b\n[8] last\n";

    #[test]
    fn the_first_part_holds_the_boot_and_what_comes_before_the_next() {
        let got = part(LOG, "ab", Some("b")).unwrap_or_default();
        assert!(got.starts_with("[0] boot") && got.contains("late") && !got.contains("more"));
    }

    #[test]
    fn the_last_part_reaches_to_the_end() {
        let got = part(LOG, "b", None).unwrap_or_default();
        assert!(got.contains("more") && got.ends_with("[8] last\n") && !got.contains("late"));
    }

    #[test]
    fn a_part_without_its_marks_is_none() {
        assert_eq!(part(LOG, "a", None), None);
        assert_eq!(part("drr-test: begin a\nline\n", "a", None), None);
        assert_eq!(part(LOG, "b", Some("c")), None);
        assert_eq!(part("", "a", None), None);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Guest tests: their headers, how they are batched into boots, and what became of each.
//!
//! A test is `tests/guest/<subject>/<name>.sh`. Line 2 says in one sentence what it shows, a line `# vm: key=value …` what machine
//! it needs. Tests with the same needs share a boot, one after another; after a failure or a lost VM the rest goes on in
//! a fresh one. A test's part of the kernel log reaches from its begin mark to the next test's, and must be clean.

use crate::build::Built;
use crate::kernel::{Kernel, KernelKind};
use crate::klog::{self, Filter};
use crate::machine::{Event, Job, Vm};
use crate::roots::Root;
use crate::test_files;
use anyhow::{bail, Context, Result};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a guest may take to its first test.
const BOOT: Duration = Duration::from_secs(180);
/// What a test may take beyond its own deadline, after which the guest itself should have ended it.
const GRACE: Duration = Duration::from_secs(30);
/// The shortest deadline of a test: seconds that only a hung one needs, however busy the machine is.
const PATIENCE: u64 = 300;
/// Most tests a boot, and fewest while there are more of the kind.
const BATCH: usize = 24;
const FEW: usize = 5;

/// The machine a test needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    pub root: Root,
    /// MiB
    pub mem: u32,
    /// MiB of it that can be taken off line
    pub movable: u32,
    /// Two for whatever does several things at a time
    pub smp: u32,
    pub disks: Vec<String>,
    pub image: bool,
}

/// A test as its header describes it.
#[derive(Clone, Debug)]
pub struct Test {
    pub name: String,
    /// What it shows.
    pub about: String,
    pub needs: Needs,
    /// Seconds
    pub timeout: u64,
    /// Only under `--all`
    pub long: bool,
    /// Needs a boot of its own
    pub solo: bool,
    /// The only kind of kernel it is for
    pub kernel: Option<KernelKind>,
    /// Runs $TESTS/bin/hostile
    pub hostile: bool,
    /// Lets allocations fail, of which the kernel tells
    pub failslab: bool,
    /// Why it may be skipped
    pub skip_ok: Option<String>,
}

impl Test {
    /// A test whose header asks for nothing.
    fn plain(name: &str, about: String) -> Self {
        Test {
            name: name.to_string(),
            about,
            needs: Needs {
                root: Root::Initramfs,
                mem: 1024,
                movable: 0,
                // A second processor makes an emulated guest two thirds dearer.
                smp: 1,
                disks: Vec::new(),
                image: false,
            },
            timeout: PATIENCE,
            long: false,
            solo: false,
            kernel: None,
            hostile: false,
            failslab: false,
            skip_ok: None,
        }
    }

    /// Takes a `key=value` of the header's vm line.
    fn set(&mut self, word: &str) -> Result<()> {
        let (k, v) = word
            .split_once('=')
            .with_context(|| format!("{word:?} is not key=value"))?;
        let yes = || match v {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => bail!("{word}: yes or no is wanted"),
        };
        let number = || {
            v.parse()
                .with_context(|| format!("{word}: a number is wanted"))
        };
        match k {
            "root" => {
                self.needs.root = match v {
                    "initramfs" => Root::Initramfs,
                    "bookworm" => Root::Bookworm,
                    "trixie" => Root::Trixie,
                    _ => bail!("{word}: no such root"),
                }
            }
            "mem" => self.needs.mem = number()?,
            "movable" => self.needs.movable = number()?,
            "smp" => self.needs.smp = number()?,
            "timeout" => self.timeout = u64::from(number()?).max(PATIENCE),
            "disk" => self.needs.disks.push(v.to_string()),
            "image" => self.needs.image = yes()?,
            "long" => self.long = yes()?,
            "solo" => self.solo = yes()?,
            "kernel" => {
                self.kernel = Some(match v {
                    "stock" => KernelKind::Stock,
                    "debug" => KernelKind::Debug,
                    _ => bail!("{word}: stock or debug is wanted"),
                })
            }
            "hostile" => self.hostile = yes()?,
            "failslab" => self.failslab = yes()?,
            _ => bail!("unknown key {k:?} in the vm line"),
        }
        Ok(())
    }

    /// Why the test is skipped on a kernel of this kind; `None`: it is not.
    pub fn unfit(&self, kind: KernelKind) -> Option<&'static str> {
        match (self.kernel?, kind) {
            (KernelKind::Debug, KernelKind::Stock) => Some("for the debug kernel alone"),
            (KernelKind::Stock, KernelKind::Debug) => Some("for the stock kernels alone"),
            _ => None,
        }
    }
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Pass,
    Skip(String),
    Fail(String),
    /// The VM went down under it
    Lost(String),
}

/// A test that has been run.
pub struct Done {
    pub test: Test,
    pub verdict: Verdict,
    pub seconds: f64,
    pub output: String,
    pub reports: Vec<String>,
    pub console: PathBuf,
}

impl Done {
    /// A test that was not run at all.
    pub fn skipped(test: Test, why: &str) -> Self {
        Done {
            test,
            verdict: Verdict::Skip(why.into()),
            seconds: 0.0,
            output: String::new(),
            reports: Vec::new(),
            console: PathBuf::new(),
        }
    }
}

/// What all boots of one run have in common.
pub struct Setup {
    pub kernel: Kernel,
    pub module: Built,
    pub dir: PathBuf,
    /// Program for the tests that ask for it
    pub hostile: Option<PathBuf>,
    pub env: Vec<(String, String)>,
    /// Boots at once
    pub jobs: usize,
}

/// All guest tests below a directory, by name.
pub fn list(dir: &Path) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for (name, path) in test_files::scripts(dir)? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // A library for tests is no test.
        if text.starts_with("#!") {
            tests.push(parse(&name, &text).with_context(|| format!("in {}", path.display()))?);
        }
    }
    Ok(tests)
}

/// Reads a test's header.
fn parse(name: &str, text: &str) -> Result<Test> {
    let mut header = text
        .lines()
        .skip(1)
        .map_while(|l| l.strip_prefix('#'))
        .map(str::trim);
    let about = header.next().unwrap_or_default().to_string();
    if about.is_empty() || about.starts_with("vm:") {
        bail!("line 2 does not say what the test shows");
    }
    let mut test = Test::plain(name, about);
    for line in header {
        if let Some(why) = line.strip_prefix("skip-ok:") {
            test.skip_ok = Some(why.trim().to_string());
        }
        for word in line.strip_prefix("vm:").unwrap_or("").split_whitespace() {
            test.set(word)?;
        }
    }
    Ok(test)
}

/// Tests that share a boot.
struct Batch {
    tests: VecDeque<Test>,
    /// A boot was lost before it began any of them
    boot_lost: bool,
}

/// Groups tests by what they need; long ones first, so that none is left over at the end.
fn batches(tests: Vec<Test>, jobs: usize) -> VecDeque<Batch> {
    // Few enough that every slot gets some, many enough that boots do not cost more than tests.
    let most = tests.len().div_ceil(jobs.max(1) * 2).clamp(FEW, BATCH);
    let mut alike: Vec<Vec<Test>> = Vec::new();
    for test in tests {
        let fitting = |group: &&mut Vec<Test>| {
            group
                .iter()
                .all(|t| !t.solo && !test.solo && t.needs == test.needs)
        };
        match alike.iter_mut().find(fitting) {
            Some(group) => group.push(test),
            None => alike.push(vec![test]),
        }
    }
    let mut all: Vec<Batch> = Vec::new();
    for mut group in alike {
        // Ever smaller ones: whichever is the last, its slot is not alone with it for long.
        while !group.is_empty() {
            let half = group.len().div_ceil(2).clamp(FEW, most);
            let rest = group.split_off(half.min(group.len()));
            all.push(Batch {
                tests: group.into(),
                boot_lost: false,
            });
            group = rest;
        }
    }
    // What may take long goes first, so that no slot ends alone with it.
    all.sort_by_key(|b| {
        let times = || b.tests.iter().map(|t| t.timeout);
        std::cmp::Reverse((times().max(), times().sum::<u64>()))
    });
    all.into()
}

struct Queue {
    batches: VecDeque<Batch>,
    /// Boots that may yet return tests to the queue
    running: usize,
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the tests, calling `report` for each as soon as its verdict is known.
pub fn run(setup: &Setup, tests: Vec<Test>, report: &(dyn Fn(Done) + Sync)) -> Result<()> {
    let filter = Filter::load()?;
    let queue = Mutex::new(Queue {
        batches: batches(tests, setup.jobs),
        running: 0,
    });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..setup.jobs.max(1) {
            scope.spawn(|| loop {
                let mut q = locked(&queue);
                let batch = loop {
                    if let Some(batch) = q.batches.pop_front() {
                        q.running += 1;
                        break batch;
                    }
                    if q.running == 0 {
                        return;
                    }
                    q = changed.wait(q).unwrap_or_else(PoisonError::into_inner);
                };
                drop(q);
                let rest = boot(setup, batch, &filter, report);
                let mut q = locked(&queue);
                q.running -= 1;
                if let Some(rest) = rest {
                    q.batches.push_front(rest);
                }
                drop(q);
                changed.notify_all();
            });
        }
    });
    Ok(())
}

/// One test between its begin and its verdict.
struct Current {
    test: Test,
    since: Instant,
    /// Status and remark, once it has ended
    end: Option<(i32, String)>,
    seconds: f64,
}

/// Follows one boot.
struct Tracker<'a> {
    filter: &'a Filter,
    report: &'a (dyn Fn(Done) + Sync),
    /// Until the first test, and from one test to the next
    boot: Duration,
    /// Beyond a test's own deadline
    grace: Duration,
    waiting: VecDeque<Test>,
    current: Option<Current>,
    /// Output that has come: text with \x1e marks
    output: Vec<u8>,
    console: Option<PathBuf>,
}

/// Boots once for a batch; what could not be run in it is returned.
fn boot(
    setup: &Setup,
    batch: Batch,
    filter: &Filter,
    report: &(dyn Fn(Done) + Sync),
) -> Option<Batch> {
    let first = batch.tests.front()?.clone();
    let mut vm = Vm::new(setup.kernel.clone(), Some(setup.module.clone()));
    vm.root = first.needs.root;
    vm.mem = first.needs.mem;
    vm.movable = first.needs.movable;
    vm.smp = first.needs.smp;
    vm.disks = first.needs.disks.clone();
    vm.image = first.needs.image;
    if batch.tests.iter().any(|t| t.hostile) {
        vm.programs.extend(setup.hostile.clone());
    }
    vm.env = setup.env.clone();
    let patience = |d: Duration| d.saturating_mul(setup.kernel.pace);
    vm.timeout = patience(BOOT);
    let list = batch
        .tests
        .iter()
        .map(|t| (t.name.clone(), t.timeout))
        .collect();
    let mut tracker = Tracker {
        filter,
        report,
        boot: patience(BOOT),
        grace: patience(GRACE),
        waiting: batch.tests,
        current: None,
        output: Vec::new(),
        console: None,
    };
    let job = Job::Tests(setup.dir.clone(), list);
    let outcome = vm.run_job(&job, &mut |event| tracker.on_event(event));
    let why = match &outcome {
        Ok(o) => o
            .lost
            .clone()
            .unwrap_or_else(|| "the guest ended without a verdict".into()),
        Err(e) => format!("{e:#}"),
    };
    if let Ok(o) = outcome {
        tracker.console = Some(o.console);
    }
    if tracker.current.is_none() && tracker.waiting.len() == list_len(&job) {
        // Not one test was begun, nor the module loaded: another boot may do better.
        if !batch.boot_lost {
            eprintln!("a guest was lost before its first test ({why}); booting once more");
            return Some(Batch {
                tests: tracker.waiting,
                boot_lost: true,
            });
        }
        // The first one bears it, so that the rest gets on.
        tracker.begin(&first.name);
    }
    tracker.settle(None, &why);
    (!tracker.waiting.is_empty()).then_some(Batch {
        tests: tracker.waiting,
        boot_lost: false,
    })
}

fn list_len(job: &Job) -> usize {
    match job {
        Job::Tests(_, list) => list.len(),
        Job::Script(_) => 0,
    }
}

impl Tracker<'_> {
    fn on_event(&mut self, event: Event) -> Option<Duration> {
        match event {
            Event::Started(console) => self.console = Some(console),
            Event::Output(bytes) => self.output.extend_from_slice(&bytes),
            Event::Control(line) => {
                let mut words = line.splitn(4, ' ');
                match (words.next(), words.next()) {
                    (Some("begin"), Some(name)) => {
                        self.settle(Some(name), "");
                        let seconds = self.begin(name)?;
                        return Some(Duration::from_secs(seconds).saturating_add(self.grace));
                    }
                    (Some("end"), Some(_)) => {
                        let status = words.next().and_then(|s| s.parse().ok());
                        let why = words.next().unwrap_or_default().trim().to_string();
                        if let Some(c) = &mut self.current {
                            c.end = status.map(|s| (s, why));
                            c.seconds = c.since.elapsed().as_secs_f64();
                        }
                        return Some(self.boot);
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// Takes a test off the list; its deadline.
    fn begin(&mut self, name: &str) -> Option<u64> {
        let at = self.waiting.iter().position(|t| t.name == name)?;
        let test = self.waiting.remove(at)?;
        let seconds = test.timeout;
        self.current = Some(Current {
            test,
            since: Instant::now(),
            end: None,
            seconds: 0.0,
        });
        Some(seconds)
    }

    /// Judges the current test: everything about it has come, up to where `next` begins or the VM has ended.
    fn settle(&mut self, next: Option<&str>, lost: &str) {
        let Some(current) = self.current.take() else {
            return;
        };
        let name = current.test.name.clone();
        let log = self.log(&name, next);
        let (verdict, reports) = judge(&current, log.as_deref(), self.filter, lost);
        let output = section(&self.output, &name);
        let seconds = match current.end {
            Some(_) => current.seconds,
            None => current.since.elapsed().as_secs_f64(),
        };
        (self.report)(Done {
            test: current.test,
            verdict,
            seconds,
            output,
            reports,
            console: self.console.clone().unwrap_or_default(),
        });
    }

    /// The test's part of the kernel log; `None` when its marks are not there.
    fn log(&self, name: &str, next: Option<&str>) -> Option<String> {
        let console = self.console.as_ref()?;
        let since = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&fs::read(console).ok()?).into_owned();
            if let Some(part) = klog::part(&text, name, next) {
                return Some(part.to_string());
            }
            // The console may lag behind the verdict, but only while the VM runs.
            if next.is_none() || since.elapsed() > Duration::from_secs(5) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn judge(
    current: &Current,
    log: Option<&str>,
    filter: &Filter,
    lost: &str,
) -> (Verdict, Vec<String>) {
    let mut reports: Vec<String> = Vec::new();
    if let Some(log) = log {
        let found = if current.test.failslab {
            filter.scan_failing_allocations(log)
        } else {
            filter.scan(log)
        };
        reports.extend(found.into_iter().map(str::to_string));
    }
    let Some((status, why)) = &current.end else {
        return (Verdict::Lost(lost.to_string()), reports);
    };
    let mut reasons: Vec<String> = Vec::new();
    match (status, &current.test.skip_ok) {
        (0 | 77, _) => {}
        (124 | 137, _) if !why.is_empty() => {}
        (s, _) => reasons.push(format!("exit status {s}")),
    }
    if !why.is_empty() {
        reasons.push(why.trim_end_matches(';').to_string());
    }
    if log.is_none() {
        reasons.push("its part of the kernel log is not to be found".into());
    }
    if !reports.is_empty() {
        reasons.push("the kernel log holds a report".into());
    }
    if reasons.is_empty() && *status == 77 {
        return match &current.test.skip_ok {
            Some(why) => (Verdict::Skip(why.clone()), reports),
            None => (Verdict::Fail("skipped".into()), reports),
        };
    }
    match reasons.is_empty() {
        true => (Verdict::Pass, reports),
        false => (Verdict::Fail(reasons.join("; ")), reports),
    }
}

/// The output of one test.
fn section(output: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(output);
    let mark = format!("\u{1e}{name}\n");
    let part = text
        .find(&mark)
        .map(|at| &text[at + mark.len()..])
        .unwrap_or_default();
    part.split('\u{1e}').next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Test {
        match parse("t", text) {
            Ok(t) => t,
            Err(e) => panic!("{e:#}"),
        }
    }

    #[test]
    fn all_tests_of_the_checkout_have_headers() {
        let tests = list(&crate::paths::checkout().join("tests/guest"));
        assert!(tests.is_ok_and(|tests| tests.len() > 200));
    }

    #[test]
    fn header_defaults() {
        let t = parsed("#!/bin/sh\n# It works.\n. \"$TESTS/lib.sh\"\n# vm: mem=1\n");
        assert_eq!(
            (t.about.as_str(), t.timeout, t.long),
            ("It works.", PATIENCE, false)
        );
        assert_eq!(
            (t.needs.root, t.needs.mem, t.needs.smp),
            (Root::Initramfs, 1024, 1)
        );
    }

    #[test]
    fn header_keys_are_read() {
        let t = parsed(
            "#!/bin/sh\n# It works.\n# vm: root=bookworm mem=3072 smp=4 timeout=600 image=yes\n\
             # vm: disk=1G disk=64M long=yes solo=yes movable=512\n# skip-ok: no such tool\n",
        );
        assert_eq!(
            (t.needs.root, t.needs.mem, t.needs.smp),
            (Root::Bookworm, 3072, 4)
        );
        assert_eq!(t.needs.disks, ["1G", "64M"]);
        assert_eq!(t.needs.movable, 512);
        assert!(t.needs.image && t.long && t.solo);
        assert_eq!(
            (t.timeout, t.skip_ok.as_deref()),
            (600, Some("no such tool"))
        );
    }

    #[test]
    fn a_test_for_one_kernel_is_skipped_on_the_other() {
        let any = parsed("#!/bin/sh\n# A.\n");
        let debug = parsed("#!/bin/sh\n# A.\n# vm: kernel=debug\n");
        let stock = parsed("#!/bin/sh\n# A.\n# vm: kernel=stock\n");
        for (test, on_stock, on_debug) in [
            (any, true, true),
            (debug, false, true),
            (stock, true, false),
        ] {
            assert_eq!(test.unfit(KernelKind::Stock).is_none(), on_stock);
            assert_eq!(test.unfit(KernelKind::Debug).is_none(), on_debug);
        }
    }

    #[test]
    fn wrong_headers_are_refused() {
        for header in [
            "",
            "# vm: mem=1\n",
            "# A.\n# vm: mem=much\n",
            "# A.\n# vm: colour=red\n",
            "# A.\n# vm: long\n",
            "# A.\n# vm: long=maybe\n",
            "# A.\n# vm: root=sid\n",
            "# A.\n# vm: kernel=7.3\n",
        ] {
            assert!(
                parse("t", &format!("#!/bin/sh\n{header}")).is_err(),
                "{header:?}"
            );
        }
    }

    #[test]
    fn same_needs_share_a_boot_and_solo_does_not() {
        let plain = parsed("#!/bin/sh\n# A.\n");
        let solo = parsed("#!/bin/sh\n# A.\n# vm: solo=yes\n");
        let big = parsed("#!/bin/sh\n# A.\n# vm: mem=2048\n");
        let got = batches(vec![plain.clone(), solo, plain.clone(), big, plain], 1);
        let mut sizes: Vec<usize> = got.iter().map(|b| b.tests.len()).collect();
        sizes.sort();
        assert_eq!(sizes, [1, 1, 3]);
    }

    #[test]
    fn the_last_batches_are_small() {
        let plain = parsed("#!/bin/sh\n# It works.\n");
        let got = batches(vec![plain; 100], 3);
        let sizes: Vec<usize> = got.iter().map(|b| b.tests.len()).collect();
        assert_eq!(sizes, [17, 17, 17, 17, 16, 8, 5, 3]);
    }

    fn current(status: i32, why: &str, header: &str) -> Current {
        Current {
            test: parsed(&format!("#!/bin/sh\n# A.\n{header}")),
            since: Instant::now(),
            end: Some((status, why.into())),
            seconds: 0.0,
        }
    }

    fn verdict(c: &Current, log: Option<&str>) -> Verdict {
        match Filter::load() {
            Ok(f) => judge(c, log, &f, "gone").0,
            Err(e) => panic!("{e:#}"),
        }
    }

    #[test]
    fn only_a_clean_end_passes() {
        assert_eq!(verdict(&current(0, "", ""), Some("fine")), Verdict::Pass);
        let failed = |v| matches!(v, Verdict::Fail(_));
        assert!(failed(verdict(&current(1, "", ""), Some("fine"))));
        assert!(failed(verdict(
            &current(0, "mounts left;", ""),
            Some("fine")
        )));
        assert!(failed(verdict(&current(0, "", ""), None)));
        assert!(failed(verdict(
            &current(0, "", ""),
            Some("[ 1.0] WARNING: CPU: 0 at x")
        )));
        assert!(failed(verdict(&current(77, "", ""), Some("fine"))));
        let skipped = verdict(&current(77, "", "# skip-ok: why\n"), Some("fine"));
        assert_eq!(skipped, Verdict::Skip("why".into()));
    }

    #[test]
    fn no_end_is_a_lost_vm() {
        let mut c = current(0, "", "");
        c.end = None;
        assert_eq!(verdict(&c, Some("fine")), Verdict::Lost("gone".into()));
    }

    #[test]
    fn output_is_cut_at_the_marks() {
        let out = b"boot\x1ea\nfirst\n\x1e\n\x1eb\nsecond\n";
        assert_eq!(section(out, "a"), "first\n");
        assert_eq!(section(out, "b"), "second\n");
        assert_eq!(section(out, "c"), "");
    }
}

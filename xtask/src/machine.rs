// SPDX-License-Identifier: GPL-2.0

//! The machine: one boot of QEMU with a stock kernel, and what comes out of it.
//!
//! The guest reports over virtio-serial (see vm/agent): verdict lines on one port, output on another. The console goes to
//! a file that is kept under `target/vm/`. Disks, sockets and the initramfs live in scratch directories that vanish with
//! the run. A run ends with an exit status, or the VM is lost; the two are kept apart.
//!
//! `machine/qemu.rs` has QEMU's command line, `machine/initrd.rs` what is packed for the guest, `machine/kvm.rs` the probe.

use crate::build::Built;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::roots::Root;
use crate::{host, paths, proc};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

mod initrd;
mod kvm;
mod qemu;

pub use kvm::kvm_works;

/// How the guest's processors are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    Tcg,
    /// One processor, time counted in instructions
    Icount,
}

impl Accel {
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
            Accel::Icount => "icount",
        }
    }
}

/// What the guest is to do.
pub enum Job {
    /// A shell script, or with a `#!` line a program
    Script(Vec<u8>),
    /// Tests of the directory, by name and deadline in seconds
    Tests(PathBuf, Vec<(String, u64)>),
}

/// What comes from a running guest.
pub enum Event {
    /// QEMU runs, with its console in this file
    Started(PathBuf),
    /// A piece of output
    Output(Vec<u8>),
    /// A verdict line
    Control(String),
}

/// How a run ended.
pub struct Outcome {
    /// The script's exit status; `None`: the VM was lost.
    pub status: Option<i32>,
    /// Why the VM was lost.
    pub lost: Option<String>,
    /// The console log.
    pub console: PathBuf,
    pub accel: Accel,
}

/// A machine to boot. Public fields are its settings; `run` boots it, any number of times.
pub struct Vm {
    pub kernel: Kernel,
    /// The module to have in the guest, unless there is none yet.
    pub module: Option<Built>,
    pub root: Root,
    /// MiB
    pub mem: u32,
    /// MiB of it that can be taken off line
    pub movable: u32,
    pub smp: u32,
    /// Sizes of blank disks, as truncate(1) takes them
    pub disks: Vec<String>,
    /// Whether the demo's image is on a read-only disk
    pub image: bool,
    pub share: Option<PathBuf>,
    /// What $TESTS is a copy of, for a script
    pub tests: Option<PathBuf>,
    /// For $TESTS/bin
    pub programs: Vec<PathBuf>,
    pub icount: bool,
    /// Environment of the job
    pub env: Vec<(String, String)>,
    /// From power on to power off
    pub timeout: Duration,
}

impl Vm {
    pub fn new(kernel: Kernel, module: Option<Built>) -> Self {
        Vm {
            kernel,
            module,
            root: Root::Initramfs,
            mem: 1024,
            movable: 0,
            smp: 2,
            disks: Vec::new(),
            image: false,
            share: None,
            tests: None,
            programs: Vec::new(),
            icount: false,
            env: Vec::new(),
            timeout: Duration::from_secs(600),
        }
    }

    /// Boots, runs the script with `on_output` for each piece of its output, and returns how it ended.
    pub fn run(&self, script: &[u8], mut on_output: impl FnMut(&[u8])) -> Result<Outcome> {
        self.run_job(&Job::Script(script.to_vec()), &mut |e| {
            if let Event::Output(bytes) = e {
                on_output(&bytes);
            }
            None
        })
    }

    /// Boots and does the job. `on_event` may answer with a new deadline, counted from then.
    pub fn run_job(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(Event) -> Option<Duration>,
    ) -> Result<Outcome> {
        host::ensure()?;
        let accel = self.accel()?;
        self.boot(job, accel, on_event)
    }

    fn accel(&self) -> Result<Accel> {
        if self.icount {
            return Ok(Accel::Icount);
        }
        Ok(if kvm_works(&self.kernel)? {
            Accel::Kvm
        } else {
            Accel::Tcg
        })
    }

    fn boot(
        &self,
        job: &Job,
        accel: Accel,
        on_event: &mut dyn FnMut(Event) -> Option<Duration>,
    ) -> Result<Outcome> {
        let logs = log_dir()?;
        let console = logs.join("console.log");
        let scratch = proc::Scratch::in_dir(&paths::target().join("vm/tmp"))?;
        let sockets = proc::Scratch::in_dir(&std::env::temp_dir())?;

        let initrd = initrd::pack(self, job, accel, scratch.path())?;
        let emulator = Emulator::ensure()?;
        let mut qemu = emulator.qemu();
        qemu::machine(&mut qemu, self, accel);
        qemu::system(&mut qemu, self, &initrd, &console);
        let (events, inbox) = mpsc::channel();
        for name in ["ctl", "out"] {
            let path = sockets.path().join(name);
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("cannot listen on {}", path.display()))?;
            qemu::port(&mut qemu, name, &path);
            listen(listener, name == "ctl", events.clone());
        }
        drop(events);
        qemu::disks(&mut qemu, self, scratch.path())?;
        let _share = match &self.share {
            Some(dir) => {
                let mem = self.kernel.memory(self.mem);
                let running = qemu::share(&emulator, &mut qemu, dir, mem, sockets.path(), &logs)?;
                Some(running)
            }
            None => None,
        };
        let stderr = logs.join("qemu.log");
        let errors =
            File::create(&stderr).with_context(|| format!("cannot write {}", stderr.display()))?;
        qemu.stdout(Stdio::null()).stderr(errors);
        // snapshot=on keeps its changes in an unlinked file there.
        qemu.env("TMPDIR", scratch.path());
        fs::write(logs.join("command"), proc::shown(&qemu)).context("cannot write the log")?;

        let vm = proc::spawn(&mut qemu)?;
        on_event(Event::Started(console.clone()));
        let mut watch = Watch::new(self.timeout);
        watch.until_the_end(vm, &inbox, on_event)?;
        fs::write(logs.join("output.log"), &watch.output).context("cannot write the log")?;
        let status = watch.status;
        Ok(Outcome {
            status,
            lost: watch
                .lost
                .or_else(|| status.is_none().then(|| why_lost(&console, &stderr))),
            console,
            accel,
        })
    }
}

/// What has been heard of a running guest.
struct Watch {
    since: Instant,
    deadline: Instant,
    status: Option<i32>,
    lost: Option<String>,
    output: Vec<u8>,
}

impl Watch {
    fn new(timeout: Duration) -> Self {
        let since = Instant::now();
        Watch {
            since,
            deadline: since + timeout,
            status: None,
            lost: None,
            output: Vec::new(),
        }
    }

    /// Passes events on until the VM has ended, or its time is over; then it is stopped.
    fn until_the_end(
        &mut self,
        mut vm: proc::Running,
        inbox: &Receiver<Event>,
        on_event: &mut dyn FnMut(Event) -> Option<Duration>,
    ) -> Result<()> {
        let mut ended: Option<Instant> = None;
        loop {
            match inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => {
                    self.note(&event);
                    if let Some(more) = on_event(event) {
                        self.deadline = Instant::now() + more;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // Both ports are closed: nothing more will come, QEMU is about to end.
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            if vm.try_wait()?.is_some() {
                // What it wrote last may still be on its way through the reader threads.
                let end = *ended.get_or_insert_with(Instant::now);
                let drained = matches!(inbox.try_recv(), Err(mpsc::TryRecvError::Disconnected));
                if drained || end.elapsed() > Duration::from_millis(500) {
                    return Ok(());
                }
            } else if Instant::now() > self.deadline {
                if self.status.is_none() {
                    let seconds = self.since.elapsed().as_secs();
                    self.lost = Some(format!("no end after {seconds} s"));
                }
                return Ok(());
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Started(_) => {}
            Event::Output(bytes) => self.output.extend_from_slice(bytes),
            Event::Control(line) => {
                if let Some(s) = line.strip_prefix("exit ") {
                    self.status = s.trim().parse().ok();
                    let soon = Instant::now() + Duration::from_secs(10);
                    self.deadline = self.deadline.min(soon);
                }
            }
        }
    }
}

/// Reads one port in a thread until QEMU closes it.
fn listen(listener: UnixListener, control: bool, events: Sender<Event>) {
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        if control {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_string();
                if events.send(Event::Control(line)).is_err() {
                    return;
                }
            }
            return;
        }
        let mut buffer = [0; 16384];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 || events.send(Event::Output(buffer[..n].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// What the logs of a VM that ended by itself say.
fn why_lost(console: &Path, stderr: &Path) -> String {
    let log = proc::tail(console, 200_000);
    // The first report says more than the panic that it led to.
    let told = [
        "BUG: ",
        "kernel BUG at",
        "Oops: ",
        "] init: ",
        "] agent: ",
        "Kernel panic",
    ];
    let line = told
        .iter()
        .find_map(|what| log.lines().find(|l| l.contains(what)));
    if let Some(line) = line {
        return line.trim().to_string();
    }
    let errors = proc::tail(stderr, 2000);
    match errors.trim() {
        "" => "the VM ended by itself".to_string(),
        text => format!("the VM ended by itself: {text}"),
    }
}

/// A new directory for the logs of one boot; old ones go.
fn log_dir() -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    const KEEP: usize = 200;
    let all = paths::target().join("vm/log");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = all.join(format!("{now}-{}-{n}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    if let Ok(entries) = fs::read_dir(&all) {
        let mut old: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        old.sort();
        let excess = old.len().saturating_sub(KEEP);
        for path in old.into_iter().take(excess) {
            let _ = fs::remove_dir_all(path);
        }
    }
    Ok(dir)
}

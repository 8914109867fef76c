//! The machine: one boot of QEMU with a stock kernel, and what comes out of it.
//!
//! The guest reports over virtio-serial (see vm/agent): verdict lines on one port, output on another. The console goes to
//! a file that is kept under `target/vm/`. Disks, sockets and the initramfs live in scratch directories that vanish with
//! the run. A run ends with an exit status, or the VM is lost; the two are kept apart.

use crate::build::Built;
use crate::emulator::Emulator;
use crate::guest_test::KernelKind;
use crate::kernel::Kernel;
use crate::roots::{self, Root};
use crate::{cache, host, paths, proc, ui};
use anyhow::{bail, Context, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{symlink, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What tests run of busybox: chores that take a process a few lines of work. Linked statically it starts in half the
/// time that the root's own tools need, which counts on an emulated processor. Tools that move data stay the root's.
const QUICK_TOOLS: [&str; 15] = [
    "awk", "basename", "cat", "cut", "grep", "mkdir", "mktemp", "mv", "rm", "rmdir", "seq",
    "sleep", "sort", "tr", "wc",
];

/// The processor that TCG emulates. With erms or fsrm kernel and libc copy by `rep movsb`, with fsrs the kernel fills by
/// `rep stosb`, which TCG carries out, and counts, byte by byte; without them they move 8 bytes and more at a time, near
/// to what real processors do.
const TCG_CPU: &str = "max,-erms,-fsrm,-fsrs";

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

        let initrd = self.initrd(job, accel, scratch.path())?;
        let emulator = Emulator::ensure()?;
        let mut qemu = emulator.qemu();
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        qemu.args(["-monitor", "none", "-machine", "q35,i8042=off,vmport=off"]);
        let mem = self.kernel.memory(self.mem);
        qemu.args(["-m", &mem.to_string()]);
        match accel {
            Accel::Kvm => qemu.args([
                "-accel",
                "kvm",
                "-cpu",
                "host",
                "-smp",
                &self.smp.to_string(),
            ]),
            Accel::Tcg => {
                let smp = self.smp.to_string();
                qemu.args(["-accel", "tcg,thread=multi", "-cpu", TCG_CPU, "-smp", &smp])
            }
            Accel::Icount => qemu.args([
                "-accel",
                "tcg",
                "-cpu",
                TCG_CPU,
                "-smp",
                "1",
                "-icount",
                "shift=0,sleep=off",
            ]),
        };
        qemu.arg("-kernel").arg(self.kernel.vmlinuz());
        qemu.arg("-initrd").arg(&initrd);
        let mut append = String::from(
            "console=ttyS0 loglevel=7 printk.devkmsg=on oops=panic panic=-1 mitigations=off \
             random.trust_cpu=on no_timer_check audit=0",
        );
        if self.kernel.kind() == KernelKind::Debug {
            // While identify_cpu looks at the processor anew, KASAN takes it for one without five
            // levels of page tables, and an interrupt's accesses for wild ones (7.2).
            append.push_str(" no5lvl");
        }
        if self.movable != 0 {
            append.push_str(&format!(" movablecore={}M", self.movable));
        }
        qemu.args(["-append", &append]);
        qemu.arg("-chardev")
            .arg(option("file,id=console,path=", &console));
        qemu.args(["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
        let (events, inbox) = mpsc::channel();
        for name in ["ctl", "out"] {
            let path = sockets.path().join(name);
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("cannot listen on {}", path.display()))?;
            qemu.arg("-chardev")
                .arg(option(&format!("socket,id={name},path="), &path));
            qemu.arg("-device")
                .arg(format!("virtserialport,chardev={name},name=drr.{name}"));
            listen(listener, name == "ctl", events.clone());
        }
        drop(events);

        // Blank disks come first, so that they are vda, vdb, …
        for (i, size) in self.disks.iter().enumerate() {
            let file = scratch.path().join(format!("disk{}", i + 1));
            proc::output(proc::command("truncate").args(["-s", size]).arg(&file))?;
            drive(
                &mut qemu,
                &format!("disk{}", i + 1),
                &file,
                "cache=unsafe,discard=unmap",
            );
        }
        let root = roots::ensure_image(self.root.image())?;
        let how = match self.root {
            Root::Initramfs => "readonly=on",
            Root::Trixie | Root::Bookworm => "snapshot=on,cache=unsafe",
        };
        drive(&mut qemu, "root", &root, how);
        drive(
            &mut qemu,
            "modules",
            &self.kernel.modules_image(),
            "readonly=on",
        );
        if self.image {
            drive(
                &mut qemu,
                "image",
                &roots::ensure_image("image")?,
                "readonly=on",
            );
        }
        qemu.args(["-device", "virtio-rng-pci"]);

        let _share = match &self.share {
            Some(dir) => Some(share(
                &emulator,
                &mut qemu,
                dir,
                mem,
                sockets.path(),
                &logs,
            )?),
            None => None,
        };
        let stderr = logs.join("qemu.log");
        let errors =
            File::create(&stderr).with_context(|| format!("cannot write {}", stderr.display()))?;
        qemu.stdout(Stdio::null()).stderr(errors);
        // snapshot=on keeps its changes in an unlinked file there.
        qemu.env("TMPDIR", scratch.path());
        fs::write(logs.join("command"), proc::shown(&qemu)).context("cannot write the log")?;

        let mut vm = proc::spawn(&mut qemu)?;
        on_event(Event::Started(console.clone()));
        let since = Instant::now();
        let mut deadline = since + self.timeout;
        let mut status = None;
        let mut lost = None;
        let mut output = Vec::new();
        let mut ended: Option<Instant> = None;
        loop {
            match inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => {
                    match &event {
                        Event::Started(_) => {}
                        Event::Output(bytes) => output.extend_from_slice(bytes),
                        Event::Control(line) => {
                            if let Some(s) = line.strip_prefix("exit ") {
                                status = s.trim().parse().ok();
                                deadline = deadline.min(Instant::now() + Duration::from_secs(10));
                            }
                        }
                    }
                    if let Some(more) = on_event(event) {
                        deadline = Instant::now() + more;
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
                    break;
                }
            } else if Instant::now() > deadline {
                if status.is_none() {
                    lost = Some(format!("no end after {} s", since.elapsed().as_secs()));
                }
                break;
            }
        }
        drop(vm);
        if status.is_none() && lost.is_none() {
            lost = Some(why_lost(&console, &stderr));
        }
        fs::write(logs.join("output.log"), &output).context("cannot write the log")?;
        Ok(Outcome {
            status,
            lost,
            console,
            accel,
        })
    }

    /// Packs the initramfs for one boot: busybox, the modules that find the root disk, the module under test, the job.
    fn initrd(&self, job: &Job, accel: Accel, scratch: &Path) -> Result<PathBuf> {
        let dir = scratch.join("initrd");
        let drr = dir.join("drr");
        let mkdir = |p: &Path| {
            fs::create_dir_all(p).with_context(|| format!("cannot make {}", p.display()))
        };
        let put = |from: &Path, to: &Path| {
            fs::copy(from, to)
                .map(|_| ())
                .with_context(|| format!("cannot copy {}", from.display()))
        };
        for sub in ["bin", "drr/boot"] {
            mkdir(&dir.join(sub))?;
        }
        let buildroot = roots::ensure_buildroot()?;
        put(&buildroot.join("usr/bin/busybox"), &dir.join("bin/busybox"))?;
        put(&paths::vm().join("init"), &dir.join("init"))?;
        put(&paths::vm().join("agent"), &drr.join("agent"))?;
        let tools = drr.join("tools");
        mkdir(&tools)?;
        for tool in QUICK_TOOLS {
            symlink("/run/drr/busybox", tools.join(tool)).context("cannot make a link")?;
        }
        for program in [dir.join("init"), drr.join("agent")] {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
                .context("cannot make a program executable")?;
        }
        let mut names = Vec::new();
        for module in with_dependencies(&self.kernel.modules_dir(), &["virtio_blk", "overlay"])? {
            let name = module
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            put(&module, &drr.join("boot").join(&name))?;
            names.push(name);
        }
        if let Some(module) = &self.module {
            proc::output(
                proc::command("cp")
                    .arg("-a")
                    .arg(&module.overlay)
                    .arg(drr.join("layer")),
            )?;
        }
        let mut shell = "sh";
        match job {
            Job::Script(text) => {
                if text.starts_with(b"#!") {
                    shell = "exec";
                }
                let mut f = File::options();
                use std::io::Write;
                f.create(true)
                    .truncate(true)
                    .write(true)
                    .mode(0o755)
                    .open(drr.join("script"))
                    .and_then(|mut f| f.write_all(text))
                    .context("cannot write the script")?;
                if let Some(from) = &self.tests {
                    copy_tests(from, &drr)?;
                }
            }
            Job::Tests(from, list) => {
                copy_tests(from, &drr)?;
                let bin = drr.join("tests/bin");
                fs::create_dir_all(&bin).context("cannot make the tests' bin")?;
                for program in &self.programs {
                    proc::output(proc::command("cp").arg(program).arg(&bin))?;
                }
                let lines: String = list.iter().map(|(n, s)| format!("{n} {s}\n")).collect();
                fs::write(drr.join("list"), lines).context("cannot write the test list")?;
            }
        }
        let smp = if accel == Accel::Icount { 1 } else { self.smp };
        let mut config = format!(
            "ROOT={}\nRELEASE={}\nBOOT_MODULES='{}'\nSHARE={}\nSHELL_IS={shell}\nACCEL={}\nSMP={smp}\nPACE={}\n",
            self.root.name(),
            self.kernel.release,
            names.join(" "),
            if self.share.is_some() { "yes" } else { "no" },
            accel.name(),
            self.kernel.pace,
        );
        for (name, value) in &self.env {
            config.push_str(&format!(
                "export {name}='{}'\n",
                value.replace('\'', "'\\''")
            ));
        }
        fs::write(drr.join("config"), config).context("cannot write the guest's settings")?;
        let initrd = scratch.join("initrd.cpio");
        let script = "cd \"$1\"; find . -print0 | cpio --quiet --null -o -H newc -R 0:0 >\"$2\"";
        proc::output(
            proc::command("sh")
                .args(["-euc", script, "sh"])
                .arg(&dir)
                .arg(&initrd),
        )?;
        fs::remove_dir_all(&dir).context("cannot remove the unpacked initramfs")?;
        Ok(initrd)
    }
}

fn copy_tests(from: &Path, drr: &Path) -> Result<()> {
    let mut cp = proc::command("cp");
    proc::output(cp.arg("-rL").arg(from).arg(drr.join("tests")))?;
    Ok(())
}

fn option(prefix: &str, path: &Path) -> OsString {
    let mut s = OsString::from(prefix);
    // QEMU reads a comma as the end of a value; two are one.
    s.push(path.to_string_lossy().replace(',', ",,"));
    s
}

fn drive(qemu: &mut std::process::Command, id: &str, file: &Path, how: &str) {
    qemu.arg("-drive").arg(option(
        &format!("if=none,id={id},format=raw,{how},file="),
        file,
    ));
    qemu.arg("-device")
        .arg(format!("virtio-blk-pci,drive={id},serial=drr-{id}"));
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

/// Starts the daemon that shows a directory to the guest.
fn share(
    emulator: &Emulator,
    qemu: &mut std::process::Command,
    dir: &Path,
    mem: u32,
    sockets: &Path,
    logs: &Path,
) -> Result<proc::Running> {
    let dir = dir
        .canonicalize()
        .with_context(|| format!("cannot share {}", dir.display()))?;
    if !dir.is_dir() {
        bail!("cannot share {}: not a directory", dir.display());
    }
    let socket = sockets.join("fs");
    let mut c = emulator.virtiofsd();
    c.arg(option("--socket-path=", &socket));
    c.arg("--cache=auto").arg("--shared-dir").arg(&dir);
    let log = logs.join("virtiofsd.log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let again = file.try_clone().context("cannot duplicate a log file")?;
    c.stdout(file).stderr(again);
    let mut running = proc::spawn(&mut c)?;
    let since = Instant::now();
    while !socket.exists() {
        if running.try_wait()?.is_some() || since.elapsed() > Duration::from_secs(10) {
            bail!(
                "virtiofsd does not start: {}\n{}",
                proc::shown(&c),
                proc::tail(&log, 2000)
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    qemu.arg("-chardev")
        .arg(option("socket,id=fs,path=", &socket));
    qemu.args(["-device", "vhost-user-fs-pci,chardev=fs,tag=share"]);
    qemu.arg("-object")
        .arg(format!("memory-backend-memfd,id=mem,size={mem}M,share=on"));
    qemu.args(["-numa", "node,memdev=mem"]);
    Ok(running)
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

/// The module files that `names` need, each after what it depends on.
fn with_dependencies(modules: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let dep = modules.join("modules.dep");
    let text =
        fs::read_to_string(&dep).with_context(|| format!("cannot read {}", dep.display()))?;
    let mut found = Vec::new();
    for name in names {
        let file = format!("/{name}.ko");
        let line = text
            .lines()
            .find(|l| l.split(':').next().is_some_and(|m| m.ends_with(&file)));
        // What is not a module is built in.
        let Some((module, needed)) = line.and_then(|l| l.split_once(':')) else {
            continue;
        };
        for m in needed.split_whitespace().rev().chain([module]) {
            let path = modules.join(m);
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a guest really boots under KVM: a device node alone says nothing. Asked once per boot of this machine.
pub fn kvm_works(kernel: &Kernel) -> Result<bool> {
    static ASKED: Mutex<Option<bool>> = Mutex::new(None);
    let mut asked = ASKED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(verdict) = *asked {
        return Ok(verdict);
    }
    let verdict = probe_kvm(kernel)?;
    *asked = Some(verdict);
    Ok(verdict)
}

fn probe_kvm(kernel: &Kernel) -> Result<bool> {
    let usable = File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    if !usable {
        return Ok(false);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = cache::key(&[boot.trim(), &kernel.release]);
    let verdict = paths::cache()?.join(format!("kvm-{key}"));
    let _lock = cache::lock(&paths::cache()?.join("locks/kvm"))?;
    match fs::read_to_string(&verdict).unwrap_or_default().trim() {
        "yes" => return Ok(true),
        "no" => return Ok(false),
        _ => {}
    }
    roots::ensure_image(Root::Initramfs.image())?;
    let step = ui::step("trying whether KVM runs a guest");
    let mut vm = Vm::new(kernel.clone(), None);
    vm.timeout = Duration::from_secs(15);
    let job = Job::Script(b"exit 42".to_vec());
    let outcome = vm.boot(&job, Accel::Kvm, &mut |_| None)?;
    let works = outcome.status == Some(42);
    fs::write(&verdict, if works { "yes\n" } else { "no\n" })
        .with_context(|| format!("cannot write {}", verdict.display()))?;
    step.done();
    Ok(works)
}

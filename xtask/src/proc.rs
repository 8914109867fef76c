// SPDX-License-Identifier: GPL-2.0

//! Child processes that never outlive us.
//!
//! Every long-running child is the leader of its own process group, dies with us (`setpriv --pdeathsig`), and is killed
//! with its whole group on Ctrl-C, SIGTERM or SIGHUP. What needs mounts runs in its own mount and pid namespace
//! (`isolated`): when its first process ends, all of its processes and mounts are gone.

use anyhow::{bail, Context, Result};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a scratch directory's name begins with; the process's id follows.
const SCRATCH_PREFIX: &str = "drr-xtask-";

static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static SCRATCH: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn lock<T>(m: &'static Mutex<T>) -> MutexGuard<'static, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all children and removes scratch directories when a signal asks us to stop.
pub fn install_signal_handler() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot install signal handlers")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\nstopped by signal {signal}");
            exit(128 + signal);
        }
    });
    Ok(())
}

/// Ends the program with all its children and scratch directories.
pub fn exit(code: i32) -> ! {
    // The locks are kept: no child may be started from here on.
    let groups = lock(&GROUPS);
    for pgid in groups.iter() {
        let _ = killpg(Pid::from_raw(*pgid), Signal::SIGKILL);
    }
    let scratch = lock(&SCRATCH);
    for dir in scratch.iter() {
        let _ = std::fs::remove_dir_all(dir);
    }
    std::process::exit(code);
}

/// A temporary directory that is removed when dropped, and on signals too.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one inside `parent`, which is made when missing.
    pub fn in_dir(parent: &Path) -> Result<Self> {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
        remove_orphans(parent);
        let mut all = lock(&SCRATCH);
        let dir = tempfile::Builder::new()
            .prefix(&format!("{SCRATCH_PREFIX}{}-", std::process::id()))
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?
            .keep();
        all.insert(dir.clone());
        Ok(Scratch(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        lock(&SCRATCH).remove(&self.0);
    }
}

/// Removes the directories of runs that were killed before they could.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(SCRATCH_PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A command that dies with this process.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut c = Command::new("setpriv");
    c.args(["--pdeathsig", "KILL", "--"]).arg(program);
    c.stdin(Stdio::null());
    c.process_group(0);
    c
}

/// A shell script in its own mount and pid namespace; `args` are its positional parameters.
pub fn isolated<S: AsRef<OsStr>>(script: &str, args: &[S]) -> Command {
    let mut c = command("unshare");
    c.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ]);
    c.args(["sh", "-euc", script, "sh"]).args(args);
    c
}

/// The command as one would type it.
pub fn shown(c: &Command) -> String {
    let mut words: Vec<String> = std::iter::once(c.get_program())
        .chain(c.get_args())
        .map(|w| {
            let w = w.to_string_lossy();
            if w.is_empty() || w.contains(|c: char| c.is_whitespace() || "'\"$;&|*".contains(c)) {
                format!("'{}'", w.replace('\'', "'\\''"))
            } else {
                w.into_owned()
            }
        })
        .collect();
    if words.len() > 4 && words[0] == "setpriv" {
        words.drain(..4);
    }
    words.join(" ")
}

/// A running child, known to the signal handler.
pub struct Running {
    child: Child,
    reaped: bool,
}

impl Running {
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().context("cannot wait for a child")?;
        if status.is_some() {
            self.forget();
        }
        Ok(status)
    }

    pub fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("cannot wait for a child")?;
        self.forget();
        Ok(status)
    }

    fn forget(&mut self) {
        self.reaped = true;
        lock(&GROUPS).remove(&(self.child.id() as i32));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
            self.forget();
        }
    }
}

/// Starts a command made by `command` or `isolated`.
pub fn spawn(c: &mut Command) -> Result<Running> {
    let mut groups = lock(&GROUPS);
    let child = c
        .spawn()
        .with_context(|| format!("cannot run: {}", shown(c)))?;
    groups.insert(child.id() as i32);
    Ok(Running {
        child,
        reaped: false,
    })
}

/// Runs a command with its output appended to `log`; the error shows the command and the end of the log.
pub fn run_logged(c: &mut Command, log: &Path) -> Result<()> {
    if let Some(dir) = log.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let open = || {
        File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))
    };
    c.stdout(open()?).stderr(open()?);
    let status = spawn(c)?.wait()?;
    if !status.success() {
        bail!(
            "{status} from: {}\n{}\n(whole log: {})",
            shown(c),
            tail(log, 4000),
            log.display()
        );
    }
    Ok(())
}

/// Runs a command and returns its standard output; the error shows the command and its standard error.
pub fn output(c: &mut Command) -> Result<String> {
    c.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = spawn(c)?;
    let mut err_pipe = running.child().stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(pipe) = err_pipe.as_mut() {
            let _ = pipe.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut text = Vec::new();
    if let Some(mut pipe) = running.child().stdout.take() {
        pipe.read_to_end(&mut text)
            .with_context(|| format!("cannot read the output of: {}", shown(c)))?;
    }
    let status = running.wait()?;
    let errors = errors.join().unwrap_or_default();
    if !status.success() {
        bail!("{status} from: {}\n{errors}", shown(c));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Runs a command whatever its exit status, and returns that and its standard output and error in the order they came.
pub fn combined(c: &mut Command) -> Result<(ExitStatus, String)> {
    let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let again = writer.try_clone().context("cannot duplicate a pipe")?;
    c.stdout(writer).stderr(again);
    let running = spawn(c)?;
    // The command holds the pipe's other end as long as it exists.
    c.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = Vec::new();
    reader
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read the output of: {}", shown(c)))?;
    let status = running.wait()?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// The last `bytes` of a file, as text.
pub fn tail(path: &Path, bytes: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut f = File::open(path)?;
        let len = f.metadata()?.len();
        f.seek(SeekFrom::Start(len.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        f.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}

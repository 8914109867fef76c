//! Table lines and messages, given to dm-thin and to dm-drr side by side: the same answers are wanted.
//!
//! Each side has devices of its own; the texts name them by letters: `M` metadata, `D` data, both free; `P` and `Q` the
//! metadata and data devices of the pool that is active meanwhile; `A` that pool; `T` an active thin device.

use crate::dm::{number_of, open_direct, Buffer, Control};
use crate::rng::Rng;
use crate::watchdog;
use anyhow::{bail, Context, Result};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const CHUNKS: u64 = 200;

pub struct Side {
    label: &'static str,
    pool_target: &'static str,
    thin_target: &'static str,
    letters: BTreeMap<char, String>,
    pool: String,
    thin: String,
    trial: String,
}

impl Side {
    fn new(stock: bool, devices: &[String; 4]) -> Result<Self> {
        let mut letters = BTreeMap::new();
        for (letter, dev) in "MDPQ".chars().zip(devices) {
            letters.insert(letter, number_of(Path::new(dev))?);
        }
        let (label, pool_target, thin_target) = if stock {
            ("dm-thin", "thin-pool", "thin")
        } else {
            ("dm-drr", "drr-pool", "drr")
        };
        Ok(Self {
            label,
            pool_target,
            thin_target,
            letters,
            pool: format!("{label}-pool"),
            thin: format!("{label}-thin"),
            trial: format!("{label}-trial"),
        })
    }

    /// Replaces `{M}` and the like where they are whole words: the devices' numbers differ.
    fn render(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, word) in text.split(|b| *b == b' ').enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            let dev = match word {
                [b'{', letter, b'}'] => self.letters.get(&char::from(*letter)),
                _ => None,
            };
            out.extend_from_slice(dev.map_or(word, |d| d.as_bytes()));
        }
        out
    }

    /// Takes this side's names out of an answer.
    fn common(&self, text: &str) -> String {
        let mut t = text.to_string();
        for (letter, dev) in &self.letters {
            t = t.replace(dev.as_str(), &format!("{{{letter}}}"));
        }
        t
    }

    fn start(&mut self, c: &Control) -> Result<()> {
        let pool = c.create(&self.pool)?;
        let zero = Buffer::new(4096);
        for letter in ['M', 'P'] {
            let number = self.letters[&letter].clone();
            let path = PathBuf::from(format!("/dev/block/{number}"));
            let path = if path.exists() {
                path
            } else {
                self.path_of(&number)?
            };
            open_direct(&path, true)?.write_all_at(&zero, 0)?;
        }
        self.letters.insert('A', pool.number());
        let table = self.render(b"{P} {Q} 128 0 1 skip_block_zeroing");
        c.load(&self.pool, CHUNKS * 128, self.pool_target, &table)?;
        c.resume(&self.pool)?;
        c.message(&self.pool, b"create_thin 0")?;
        c.message(&self.pool, b"create_thin 1")?;
        let thin = c.create(&self.thin)?;
        self.letters.insert('T', thin.number());
        c.load(&self.thin, 1024, self.thin_target, &self.render(b"{A} 0"))?;
        c.resume(&self.thin)?;
        c.create(&self.trial)?;
        Ok(())
    }

    fn path_of(&self, number: &str) -> Result<PathBuf> {
        let link = std::fs::read_link(format!("/sys/dev/block/{number}"))?;
        Ok(Path::new("/dev").join(link.file_name().unwrap_or_default()))
    }

    fn stop(&self, c: &Control) -> Result<()> {
        c.remove(&self.trial)?;
        c.remove(&self.thin)?;
        c.remove(&self.pool)?;
        Ok(())
    }
}

/// A table line for a trial.
struct Line {
    pool: bool,
    sectors: u64,
    args: Vec<u8>,
    /// Over the active pool or thin instead of a new device.
    over: bool,
    resume: bool,
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "64",
    "127",
    "128",
    "129",
    "192",
    "200",
    "256",
    "384",
    "1024",
    "2048",
    "2097152",
    "2097280",
    "4294967295",
    "4294967296",
    "4294967424",
    "16777215",
    "16777216",
    "16777217",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "-128",
    "+1",
    "+128",
    "++1",
    "0128",
    "00",
    "0x80",
    "0200",
    "128k",
    "128s",
    " ",
    "",
    "1e3",
    "1.0",
    "a",
    "abc",
    "128\\ ",
    "٣",
    "1\n",
    "99999999999999999999999",
    "-0",
    "+",
    "-",
    "1_000",
    "128,",
    "\u{ff11}",
];
const FEATURES: &[&str] = &[
    "skip_block_zeroing",
    "ignore_discard",
    "no_discard_passdown",
    "read_only",
    "error_if_no_space",
    "SKIP_BLOCK_ZEROING",
    "Ignore_Discard",
    "No_Discard_Passdown",
    "ERROR_IF_NO_SPACE",
    "skip_block_zeroing2",
    "skip_block_zeroin",
    "queue_if_no_space",
    "discard_passdown",
    "rw",
    "ro",
    "skip-block-zeroing",
    "\u{fc}",
    "0",
    "1",
    "",
];
const DEVICES: &[&str] = &[
    "{M}",
    "{D}",
    "{M}",
    "{D}",
    "{P}",
    "{Q}",
    "{A}",
    "{T}",
    "/dev/no-such-device",
    "999:999",
    "0:0",
    "-",
    "",
    "/dev/null",
    "/dev",
    "1:3",
    ":",
    "7",
    "{M}x",
    "x{M}",
    "/dev/mapper/control",
    "4095:1048575",
    "99999999999:1",
    "\u{fc}",
];

fn number(rng: &mut Rng) -> String {
    if rng.one_in(6) {
        return rng.next().to_string();
    }
    rng.pick(NUMBERS).to_string()
}

/// Bytes of a line that were good until something happened to them.
fn spoil(rng: &mut Rng, text: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(2) {
        let at = rng.below(text.len() + 1);
        match rng.below(6) {
            0 if at < text.len() => {
                text.remove(at);
            }
            1 => text.insert(at, b' '),
            2 => text.insert(at, *rng.pick(b"\\ \t0-+:/{}\x7f\xff\xc3\x80a")),
            3 if at < text.len() => text[at] ^= 1 << rng.below(8),
            4 => text.truncate(at),
            _ => {
                let copy = text.clone();
                text.push(b' ');
                text.extend_from_slice(&copy[at.min(copy.len())..]);
            }
        }
    }
    // A zero byte ends the text, and newlines would end a log line.
    text.retain(|b| *b != 0 && *b != b'\n');
    text.truncate(1500);
}

fn pool_line(rng: &mut Rng) -> Vec<u8> {
    let mut words: Vec<String> = Vec::new();
    let normal = rng.one_in(2);
    words.push(if normal || rng.one_in(2) {
        "{M}".into()
    } else {
        rng.pick(DEVICES).to_string()
    });
    words.push(if normal || rng.one_in(2) {
        "{D}".into()
    } else {
        rng.pick(DEVICES).to_string()
    });
    words.push(if rng.one_in(3) {
        number(rng)
    } else {
        "128".into()
    });
    words.push(if rng.one_in(4) {
        number(rng)
    } else {
        "0".into()
    });
    if !rng.one_in(3) {
        let n = rng.below(8);
        words.push(if rng.one_in(3) {
            number(rng)
        } else {
            n.to_string()
        });
        for _ in 0..n {
            // read_only in an active line would leave the two sides' metadata different.
            words.push(rng.pick(FEATURES).to_string());
        }
    }
    if rng.one_in(8) {
        words.truncate(rng.below(5));
    }
    words.join(" ").into_bytes()
}

fn thin_line(rng: &mut Rng) -> Vec<u8> {
    let mut words = vec![if rng.one_in(3) {
        rng.pick(DEVICES).to_string()
    } else {
        "{A}".into()
    }];
    words.push(match rng.below(4) {
        0 => number(rng),
        1 => "0".into(),
        2 => "1".into(),
        _ => rng.below(5).to_string(),
    });
    if rng.one_in(5) {
        words.push(rng.pick(DEVICES).to_string());
    }
    if rng.one_in(10) {
        words.push(number(rng));
    }
    if rng.one_in(10) {
        words.truncate(rng.below(3));
    }
    words.join(" ").into_bytes()
}

fn line(rng: &mut Rng) -> Line {
    let pool = rng.one_in(2);
    let over = rng.one_in(8);
    let mut args = if pool { pool_line(rng) } else { thin_line(rng) };
    if over && pool && rng.one_in(2) {
        let text = String::from_utf8_lossy(&args)
            .replace("{M}", "{P}")
            .replace("{D}", "{Q}");
        args = text.into_bytes();
    }
    if rng.one_in(3) {
        spoil(rng, &mut args);
    }
    let sectors = match rng.below(8) {
        0 => 1,
        1 => 127,
        2 => 1 + rng.below(100_000) as u64,
        3 => 1 << rng.below(62),
        _ => CHUNKS * 128,
    };
    Line {
        pool,
        sectors,
        args,
        over,
        resume: !over && rng.one_in(2),
    }
}

fn errno(r: &Result<(), Errno>) -> String {
    match r {
        Ok(()) => "ok".into(),
        Err(e) => format!("{e:?}"),
    }
}

/// Loads a line on one side: what came of it. The trial's device is there and has no table, before and after.
fn trial(c: &Control, side: &Side, l: &Line) -> Result<Vec<String>> {
    let name = match (l.over, l.pool) {
        (false, _) => &side.trial,
        (true, true) => &side.pool,
        (true, false) => &side.thin,
    };
    let target = if l.pool {
        side.pool_target
    } else {
        side.thin_target
    };
    let r = c.load(name, l.sectors, target, &side.render(&l.args));
    let loaded = r.is_ok();
    let mut told = vec![format!("load {}", errno(&r))];
    if loaded && l.resume {
        let r = c.resume(name);
        told.push(format!("resume {}", errno(&r)));
        if r.is_ok() {
            for table in [true, false] {
                let s = c.status(name, table).unwrap_or_default();
                told.push(side.common(&s));
            }
        }
        c.remove(name)
            .with_context(|| format!("cannot remove {name}"))?;
        c.create(name)
            .with_context(|| format!("cannot create {name}"))?;
    } else if loaded {
        // The line is not to come into force: the next one finds the device as it was.
        c.clear(name)
            .with_context(|| format!("cannot clear {name}"))?;
    }
    if loaded && l.pool && !l.over {
        // The next one finds nothing, as this one did. Any of these may have been formatted.
        for letter in ['M', 'D', 'Q', 'T'] {
            let path = side.path_of(&side.letters[&letter])?;
            open_direct(&path, true)?.write_all_at(&Buffer::new(4096), 0)?;
        }
    }
    Ok(told)
}

fn message(rng: &mut Rng) -> Vec<u8> {
    let names = [
        "create_thin",
        "create_snap",
        "delete",
        "set_transaction_id",
        "reserve_metadata_snap",
        "release_metadata_snap",
        "CREATE_THIN",
        "Create_Snap",
        "DELETE",
        "create_thin2",
        "create",
        "",
        "resume",
        "trim",
        "0",
        "\u{fc}",
    ];
    let name = if rng.one_in(6) {
        *rng.pick(&names)
    } else {
        *rng.pick(&names[..6])
    };
    let mut words = vec![name.to_string()];
    let wanted = match name {
        "create_thin" | "delete" => 1,
        "create_snap" | "set_transaction_id" => 2,
        _ => 0,
    };
    let n = match rng.below(8) {
        0 => rng.below(4),
        1 if rng.one_in(10) => 20 + rng.below(40),
        _ => wanted,
    };
    for _ in 0..n {
        words.push(match rng.below(4) {
            0 => number(rng),
            _ => rng.below(12).to_string(),
        });
    }
    let mut text = words.join(" ").into_bytes();
    if rng.one_in(6) {
        spoil(rng, &mut text);
    }
    text
}

/// Differences that are meant (docs/hostile-input.md).
fn meant(l: &Line, told: &[Vec<String>]) -> bool {
    // As device-mapper splits them: 0xa0 is a space to the kernel.
    let space = |b: &u8| b.is_ascii_whitespace() || [0x0b, 0xa0].contains(b);
    let words: Vec<String> = l
        .args
        .split(space)
        .filter(|w| !w.is_empty())
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect();
    let busy = told[1].first().is_some_and(|t| t == "load EBUSY");
    if l.pool {
        // The active pool's data device for another pool: dm-thin lets two pools write to it.
        let shared = busy && words.get(1).is_some_and(|w| *w == "{Q}");
        // The own name has more features than dm-thin's five, of which dm-thin takes four.
        let count = words.get(4).and_then(|w| w.parse().ok()).unwrap_or(0);
        // A read-only pool over a data device that has grown fails there and resumes as it was here.
        let read_only = words.iter().any(|w| w.eq_ignore_ascii_case("read_only"));
        let grown = read_only && told[0].last().is_some_and(|t| t == "Fail");
        return shared || grown || (5..=7u32).contains(&count);
    }
    false
}

/// Counts the cases; prints where the two sides differ.
struct Ledger {
    meant: u64,
    differences: u64,
    answers: BTreeMap<String, u64>,
}

impl Ledger {
    fn new() -> Self {
        Self {
            meant: 0,
            differences: 0,
            answers: BTreeMap::new(),
        }
    }

    fn note(&mut self, case: &str, a: &[String], b: &[String]) {
        let key = a.first().cloned().unwrap_or_default();
        *self.answers.entry(key).or_default() += 1;
        if a != b {
            self.differences += 1;
            println!(
                "DIFFERENT {case}\n    dm-thin: {}\n    dm-drr:  {}",
                a.join(" | "),
                b.join(" | ")
            );
        }
    }

    fn end(self, what: &str, seed: u64, count: u64) -> Result<()> {
        println!("{what}, seed {seed}: dm-thin's answers");
        for (answer, n) in &self.answers {
            println!("{n:8} {answer}");
        }
        println!(
            "{count:8} in all, {} different as is meant, {} different otherwise",
            self.meant, self.differences
        );
        if self.differences > 0 {
            bail!("the two sides differ");
        }
        Ok(())
    }
}

/// `devices`: metadata, data, metadata and data of the active pool, for dm-thin and then for dm-drr.
pub fn compare(
    messages: bool,
    seed: u64,
    first: u64,
    count: u64,
    devices: &[String],
) -> Result<()> {
    let (Ok(a), Ok(b)) = (
        devices[..4].to_vec().try_into(),
        devices[4..].to_vec().try_into(),
    ) else {
        bail!("eight devices are wanted");
    };
    let c = Control::open()?;
    let mut sides = [Side::new(true, &a)?, Side::new(false, &b)?];
    for side in &mut sides {
        side.start(&c)
            .with_context(|| format!("starting {}", side.label))?;
    }
    let mut ledger = Ledger::new();
    for n in first..first + count {
        let mut rng = Rng::of(seed, n);
        if messages {
            let text = message(&mut rng);
            let case = format!("seed {seed} message {n}: {}", text.escape_ascii());
            watchdog::case(&case);
            let told: Vec<Vec<String>> = sides
                .iter()
                .map(|s| vec![errno(&c.message(&s.pool, &text))])
                .collect();
            ledger.note(&case, &told[0], &told[1]);
            if n % 50 == 49 {
                let status: Vec<Vec<String>> = sides
                    .iter()
                    .map(|s| {
                        vec![transaction_and_chunks(
                            &c.status(&s.pool, false).unwrap_or_default(),
                        )]
                    })
                    .collect();
                if status[0] != status[1] {
                    ledger.note(&format!("status after message {n}"), &status[0], &status[1]);
                }
            }
        } else {
            let l = line(&mut rng);
            let case = format!(
                "seed {seed} line {n}: {}{} {} {}",
                if l.over { "over the active one: " } else { "" },
                l.sectors,
                if l.pool { "pool" } else { "thin" },
                l.args.escape_ascii()
            );
            watchdog::case(&case);
            let mut told = Vec::new();
            for s in &sides {
                told.push(trial(&c, s, &l).with_context(|| format!("{}: {case}", s.label))?);
            }
            if told[0] != told[1] && meant(&l, &told) {
                ledger.meant += 1;
                continue;
            }
            ledger.note(&case, &told[0], &told[1]);
        }
    }
    for side in &sides {
        side.stop(&c)?;
    }
    ledger.end(
        if messages { "messages" } else { "table lines" },
        seed,
        count,
    )
}

/// A pool's status but for the metadata blocks, whose number is each side's own affair.
fn transaction_and_chunks(status: &str) -> String {
    let words: Vec<&str> = status.split_whitespace().collect();
    let held = |w: &str| if w == "-" { "-" } else { "held" }.to_string();
    words
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 1)
        .map(|(i, w)| if i == 3 { held(w) } else { w.to_string() })
        .collect::<Vec<_>>()
        .join(" ")
}

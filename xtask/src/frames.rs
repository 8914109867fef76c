// SPDX-License-Identifier: GPL-2.0

//! The stack that the module's functions take: reads come to them under every file system's submission, and in
//! interrupts.

use crate::{proc, ui};
use anyhow::{bail, Result};
use std::path::Path;

/// Bytes that one function of these modules may reserve.
const LIMIT: u64 = 1024;
/// Modules whose functions run below file systems and in interrupts, as symbols name them.
const ROOMS: [&str; 2] = ["_4main3drr", "_4main4thin"];
/// Functions of theirs that run when a pool is made alone.
const SETUP: [&str; 2] = ["3Drr3new", "8platform5array"];

/// Checks an object file of the module.
pub fn check(object: &Path) -> Result<()> {
    let step = ui::step("measuring stack frames");
    let mut c = proc::command("objdump");
    c.args(["-d", "--no-show-raw-insn"]).arg(object);
    let (status, text) = proc::combined(&mut c)?;
    if !status.success() {
        bail!(
            "{}\n{status} from: {} (objdump is in binutils)",
            text.lines().next().unwrap_or(""),
            proc::shown(&c)
        );
    }
    let frames = frames(&text);
    if !frames.iter().any(|(name, _)| is_held(name)) {
        bail!("{} has no function of the read path", object.display());
    }
    let large: Vec<String> = frames
        .iter()
        .filter(|(name, bytes)| is_held(name) && *bytes >= LIMIT)
        .map(|(name, bytes)| format!("{bytes} bytes of stack, {LIMIT} or more: {name}"))
        .collect();
    if !large.is_empty() {
        bail!("{}", large.join("\n"));
    }
    step.done();
    Ok(())
}

fn is_held(name: &str) -> bool {
    ROOMS.iter().any(|room| name.contains(room)) && !SETUP.iter().any(|f| name.contains(f))
}

/// The largest step of the stack pointer in each function of a disassembly.
fn frames(text: &str) -> Vec<(&str, u64)> {
    let mut out: Vec<(&str, u64)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|l| l.split_once(" <")) {
            out.push((name.1, 0));
            continue;
        }
        let Some(bytes) = step_of(line) else { continue };
        if let Some((_, most)) = out.last_mut() {
            *most = bytes.max(*most);
        }
    }
    out
}

/// The bytes of `sub $0x…,%rsp`.
fn step_of(line: &str) -> Option<u64> {
    let (_, operands) = line.split_once("sub ")?;
    let number = operands.trim().strip_prefix("$0x")?.strip_suffix(",%rsp")?;
    u64::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_step_of_each_function_counts() {
        let text = "\
0000000000000010 <_RNvCs1_4main3drrserve>:
  10:	push   %rbp
  11:	sub    $0x28,%rsp
  15:	sub    $0x410,%rsp
  1c:	sub    $0x8,%rax
0000000000000020 <_RNvCs1_4main4poolserve>:
  20:	sub    $0x2000,%rsp
0000000000000030 <_RNvCs1_4main3drr3Drr3new>:
  30:	ret
";
        let wanted = [
            ("_RNvCs1_4main3drrserve", 0x410),
            ("_RNvCs1_4main4poolserve", 0x2000),
            ("_RNvCs1_4main3drr3Drr3new", 0),
        ];
        assert_eq!(frames(text), wanted);
        let held: Vec<_> = wanted.iter().map(|(name, _)| is_held(name)).collect();
        assert_eq!(held, [true, false, false]);
    }
}

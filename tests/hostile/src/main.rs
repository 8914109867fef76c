//! Runs as root in a guest: gives the module what nobody should write. See docs/hostile-input.md.
//!
//! `hostile metadata [-v] [stock] SEED FIRST COUNT METADATA DATA`: damaged metadata images
//! `hostile tables|messages SEED FIRST COUNT DEVICE…`: both targets side by side, on four devices each

mod dm;
mod image;
mod ioctl;
mod metadata;
mod rng;
mod text;
mod watchdog;

use anyhow::{bail, Context, Result};
use std::time::Duration;

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let at = args.iter().position(|a| a == name);
        at.map(|i| args.remove(i)).is_some()
    };
    let (verbose, stock) = (flag("-v"), flag("stock"));
    let [what, seed, first, count, devices @ ..] = args.as_slice() else {
        bail!("usage: hostile metadata|tables|messages SEED FIRST COUNT DEVICE…");
    };
    let number = |s: &String| {
        s.parse::<u64>()
            .with_context(|| format!("{s} is no number"))
    };
    let (seed, first, count) = (number(seed)?, number(first)?, number(count)?);
    watchdog::start(Duration::from_secs(120));
    match (what.as_str(), devices) {
        ("metadata", [meta, data]) => metadata::fuzz(
            &metadata::Rig::new(meta, data, stock)?,
            seed,
            first,
            count,
            verbose,
        ),
        ("tables" | "messages", all) if all.len() == 8 => {
            text::compare(what == "messages", seed, first, count, all)
        }
        _ => bail!("{what} with {} devices: no such run", devices.len()),
    }
}

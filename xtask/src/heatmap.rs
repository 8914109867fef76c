// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask heatmap`: draws the answer to a pool's `heatmap` message.

use crate::picture::{self, bad, put};
use anyhow::{bail, Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    dmsetup table >names\n  \
    dmsetup message pool 0 heatmap | cargo xtask heatmap --names names - heatmap.svg heatmap.png")]
pub struct Args {
    /// The answer to the message `heatmap`; `-`: standard input
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// What to draw into: .svg or .png
    #[arg(value_name = "FILE", required = true)]
    out: Vec<PathBuf>,
    /// The devices' names: output of `dmsetup table`, with the pool's thin devices among its lines
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// What stands above
    #[arg(long, default_value = "Who had shared data from where")]
    title: String,
}

const HEAD: &str = "source target pages bytes";
/// Sources that are no devices, in the order of their columns.
const OTHERS: [&str; 3] = ["other", "metadata", "disk"];
const PAGE: u64 = 4096;

/// Pages and bytes by target and source.
#[derive(Debug, Default, PartialEq)]
struct Heatmap {
    cells: BTreeMap<(u32, Source), (u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Device(u32),
    /// By its place in `OTHERS`
    Other(usize),
}

impl Heatmap {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        if lines.next() != Some(HEAD) {
            bail!("this is no answer to `heatmap`: the first line is not `{HEAD}`");
        }
        let mut map = Heatmap::default();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let cell = match words.as_slice() {
                [source, target, pages, bytes] => {
                    let source = match OTHERS.iter().position(|o| o == source) {
                        Some(n) => Some(Source::Other(n)),
                        None => source.parse().ok().map(Source::Device),
                    };
                    source
                        .zip(target.parse().ok())
                        .zip(pages.parse().ok().zip(bytes.parse().ok()))
                }
                _ => None,
            };
            let Some(((source, target), amount)) = cell else {
                bail!("not a row of a heatmap: {line}");
            };
            map.cells.insert((target, source), amount);
        }
        Ok(map)
    }

    fn targets(&self) -> Vec<u32> {
        let set: BTreeSet<u32> = self.cells.keys().map(|(t, _)| *t).collect();
        set.into_iter().collect()
    }

    fn sources(&self) -> Vec<Source> {
        let set: BTreeSet<Source> = self.cells.keys().map(|(_, s)| *s).collect();
        set.into_iter().collect()
    }

    /// Bytes that a target had in all.
    fn of(&self, target: u32) -> u64 {
        let row = self.cells.iter().filter(|((t, _), _)| *t == target);
        row.map(|(_, (_, bytes))| bytes).sum()
    }
}

/// Names by device id, out of `dmsetup table`: `name: 0 sectors drr pool id [origin]`.
fn names(text: &str) -> BTreeMap<u32, String> {
    text.lines()
        .filter_map(|line| {
            let (name, table) = line.split_once(':')?;
            let words: Vec<&str> = table.split_whitespace().collect();
            match words.as_slice() {
                [_, _, "drr" | "thin", _, id, ..] => Some((id.parse().ok()?, name.to_string())),
                _ => None,
            }
        })
        .collect()
}

pub fn run(args: Args) -> Result<i32> {
    let mut text = String::new();
    if args.input == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
    } else {
        text = read(&args.input)?;
    }
    let map = Heatmap::parse(&text)?;
    if map.cells.is_empty() {
        bail!("the heatmap is empty: no active device of the pool has read shared data");
    }
    let names = match &args.names {
        Some(file) => names(&read(file)?),
        None => BTreeMap::new(),
    };
    picture::check_names(&args.out)?;
    let picture = Picture::new(&map, &names, &args.title);
    picture::write(&picture, &args.out)?;
    Ok(0)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

const CELL: (i32, i32) = (150, 56);
const MARGIN: (i32, i32) = (170, 110);

struct Picture<'a> {
    map: &'a Heatmap,
    targets: Vec<u32>,
    sources: Vec<Source>,
    names: &'a BTreeMap<u32, String>,
    title: &'a str,
}

impl<'a> Picture<'a> {
    fn new(map: &'a Heatmap, names: &'a BTreeMap<u32, String>, title: &'a str) -> Self {
        Picture {
            map,
            targets: map.targets(),
            sources: map.sources(),
            names,
            title,
        }
    }

    fn device(&self, id: u32) -> String {
        match self.names.get(&id) {
            Some(name) => format!("{name} ({id})"),
            None => format!("device {id}"),
        }
    }

    /// The share of a row's bytes in a cell's color: white to blue for memory, to red for the disk.
    fn color(source: Source, share: f64) -> RGBColor {
        let (r, g, b) = if source == Source::Other(2) {
            (214.0, 69.0, 65.0)
        } else {
            (31.0, 119.0, 180.0)
        };
        let mix = |full: f64| (255.0 - (255.0 - full) * share.clamp(0.0, 1.0)) as u8;
        RGBColor(mix(r), mix(g), mix(b))
    }
}

impl picture::Picture for Picture<'_> {
    fn size(&self) -> (u32, u32) {
        let along =
            |cells: usize, cell: i32, margin: i32| cells as u32 * cell as u32 + margin as u32 + 20;
        (
            along(self.sources.len(), CELL.0, MARGIN.0).max(560),
            along(self.targets.len(), CELL.1, MARGIN.1),
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let put = |words: &str, size: i32, at: (i32, i32)| put(area, words, size, at);
        area.fill(&WHITE).map_err(bad)?;
        put(self.title, 20, (16, 14))?;
        put(
            "columns: from where; rows: to whom; MiB, share of the row",
            13,
            (16, 44),
        )?;
        for (x, source) in self.sources.iter().enumerate() {
            let name = match source {
                Source::Device(id) => self.device(*id),
                Source::Other(n) => OTHERS.get(*n).copied().unwrap_or("?").to_string(),
            };
            put(&name, 15, (MARGIN.0 + CELL.0 * x as i32 + 8, MARGIN.1 - 26))?;
        }
        for (y, target) in self.targets.iter().enumerate() {
            let top = MARGIN.1 + CELL.1 * y as i32;
            put(&self.device(*target), 15, (16, top + 20))?;
            let all = self.map.of(*target).max(1);
            for (x, source) in self.sources.iter().enumerate() {
                let left = MARGIN.0 + CELL.0 * x as i32;
                let (pages, bytes) = self
                    .map
                    .cells
                    .get(&(*target, *source))
                    .copied()
                    .unwrap_or((0, 0));
                let share = bytes as f64 / all as f64;
                let place = [(left, top), (left + CELL.0 - 3, top + CELL.1 - 3)];
                area.draw(&Rectangle::new(place, Self::color(*source, share).filled()))
                    .map_err(bad)?;
                area.draw(&Rectangle::new(
                    place,
                    RGBColor(200, 200, 200).stroke_width(1),
                ))
                .map_err(bad)?;
                if pages != 0 {
                    let amount = (pages * PAGE).max(bytes) as f64 / f64::from(1 << 20);
                    put(&format!("{amount:.1}"), 16, (left + 8, top + 8))?;
                    put(&format!("{:.0} %", share * 100.0), 13, (left + 8, top + 30))?;
                }
            }
        }
        area.present().map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "source target pages bytes\n\
        1 2 4096 16777216\nmetadata 2 20 81920\ndisk 1 4100 16793600\n2 3 10 40960\nother 3 1 512\n";

    #[test]
    fn an_answer_is_read() {
        let map = Heatmap::parse(ANSWER).unwrap();
        assert_eq!(map.targets(), [1, 2, 3]);
        let columns = [
            Source::Device(1),
            Source::Device(2),
            Source::Other(0),
            Source::Other(1),
            Source::Other(2),
        ];
        assert_eq!(map.sources(), columns);
        assert_eq!(map.cells[&(2, Source::Device(1))], (4096, 16777216));
        assert_eq!(map.of(2), 16777216 + 81920);
    }

    #[test]
    fn what_is_no_answer_is_refused_by_its_line() {
        let bad = |text: &str| Heatmap::parse(text).unwrap_err().to_string();
        assert!(bad("id parent depth\n1 - -\n").contains("first line"));
        assert!(bad("").contains("first line"));
        assert!(bad("source target pages bytes\n1 2 x 4\n").contains("1 2 x 4"));
        assert!(bad("source target pages bytes\n1 2 3\n").contains("1 2 3"));
    }

    #[test]
    fn names_come_from_thin_devices_of_either_kind() {
        let text = "pool: 0 524288 drr-pool 252:0 252:1 128 0 0 \nc1: 0 131072 drr 253:0 1\n\
            c-2: 0 131072 thin 253:0 12 7:0\nlin: 0 8 linear 7:0 0\n";
        let found = names(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[&1].as_str(), found[&12].as_str()), ("c1", "c-2"));
    }

    #[test]
    fn a_picture_has_all_cells_and_names() {
        let map = Heatmap::parse(ANSWER).unwrap();
        let names = names("web: 0 1 drr 253:0 1\n");
        let picture = Picture::new(&map, &names, "title & <more>");
        let svg = picture::svg(&picture);
        for words in [
            "web (1)",
            "device 3",
            "metadata",
            "disk",
            "16.0",
            "100 %",
            "title &amp; &lt;more&gt;",
        ] {
            assert!(svg.contains(words), "{words} is not in {svg}");
        }
        // A background, and two rectangles a cell.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 * 3 * 5);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! DRR's messages that may come beside any other: `stats`, `stats reset`, `layers`, `layers json`, `heatmap`, `verify on|off`,
//! `sampling on|off`, `cache off|pressure|eager`.
//!
//! Replies are lines. A reply that does not fit fills the buffer, which makes device-mapper's user side
//! ask again with a larger one. Process context.

use super::{
    cache::CachePolicy,
    domains::DEFAULT_TAG,
    hash::Sum,
    layers::Listing,
    platform::array,
    stats::{Counter, ALL},
    Drr, Layer, State,
};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use kernel::{prelude::*, rbtree::RBTree, sync::Arc};

/// Longest line of a reply.
const LINE: usize = 384;

/// One line, built before it is written, so that it is written whole or not at all.
struct Line {
    buf: [u8; LINE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        let room = self.buf.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Writes one line.
fn line(out: &mut impl Write, args: fmt::Arguments<'_>) -> fmt::Result {
    let mut buf = Line {
        buf: [0; LINE],
        len: 0,
    };
    buf.write_fmt(args)?;
    buf.write_str("\n")?;
    let text = buf.buf.get(..buf.len).ok_or(fmt::Error)?;
    out.write_str(core::str::from_utf8(text).map_err(|_| fmt::Error)?)
}

/// `on` or `off`; EINVAL for anything else.
pub(crate) fn on_off(word: &str) -> Result<bool> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(EINVAL),
    }
}

impl Drr {
    /// Handles a message; `None` when it is not one of these. `out` takes the reply.
    pub(crate) fn message(&self, argv: &[&str], out: &mut impl Write) -> Option<Result> {
        let done = match argv {
            ["stats"] => {
                // A reply that is cut short is still a reply.
                let _ = self.print_stats(out);
                Ok(())
            }
            ["stats", "reset"] => self.reset_stats(),
            ["layers"] => Listed::of(self).map(|l| l.print(self, out, false).unwrap_or(())),
            ["layers", "json"] => Listed::of(self).map(|l| l.print(self, out, true).unwrap_or(())),
            ["heatmap"] => self.active().map(|a| print_heatmap(&a, out).unwrap_or(())),
            ["verify", word] => on_off(word).map(|on| self.set_verify(on)),
            ["sampling", word] => on_off(word).map(|on| self.set_sampling(on)),
            ["cache", word] => CachePolicy::from_word(word).map(|p| self.cache.set_policy(p)),
            ["stats" | "layers" | "heatmap" | "verify" | "sampling" | "cache", ..] => Err(EINVAL),
            _ => return None,
        };
        Some(done)
    }

    /// The active devices of this moment, so that nobody waits for `state` while something is done with each.
    fn active(&self) -> Result<KVVec<Arc<Layer>>> {
        let state = self.state.read();
        let mut active = KVVec::with_capacity(state.active.len(), GFP_KERNEL)?;
        for layer in state.active.iter() {
            active.push(layer.clone(), GFP_KERNEL)?;
        }
        Ok(active)
    }

    fn reset_stats(&self) -> Result {
        let active = self.active()?;
        self.stats.reset();
        for layer in active.iter() {
            layer.stats.reset();
            layer.heat.reset();
        }
        Ok(())
    }

    /// The pool's counters, and the state of the table: `evicted_pages` (records dropped for lack
    /// of room), `groups`, `table_bytes`, `meta_pages` (kept now), `meta_evicted_pages`, `drr`, `verify`,
    /// `sampling` (1: on), `sampled` (1: no more than a sample is recorded in some domain), `vector_hash` (1: the content hash is in vector
    /// registers), `cache` (0: off, 1: pressure,
    /// 2: eager).
    fn print_stats(&self, out: &mut impl Write) -> fmt::Result {
        for (counter, name) in ALL {
            line(out, format_args!("{name} {}", self.stats.get(*counter)))?;
        }
        line(out, format_args!("evicted_pages {}", self.table.evicted()))?;
        line(out, format_args!("groups {}", self.table.groups()))?;
        line(out, format_args!("table_bytes {}", self.table.bytes()))?;
        line(out, format_args!("meta_pages {}", self.meta_pages.pages()))?;
        line(
            out,
            format_args!("meta_evicted_pages {}", self.meta_pages.evicted()),
        )?;
        line(out, format_args!("drr {}", u8::from(self.is_enabled())))?;
        let verify = self.verify.load(Ordering::Relaxed);
        line(out, format_args!("verify {}", u8::from(verify)))?;
        let on = self.peers.is_sampling();
        line(out, format_args!("sampling {}", u8::from(on)))?;
        let sampled = self.peers.is_any_sampled();
        line(out, format_args!("sampled {}", u8::from(sampled)))?;
        let vectors = self.key.sum() == Sum::Clnh;
        line(out, format_args!("vector_hash {}", u8::from(vectors)))?;
        line(out, format_args!("cache {}", self.cache.policy() as u32))
    }
}

/// Where active devices had their shared data from, a row a pair, with pages and bytes: a device's id, `other`
/// for devices beyond what a row tells apart, `metadata` for the pool's own pages, `disk`. Without DRR all of it
/// would have come from disk.
fn print_heatmap(active: &[Arc<Layer>], out: &mut impl Write) -> fmt::Result {
    line(out, format_args!("source target pages bytes"))?;
    for layer in active {
        let target = layer.id.0;
        let row = layer.heat.row();
        for heat in row.heats.iter().filter(|h| h.source != 0) {
            let source = Layer::id_of(heat.source).0;
            line(
                out,
                format_args!("{source} {target} {} {}", heat.pages, heat.bytes),
            )?;
        }
        let metadata = layer.stats.get(Counter::MetaServedPages);
        let from = [
            ("other", row.other.pages, row.other.bytes),
            (
                "metadata",
                metadata,
                layer.stats.get(Counter::MetaServedBytes),
            ),
            (
                "disk",
                layer.stats.get(Counter::MissPages),
                layer.stats.get(Counter::MissBytes),
            ),
        ];
        for (source, pages, bytes) in from.iter().filter(|(_, pages, _)| *pages != 0) {
            line(out, format_args!("{source} {target} {pages} {bytes}"))?;
        }
    }
    Ok(())
}

/// What `layers` is printed from, gathered before: `state` is not held while that is done.
struct Listed {
    tree: Listing,
    /// By serial.
    active: KVVec<Arc<Layer>>,
    /// Positions in `active`, by id.
    by_id: RBTree<u32, usize>,
    /// Serials and records, by serial.
    records: KVVec<(u64, u64)>,
}

impl Listed {
    /// Process context; sleeps.
    fn of(drr: &Drr) -> Result<Self> {
        let tree = drr.state.read().tree.listing().ok_or(ENOMEM)?;
        // In the order of their serials, as they became active.
        let active = drr.active()?;
        let mut by_id = RBTree::new();
        for (n, layer) in active.iter().enumerate() {
            by_id.try_create_and_insert(layer.id.0, n, GFP_KERNEL)?;
        }
        let serial = |n: usize| (active.get(n).map_or(0, |l| l.serial), 0);
        let mut records = array(active.len(), serial).ok_or(ENOMEM)?;
        drr.table.count_records(&mut records);
        Ok(Self {
            tree,
            active,
            by_id,
            records,
        })
    }

    /// The active device of an id: its position.
    fn find(&self, id: u32) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The layer tree; devices whose making is not known come last. As text, a line a device, children
    /// indented below their parent, `-`: not known, or not active; as a domain, the default one. As JSON, an
    /// array of objects with the same names, null for `-`.
    fn print(mut self, drr: &Drr, out: &mut impl Write, json: bool) -> fmt::Result {
        if json {
            line(out, format_args!("["))?;
        } else {
            line(
                out,
                format_args!(
                    "id parent depth records served_pages served_bytes miss_pages hash_rejects domain"
                ),
            )?;
        }
        let mut first = true;
        let mut print = |row: &Row<'_>| {
            let between = if core::mem::take(&mut first) {
                " "
            } else {
                ","
            };
            if json {
                line(out, format_args!("{between}{}", Json(row)))
            } else {
                line(out, format_args!("{row}"))
            }
        };
        while let Some((node, depth)) = self.tree.step() {
            let state = drr.state.read();
            print(&self.row(&state, node.id, node.parent, Some(depth)))?;
        }
        for layer in self.active.iter() {
            if self.tree.get(layer.id.0).is_none() {
                let state = drr.state.read();
                print(&self.row(&state, layer.id.0, None, None))?;
            }
        }
        if json {
            line(out, format_args!("]"))?;
        }
        Ok(())
    }

    /// What is told of a device. `state` is for its domain.
    fn row<'a>(
        &self,
        state: &'a State,
        id: u32,
        parent: Option<u32>,
        depth: Option<u32>,
    ) -> Row<'a> {
        let at = self.find(id);
        let active = at.and_then(|n| self.active.get(n));
        let records = at.and_then(|n| self.records.get(n));
        let stat = |c: Counter| active.map(|l| l.stats.get(c));
        Row {
            id,
            domain: state.domains.tag(state.domains.of(id)),
            values: [
                ("parent", parent.map(u64::from)),
                ("depth", depth.map(u64::from)),
                ("records", records.map(|(_, n)| *n)),
                ("served_pages", stat(Counter::ServedPages)),
                ("served_bytes", stat(Counter::ServedBytes)),
                ("miss_pages", stat(Counter::MissPages)),
                ("hash_rejects", stat(Counter::HashRejects)),
            ],
        }
    }
}

/// What `layers` tells of a device.
struct Row<'a> {
    id: u32,
    domain: &'a str,
    values: [(&'static str, Option<u64>); 7],
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Deeper layers are not indented further.
        const MAX_INDENT: u64 = 16;
        let depth = self.values.iter().find(|(name, _)| *name == "depth");
        let indent = depth.and_then(|(_, d)| *d).unwrap_or(0).min(MAX_INDENT) as usize;
        write!(f, "{:indent$}{}", "", self.id)?;
        for (_, value) in self.values {
            match value {
                Some(v) => write!(f, " {v}")?,
                None => f.write_str(" -")?,
            }
        }
        write!(f, " {}", self.domain)
    }
}

/// The same as an object.
struct Json<'a>(&'a Row<'a>);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"id\":{}", self.0.id)?;
        for (name, value) in self.0.values {
            match value {
                Some(v) => write!(f, ",\"{name}\":{v}")?,
                None => write!(f, ",\"{name}\":null")?,
            }
        }
        if self.0.domain == DEFAULT_TAG {
            return f.write_str(",\"domain\":null}");
        }
        f.write_str(",\"domain\":\"")?;
        // Printable ASCII, but for these two nothing that JSON would read otherwise.
        for c in self.0.domain.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_str("\"}")
    }
}

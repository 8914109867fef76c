// SPDX-License-Identifier: GPL-2.0

//! Isolation as a property: what a domain observes is the same, whatever other domains do.
//!
//! One domain's operations are run twice: alone, and with operations of other domains before each of them. What it
//! observes is compared: which pages are found and from which layers, in their order; what its reads wait for, how
//! long, and when they go on; what is recorded and kept. Budgets are small, and others fill them. Left out is what
//! docs/threat-model.md names: the domain has less than its share, and others do not write.

use super::coalesce::{Lead, Start};
use super::group::{Batch, Frames, Page, Source, GROUP_BYTES};
use super::metapages::{sectors_of, MetaPages};
use super::peers::AllPeers;
use super::table::{Presence, Published, Table, Ticket};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The domain that observes, and how many there are.
const HERE: u32 = 2;
const DOMAINS: u32 = 5;
const LAYERS: u64 = 6;
/// Pages of the data device that all domains read.
const PAGES: u64 = 96;
const MS: u64 = 1_000_000;

/// All the layers'.
static ALIVE: LazyLock<Presence> = LazyLock::new(|| Presence::new(4096).unwrap());

#[derive(Clone, Debug)]
enum Op {
    Read {
        layer: u64,
        first: u64,
        len: u64,
    },
    /// One of the reads that are under way ends.
    End {
        nth: usize,
    },
    Metadata {
        ppn: u64,
        begin: u32,
        count: u32,
    },
    /// A layer writes to what it had mapped, which breaks the sharing.
    Overwrite {
        layer: u64,
        first: u64,
        len: u64,
    },
    Remove {
        layer: u64,
    },
    /// Copies of these pages leave.
    ThinOut {
        ppn: u64,
    },
}

/// What is not one domain's to do.
#[derive(Clone, Debug)]
enum Step {
    Op(Op),
    Time {
        ns: u64,
    },
    /// A chunk is freed, and allocated anew.
    Write {
        first: u64,
        len: u64,
    },
}

/// What other domains do.
#[derive(Clone, Debug)]
enum Other {
    Op(u32, Op),
    /// Reads and records a lot.
    Flood {
        domain: u32,
        from: u64,
        keys: u64,
    },
    /// Begins reads, and has them wait.
    Stall {
        domain: u32,
        reads: u64,
    },
    Watch,
}

fn op() -> impl Strategy<Value = Op> {
    let range = || (0..LAYERS, 0..PAGES, 1..40u64);
    prop_oneof![
        8 => range().prop_map(|(layer, first, len)| Op::Read { layer, first, len }),
        5 => (0..6usize).prop_map(|nth| Op::End { nth }),
        4 => (0..PAGES, 0..8u32, 1..9u32)
            .prop_map(|(ppn, begin, count)| Op::Metadata { ppn, begin, count }),
        1 => range().prop_map(|(layer, first, len)| Op::Overwrite { layer, first, len }),
        1 => (0..LAYERS).prop_map(|layer| Op::Remove { layer }),
        2 => (0..PAGES).prop_map(|ppn| Op::ThinOut { ppn }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => op().prop_map(Step::Op),
        2 => (0..80 * MS).prop_map(|ns| Step::Time { ns }),
        1 => (0..PAGES, 1..20u64).prop_map(|(first, len)| Step::Write { first, len }),
    ]
}

fn other() -> impl Strategy<Value = Other> {
    let domain = || (0..DOMAINS - 1).prop_map(|d| if d == HERE { DOMAINS - 1 } else { d });
    prop_oneof![
        8 => (domain(), op()).prop_map(|(domain, op)| Other::Op(domain, op)),
        2 => (domain(), 0..1000u64, 1..300u64)
            .prop_map(|(domain, from, keys)| Other::Flood { domain, from, keys }),
        1 => (domain(), 1..600u64).prop_map(|(domain, reads)| Other::Stall { domain, reads }),
        1 => Just(Other::Watch),
    ]
}

/// A read that is under way.
struct Reading {
    lead: Option<Lead>,
    layer: u64,
    first: u64,
    len: u64,
    begun: u64,
    ticket: Ticket,
}

/// A pool, as far as its files are pure.
struct Pool {
    table: Table,
    metadata: MetaPages<u64>,
    peers: AllPeers<Vec<(u32, u64)>>,
    now: u64,
    reading: BTreeMap<u32, Vec<Reading>>,
    /// Reads that wait are numbered in their domains.
    waited: BTreeMap<u32, u64>,
}

impl super::coalesce::Waiters for Vec<(u32, u64)> {
    type Item = (u32, u64);
    fn push(&mut self, item: (u32, u64)) {
        Vec::push(self, item);
    }
    fn append(&mut self, mut others: Self) {
        Vec::append(self, &mut others);
    }
}

fn serial(domain: u32, layer: u64) -> u64 {
    u64::from(domain) * 100 + layer + 1
}

/// Page `ppn` in the page cache of a layer.
fn page(domain: u32, layer: u64, ppn: u64) -> Page {
    let layer = serial(domain, layer);
    Page {
        pfn: (layer * 10_000 + ppn) as u32,
        mapping: layer as usize * 64,
        index: ppn,
        layer,
        domain,
        hash: ppn,
    }
}

impl Pool {
    /// Room for each domain's share of what one has at most: `LAYERS` groups of each key, and all pages.
    fn new(seed: u64) -> Self {
        let groups = (PAGES / 16 + 4) * LAYERS + 1;
        let room = groups as usize * DOMAINS as usize * GROUP_BYTES;
        let empty = Table::new(room, seed).unwrap().bytes();
        let pages = (PAGES as usize + 64) * DOMAINS as usize;
        let peers = AllPeers::new(500, true).unwrap();
        assert!((0..DOMAINS).all(|domain| peers.join(domain)));
        Self {
            table: Table::new(empty + room, seed).unwrap(),
            metadata: MetaPages::new(pages * 4096, seed).unwrap(),
            peers,
            now: 1_000 * MS,
            reading: BTreeMap::new(),
            waited: BTreeMap::new(),
        }
    }

    fn sources(&self, ppn: u64, domain: u32) -> Vec<Source> {
        self.table.sources(ppn, domain).iter().copied().collect()
    }

    /// Records pages, those of each key together.
    fn record(
        &self,
        domain: u32,
        layer: u64,
        first: u64,
        len: u64,
        ticket: &Ticket,
        from: u64,
    ) -> Vec<Published> {
        let mut out = Vec::new();
        let mut batch = Batch::empty();
        for ppn in first..first + len {
            if !batch.add(ppn, &page(domain, layer, ppn)) {
                out.push(self.table.publish(&batch, ticket, &ALIVE));
                batch.clear();
                batch.add(ppn, &page(domain, layer, ppn));
            }
            batch.copied_from(from);
        }
        out.push(self.table.publish(&batch, ticket, &ALIVE));
        out
    }

    /// As src/drr/serve.rs does: serves a prefix, or waits for another read, or begins one.
    fn read(&mut self, domain: u32, layer: u64, first: u64, len: u64) -> String {
        let ticket = self.table.ticket(first, len);
        let found: Vec<_> = (first..first + len)
            .map(|ppn| self.sources(ppn, domain))
            .take_while(|sources| !sources.is_empty())
            .collect();
        let sampling = &self.peers.of(domain).unwrap().sampling;
        if let Some(newest) = found.first().and_then(|sources| sources.first()) {
            let pages = found.len() as u64;
            let made = self.record(domain, layer, first, pages, &ticket, newest.layer);
            sampling.served(first, pages);
            return format!("served {found:?}, recorded {made:?}");
        }
        let reads = &self.peers.of(domain).unwrap().reads;
        let leader = reads.leader(first, len, self.now);
        if leader.is_none() && !sampling.wants(first) {
            return "not recorded".into();
        }
        let start = match leader {
            Some((place, pages)) => Start::Follow(place, pages),
            None => reads.start(first, len, serial(domain, layer), self.now, true),
        };
        let lead = match start {
            Start::Follow(place, pages) => {
                let number = self.waited.entry(domain).or_default();
                *number += 1;
                let until = self.now + reads.patience();
                let waits = reads.follow(place, (domain, *number), until, self.now);
                return format!("{number} follows for {pages} pages: {waits:?}");
            }
            Start::Lead(lead) => Some(lead),
            Start::Alone => None,
        };
        let how = lead.is_some();
        self.reading.entry(domain).or_default().push(Reading {
            lead,
            layer,
            first,
            len,
            begun: self.now,
            ticket,
        });
        format!("leads: {how}")
    }

    fn end(&mut self, domain: u32, nth: usize) -> String {
        let reading = self.reading.entry(domain).or_default();
        if nth >= reading.len() {
            return String::new();
        }
        let r = reading.remove(nth);
        let made = self.record(domain, r.layer, r.first, r.len, &r.ticket, 0);
        let peers = self.peers.of(domain).unwrap();
        peers.sampling.recorded(r.first, r.len, self.now - r.begun);
        let followers = r.lead.map(|lead| peers.reads.end(lead, self.now, false));
        format!("recorded {made:?}, waited for by {followers:?}")
    }

    fn metadata(&mut self, domain: u32, ppn: u64, begin: u32, count: u32) -> String {
        let sectors = sectors_of(begin * 512, count.min(8 - begin) * 512);
        let found = self.metadata.with_page(ppn, domain, sectors, |page| *page);
        if found.is_some() {
            return format!("{found:?}");
        }
        let ticket = self.metadata.ticket(ppn, 1);
        let kept = self
            .metadata
            .keep(ppn, domain, sectors, &ticket, || Some(ppn), |_| true);
        format!("{kept:?}")
    }

    /// As src/drr/cache.rs does, with all copies of the bucket, whosever they are. Those of the domain that observes
    /// leave when it asks for that alone, for the time is not isolated.
    fn thin_out(&mut self, asks: u32, ppn: u64) -> String {
        const KEEP: usize = 2;
        let found = self.table.bucket_with_copies(ppn / 16, asks, KEEP);
        let mut after = None;
        while let Some(bucket) = found {
            let copied = self.table.copied(bucket, KEEP, after);
            for (key, domain) in copied.into_iter().flatten() {
                after = Some((key, domain));
                if domain == HERE && asks != HERE {
                    continue;
                }
                for ppn in key * 16..key * 16 + 16 {
                    let sources = self.sources(ppn, domain);
                    for source in sources
                        .iter()
                        .skip(1)
                        .take(sources.len().saturating_sub(KEEP))
                    {
                        let folio = Frames::of(ppn, source, 0, 1, domain).unwrap();
                        if self.table.all_have_others(&folio) {
                            self.table.forget_folio(&folio);
                        }
                    }
                }
            }
            if copied.contains(&None) {
                break;
            }
        }
        format!("copies: {}", found.is_some())
    }

    fn op(&mut self, domain: u32, op: &Op) -> String {
        match *op {
            Op::Read { layer, first, len } => self.read(domain, layer, first, len),
            Op::End { nth } => self.end(domain, nth),
            Op::Metadata { ppn, begin, count } => self.metadata(domain, ppn, begin, count),
            Op::Overwrite { layer, first, len } => {
                let layer = serial(domain, layer);
                self.table.drop_layer_range(layer, first, len);
                String::new()
            }
            Op::Remove { layer } => {
                self.table.drop_layer(serial(domain, layer), &ALIVE);
                String::new()
            }
            Op::ThinOut { ppn } => self.thin_out(domain, ppn),
        }
    }

    /// Who goes on of the domain that observes.
    fn watch(&mut self) -> String {
        let late = self.peers.detach(self.now);
        let here = |who: Vec<(u32, u64)>| -> Vec<u64> {
            let here = who.into_iter().filter(|(domain, _)| *domain == HERE);
            here.map(|(_, number)| number).collect()
        };
        format!("late: {:?} {:?}", here(late.stalled), here(late.due))
    }

    fn step(&mut self, step: &Step) -> String {
        match step {
            Step::Op(op) => self.op(HERE, op),
            Step::Time { ns } => {
                self.now += ns;
                self.watch()
            }
            Step::Write { first, len } => {
                self.table.drop_range(*first, *len);
                self.metadata.drop_range(*first, *len);
                String::new()
            }
        }
    }

    /// Returns what the domain that observes notices at once, which should be nothing.
    fn other(&mut self, other: &Other) -> Option<String> {
        match other {
            Other::Op(domain, op) => {
                self.op(*domain, op);
            }
            Other::Flood { domain, from, keys } => {
                for key in *from..from + keys {
                    let ticket = self.table.ticket(key * 16, 16);
                    self.record(*domain, key % LAYERS, key * 16, 16, &ticket, 0);
                    self.metadata(*domain, key * 16 + key % 16, 0, 8);
                }
            }
            Other::Stall { domain, reads } => {
                for n in 0..*reads {
                    self.read(*domain, n % LAYERS, n * 16 % 1600, 16);
                    self.peers
                        .of(*domain)
                        .unwrap()
                        .sampling
                        .recorded(n * 16, 160, 1);
                }
            }
            Other::Watch => return Some(self.watch()),
        }
        None
    }
}

/// How many groups, and pages of metadata, a domain has.
fn has(pool: &Pool, domain: u32) -> (usize, usize) {
    let groups = (0..PAGES + 64).step_by(16);
    let groups = groups.map(|first| {
        let mut layers: Vec<_> = (first..first + 16)
            .flat_map(|ppn| pool.sources(ppn, domain))
            .map(|s| s.layer)
            .collect();
        layers.sort_unstable();
        layers.dedup();
        layers.len()
    });
    let pages = (0..PAGES).filter(|ppn| {
        (0..8).any(|n| {
            pool.metadata
                .with_page(*ppn, domain, 1 << n, |_| ())
                .is_some()
        })
    });
    (groups.sum(), pages.count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_domain_observes_nothing_of_what_others_do(
        seed: u64,
        steps in prop::collection::vec(
            (prop::collection::vec(other(), 0..6), step()), 1..120),
    ) {
        let mut alone = Pool::new(seed);
        let mut beside = Pool::new(seed);
        for (n, (others, step)) in steps.iter().enumerate() {
            for other in others {
                let noticed = beside.other(other);
                prop_assert!(
                    noticed.as_ref().is_none_or(|what| what == "late: [] []"),
                    "after {} steps: {:?}", n, noticed
                );
            }
            prop_assert_eq!(
                alone.step(step), beside.step(step),
                "step {}, after others' {:?}: {:?}", n, others, step
            );
        }
        prop_assert_eq!(has(&alone, HERE), has(&beside, HERE));
    }
}

/// The property says something only if others do fill the budgets, and the domain has something to lose.
#[test]
fn others_fill_what_there_is() {
    let mut pool = Pool::new(5);
    for layer in 0..LAYERS {
        for first in (0..PAGES).step_by(16) {
            let ticket = pool.table.ticket(first, 16);
            pool.record(HERE, layer, first, 16, &ticket, 0);
        }
    }
    (0..PAGES).for_each(|ppn| drop(pool.metadata(HERE, ppn, 0, 8)));
    let before = has(&pool, HERE);
    for domain in [0, 1, 3] {
        pool.other(&Other::Flood {
            domain,
            from: 0,
            keys: 1000,
        });
        pool.other(&Other::Stall { domain, reads: 600 });
    }
    assert!(pool.table.evicted() > 1000 && pool.metadata.evicted() > 1000);
    assert_eq!(has(&pool, HERE), before);
    assert_eq!(before, (PAGES as usize / 16 * 4, PAGES as usize));
}

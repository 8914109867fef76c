// SPDX-License-Identifier: GPL-2.0

//! Tickets and generations: no record, and no page of metadata that is kept, survives a write to its page.
//!
//! drr/table.rs, bucket.rs, bits.rs and metapages.rs run as they are. A reader does what serve.rs and record.rs do: it takes a ticket,
//! reads the disk, and publishes. The reference is the disk: `begun` says that a writer has begun, and what was read before
//! that must not be found afterwards.

use crate::check::{finds, holds};
use crate::dm::epoch::Epochs;
use crate::drr::group::{Batch, Page};
use crate::drr::platform::{
    self,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
use crate::drr::{metapages, mutants, table};
use loom::sync::RwLock;
use loom::thread;
use std::sync::Arc;
use Ordering::{Relaxed, SeqCst};

const OLD: u64 = 1;
const NEW: u64 = 2;
const PPN: u64 = 35;
const LAYER: u64 = 9;
const STALE: &str = "what was read before a write is found after it";
const LEFT: &str = "a removed layer has a record";
const BEHIND: &str = "a record stays in the domain that its layer has left";

/// drr/table.rs, or a mutant of it.
trait Table: Sized + 'static {
    type Ticket: Copy;
    type Presence;
    fn new() -> Arc<Self>;
    fn presence(&self) -> Self::Presence;
    fn end(presence: &Self::Presence);
    fn ticket(&self) -> Self::Ticket;
    fn publish(&self, hash: u64, domain: u32, ticket: &Self::Ticket, owner: &Self::Presence);
    fn drop_range(&self);
    fn drop_all(&self);
    fn drop_layer(&self, owner: &Self::Presence);
    fn cancel_all(&self);
    fn hashes(&self, domain: u32) -> Vec<u64>;
}

macro_rules! table {
    ($($($file:ident)::+;)*) => {
        $(impl Table for $($file)::+::Table {
            type Ticket = $($file)::+::Ticket;
            type Presence = $($file)::+::Presence;

            fn new() -> Arc<Self> {
                Arc::new(Self::new(1 << 20, 1).unwrap())
            }

            fn presence(&self) -> Self::Presence {
                self.presence().unwrap()
            }

            fn end(presence: &Self::Presence) {
                presence.end();
            }

            fn ticket(&self) -> Self::Ticket {
                self.ticket(PPN, 1)
            }

            fn publish(&self, hash: u64, domain: u32, ticket: &Self::Ticket, owner: &Self::Presence) {
                self.publish(&batch(hash, domain), ticket, owner);
            }

            fn drop_range(&self) {
                self.drop_range(PPN, 1);
            }

            fn drop_all(&self) {
                self.drop_all();
            }

            fn drop_layer(&self, owner: &Self::Presence) {
                self.drop_layer(LAYER, owner);
            }

            fn cancel_all(&self) {
                self.cancel_all();
            }

            fn hashes(&self, domain: u32) -> Vec<u64> {
                self.sources(PPN, domain).iter().map(|s| s.hash).collect()
            }
        })*
    };
}

type Real = table::Table;

table! {
    table;
    mutants::publication_looks_first::table;
    mutants::write_cancels_nothing::table;
    mutants::records_are_cancelled_last::table;
}

fn batch(hash: u64, domain: u32) -> Batch {
    let mut batch = Batch::empty();
    let page = Page {
        pfn: 77,
        mapping: 4096,
        index: 3,
        layer: LAYER,
        domain,
        hash,
    };
    assert!(batch.add(PPN, &page));
    batch
}

/// When a reader takes its ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ticket {
    First,
    AfterTheRead,
}

/// What a reader finds on the disk.
fn on_disk(begun: &AtomicBool) -> u64 {
    if begun.load(Relaxed) {
        NEW
    } else {
        OLD
    }
}

/// A read that is recorded, beside `drops`, which a writer calls before it writes.
fn recorded<T: Table>(ticket: Ticket, drops: fn(&T)) {
    let table = T::new();
    let begun = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (table, begun) = (table.clone(), begun.clone());
        move || {
            let owner = table.presence();
            let first = table.ticket();
            let hash = on_disk(&begun);
            let ticket = match ticket {
                Ticket::First => first,
                Ticket::AfterTheRead => table.ticket(),
            };
            table.publish(hash, 0, &ticket, &owner);
        }
    });
    begun.store(true, Relaxed);
    drops(&table);
    reader.join().unwrap();
    assert!(!table.hashes(0).contains(&OLD), "{STALE}");
}

#[test]
fn no_record_survives_a_write() {
    holds(|| recorded::<Real>(Ticket::First, Table::drop_range));
}

#[test]
fn no_record_survives_the_drop_of_all() {
    holds(|| recorded::<Real>(Ticket::First, Table::drop_all));
}

#[test]
fn finds_a_ticket_that_is_taken_after_the_read() {
    finds(STALE, || {
        recorded::<Real>(Ticket::AfterTheRead, Table::drop_range);
    });
    finds(STALE, || {
        recorded::<Real>(Ticket::AfterTheRead, Table::drop_all);
    });
}

#[test]
fn finds_a_write_that_cancels_nothing() {
    type Mutant = mutants::write_cancels_nothing::table::Table;
    finds(STALE, || {
        recorded::<Mutant>(Ticket::First, Table::drop_range)
    });
}

#[test]
fn finds_a_drop_before_it_is_cancelled() {
    type Mutant = mutants::records_are_cancelled_last::table::Table;
    finds(STALE, || recorded::<Mutant>(Ticket::First, Table::drop_all));
}

#[test]
fn finds_a_publication_that_looks_first() {
    type Mutant = mutants::publication_looks_first::table::Table;
    finds(STALE, || recorded::<Mutant>(Ticket::First, Table::drop_all));
}

/// bits.rs says what table.rs relies on.
#[test]
fn finds_accesses_that_are_not_sequentially_consistent() {
    platform::forget_sequential_consistency();
    finds(STALE, || recorded::<Real>(Ticket::First, Table::drop_all));
}

/// Two reads of one page by one layer, beside a write: a renewed record is one, too.
#[test]
fn no_renewed_record_survives_a_write() {
    holds(|| {
        let table = Real::new(1 << 20, 1).unwrap();
        let owner = table.presence().unwrap();
        table.publish(&batch(OLD, 0), &table.ticket(PPN, 1), &owner);
        let shared = Arc::new((table, owner, AtomicBool::new(false)));
        let reader = thread::spawn({
            let shared = shared.clone();
            move || {
                let (table, owner, begun) = &*shared;
                let ticket = table.ticket(PPN, 1);
                table.publish(&batch(on_disk(begun), 0), &ticket, owner);
            }
        });
        let (table, _, begun) = &*shared;
        begun.store(true, Relaxed);
        table.drop_range(PPN, 1);
        reader.join().unwrap();
        assert!(!Table::hashes(table, 0).contains(&OLD), "{STALE}");
    });
}

/// The end of a layer, as `Drr::remove_layer`; its end is told first, or not.
fn removed<T: Table>(end_first: bool) {
    let table = T::new();
    let owner = Arc::new(table.presence());
    let reader = thread::spawn({
        let (table, owner) = (table.clone(), owner.clone());
        move || table.publish(OLD, 0, &table.ticket(), &owner)
    });
    if end_first {
        T::end(&owner);
    }
    table.drop_layer(&owner);
    if !end_first {
        T::end(&owner);
    }
    reader.join().unwrap();
    assert!(table.hashes(0).is_empty(), "{LEFT}");
}

#[test]
fn no_record_survives_its_layer() {
    holds(|| removed::<Real>(true));
}

#[test]
fn finds_an_end_that_is_told_last() {
    finds(LEFT, || removed::<Real>(false));
}

#[test]
fn finds_a_layer_that_has_touched_nothing_yet() {
    type Mutant = mutants::publication_looks_first::table::Table;
    finds(LEFT, || removed::<Mutant>(true));
}

/// A layer goes to another domain, as in `Drr::set_domain`. A read takes its ticket first, and looks at the domain when it
/// records; or the other way round.
fn moved(ticket_first: bool) {
    let table = <Real as Table>::new();
    let owner = Arc::new(Table::presence(&*table));
    let domain = Arc::new(AtomicU32::new(0));
    let reader = thread::spawn({
        let (table, owner, domain) = (table.clone(), owner.clone(), domain.clone());
        move || {
            let early = domain.load(Relaxed);
            let ticket = Table::ticket(&*table);
            let domain = if ticket_first {
                domain.load(Relaxed)
            } else {
                early
            };
            Table::publish(&*table, OLD, domain, &ticket, &owner);
        }
    });
    domain.swap(1, SeqCst);
    table.cancel_all();
    Table::drop_layer(&*table, &owner);
    reader.join().unwrap();
    assert!(table.hashes(0).is_empty(), "{BEHIND}");
}

#[test]
fn no_record_stays_behind_in_a_domain() {
    holds(|| moved(true));
}

#[test]
fn finds_a_domain_that_is_looked_at_before_the_ticket() {
    finds(BEHIND, || moved(false));
}

/// What a writer of a chunk does in which order, as `Pool::alloc_chunk`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    DropAfterTheEpoch,
    DropBeforeTheEpoch,
}

/// A chunk's whole way: it is shared and read, loses its mapping, and gets a new owner who writes to it. The reader's ticket is
/// taken after its lookup (`Drr::read_shared`), its record made in its epoch.
fn reallocated(order: Order) {
    struct Pool {
        epochs: Epochs,
        mapped: RwLock<bool>,
        disk: AtomicU64,
        table: Real,
    }
    let pool = Arc::new(Pool {
        epochs: Epochs::new().unwrap(),
        mapped: RwLock::new(true),
        disk: AtomicU64::new(OLD),
        table: Real::new(1 << 20, 1).unwrap(),
    });
    let reader = thread::spawn({
        let pool = pool.clone();
        move || {
            let owner = pool.table.presence().unwrap();
            let token = pool.epochs.enter();
            let mapped = *pool.mapped.read().unwrap();
            if mapped {
                let ticket = pool.table.ticket(PPN, 1);
                let hash = pool.disk.load(Relaxed);
                pool.table.publish(&batch(hash, 0), &ticket, &owner);
            }
            pool.epochs.leave(token);
        }
    });
    *pool.mapped.write().unwrap() = false;
    if order == Order::DropBeforeTheEpoch {
        pool.table.drop_range(PPN, 1);
    }
    pool.epochs.wait();
    if order == Order::DropAfterTheEpoch {
        pool.table.drop_range(PPN, 1);
    }
    pool.disk.store(NEW, Relaxed);
    reader.join().unwrap();
    assert!(!Table::hashes(&pool.table, 0).contains(&OLD), "{STALE}");
}

#[test]
fn new_owner_of_a_chunk_has_no_record_of_the_old_one() {
    holds(|| reallocated(Order::DropAfterTheEpoch));
}

#[test]
fn finds_a_drop_before_the_epoch() {
    finds(STALE, || reallocated(Order::DropBeforeTheEpoch));
}

/// drr/metapages.rs, or a mutant of it.
trait Pages: 'static {
    fn new() -> Self;
    fn ticket(&self) -> table::Ticket;
    fn keep(&self, data: u64, ticket: &table::Ticket);
    fn drop_range(&self);
    fn drop_all(&self);
    fn found(&self) -> Option<u64>;
}

macro_rules! pages {
    ($($file:path)*) => {
        $(impl Pages for $file {
            fn new() -> Self {
                Self::new(1 << 16, 1).unwrap()
            }

            fn ticket(&self) -> table::Ticket {
                self.ticket(PPN, 1)
            }

            fn keep(&self, data: u64, ticket: &table::Ticket) {
                self.keep(PPN, 0, 1, ticket, || Some(0), |page| {
                    *page = data;
                    true
                });
            }

            fn drop_range(&self) {
                self.drop_range(PPN, 1);
            }

            fn drop_all(&self) {
                self.drop_all();
            }

            fn found(&self) -> Option<u64> {
                self.with_page(PPN, 0, 1, |page| *page)
            }
        })*
    };
}

pages!(metapages::MetaPages<u64> mutants::pages_are_cancelled_last::metapages::MetaPages<u64>);

fn kept<P: Pages>(ticket: Ticket, drops: fn(&P)) {
    let pages = Arc::new(P::new());
    let begun = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (pages, begun) = (pages.clone(), begun.clone());
        move || {
            let first = pages.ticket();
            let data = on_disk(&begun);
            let ticket = match ticket {
                Ticket::First => first,
                Ticket::AfterTheRead => pages.ticket(),
            };
            pages.keep(data, &ticket);
        }
    });
    begun.store(true, Relaxed);
    drops(&pages);
    reader.join().unwrap();
    assert_ne!(pages.found(), Some(OLD), "{STALE}");
}

#[test]
fn no_page_of_metadata_survives_a_write() {
    holds(|| kept::<metapages::MetaPages<u64>>(Ticket::First, Pages::drop_range));
    holds(|| kept::<metapages::MetaPages<u64>>(Ticket::First, Pages::drop_all));
}

#[test]
fn finds_a_ticket_for_metadata_that_is_taken_after_the_read() {
    type Real = metapages::MetaPages<u64>;
    finds(STALE, || {
        kept::<Real>(Ticket::AfterTheRead, Pages::drop_range)
    });
}

#[test]
fn finds_pages_that_are_dropped_before_they_are_cancelled() {
    type Mutant = mutants::pages_are_cancelled_last::metapages::MetaPages<u64>;
    finds(STALE, || kept::<Mutant>(Ticket::First, Pages::drop_range));
}

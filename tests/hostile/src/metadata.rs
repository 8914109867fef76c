//! Damaged metadata: real pools are made, their metadata is damaged, and each image is opened, read and written.

use crate::dm::{number_of, open_direct, Buffer, Control, Device};
use crate::image::{Image, BLOCK};
use crate::ioctl::discard;
use crate::rng::Rng;
use crate::watchdog;
use anyhow::{bail, Context, Result};
use nix::errno::Errno;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const CHUNK: u64 = 128;
/// Chunks of the data device that the pool uses.
const CHUNKS: u64 = 2000;
/// Chunks of each thin device.
const THIN_CHUNKS: u64 = 700;
/// What every written sector begins with; all others are zeroes.
const MAGIC: &[u8; 8] = b"drr-data";

pub struct Rig {
    control: Control,
    /// What this process's devices are called: several run beside each other.
    name: String,
    meta: String,
    data: String,
    meta_file: File,
    pool_target: &'static str,
    thin_target: &'static str,
    /// What is on the metadata device, as long as no pool had it.
    known: RefCell<Option<Vec<u8>>>,
    empty: RefCell<Option<Device>>,
}

/// What happened to one image.
#[derive(Default)]
struct Story {
    /// One word for the table of outcomes.
    end: String,
    errors: u32,
}

impl Rig {
    pub fn new(meta: &str, data: &str, stock: bool) -> Result<Self> {
        let (pool_target, thin_target) = if stock {
            ("thin-pool", "thin")
        } else {
            ("drr-pool", "drr")
        };
        Ok(Self {
            control: Control::open()?,
            name: format!("hostile-{}", std::process::id()),
            meta: number_of(Path::new(meta))?,
            data: number_of(Path::new(data))?,
            meta_file: open_direct(Path::new(meta), true)
                .with_context(|| format!("cannot open {meta}"))?,
            pool_target,
            thin_target,
            known: RefCell::new(None),
            empty: RefCell::new(None),
        })
    }

    fn table(&self) -> String {
        format!(
            "{} {} {CHUNK} 0 2 skip_block_zeroing error_if_no_space",
            self.meta, self.data
        )
    }

    /// Brings the metadata device to these contents; what is known to be there is not written.
    fn write_image(&self, bytes: &[u8]) -> Result<()> {
        let mut known = self.known.borrow_mut();
        let mut block = Buffer::new(BLOCK);
        for (i, new) in bytes.chunks(BLOCK).enumerate() {
            let at = i * BLOCK;
            if known
                .as_ref()
                .is_some_and(|k| k.get(at..at + BLOCK) == Some(new))
            {
                continue;
            }
            block.copy_from_slice(new);
            self.meta_file
                .write_all_at(&block, at as u64)
                .context("cannot write the metadata device")?;
        }
        *known = Some(bytes.to_vec());
        Ok(())
    }

    /// The pool's device without a table, left over from an image that was refused or new.
    fn empty_device(&self) -> Result<Device> {
        let left = self.empty.borrow_mut().take();
        match left {
            Some(device) => Ok(device),
            None => self
                .control
                .create(&self.name)
                .context("cannot create a device"),
        }
    }

    /// Removes what a refused image has left.
    pub fn finish(&self) -> Result<()> {
        if self.empty.borrow_mut().take().is_some() {
            self.control
                .remove(&self.name)
                .context("cannot remove the pool")?;
        }
        Ok(())
    }

    fn read_image(&self, len: usize) -> Result<Vec<u8>> {
        let mut b = Buffer::new(len);
        self.meta_file
            .read_exact_at(&mut b, 0)
            .context("cannot read the metadata device")?;
        Ok(b.to_vec())
    }

    fn activate(
        &self,
        name: &str,
        sectors: u64,
        target: &str,
        args: &str,
    ) -> Result<Device, Errno> {
        let dev = self.control.create(name)?;
        let r = self
            .control
            .load(name, sectors, target, args.as_bytes())
            .and_then(|()| self.control.resume(name));
        if let Err(e) = r {
            let _ = self.control.remove(name);
            return Err(e);
        }
        Ok(dev)
    }

    fn thin(&self, pool: &Device, name: &str, id: u32) -> Result<Device, Errno> {
        let args = format!("{} {id}", pool.number());
        self.activate(name, THIN_CHUNKS * CHUNK, self.thin_target, &args)
    }

    /// The pools whose metadata is to be damaged, as images.
    pub fn bases(&self, size: usize) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for (i, make) in [small, deep, wide].into_iter().enumerate() {
            watchdog::case(&format!("making pool {i}"));
            *self.known.borrow_mut() = None;
            self.write_image(&vec![0; size])?;
            let pool = self
                .activate(&self.name, CHUNKS * CHUNK, self.pool_target, &self.table())
                .context("cannot make a pool")?;
            make(self, &pool).with_context(|| format!("making pool {i}"))?;
            self.control
                .remove(&self.name)
                .context("cannot remove the pool")?;
            let image = Image::new(self.read_image(size)?);
            *self.known.borrow_mut() = None;
            println!(
                "pool {i}: {} of {} blocks used",
                image.used.len(),
                image.blocks()
            );
            images.push(image);
        }
        Ok(images)
    }

    fn message(&self, text: &str) -> Result<(), Errno> {
        self.control.message(&self.name, text.as_bytes())
    }

    /// Writes one page into each of the chunks.
    fn fill(&self, pool: &Device, id: u32, chunks: impl Iterator<Item = u64>) -> Result<()> {
        let name = format!("{}-fill", self.name);
        let dev = self.thin(pool, &name, id)?;
        {
            let file = open_direct(&dev.path(), true).context("cannot open a thin device")?;
            let page = page();
            for c in chunks {
                file.write_all_at(&page, c * CHUNK * 512)
                    .context("cannot write to a thin device")?;
            }
        }
        self.control.remove(&name)?;
        Ok(())
    }

    /// Damages, writes, opens, uses and closes one image.
    fn run(&self, image: &Image, rng: &mut Rng) -> Result<Story> {
        self.write_image(&image.bytes)?;
        let mut story = Story::default();
        let pool = self.empty_device()?;
        let loaded = self.control.load(
            &self.name,
            CHUNKS * CHUNK,
            self.pool_target,
            self.table().as_bytes(),
        );
        if let Err(e) = loaded {
            story.end = format!("refused: {e:?}");
            *self.empty.borrow_mut() = Some(pool);
            return Ok(story);
        }
        *self.known.borrow_mut() = None;
        if let Err(e) = self.control.resume(&self.name) {
            story.end = format!("refused to resume: {e:?}");
            self.control.remove(&self.name)?;
            return Ok(story);
        }
        self.use_pool(&pool, rng, &mut story)?;
        let status = self.control.status(&self.name, false).unwrap_or_default();
        let mode = mode_of(&status);
        self.control
            .remove(&self.name)
            .context("cannot remove the pool")?;
        story.end = match (mode.as_str(), story.errors) {
            ("rw", 0) => "used without an error".to_string(),
            ("rw", _) => "used, with errors".to_string(),
            (mode, _) => format!("used, ended in mode {mode}"),
        };
        Ok(story)
    }

    fn use_pool(&self, pool: &Device, rng: &mut Rng, story: &mut Story) -> Result<()> {
        let note = |r: Result<(), Errno>, story: &mut Story| {
            if r.is_err() {
                story.errors += 1;
            }
        };
        let mut open = Vec::new();
        let ids = *rng.pick(&[[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [3, 0]]);
        for id in ids {
            let name = format!("{}-{id}", self.name);
            match self.thin(pool, &name, id) {
                Ok(dev) => open.push((id, dev)),
                Err(_) => story.errors += 1,
            }
        }
        for (i, (id, dev)) in open.iter().enumerate() {
            let Ok(file) = open_direct(&dev.path(), true) else {
                story.errors += 1;
                continue;
            };
            self.read(&file, rng, story)?;
            self.change(&file, rng, story);
            if i == 0 {
                note(self.message("create_thin 1000"), story);
                note(self.message(&format!("create_snap 1001 {id}")), story);
                // Breaks the sharing that has just come to be.
                self.change(&file, rng, story);
                let _ = self.message(&format!("delete {id}"));
            }
            self.read(&file, rng, story)?;
            let _ = file.sync_all().map_err(|_| story.errors += 1);
            let _ = self.control.status(&dev.name, false);
        }
        let _ = self.control.status(&self.name, true);
        for (_, dev) in &open {
            self.control
                .remove(&dev.name)
                .with_context(|| format!("cannot remove {}", dev.name))?;
        }
        note(self.message("create_snap 1002 1"), story);
        for id in [0, 2, 1001, 1000] {
            note(self.message(&format!("delete {id}")), story);
        }
        if self.message("release_metadata_snap").is_err() {
            note(self.message("reserve_metadata_snap"), story);
        }
        let _ = self.message("delete 1");
        let _ = self.message("set_transaction_id 0 1");
        Ok(())
    }

    /// Reads here and there; whatever is no data of the pool's is not to be seen.
    fn read(&self, file: &File, rng: &mut Rng, story: &mut Story) -> Result<()> {
        let mut page = Buffer::new(4096);
        for i in 0..12 {
            let chunk = match i {
                0 => 0,
                1 => THIN_CHUNKS - 1,
                _ => rng.below(THIN_CHUNKS as usize) as u64,
            };
            page.fill(0xa5);
            if file.read_exact_at(&mut page, chunk * CHUNK * 512).is_err() {
                story.errors += 1;
                continue;
            }
            for sector in page.chunks(512) {
                if &sector[..8] != MAGIC && sector.iter().any(|b| *b != 0) {
                    bail!(
                        "a read of chunk {chunk} shows foreign bytes: {:x?}",
                        &sector[..16]
                    );
                }
            }
        }
        Ok(())
    }

    fn change(&self, file: &File, rng: &mut Rng, story: &mut Story) {
        let page = page();
        for _ in 0..4 {
            let chunk = rng.below(THIN_CHUNKS as usize) as u64;
            if file.write_all_at(&page, chunk * CHUNK * 512).is_err() {
                story.errors += 1;
            }
        }
        let first = rng.below(THIN_CHUNKS as usize - 20) as u64;
        let bytes = CHUNK * 512;
        if discard(file, first * bytes, 20 * bytes).is_err() {
            story.errors += 1;
        }
    }
}

fn page() -> Buffer {
    let mut page = Buffer::new(4096);
    for sector in page.chunks_mut(512) {
        sector[..8].copy_from_slice(MAGIC);
    }
    page
}

fn mode_of(status: &str) -> String {
    let words: Vec<&str> = status.split_whitespace().collect();
    let mode = match words.as_slice() {
        [_, _, _, _, mode, ..] => *mode,
        [one] => one,
        _ => "unknown",
    };
    let check = if status.contains("needs_check") {
        " (needs_check)"
    } else {
        ""
    };
    format!("{mode}{check}")
}

/// Few mappings, some shared.
fn small(rig: &Rig, pool: &Device) -> Result<()> {
    for id in 0..2 {
        rig.message(&format!("create_thin {id}"))?;
        rig.fill(pool, id, (0..20).map(|c| c * 7))?;
    }
    rig.message("create_snap 2 0")?;
    rig.fill(pool, 0, [0, 7, 300].into_iter())?;
    rig.message("create_snap 3 2")?;
    Ok(())
}

/// Trees of two levels, snapshots of snapshots, counts above two, a metadata snapshot.
fn deep(rig: &Rig, pool: &Device) -> Result<()> {
    rig.message("create_thin 0")?;
    rig.fill(pool, 0, 0..THIN_CHUNKS)?;
    for id in 1..6 {
        rig.message(&format!("create_snap {id} {}", id - 1))?;
    }
    for id in 0..6 {
        rig.fill(
            pool,
            id,
            [u64::from(id) * 3, 350 + u64::from(id)].into_iter(),
        )?;
    }
    rig.message("reserve_metadata_snap")?;
    rig.message("delete 5")?;
    rig.fill(pool, 3, [1, 690].into_iter())?;
    Ok(())
}

/// So many devices that the trees of devices and details have two levels.
fn wide(rig: &Rig, pool: &Device) -> Result<()> {
    rig.message("create_thin 0")?;
    rig.fill(pool, 0, 0..40)?;
    for id in 1..300 {
        if id % 10 == 0 {
            rig.message(&format!("create_thin {id}"))?;
        } else {
            rig.message(&format!("create_snap {id} 0"))?;
        }
    }
    rig.fill(pool, 3, 30..50)?;
    Ok(())
}

/// Images `first` and the `count - 1` after it, of the run with this seed.
pub fn fuzz(rig: &Rig, seed: u64, first: u64, count: u64, verbose: bool) -> Result<()> {
    let bases = rig.bases(1 << 20)?;
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let began = std::time::Instant::now();
    for n in first..first + count {
        let mut rng = Rng::of(seed, n);
        let mut image = rng.pick(&bases).clone();
        let times = if rng.one_in(3) { 1 + rng.below(4) } else { 1 };
        let what: Vec<String> = (0..times).map(|_| image.damage(&mut rng, &bases)).collect();
        let case = format!("seed {seed} image {n}: {}", what.join("; "));
        watchdog::case(&case);
        debug_assert_eq!(image.bytes.len() % BLOCK, 0);
        let story = rig.run(&image, &mut rng).with_context(|| case.clone())?;
        if verbose {
            println!("{case}: {} ({} errors)", story.end, story.errors);
        }
        *ends.entry(story.end).or_default() += 1;
        // A long run that is ended early has its figures so far.
        if (n + 1 - first).is_multiple_of(500) || n + 1 == first + count {
            let mut table = format!("seed {seed}, images {first} to {n}:\n");
            for (end, n) in &ends {
                table.push_str(&format!("{n:8} {end}\n"));
            }
            let seconds = began.elapsed().as_secs_f64();
            println!("{table}{:8} in all, {seconds:.0} s", n + 1 - first);
        }
    }
    rig.finish()
}

//! Mapped devices, without a process start each.

use crate::ioctl::{call, Command, HEADER};
use anyhow::{Context, Result};
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const STATUS_TABLE: u32 = 1 << 4;
const NOFLUSH: u32 = 1 << 11;

pub struct Control(File);

type Answer<T> = std::result::Result<T, Errno>;

impl Control {
    pub fn open() -> Result<Self> {
        let path = "/dev/mapper/control";
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self(file.with_context(|| format!("cannot open {path}"))?))
    }

    fn buffer(name: &str, flags: u32, room: usize) -> Vec<u8> {
        let mut b = vec![0; HEADER + room];
        for (i, v) in [4u32, 0, 0].into_iter().enumerate() {
            b[4 * i..4 * i + 4].copy_from_slice(&v.to_ne_bytes());
        }
        b[16..20].copy_from_slice(&(HEADER as u32).to_ne_bytes());
        b[28..32].copy_from_slice(&flags.to_ne_bytes());
        b[48..48 + name.len()].copy_from_slice(name.as_bytes());
        b
    }

    /// A new device without a table.
    pub fn create(&self, name: &str) -> Answer<Device> {
        let mut b = Self::buffer(name, 0, 8);
        call(&self.0, Command::Create, &mut b)?;
        let dev = u64::from_ne_bytes(b[40..48].try_into().unwrap_or_default());
        Ok(Device {
            name: name.to_string(),
            major: dev >> 8 & 0xfff,
            minor: (dev & 0xff) | (dev >> 12 & 0xf_ff00),
        })
    }

    /// Removes a device; one that is still open is tried again for a while.
    pub fn remove(&self, name: &str) -> Answer<()> {
        let mut last = Ok(());
        for _ in 0..200 {
            last = call(&self.0, Command::Remove, &mut Self::buffer(name, 0, 8));
            if last != Err(Errno::EBUSY) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        last
    }

    /// Loads a table of one target.
    pub fn load(&self, name: &str, sectors: u64, target: &str, args: &[u8]) -> Answer<()> {
        let spec = 40 + (args.len() + 1).next_multiple_of(8);
        let mut b = Self::buffer(name, 0, spec);
        b[20..24].copy_from_slice(&1u32.to_ne_bytes());
        let s = &mut b[HEADER..];
        s[8..16].copy_from_slice(&sectors.to_ne_bytes());
        s[20..24].copy_from_slice(&(spec as u32).to_ne_bytes());
        s[24..24 + target.len()].copy_from_slice(target.as_bytes());
        s[40..40 + args.len()].copy_from_slice(args);
        call(&self.0, Command::Load, &mut b)
    }

    pub fn resume(&self, name: &str) -> Answer<()> {
        call(&self.0, Command::Suspend, &mut Self::buffer(name, 0, 8))
    }

    /// Drops a loaded table that is not in force yet.
    pub fn clear(&self, name: &str) -> Answer<()> {
        call(&self.0, Command::Clear, &mut Self::buffer(name, 0, 8))
    }

    /// Sends a message to the first target.
    pub fn message(&self, name: &str, text: &[u8]) -> Answer<()> {
        let mut b = Self::buffer(name, 0, 8 + text.len() + 64);
        b[HEADER + 8..HEADER + 8 + text.len()].copy_from_slice(text);
        call(&self.0, Command::Message, &mut b)
    }

    /// The first target's status, or its table.
    pub fn status(&self, name: &str, table: bool) -> Answer<String> {
        let flags = if table { STATUS_TABLE } else { NOFLUSH };
        let mut b = Self::buffer(name, flags, 2048);
        call(&self.0, Command::Status, &mut b)?;
        let text = b.get(HEADER + 40..).unwrap_or_default();
        let end = text.iter().position(|c| *c == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }
}

#[derive(Clone, Debug)]
pub struct Device {
    pub name: String,
    major: u64,
    minor: u64,
}

impl Device {
    /// "major:minor", as tables take it.
    pub fn number(&self) -> String {
        format!("{}:{}", self.major, self.minor)
    }

    pub fn path(&self) -> PathBuf {
        format!("/dev/dm-{}", self.minor).into()
    }
}

/// "major:minor" of a block device.
pub fn number_of(path: &Path) -> Result<String> {
    let meta = std::fs::metadata(path).with_context(|| format!("no {}", path.display()))?;
    anyhow::ensure!(
        meta.file_type().is_block_device(),
        "{} is no block device",
        path.display()
    );
    let dev = meta.rdev();
    Ok(format!(
        "{}:{}",
        nix::sys::stat::major(dev),
        nix::sys::stat::minor(dev)
    ))
}

/// Opens a device past the page cache.
pub fn open_direct(path: &Path, write: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(nix::libc::O_DIRECT)
        .open(path)
}

/// Memory as O_DIRECT wants it.
pub struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Buffer {
    pub fn new(len: usize) -> Self {
        let bytes = vec![0u8; len + 4096];
        let begin = bytes.as_ptr().align_offset(4096);
        Self { bytes, begin, len }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.begin..self.begin + self.len]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.begin + self.len]
    }
}

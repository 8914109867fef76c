// SPDX-License-Identifier: GPL-2.0

//! Domains: which devices may serve each other.
//!
//! A device is in one domain, named by a tag that an administrator gave it; devices without one
//! are in the default domain together. A snapshot begins in the domain of its origin. What is
//! known here lasts as long as the pool is loaded.
//!
//! # Invariants
//!
//! 1. `of` is sorted by id, each id once, and holds only devices outside of the default domain.
//! 2. A number once given to a tag stays that tag's: records carry numbers.
//!
//! Pure: compiled by the kernel and by the host tests. The owner serialises.

use super::platform::{insert, remove, Array};

/// The number of the default domain.
pub(crate) const DEFAULT: u32 = 0;
/// What stands for the default domain in messages and reports.
pub(crate) const DEFAULT_TAG: &str = "-";
/// The longest tag, in bytes.
pub(crate) const TAG_MAX: usize = 32;
/// Tags that a pool can have.
pub(crate) const TAGS_MAX: usize = 4096;

/// Why a device was not put into a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The tag is empty, too long, or has other than printable ASCII characters.
    Tag,
    /// The pool has all the tags that it can have.
    TooMany,
    /// No memory.
    NoMemory,
}

struct Tag {
    bytes: [u8; TAG_MAX],
    len: usize,
}

impl Tag {
    fn new(tag: &str) -> Option<Self> {
        if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut bytes = [0; TAG_MAX];
        bytes.get_mut(..tag.len())?.copy_from_slice(tag.as_bytes());
        Some(Self {
            bytes,
            len: tag.len(),
        })
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }
}

/// A device that is in another domain than the default one.
#[derive(Clone, Copy)]
struct Member {
    id: u32,
    domain: u32,
}

/// The domains of one pool.
#[derive(Default)]
pub(crate) struct Domains {
    /// Tag number n is that of domain n + 1.
    tags: Array<Tag>,
    of: Array<Member>,
}

impl Domains {
    fn find(&self, id: u32) -> Result<usize, usize> {
        self.of.binary_search_by_key(&id, |m| m.id)
    }

    /// The domain of a device.
    pub(crate) fn of(&self, id: u32) -> u32 {
        self.find(id)
            .ok()
            .and_then(|n| self.of.get(n))
            .map_or(DEFAULT, |m| m.domain)
    }

    /// The tag of a domain.
    pub(crate) fn tag(&self, domain: u32) -> &str {
        domain
            .checked_sub(1)
            .and_then(|n| self.tags.get(usize::try_from(n).ok()?))
            .map_or(DEFAULT_TAG, Tag::as_str)
    }

    /// Puts a device into the domain of `tag` ([`DEFAULT_TAG`]: the default one): its number. On an
    /// error the device stays where it is. Process context.
    pub(crate) fn put(&mut self, id: u32, tag: &str) -> Result<u32, Refused> {
        let domain = self.number(tag)?;
        if !self.set(id, domain) {
            return Err(Refused::NoMemory);
        }
        Ok(domain)
    }

    /// The number of a tag, a new one if need be.
    fn number(&mut self, tag: &str) -> Result<u32, Refused> {
        if tag == DEFAULT_TAG {
            return Ok(DEFAULT);
        }
        let new = Tag::new(tag).ok_or(Refused::Tag)?;
        let len = self.tags.len();
        let at = self
            .tags
            .iter()
            .position(|t| t.as_str() == tag)
            .unwrap_or(len);
        if at == len {
            if len >= TAGS_MAX {
                return Err(Refused::TooMany);
            }
            if !insert(&mut self.tags, len, new) {
                return Err(Refused::NoMemory);
            }
        }
        // Below TAGS_MAX.
        Ok(u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1))
    }

    fn set(&mut self, id: u32, domain: u32) -> bool {
        match (self.find(id), domain) {
            (Ok(n), DEFAULT) => remove(&mut self.of, n).is_some(),
            (Ok(n), _) => self.of.get_mut(n).map(|m| m.domain = domain).is_some(),
            (Err(_), DEFAULT) => true,
            (Err(n), _) => insert(&mut self.of, n, Member { id, domain }),
        }
    }

    /// Undoes a [`Self::put`] of a device that was in domain `before`. Process context.
    pub(crate) fn put_back(&mut self, id: u32, before: u32) {
        // A place is needed only to leave the default domain, and there it had none.
        let _ = self.set(id, before);
    }

    /// A device is being made, as a snapshot of `parent` if there is one, whose domain it begins in.
    /// `false`: there is no memory to note that, and the device is in the default domain. Process
    /// context.
    #[must_use]
    pub(crate) fn created(&mut self, id: u32, parent: Option<u32>) -> bool {
        let domain = parent.map_or(DEFAULT, |p| self.of(p));
        self.set(id, domain)
    }

    /// A device is gone.
    pub(crate) fn deleted(&mut self, id: u32) {
        let _ = self.set(id, DEFAULT);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The deletion of a device: at once when that is quick, else in pieces (`pieces` says how).
//!
//! Other devices wait no longer than for one piece, and lookups for none: a piece's tree hangs on
//! nothing any more while it is being deleted. Only the number of leaves that a device alone refers
//! to decides; a snapshot that shares all with others is quick, however big it is.
//!
//! Contexts: all of this sleeps. Lock order: `Metadata::deleting`, then the turn, then the lock.

use super::{
    enodata,
    format::Details,
    pieces::{self, Child, Flaw, Nodes, Piece},
    Metadata, State,
};
use crate::dm::pdata;
use crate::drr::platform::Array;
use crate::units::DevId;
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;

/// Mappings that are deleted in one go, whoever shares their tree.
const FEW: u64 = pieces::LEAVES as u64 * 126;

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Damage => EIO,
            Flaw::NoMemory => ENOMEM,
        }
    }
}

/// A tree that was put aside.
struct Aside {
    key: u64,
    root: u64,
    mapped: u64,
    /// Nothing but the device tree refers to its root.
    own: bool,
}

/// The nodes of a device that is being deleted: nobody changes them while `deleting` is held.
struct Survey<'a>(&'a Metadata);

impl Nodes for Survey<'_> {
    type Error = Error;

    fn show<R>(&mut self, block: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let s = self.0.state.read();
        // After an abort the tree may be another one. It also leaves the metadata read-only.
        s.changeable()?;
        s.store.node(block, f)
    }

    fn own(&mut self, children: &mut Array<Child>) -> Result {
        self.0.exclusive(|s| {
            for c in children.iter_mut() {
                c.own = s.store.block_count(c.block)? == 1;
            }
            Ok(())
        })
    }
}

impl State {
    /// Takes a device out of the trees: the root of its mappings, which are still to be deleted,
    /// and its details.
    fn detach(&mut self, id: u32) -> Result<(Option<u64>, Details)> {
        let device = self.device(id)?.ok_or_else(enodata)?;
        if device.is_open() {
            return Err(EBUSY);
        }
        let r = self.detach_trees(device.key());
        let subtree = self.sound(r)?;
        self.devices.remove(id)?;
        Ok((subtree, device.details()))
    }

    fn detach_trees(&mut self, key: u64) -> Result<Option<u64>> {
        // A device made in this transaction has no details in the tree yet.
        let root = self.sb.details_root;
        if self.store.details(root, key)?.is_some() {
            self.sb.details_root = self.store.remove_details(root, key)?;
        }
        let root = self.sb.mapping_root;
        if self.store.device_root(root, key)?.is_none() {
            return Ok(None);
        }
        let (root, subtree) = self.store.detach_device(root, key)?;
        self.sb.mapping_root = root;
        Ok(Some(subtree))
    }

    /// Puts a tree that hangs on nothing aside, to be deleted later.
    fn put_aside(&mut self, piece: &Piece, details: &Details) -> Result {
        let key = self.last_aside()?.map_or(Ok(pieces::FIRST_ID), |last| {
            last.checked_add(1).ok_or(EOVERFLOW)
        })?;
        let details = Details {
            mapped: piece.mapped,
            ..*details
        };
        self.sb.mapping_root = self
            .store
            .attach_device(self.sb.mapping_root, key, piece.root)?;
        self.sb.details_root = self
            .store
            .set_details(self.sb.details_root, key, &details)?;
        Ok(())
    }

    /// The last of what is put aside.
    fn last_aside(&self) -> Result<Option<u64>> {
        let last = self.store.highest_details(self.sb.details_root)?;
        Ok(last.filter(|key| *key >= pieces::FIRST_ID))
    }

    /// Whether pieces can be put aside without using up what the commit needs.
    fn has_room_for_pieces(&mut self) -> Result<bool> {
        Ok(self.free_metadata()? > 0)
    }

    /// Detaches a device; its tree, unless it was put aside.
    fn begin_deletion(&mut self, id: u32) -> Result<Option<u64>> {
        let room = self.has_room_for_pieces()?;
        let (subtree, details) = self.detach(id)?;
        let Some(subtree) = subtree else {
            return Ok(None);
        };
        let piece = Piece {
            root: subtree,
            mapped: details.mapped,
        };
        let own = self.store.block_count(subtree);
        if piece.mapped <= FEW || !room || self.sound(own)? > 1 {
            return Ok(Some(subtree));
        }
        let r = self.put_aside(&piece, &details);
        self.sound(r)?;
        Ok(None)
    }

    /// The last of what is put aside.
    fn piece_aside(&mut self) -> Result<Option<Aside>> {
        self.changeable()?;
        let Some(key) = self.last_aside()? else {
            return Ok(None);
        };
        let root = self.store.device_root(self.sb.mapping_root, key)?;
        let details = self.store.details(self.sb.details_root, key)?;
        let root = root.ok_or(EIO)?;
        Ok(Some(Aside {
            key,
            root,
            mapped: details.ok_or(EIO)?.mapped,
            own: self.store.block_count(root)? == 1,
        }))
    }

    /// Detaches what was put aside, and puts `cuts` of it aside in its place: the tree, whose
    /// deletion spares these.
    fn begin_piece(&mut self, piece: &Aside, cuts: &[Piece]) -> Result<u64> {
        let found = self.store.details(self.sb.details_root, piece.key)?;
        let details = found.ok_or_else(enodata)?;
        let room = self.has_room_for_pieces()?;
        let r = self.detach_trees(piece.key);
        let subtree = self.sound(r)?.ok_or(EIO);
        let subtree = self.sound(subtree)?;
        // Without room, or for what is not the tree that was looked at, the tree goes in one.
        if subtree == piece.root && room {
            for cut in cuts {
                let r = self
                    .store
                    .keep_tree(cut.root)
                    .and_then(|()| self.put_aside(cut, &details));
                self.sound(r)?;
            }
        }
        Ok(subtree)
    }
}

impl Metadata {
    /// Deletes a device and its mappings. ENODATA; EBUSY: it is open.
    ///
    /// An error after the beginning leaves the rest to the next deletion, or to
    /// [`Self::delete_left_over`] after the metadata has been opened again.
    pub(crate) fn delete(&self, id: DevId) -> Result {
        pdata::without_io(|| {
            let _one = self.deleting.write();
            {
                let _turn = self.turn.write();
                let subtree = self.state.write().change(|s| s.begin_deletion(id.0))?;
                if let Some(subtree) = subtree {
                    return self.delete_beside_lookups(subtree);
                }
            }
            while self.delete_piece()? {}
            Ok(())
        })
    }

    /// Whether there may be something left over from deletions that a crash or an error ended.
    /// Does not sleep.
    pub(crate) fn has_left_over(&self) -> bool {
        self.left_over.load(Relaxed)
    }

    /// Deletes a piece of what deletions left over. After an error it is not tried again before the
    /// metadata is opened again, or the next deletion.
    pub(crate) fn delete_left_over(&self) {
        let r = pdata::without_io(|| {
            let _one = self.deleting.write();
            self.delete_piece()
        });
        if let Err(e) = r {
            pr_warn!("cannot delete what earlier deletions left over: {e:?}\n");
        }
        if r != Ok(true) {
            self.left_over.store(false, Relaxed);
        }
    }

    /// Deletes the last piece that was put aside, or cuts it into smaller ones; of small ones as
    /// many as are deleted in one go. `false`: there is none. `deleting` is held.
    fn delete_piece(&self) -> Result<bool> {
        let Some(mut piece) = self.exclusive(|s| s.piece_aside())? else {
            return Ok(false);
        };
        let cuts = if piece.own && piece.mapped > FEW {
            pieces::cut(&mut Survey(self), piece.root)?
        } else {
            Array::new()
        };
        let _turn = self.turn.write();
        let mut cuts: &[Piece] = &cuts;
        let mut left = FEW;
        loop {
            let subtree = {
                let mut s = self.state.write();
                s.change(|s| s.begin_piece(&piece, cuts))?
            };
            self.delete_beside_lookups(subtree)?;
            let next = self.state.write().piece_aside()?;
            left = left.saturating_sub(piece.mapped);
            match next {
                Some(next) if next.mapped <= left => piece = next,
                _ => return Ok(true),
            }
            cuts = &[];
        }
    }

    /// Deletes a tree that hangs on nothing. The turn is held, so that no commit comes between.
    fn delete_beside_lookups(&self, subtree: u64) -> Result {
        let r = self.state.read().store.delete_tree(subtree);
        if r.is_err() {
            self.state.write().spoiled = true;
        }
        r
    }
}

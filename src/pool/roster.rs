// SPDX-License-Identifier: GPL-2.0

//! Which of many devices have something to be done, without a look at the others.
//!
//! A device has a *seat* for each roster: a place that is made with it, and that it puts into the
//! roster when there is something to be done. So nothing allocates on the I/O path. Who serves the
//! roster takes all places out and gives each back to its seat. A place that is at home refers to its
//! device too: [`Seat::close`] ends that.
//!
//! Protocol: the seat and what is to be done are under one lock of the device. Who adds something
//! takes the place in the same hold, and lists it if it was there; who serves gives the place back in
//! the hold in which it takes what is to be done. So whenever there is something to be done, the place
//! is in the roster, or in the hands of who adds or serves.
//!
//! Contexts: a roster's lock is a leaf, for any context. Pure: compiled by the kernel and by the host
//! tests.

use crate::drr::platform::{Boxed, IrqLock};

/// What stands for a device in a roster.
pub(crate) struct Place<T> {
    /// The device.
    pub(crate) who: T,
    next: Option<Boxed<Place<T>>>,
}

impl<T> Place<T> {
    pub(crate) const fn new(who: T) -> Self {
        Self { who, next: None }
    }
}

/// Where a device keeps its place while it is not in the roster.
pub(crate) enum Seat<T> {
    Home(Boxed<Place<T>>),
    /// In the roster, or on the way there or back.
    Away,
    /// The device is not listed any more.
    Closed,
}

impl<T> Seat<T> {
    /// The place, to be listed; `None`: it is already, or will not be any more.
    pub(crate) fn take(&mut self) -> Option<Boxed<Place<T>>> {
        match core::mem::replace(self, Self::Away) {
            Self::Home(place) => Some(place),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes the place back. What is returned must be dropped once the lock is not held: it may be the
    /// last that refers to the device.
    pub(crate) fn give_back(&mut self, place: Boxed<Place<T>>) -> Option<Boxed<Place<T>>> {
        match self {
            Self::Closed => Some(place),
            Self::Home(_) | Self::Away => {
                *self = Self::Home(place);
                None
            }
        }
    }

    /// Lists the device no more. What is returned is to be dropped as in [`Self::give_back`]; `Err`: the
    /// place is away still.
    pub(crate) fn close(&mut self) -> Result<Option<Boxed<Place<T>>>, ()> {
        match core::mem::replace(self, Self::Closed) {
            Self::Home(place) => Ok(Some(place)),
            Self::Closed => Ok(None),
            Self::Away => Err(()),
        }
    }
}

/// Devices that have something to be done.
pub(crate) struct Roster<T>(IrqLock<Listed<T>>);

impl<T> Roster<T> {
    /// Nobody.
    pub(crate) fn new() -> Self {
        Self(IrqLock::new(Listed { first: None }))
    }

    /// Adds a device. Any context.
    pub(crate) fn list(&self, place: Boxed<Place<T>>) {
        self.0.with(|l| l.push(place));
    }

    /// Takes everybody out. Any context.
    pub(crate) fn take(&self) -> Listed<T> {
        self.0.with(|l| Listed {
            first: l.first.take(),
        })
    }
}

/// Places that were taken out of a roster.
pub(crate) struct Listed<T> {
    first: Option<Boxed<Place<T>>>,
}

impl<T> Listed<T> {
    /// Whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn push(&mut self, mut place: Boxed<Place<T>>) {
        place.next = self.first.take();
        self.first = Some(place);
    }

    /// Takes one out, in no particular order.
    pub(crate) fn pop(&mut self) -> Option<Boxed<Place<T>>> {
        let mut place = self.first.take()?;
        self.first = place.next.take();
        Some(place)
    }

    /// The devices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        core::iter::successors(self.first.as_ref(), |p| p.next.as_ref()).map(|p| &p.who)
    }
}

impl<T> Drop for Listed<T> {
    fn drop(&mut self) {
        // One by one: a chain of boxes would be dropped by recursion.
        while self.pop().is_some() {}
    }
}

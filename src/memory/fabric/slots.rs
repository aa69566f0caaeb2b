//! The transfers in flight, each in a slot that the next one takes when it is complete.
//!
//! A transfer over one route has one slot. A striped transfer has one for the whole of it, its
//! *head*, and one for each part: the [`Role`] says which of these a slot is, its [`State`] how far
//! its transfer has come. A part that is complete gives up its slot while its transfer is still in
//! flight; [`Slots::is_part_of`] tells whether the slot is still the part's.

use super::profile::Profiles;
use super::request::{Request, Urgency};
use crate::memory::TransferClass;
use crate::units::{Bytes, SimTime};
use std::ops::{Index, IndexMut};

/// How far a transfer, or a part of one, has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Vacant,
    /// Issued, but not requested before [`Fabric::admit`](super::Fabric::admit).
    Held,
    /// In line for a lane that carries only so many at once: not requested yet.
    InLine,
    /// Requested; its bytes are not on the lanes yet.
    Underway,
    /// On its lanes, which it shares: under `Fair` and `Priority`.
    Shared(Membership),
    /// In line for its lanes: under `Fifo`.
    Queued,
    /// Has its lanes to itself, and they carry it from `since` on: under `Fifo`.
    Running {
        since: SimTime,
    },
    /// A striped transfer whose parts have states of their own.
    InParts,
}

/// A transfer's place in its group of those that share lanes alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    /// The number of the group.
    pub group: u32,
    /// The group's progress at which it is complete.
    pub mark: u128,
}

/// What a slot stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// A transfer over one route.
    Whole,
    /// The head of a striped transfer: the number of its [`Stripe`].
    Head(u32),
    /// A part of the transfer whose head is in that slot.
    PartOf(u32),
}

/// What is in a slot.
#[derive(Clone, Debug)]
pub(super) struct Transfer<Tag> {
    pub class: TransferClass,
    pub urgency: Urgency,
    pub tag: Tag,
    /// Its size; of a part of a transfer that is spread evenly, in whole bytes.
    pub bytes: Bytes,
    pub role: Role,
    /// The number of the profile that has its lanes; of a striped transfer, of its first part.
    pub profile: u32,
    pub issued: SimTime,
    /// When its lanes first gave it something; `SimTime::MAX` before.
    pub started: SimTime,
    /// What its bytes take on the lanes that it holds, if nothing else does.
    pub carry: SimTime,
    /// The same, if nothing else had been in flight when it was requested: its unloaded service
    /// time less its latency.
    pub unloaded: SimTime,
    /// The order of admission to the lanes, or to the line for them; unique, so it also tells a
    /// slot's transfers apart.
    pub order: u64,
    pub state: State,
    /// Whether it has a place on each of its lanes that carry only so many at once.
    pub is_admitted: bool,
    /// Whether its bytes count in the windows on its route.
    pub in_windows: bool,
}

/// The order of a transfer that is not on its lanes: no entry of a group has it.
const NO_ORDER: u64 = u64::MAX;

impl<Tag: Copy> Transfer<Tag> {
    /// All of `request` over one route, on which it takes `carry` if nothing else is there; held.
    #[inline]
    pub fn whole(now: SimTime, request: &Request<'_, Tag>, profile: u32, carry: SimTime) -> Self {
        Self {
            class: request.class,
            urgency: request.urgency,
            tag: request.tag,
            bytes: request.bytes,
            role: Role::Whole,
            profile,
            issued: now,
            started: SimTime::MAX,
            carry,
            unloaded: carry,
            order: NO_ORDER,
            state: State::Held,
            is_admitted: false,
            in_windows: false,
        }
    }
}

/// The parts of a striped transfer.
#[derive(Clone, Debug, Default)]
pub(super) struct Stripe {
    /// The slot of each part; see [`Slots::is_part_of`].
    pub parts: Vec<u32>,
    /// How many parts are not complete.
    pub left: usize,
    /// All lanes that any part holds, in ascending order.
    pub lanes: Vec<usize>,
    /// Whether all parts are of one size, to the fraction of a byte.
    pub even: bool,
    /// Whether parts hold the same lanes.
    pub overlap: bool,
}

impl Stripe {
    /// In how many equal parts the transfer is: 1 where the parts have sizes of their own.
    pub fn equal_parts(&self) -> u64 {
        if self.even { self.parts.len() as u64 } else { 1 }
    }
}

/// All slots, and the stripes of those that are striped.
#[derive(Clone, Debug)]
pub(super) struct Slots<Tag> {
    transfers: Vec<Transfer<Tag>>,
    vacant: Vec<u32>,
    pub(super) stripes: Vec<Stripe>,
    pub(super) vacant_stripes: Vec<u32>,
}

impl<Tag> Index<u32> for Slots<Tag> {
    type Output = Transfer<Tag>;

    #[inline]
    fn index(&self, slot: u32) -> &Transfer<Tag> {
        &self.transfers[slot as usize]
    }
}

impl<Tag> IndexMut<u32> for Slots<Tag> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Transfer<Tag> {
        &mut self.transfers[slot as usize]
    }
}

impl<Tag> Slots<Tag> {
    /// No transfers.
    pub fn new() -> Self {
        Self {
            transfers: Vec::with_capacity(256),
            vacant: Vec::with_capacity(256),
            stripes: Vec::new(),
            vacant_stripes: Vec::new(),
        }
    }

    /// Whether no transfer is in any slot.
    #[inline]
    pub fn are_vacant(&self) -> bool {
        self.vacant.len() == self.transfers.len()
    }

    /// Every slot, vacant or not.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Transfer<Tag>)> {
        (0..).zip(&self.transfers)
    }

    /// The slot that the next transfer takes.
    #[inline]
    pub fn next(&self) -> u32 {
        self.vacant.last().copied().unwrap_or(self.transfers.len() as u32)
    }

    /// Puts `transfer` into `slot`, the [next](Self::next).
    #[inline]
    pub fn put(&mut self, slot: u32, transfer: Transfer<Tag>) {
        match self.vacant.pop() {
            Some(_) => self.transfers[slot as usize] = transfer,
            None => self.transfers.push(transfer),
        }
    }

    /// The transfer in `slot` is in flight no more.
    pub fn vacate(&mut self, slot: u32) {
        let transfer = &mut self.transfers[slot as usize];
        transfer.state = State::Vacant;
        transfer.role = Role::Whole;
        // No live entry of a group has this order: entries of the slot's next transfer are told
        // apart.
        transfer.order = NO_ORDER;
        self.vacant.push(slot);
    }

    /// Whether `part` is still a part of the transfer in `head`: one that is complete has given its
    /// slot to another.
    pub fn is_part_of(&self, part: u32, head: u32) -> bool {
        matches!(self[part].role, Role::PartOf(whole) if whole == head)
    }

    /// The stripe of the transfer in `slot`, if it is a striped transfer's head.
    pub fn stripe_of(&self, slot: u32) -> Option<&Stripe> {
        match self[slot].role {
            Role::Head(stripe) => Some(&self.stripes[stripe as usize]),
            _ => None,
        }
    }

    /// The lanes that the transfer in `slot`, with all its parts, holds.
    pub fn lanes_of<'a>(&'a self, slot: u32, profiles: &'a Profiles) -> &'a [usize] {
        self.stripe_of(slot).map_or_else(|| profiles[self[slot].profile].lanes(), |stripe| &stripe.lanes)
    }
}

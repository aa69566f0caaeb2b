//! Transfers that end before they are complete.

use super::arbiter::Arbiter;
use super::event::Event;
use super::{Fabric, Role, State, TransferId};
use crate::memory::TransferClass;
use crate::units::{Bytes, SimTime};

/// A transfer that was cancelled before its last byte had arrived.
#[derive(Clone, Copy, Debug)]
pub struct Cancelled<Tag> {
    /// The request's tag.
    pub tag: Tag,
    /// The request's class.
    pub class: TransferClass,
    /// What had arrived, in whole bytes: it counts as carried.
    pub carried: Bytes,
    /// What had not: it is never carried.
    pub dropped: Bytes,
    /// When it was issued.
    pub issued: SimTime,
    /// When its lanes first gave it something, or when it was cancelled if they never did.
    pub started: SimTime,
    /// When it was cancelled.
    pub at: SimTime,
}

impl<Tag: Copy> Fabric<Tag> {
    /// Ends a transfer at `now`, wherever it is on its way: held, under way for its latency, in
    /// line or on its lanes. What has arrived stays carried; its lanes, and its place among those
    /// of which lanes carry only so many, are the others' from `now` on. Takes effect at
    /// [`settle`](Fabric::settle), as an arrival does. O(parts), but O(n) for what is under way or,
    /// under `fifo`, in line.
    ///
    /// `id` must not be complete: it is the issuer who knows which of its transfers are in flight.
    pub fn cancel(&mut self, now: SimTime, id: TransferId) -> Cancelled<Tag> {
        let whole = &self.slots[id.0];
        debug_assert!(!matches!(whole.state, State::Vacant), "cancelled, but not in flight");
        let (tag, class, bytes, issued) = (whole.tag, whole.class, whole.bytes, whole.issued);
        match whole.state {
            State::Underway => {
                let timer = self.profiles[whole.profile].timer;
                self.underway[timer].retain(|(_, other)| *other != id);
                self.obsolete.push(Event::Arrival(timer as u32));
            }
            State::InLine => {
                let held = self.slots.lanes_of(id.0, &self.profiles);
                self.admission.leave_line(self.place_of(id.0), held);
                // Those behind it may be first now.
                self.turns.extend(held);
            }
            _ => {}
        }
        let mut started = whole.started;
        let carried = match whole.role {
            Role::Head(stripe) => self.cancel_parts(now, id, stripe, &mut started),
            _ => {
                let carried = self.delivered(now, id, 0).of(bytes);
                self.take_off(now, id.0, carried);
                carried
            }
        };
        self.end(id.0);
        let dropped = bytes - carried;
        self.completed[class] += carried;
        self.dropped[class] += dropped;
        Cancelled { tag, class, carried, dropped, issued, started: started.min(now), at: now }
    }

    /// Ends all parts of a striped transfer that are not complete; returns what has arrived of all.
    fn cancel_parts(&mut self, now: SimTime, id: TransferId, number: u32, started: &mut SimTime) -> Bytes {
        let stripe = self.slots.stripes[number as usize].clone();
        let whole = &self.slots[id.0];
        let (bytes, state) = (whole.bytes, whole.state);
        let as_one = !matches!(state, State::InParts);
        // Of each part that is not complete what has arrived, of an even one in so many parts of a
        // byte.
        let unit = stripe.equal_parts();
        let size = |part: u32| if stripe.even { bytes } else { self.slots[part].bytes };
        let live = (0..).zip(&stripe.parts).filter(|(_, part)| self.slots.is_part_of(**part, id.0));
        let live: Vec<(u32, u64)> =
            live.map(|(at, &part)| (part, self.delivered(now, id, at).of(size(part)).min(size(part)).get())).collect();
        // An even part's whole bytes differ by one; all of it together is exact.
        let missing: u128 = live.iter().map(|(part, arrived)| u128::from(size(*part).get() - arrived)).sum();
        let missing = missing.div_ceil(u128::from(unit)) as u64;
        let complete: Bytes = bytes - live.iter().map(|(part, _)| self.slots[*part].bytes).sum::<Bytes>();
        // Never less than is counted on the lanes below.
        let floors: u64 = live.iter().map(|(_, arrived)| arrived / unit).sum();
        let carried = Bytes::new((bytes.get() - missing).max(complete.get() + floors));
        let mut rest = carried.get() - complete.get() - floors;
        for (slot, arrived) in live {
            *started = (*started).min(self.slots[slot].started);
            // The remainder is counted on the first lanes.
            let more = u64::from(rest > 0);
            rest -= more;
            let part = Bytes::new(arrived / unit + more);
            if as_one {
                self.count_on_lanes(slot, part);
            } else {
                self.take_off(now, slot, part);
            }
            self.slots.vacate(slot);
        }
        if as_one {
            let obsolete = self.arbiter.withdraw(now, id.0, state, &stripe.lanes, &mut self.lanes);
            self.obsolete.extend(obsolete);
        }
        self.slots.vacant_stripes.push(number);
        carried
    }

    /// Takes what has a state of its own off its lanes, of which `carried` bytes have arrived.
    fn take_off(&mut self, now: SimTime, slot: u32, carried: Bytes) {
        self.count_on_lanes(slot, carried);
        let transfer = &self.slots[slot];
        let held = self.profiles[transfer.profile].lanes();
        let obsolete = self.arbiter.withdraw(now, slot, transfer.state, held, &mut self.lanes);
        self.obsolete.extend(obsolete);
    }

    fn count_on_lanes(&mut self, slot: u32, carried: Bytes) {
        let transfer = &self.slots[slot];
        self.lanes.count(self.profiles[transfer.profile].lanes(), transfer.class, carried);
    }
}

//! Transfers that end before they are complete.

use super::{Arbiter, Fabric, Role, State, TransferId, leave};
use crate::kernel::EventId;
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
    /// Ends a transfer at `now`, wherever it is on its way: held, under way for its latency, in line or on its lanes. What has
    /// arrived stays carried; its lanes, and its place among those of which lanes carry only so many, are the others' from
    /// `now` on. Takes effect at [`settle`](Fabric::settle), as an arrival does.
    ///
    /// `id` must not be complete: it is the issuer who knows which of its transfers are in flight.
    pub fn cancel(&mut self, now: SimTime, id: TransferId) -> Cancelled<Tag> {
        let whole = &self.transfers[id.0 as usize];
        debug_assert!(!matches!(whole.state, State::Vacant), "cancelled, but not in flight");
        let (tag, class, bytes, issued) = (whole.tag, whole.class, whole.bytes, whole.issued);
        let lanes = self.lanes_of(id);
        match whole.state {
            State::Underway => {
                let timer = self.profiles[whole.profile].timer;
                self.underway[timer].retain(|(_, other)| *other != id);
                self.obsolete.push(EventId::new(super::ARRIVALS + timer as u32));
            }
            State::InLine => {
                self.admission.leave_line(self.place_of(id.0), &lanes);
                // Whoever was behind it may be first now.
                self.turns.extend(&lanes);
            }
            _ => {}
        }
        let mut started = whole.started;
        let carried = match whole.role {
            Role::Gang(gang) => self.cancel_parts(now, id, gang, &mut started),
            _ => {
                let carried = self.delivered(now, id, 0);
                self.take_off(now, id.0, carried);
                carried
            }
        };
        if self.transfers[id.0 as usize].has_slots {
            self.admission.give_back(&lanes);
            self.turns.extend(lanes);
        }
        self.leave_windows(id);
        self.vacate(id.0);
        let dropped = bytes - carried;
        self.completed[class] += carried;
        self.dropped[class] += dropped;
        Cancelled { tag, class, carried, dropped, issued, started: started.min(now), at: now }
    }

    /// Ends all parts of a gang that are not complete; returns what has arrived of all.
    fn cancel_parts(&mut self, now: SimTime, id: TransferId, gang: u32, started: &mut SimTime) -> Bytes {
        let members = self.gangs[gang as usize].clone();
        let whole = &self.transfers[id.0 as usize];
        let (bytes, as_one) = (whole.bytes, !matches!(whole.state, State::InParts));
        let count = members.parts.len() as u64;
        // Of each part that is not complete what has arrived, of an even one in so many parts of a byte.
        let unit = if members.even { count } else { 1 };
        let live: Vec<(u32, u64)> = (0..members.parts.len())
            .filter_map(|at| {
                let part = &self.transfers[members.parts[at] as usize];
                let live = matches!(part.role, Role::PartOf(head) if head == id.0);
                live.then(|| {
                    let most = if members.even { bytes } else { part.bytes };
                    (members.parts[at], self.delivered(now, id, at).min(most).get())
                })
            })
            .collect();
        // An even part's whole bytes differ by one; all of it together is exact.
        let missing: u128 = live
            .iter()
            .map(|(slot, arrived)| {
                let size = if members.even { bytes } else { self.transfers[*slot as usize].bytes };
                u128::from(size.get() - arrived)
            })
            .sum();
        let missing = missing.div_ceil(u128::from(unit)) as u64;
        let complete: Bytes = bytes - live.iter().map(|(slot, _)| self.transfers[*slot as usize].bytes).sum::<Bytes>();
        // Never less than the lanes are told of below.
        let floors: u64 = live.iter().map(|(_, arrived)| arrived / unit).sum();
        let carried = Bytes::new((bytes.get() - missing).max(complete.get() + floors));
        let mut rest = carried.get() - complete.get() - floors;
        for (slot, arrived) in live {
            *started = (*started).min(self.transfers[slot as usize].started);
            // What is left over counts on the first lanes.
            let more = u64::from(rest > 0);
            rest -= more;
            let part = Bytes::new(arrived / unit + more);
            if as_one {
                self.count_on_lanes(slot, part);
            } else {
                self.take_off(now, slot, part);
            }
            self.vacate(slot);
        }
        if as_one {
            self.leave_line(now, id.0, &members.lanes);
        }
        self.vacant_gangs.push(gang);
        carried
    }

    /// Takes what has a state of its own off its lanes, of which `carried` bytes have arrived.
    fn take_off(&mut self, now: SimTime, slot: u32, carried: Bytes) {
        self.count_on_lanes(slot, carried);
        let transfer = &self.transfers[slot as usize];
        if let (Arbiter::Sharing(sharing), State::Shared(member)) = (&mut self.arbiter, transfer.state) {
            sharing.leave(now, member);
            leave(&mut self.lanes, self.profiles[transfer.profile].lanes(), now);
        } else {
            let lanes = self.profiles[transfer.profile].lanes().to_vec();
            self.leave_line(now, slot, &lanes);
        }
    }

    fn count_on_lanes(&mut self, slot: u32, carried: Bytes) {
        let transfer = &self.transfers[slot as usize];
        for &lane in self.profiles[transfer.profile].lanes() {
            self.lanes[lane].load.bytes[transfer.class] += carried;
        }
    }

    /// Under `fifo`: takes what holds `lanes`, or is in line for them, from them.
    fn leave_line(&mut self, now: SimTime, slot: u32, held: &[usize]) {
        let Arbiter::Fifo(fifo) = &mut self.arbiter else { return };
        match self.transfers[slot as usize].state {
            State::Queued => fifo.withdraw(slot, held),
            State::Running { .. } => {
                fifo.leave(held);
                leave(&mut self.lanes, held, now);
                self.obsolete.push(EventId::new(held[0] as u32));
            }
            _ => {}
        }
    }
}

//! From issue to the lanes; and limits on how many transfers a lane carries at once.
//!
//! A transfer that its owner has let go is requested, and on its lanes when its latency is over.
//! Where a lane carries only so many at once, it is requested when it is first in line on each
//! limited lane of its path and each has a slot free. It takes these slots then, before its
//! latency, and gives them back with its last byte: a lane with n slots completes at most n
//! transfers in each latency (Little's law). All lines have the same order (precedence, then
//! arrival), so the first of all is first everywhere, and there is no deadlock.
//!
//! With its request a transfer counts in the [windows](super::windows) on its route, and holds the
//! lanes of those in which it does not fit.

use super::arbiter::{Arbiter, Entry};
use super::slots::{Role, State};
use super::windows::WindowSet;
use super::{Fabric, TransferId, Urgency};
use crate::units::SimTime;
use std::collections::{BTreeSet, VecDeque};

/// A place in line: precedence, arrival, and the transfer.
pub(super) type Place = (u8, u64, u32);

#[derive(Clone, Debug)]
pub(super) struct Admission {
    lanes: Vec<Line>,
    any: bool,
}

#[derive(Clone, Debug)]
struct Line {
    limit: Option<u32>,
    active: u32,
    waiting: BTreeSet<Place>,
}

impl Admission {
    pub fn new(limits: impl Iterator<Item = Option<u32>>) -> Self {
        let lanes: Vec<Line> = limits.map(|limit| Line { limit, active: 0, waiting: BTreeSet::new() }).collect();
        Self { any: lanes.iter().any(|line| line.limit.is_some()), lanes }
    }

    /// Whether any of `lanes` is limited.
    pub fn limits(&self, lanes: &[usize]) -> bool {
        self.any && lanes.iter().any(|&lane| self.lanes[lane].limit.is_some())
    }

    /// Puts `place` in line on those of `lanes` that are limited. O(log n).
    pub fn wait(&mut self, place: Place, lanes: &[usize]) {
        for &lane in lanes {
            if self.lanes[lane].limit.is_some() {
                self.lanes[lane].waiting.insert(place);
            }
        }
    }

    /// Takes `place` out of line. O(log n).
    pub fn leave_line(&mut self, place: Place, lanes: &[usize]) {
        for &lane in lanes {
            self.lanes[lane].waiting.remove(&place);
        }
    }

    /// Takes a slot on each of `lanes` for `place`, if its turn has come on all of them.
    pub fn try_take(&mut self, place: Place, lanes: &[usize]) -> bool {
        let limited = |lane: &&usize| self.lanes[**lane].limit.is_some();
        let turn = lanes.iter().filter(limited).all(|&lane| {
            let line = &self.lanes[lane];
            line.waiting.first() == Some(&place) && line.limit.is_some_and(|limit| line.active < limit)
        });
        if turn {
            self.leave_line(place, lanes);
            self.lanes_with_limits(lanes, |line| line.active += 1);
        }
        turn
    }

    fn lanes_with_limits(&mut self, lanes: &[usize], mut change: impl FnMut(&mut Line)) {
        lanes.iter().for_each(|&lane| {
            let line = &mut self.lanes[lane];
            if line.limit.is_some() {
                change(line);
            }
        });
    }

    /// Gives back what [`try_take`](Self::try_take) took.
    pub fn give_back(&mut self, lanes: &[usize]) {
        self.lanes_with_limits(lanes, |line| line.active -= 1);
    }

    /// The first of `lanes` that has no slot for `place` yet.
    pub fn in_the_way(&self, place: Place, lanes: &[usize]) -> Option<usize> {
        lanes.iter().copied().find(|&lane| {
            let line = &self.lanes[lane];
            line.limit.is_some_and(|limit| line.waiting.first() != Some(&place) || line.active >= limit)
        })
    }

    /// The first in line on `lane`.
    pub fn first(&self, lane: usize) -> Option<Place> {
        self.lanes[lane].waiting.first().copied()
    }
}

impl<Tag: Copy> Fabric<Tag> {
    /// The place in line of what is in line.
    pub(super) fn place_of(&self, slot: u32) -> Place {
        let transfer = &self.slots[slot];
        (self.profiles[transfer.profile].level(transfer.urgency), transfer.order, slot)
    }

    /// Lets a held transfer be requested: at `now` or, where a lane carries only so many at once,
    /// when its turn has come.
    pub fn admit(&mut self, now: SimTime, id: TransferId) {
        debug_assert!(matches!(self.slots[id.0].state, State::Held), "admitted twice");
        if self.admission.limits(self.slots.lanes_of(id.0, &self.profiles)) {
            let order = self.next_order();
            let transfer = &mut self.slots[id.0];
            (transfer.order, transfer.state) = (order, State::InLine);
            self.stand_in_line(id.0);
        } else {
            self.request(now, id);
        }
    }

    /// What is in `slot` is in line for its limited lanes, where its turn may have come.
    fn stand_in_line(&mut self, slot: u32) {
        let place = self.place_of(slot);
        let held = self.slots.lanes_of(slot, &self.profiles);
        self.admission.wait(place, held);
        self.turns.extend(held);
    }

    /// Requests a transfer at `now`: it is on its lanes when its latency is over.
    fn request(&mut self, now: SimTime, id: TransferId) {
        self.enter_windows(id.0);
        let transfer = &mut self.slots[id.0];
        let profile = &self.profiles[transfer.profile];
        if profile.latency == SimTime::ZERO {
            self.start(now, id.0);
        } else {
            transfer.state = State::Underway;
            let timer = profile.timer;
            if timer >= self.underway.len() {
                self.underway.resize_with(timer + 1, VecDeque::new);
            }
            self.underway[timer].push_back((now + profile.latency, id));
        }
    }

    /// What is requested now is in flight from here on. Where it does not fit, it holds the
    /// window's lane.
    fn enter_windows(&mut self, slot: u32) {
        let transfer = &mut self.slots[slot];
        let profile = &self.profiles[transfer.profile];
        if profile.windows == 0 {
            return;
        }
        transfer.in_windows = true;
        let fitting = self.windows.enter(profile.windows, transfer.bytes);
        // It was given the lanes that it holds where nothing else is in flight.
        if fitting != profile.fits {
            self.hold_windows(slot, fitting);
        }
    }

    /// A transfer whose bytes count in windows is in flight no more.
    pub(super) fn leave_windows(&mut self, slot: u32) {
        let transfer = &mut self.slots[slot];
        debug_assert!(transfer.in_windows);
        transfer.in_windows = false;
        self.windows.leave(self.profiles[transfer.profile].windows, transfer.bytes);
    }

    /// The transfer in `slot`, and each of its parts, holds the lanes of all windows on its route
    /// but those in which it fits.
    fn hold_windows(&mut self, slot: u32, fits: WindowSet) {
        let profile = self.profile_fitting(self.slots[slot].profile, fits);
        self.slots[slot].profile = profile;
        let whole = self.slots[slot].bytes;
        let Role::Head(number) = self.slots[slot].role else {
            self.slots[slot].carry = self.profiles[profile].rate.time_for(whole, 1);
            return;
        };
        let stripe = &self.slots.stripes[number as usize];
        let (even, equal, count) = (stripe.even, stripe.equal_parts(), stripe.parts.len());
        for at in 0..count {
            let part = self.slots.stripes[number as usize].parts[at];
            let profile = self.profile_fitting(self.slots[part].profile, fits);
            let bytes = if even { whole } else { self.slots[part].bytes };
            self.slots[part].profile = profile;
            self.slots[part].carry = self.profiles[profile].rate.time_for(bytes, equal);
        }
        self.slots.measure(slot, number, &self.profiles);
    }

    /// Requests the transfers whose turn has come, in the order of the line. Only once all that an
    /// instant brings is in line, so that precedence decides which goes first, and not the order in
    /// which the owner issues them.
    pub(super) fn take_turns(&mut self, now: SimTime) {
        let mut chosen: Vec<Place> = Vec::new();
        while let Some(lane) = self.turns.pop() {
            while let Some(place) = self.admission.first(lane) {
                let held = self.slots.lanes_of(place.2, &self.profiles);
                if !self.admission.try_take(place, held) {
                    break;
                }
                // The one that was behind it is first now.
                self.turns.extend(held);
                self.slots[place.2].is_admitted = true;
                chosen.push(place);
            }
        }
        chosen.sort_unstable();
        chosen.iter().for_each(|place| self.request(now, TransferId(place.2)));
    }

    /// Puts on its lanes what has been under way for latency number `timer`.
    pub(super) fn arrive(&mut self, now: SimTime, timer: usize) {
        while let Some(&(at, id)) = self.underway[timer].front()
            && at <= now
        {
            self.underway[timer].pop_front();
            self.start(now, id.0);
        }
    }

    /// Puts a transfer, or all its parts, on the lanes.
    fn start(&mut self, now: SimTime, slot: u32) {
        let Role::Head(number) = self.slots[slot].role else { return self.start_one(now, slot) };
        let stripe = &self.slots.stripes[number as usize];
        let as_one = if stripe.overlap { self.arbiter.join_as_one(slot, &stripe.lanes) } else { None };
        self.slots[slot].state = as_one.unwrap_or(State::InParts);
        if as_one.is_none() {
            for index in 0..self.slots.stripes[number as usize].parts.len() {
                self.start_one(now, self.slots.stripes[number as usize].parts[index]);
            }
        }
    }

    fn start_one(&mut self, now: SimTime, slot: u32) {
        let transfer = &self.slots[slot];
        let (profile, urgency) = (transfer.profile, transfer.urgency);
        let (order, state) = self.put_on_lanes(now, slot, profile, urgency, self.slots.size_of(slot));
        let transfer = &mut self.slots[slot];
        (transfer.order, transfer.state) = (order, state);
    }

    /// An early transfer has become due at `now`: it goes on with the precedence of its class. One
    /// that is due already stays as it is. O(1) amortized; O(log n) in line.
    pub fn raise_urgency(&mut self, now: SimTime, id: TransferId) {
        let slot = id.0;
        if self.slots[slot].urgency == Urgency::Due {
            return;
        }
        if let State::InLine = self.slots[slot].state {
            self.admission.leave_line(self.place_of(slot), self.slots.lanes_of(slot, &self.profiles));
            self.slots[slot].urgency = Urgency::Due;
            self.stand_in_line(slot);
        }
        self.raise_one(now, slot);
        if let Role::Head(number) = self.slots[slot].role {
            for index in 0..self.slots.stripes[number as usize].parts.len() {
                let part = self.slots.stripes[number as usize].parts[index];
                if self.slots.is_part_of(part, slot) {
                    self.raise_one(now, part);
                }
            }
        }
    }

    fn raise_one(&mut self, now: SimTime, slot: u32) {
        let transfer = &mut self.slots[slot];
        transfer.urgency = Urgency::Due;
        // It keeps the size that it has, less what it has received.
        let entry = Entry { slot, order: self.ordered, profile: transfer.profile, urgency: Urgency::Due, size: 0 };
        if let Some(state) = self.arbiter.raise_urgency(now, transfer.state, entry) {
            (transfer.order, transfer.state) = (entry.order, state);
            self.ordered += 1;
        }
    }
}

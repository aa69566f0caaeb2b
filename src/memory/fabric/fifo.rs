//! `Fifo`: each lane serves transfers in the order of their arrival, one at a time.
//!
//! A transfer holds all its lanes at once: it starts when it is the first in line on each of them,
//! and then runs at the bandwidth of the slowest. The one that arrived first of all is first in
//! line everywhere, so there is no deadlock; a lane whose first in line still waits for another
//! lane is idle. The parts of a striped transfer are in line one by one where they have no lane in
//! common; otherwise (behind a link) the transfer is in line as one and holds the lanes of all its
//! parts. A bus that carried the other direction before turns around first.

use super::arbiter::{Arbiter, Entry};
use super::event::Event;
use super::lanes::Lanes;
use super::profile::{Profile, Profiles, ServiceRate};
use super::request::Bottleneck;
use super::slots::{Slots, State, Transfer};
use crate::kernel::Calendar;
use crate::memory::{Direction, LaneId, PerClass};
use crate::units::{Bytes, SimTime};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(super) struct Fifo {
    /// For each lane the waiting slots, the running one first.
    queues: Vec<VecDeque<u32>>,
    /// Slots that may have become first in line since they were last looked at.
    candidates: Vec<u32>,
    buses: Vec<Bus>,
}

/// The direction in which a lane was last used, and how long it takes to turn it around.
#[derive(Clone, Debug)]
struct Bus {
    turnaround: SimTime,
    last: Option<Direction>,
}

impl Fifo {
    /// With the turnaround of each lane.
    pub fn new(turnarounds: impl Iterator<Item = SimTime>) -> Self {
        let buses: Vec<Bus> = turnarounds.map(|turnaround| Bus { turnaround, last: None }).collect();
        Self { queues: vec![VecDeque::with_capacity(64); buses.len()], candidates: Vec::with_capacity(64), buses }
    }

    /// How long it takes until `holds`, which are about to be used, all have the right direction.
    fn turn(&mut self, holds: impl Iterator<Item = (usize, Direction)>) -> SimTime {
        holds
            .map(|(lane, direction)| {
                let bus = &mut self.buses[lane];
                let turned = bus.last.replace(direction).is_some_and(|last| last != direction);
                if turned { bus.turnaround } else { SimTime::ZERO }
            })
            .max()
            .unwrap_or_default()
    }

    fn arrive(&mut self, slot: u32, held: &[usize]) -> State {
        for &lane in held {
            self.queues[lane].push_back(slot);
        }
        self.candidates.push(slot);
        State::Queued
    }

    /// The first in line on `lane`, running or not.
    fn first(&self, lane: usize) -> Option<u32> {
        self.queues[lane].front().copied()
    }

    /// Whether `slot` is the first in line on all of `held`.
    fn is_first(&self, slot: u32, held: &[usize]) -> bool {
        held.iter().all(|&lane| self.first(lane) == Some(slot))
    }

    /// What is in `slot`, first in line on all of its lanes, takes them.
    fn start<Tag>(
        &mut self,
        slot: u32,
        calendar: &mut Calendar,
        slots: &mut Slots<Tag>,
        profiles: &Profiles,
        lanes: &mut Lanes,
    ) {
        let now = calendar.now();
        let holds = |slot: u32| profiles[slots[slot].profile].holds();
        let turning = match slots.stripe_of(slot) {
            None => self.turn(holds(slot)),
            Some(stripe) => self.turn(stripe.parts.iter().flat_map(|part| holds(*part))),
        };
        let since = now + turning;
        let held = slots.lanes_of(slot, profiles);
        lanes.enter(held, now);
        calendar.schedule(Event::Completion(held[0] as u32).pack(), since + slots[slot].carry);
        let transfer = &mut slots[slot];
        transfer.state = State::Running { since };
        transfer.started = now;
    }
}

/// Calls `each` with everything that runs: a transfer or, of one whose parts are carried as one,
/// each part; with the time from which its lanes carry it, and how many bytes a second of it.
fn running<Tag>(slots: &Slots<Tag>, mut each: impl FnMut(&Transfer<Tag>, SimTime, f64)) {
    for (slot, transfer) in slots.iter() {
        let State::Running { since } = transfer.state else { continue };
        let seconds = transfer.carry.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
        let mut add = |part: &Transfer<Tag>| each(part, since, part.bytes.as_f64() / seconds);
        match slots.stripe_of(slot) {
            Some(stripe) => stripe.parts.iter().for_each(|part| add(&slots[*part])),
            None => add(transfer),
        }
    }
}

impl Arbiter for Fifo {
    fn learn(&mut self, _profile: &Profile) {}

    #[inline]
    fn join(&mut self, _now: SimTime, entry: Entry, held: &[usize], _lanes: &mut Lanes) -> State {
        self.arrive(entry.slot, held)
    }

    fn join_as_one(&mut self, slot: u32, held: &[usize]) -> Option<State> {
        Some(self.arrive(slot, held))
    }

    /// Arrival alone decides.
    fn raise_urgency(&mut self, _now: SimTime, _state: State, _entry: Entry) -> Option<State> {
        None
    }

    fn take_complete<Tag>(&mut self, now: SimTime, event: u32, complete: &mut Vec<u32>, slots: &mut Slots<Tag>) {
        complete.extend(self.first(event as usize).filter(|&slot| {
            let transfer = &slots[slot];
            matches!(transfer.state, State::Running { since } if since + transfer.carry <= now)
        }));
    }

    fn forgets(&self) -> bool {
        self.buses.iter().all(|bus| bus.turnaround == SimTime::ZERO)
    }

    fn leave(&mut self, held: &[usize]) {
        for &lane in held {
            self.queues[lane].pop_front();
            self.candidates.extend(self.queues[lane].front());
        }
    }

    fn withdraw(&mut self, now: SimTime, slot: u32, state: State, held: &[usize], lanes: &mut Lanes) -> Option<Event> {
        match state {
            State::Queued => {
                for &lane in held {
                    self.queues[lane].retain(|other| *other != slot);
                    self.candidates.extend(self.queues[lane].front());
                }
                None
            }
            State::Running { .. } => {
                self.leave(held);
                lanes.leave(held, now);
                Some(Event::Completion(held[0] as u32))
            }
            _ => None,
        }
    }

    fn settle<Tag>(&mut self, calendar: &mut Calendar, slots: &mut Slots<Tag>, profiles: &Profiles, lanes: &mut Lanes) {
        while let Some(slot) = self.candidates.pop() {
            if matches!(slots[slot].state, State::Queued) && self.is_first(slot, slots.lanes_of(slot, profiles)) {
                self.start(slot, calendar, slots, profiles, lanes);
            }
        }
    }

    fn delivered(&self, now: SimTime, state: State, rate: &ServiceRate, bytes: Bytes, parts: u64) -> Bytes {
        match state {
            State::Running { since } => rate.carried(now.saturating_sub(since), parts).min(bytes),
            _ => Bytes::ZERO,
        }
    }

    fn bottleneck(&self, slot: u32, state: State, held: &[usize]) -> Option<Bottleneck> {
        let waits_for = || held.iter().copied().find(|&lane| self.first(lane) != Some(slot)).unwrap_or(held[0]);
        matches!(state, State::Queued).then(|| Bottleneck::Lane(LaneId::new(waits_for())))
    }

    fn add_rates<Tag>(&self, slots: &Slots<Tag>, profiles: &Profiles, rates: &mut [f64]) {
        running(slots, |part, _, rate| {
            profiles[part.profile].lanes().iter().for_each(|&lane| rates[lane] += rate);
        });
    }

    /// A bus that is still turning around carries nothing.
    fn add_class_rates<Tag>(&self, now: SimTime, slots: &Slots<Tag>, profiles: &Profiles, rates: &mut [PerClass<f64>]) {
        running(slots, |part, since, rate| {
            if since <= now {
                profiles[part.profile].lanes().iter().for_each(|&lane| rates[lane][part.class] += rate);
            }
        });
    }

    fn meter(&self, _profile: u32) -> Option<usize> {
        None
    }

    fn progress(&self, _now: SimTime, _meter: usize) -> Option<u128> {
        None
    }
}

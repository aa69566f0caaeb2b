//! The arbiter that a fabric has: one of the two there are.
//!
//! A memory system says how transfers share lanes: its
//! [`Arbitration`](crate::memory::Arbitration). So a fabric has the same arbiter from its start to
//! its end, and [`AnyArbiter`] passes each call on to it.

use super::arbiter::{Arbiter, Entry};
use super::event::Event;
use super::fifo::Fifo;
use super::lanes::Lanes;
use super::profile::{Profile, Profiles, ServiceRate};
use super::request::Bottleneck;
use super::sharing::Sharing;
use super::slots::{Slots, State};
use crate::kernel::Calendar;
use crate::memory::PerClass;
use crate::units::{Bytes, SimTime};

/// The arbiter of a fabric. An enum and not a `dyn Arbiter`: the calls on the path of each transfer
/// are inlined.
#[derive(Clone, Debug)]
// There is one in a fabric.
#[allow(clippy::large_enum_variant)]
pub(super) enum AnyArbiter {
    Sharing(Sharing),
    Fifo(Fifo),
}

/// Calls the same method of whichever arbiter there is.
macro_rules! delegate {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            AnyArbiter::Sharing(arbiter) => arbiter.$method($($argument),*),
            AnyArbiter::Fifo(arbiter) => arbiter.$method($($argument),*),
        }
    };
}

impl Arbiter for AnyArbiter {
    fn learn(&mut self, profile: &Profile) {
        delegate!(self.learn(profile));
    }

    #[inline(always)]
    fn join(&mut self, now: SimTime, entry: Entry, held: &[usize], lanes: &mut Lanes) -> State {
        delegate!(self.join(now, entry, held, lanes))
    }

    fn join_as_one(&mut self, slot: u32, held: &[usize]) -> Option<State> {
        delegate!(self.join_as_one(slot, held))
    }

    fn raise_urgency(&mut self, now: SimTime, state: State, entry: Entry) -> Option<State> {
        delegate!(self.raise_urgency(now, state, entry))
    }

    #[inline(always)]
    fn take_complete<Tag>(&mut self, now: SimTime, event: u32, complete: &mut Vec<u32>, slots: &mut Slots<Tag>) {
        delegate!(self.take_complete(now, event, complete, slots));
    }

    fn forgets(&self) -> bool {
        delegate!(self.forgets())
    }

    #[inline(always)]
    fn leave(&mut self, held: &[usize]) {
        delegate!(self.leave(held));
    }

    fn withdraw(&mut self, now: SimTime, slot: u32, state: State, held: &[usize], lanes: &mut Lanes) -> Option<Event> {
        delegate!(self.withdraw(now, slot, state, held, lanes))
    }

    #[inline(always)]
    fn settle<Tag>(&mut self, calendar: &mut Calendar, slots: &mut Slots<Tag>, profiles: &Profiles, lanes: &mut Lanes) {
        delegate!(self.settle(calendar, slots, profiles, lanes));
    }

    #[inline]
    fn delivered(&self, now: SimTime, state: State, rate: &ServiceRate, bytes: Bytes, parts: u64) -> Bytes {
        delegate!(self.delivered(now, state, rate, bytes, parts))
    }

    fn bottleneck(&self, slot: u32, state: State, held: &[usize]) -> Option<Bottleneck> {
        delegate!(self.bottleneck(slot, state, held))
    }

    fn add_rates<Tag>(&self, slots: &Slots<Tag>, profiles: &Profiles, rates: &mut [f64]) {
        delegate!(self.add_rates(slots, profiles, rates));
    }

    fn add_class_rates<Tag>(&self, now: SimTime, slots: &Slots<Tag>, profiles: &Profiles, rates: &mut [PerClass<f64>]) {
        delegate!(self.add_class_rates(now, slots, profiles, rates));
    }

    fn meter(&self, profile: u32) -> Option<usize> {
        delegate!(self.meter(profile))
    }

    #[inline]
    fn progress(&self, now: SimTime, meter: usize) -> Option<u128> {
        delegate!(self.progress(now, meter))
    }
}

//! How lanes are divided among the transfers that hold them at the same time.
//!
//! There are two ways, and a fabric has one of them: [`sharing`](super::sharing) (`Fair` and
//! `Priority`) gives each transfer a rate, [`fifo`](super::fifo) gives one transfer after the other
//! all that its lanes have. What precedes the lanes (being held, limits, windows, latencies) and
//! what follows them (completion, accounts) is the fabric's own and the same for both.

use super::event::Event;
use super::lanes::Lanes;
use super::profile::{Profile, Profiles, ServiceRate};
use super::request::{Bottleneck, Urgency};
use super::slots::{Slots, State};
use crate::kernel::Calendar;
use crate::memory::PerClass;
use crate::units::{Bytes, SimTime};

/// A transfer, or a part of one, that goes on its lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its slot.
    pub slot: u32,
    /// The order of its arrival; see [`Transfer::order`](super::slots::Transfer::order).
    pub order: u64,
    /// The number of its profile.
    pub profile: u32,
    /// Now or ahead of time.
    pub urgency: Urgency,
    /// What it is to receive, in the format of [`progress::size`](super::progress::size).
    pub size: u128,
}

/// Divides lanes among transfers. Changes take effect at [`settle`](Arbiter::settle); `held` are
/// the lanes of a transfer or part.
pub(super) trait Arbiter {
    /// Notes the profile that was made last. Called once for each, in the order of their numbers.
    fn learn(&mut self, profile: &Profile);

    /// Puts `entry` on its lanes, which are `held`. O(1) amortized.
    fn join(&mut self, now: SimTime, entry: Entry, held: &[usize], lanes: &mut Lanes) -> State;

    /// Puts a striped transfer whose parts have lanes in common on these as one, if they cannot
    /// carry the parts side by side.
    fn join_as_one(&mut self, slot: u32, held: &[usize]) -> Option<State>;

    /// An early `entry` in `state` has become due. `None` where that makes no difference; otherwise
    /// it has the new order, too.
    fn raise_urgency(&mut self, now: SimTime, state: State, entry: Entry) -> Option<State>;

    /// Adds to `complete` the slots of what `event` finds complete at `now`, in the order of
    /// completion. Each is then to [leave](Arbiter::leave).
    fn take_complete<Tag>(&mut self, now: SimTime, event: u32, complete: &mut Vec<u32>, slots: &mut Slots<Tag>);

    /// Whether nothing of what was on lanes that are idle makes a difference to what comes next.
    fn forgets(&self) -> bool {
        true
    }

    /// What was complete leaves its lanes.
    fn leave(&mut self, held: &[usize]);

    /// Takes what is not complete off its lanes, or out of the line for them. Returns the event of
    /// its completion, if that is void now.
    fn withdraw(&mut self, now: SimTime, slot: u32, state: State, held: &[usize], lanes: &mut Lanes) -> Option<Event>;

    /// Gives effect to all changes since the last call: sets rates or starts what is first in line,
    /// and moves the completions in `calendar`.
    fn settle<Tag>(&mut self, calendar: &mut Calendar, slots: &mut Slots<Tag>, profiles: &Profiles, lanes: &mut Lanes);

    /// The whole bytes that have arrived by `now` of a transfer of `bytes` in so many equal parts,
    /// of which one is in `state`; its unloaded rate is `rate`.
    fn delivered(&self, now: SimTime, state: State, rate: &ServiceRate, bytes: Bytes, parts: u64) -> Bytes;

    /// What keeps what is in `slot`, in `state`, from receiving more; `None` if this arbiter does
    /// not.
    fn bottleneck(&self, slot: u32, state: State, held: &[usize]) -> Option<Bottleneck>;

    /// Adds to each lane what it carries, in bytes a second.
    fn add_rates<Tag>(&self, slots: &Slots<Tag>, profiles: &Profiles, rates: &mut [f64]);

    /// Adds to each lane what it carries of each class from `now` on, in bytes a second.
    fn add_class_rates<Tag>(&self, now: SimTime, slots: &Slots<Tag>, profiles: &Profiles, rates: &mut [PerClass<f64>]);

    /// The number of the group that due transfers of `profile` are in, if those of a profile
    /// progress alike.
    fn meter(&self, profile: u32) -> Option<usize>;

    /// How far the transfers of group `meter` have come by `now`: see
    /// [`Fabric::progress`](super::Fabric::progress).
    fn progress(&self, now: SimTime, meter: usize) -> Option<u128>;
}

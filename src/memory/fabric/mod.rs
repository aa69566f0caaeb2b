//! Transfers over routes, in time.
//!
//! A [`Fabric`] carries transfers over the lanes of a memory system. Its owner issues requests,
//! lets the fabric [settle](Fabric::settle), and hands it each of its events when the calendar
//! comes to it; the fabric returns what is complete. On its way a transfer passes these stages,
//! each with a file of its own:
//!
//! 1. **Issued** ([`request`]): it takes a slot ([`slots`]), or several if it is striped over
//!    routes ([`stripe`]). What the fabric knows of a route before anything goes over it is a
//!    [`profile`].
//! 2. **Admitted** ([`admission`]): it waits until its owner lets it go, and in line where a lane
//!    carries only so many at once; what is in flight may not exceed a window of bytes
//!    ([`windows`]). Then it is requested, and its latency begins.
//! 3. **On its lanes** ([`arbiter`]): [`sharing`] gives each transfer a rate, by max-min fairness
//!    ([`filling`], less what [`interference`] takes); [`fifo`] gives one after the other its
//!    lanes. A fabric has one of the two ([`dispatch`]). What a transfer has received is its
//!    [`progress`].
//! 4. **Complete**, or [cancelled](cancel) before that.
//!
//! # Costs
//! With n transfers in flight and g groups of them that hold the same lanes: issue, admission and
//! completion are O(1) amortized, independent of n, where no lane limits how many it carries (O(log
//! n) where one does). `settle` visits the groups that changed and those whose rate has: O(g), and
//! under `fifo` O(1) amortized for each transfer that starts. Where rates for the present number of
//! transfers in each group are not known from before ([`memo`]), progressive filling finds them in
//! O(lanes x groups). Nothing is allocated for a transfer once the slots are there, but for one
//! that is in line or cancelled.

mod admission;
mod arbiter;
mod cancel;
mod dispatch;
mod division;
mod event;
mod fifo;
mod filling;
mod interference;
mod lanes;
mod marks;
mod memo;
mod observe;
mod profile;
mod progress;
mod repeat;
mod request;
mod sharing;
mod slots;
mod stripe;
mod windows;

use super::{Arbitration, MemorySystem, PerClass, RouteId, TransferClass};
use crate::kernel::{Calendar, EventId};
use crate::units::{Bytes, SimTime};
use admission::Admission;
use arbiter::{Arbiter, Entry};
pub use cancel::Cancelled;
use dispatch::AnyArbiter;
use event::Event;
use fifo::Fifo;
use filling::Scale;
use interference::Interference;
use lanes::Lanes;
pub use observe::{InProgress, Meter};
use profile::{Profiles, Runs};
pub(super) use repeat::Carried;
pub use request::{Bottleneck, Completed, Delivered, LaneLoad, Path, Request, TransferId, Urgency};
use sharing::Sharing;
use slots::{Role, Slots, State, Transfer};
use std::collections::VecDeque;
use windows::{WindowSet, Windows};

/// The lanes of a memory system and the transfers on them.
///
/// The owner issues transfers and takes completions; between two events all rates are constant.
/// Whatever is issued or completes at one instant takes effect together, at
/// [`settle`](Fabric::settle). Completions at one instant come in the order in which their lanes
/// were first used, and on the same lanes in the order of arrival; then comes what reaches its
/// lanes after a latency.
///
/// ```
/// use tiersim::kernel::Calendar;
/// use tiersim::memory::{Fabric, MemorySystem, Path, Pattern, Request};
/// use tiersim::memory::{Reach, TierId, TransferClass, Urgency};
/// use tiersim::units::{Bytes, SimTime};
///
/// let system = MemorySystem::new(&tiersim::catalog::memory("study")?)?;
/// let mut calendar = Calendar::with_capacity(16);
/// let mut fabric = Fabric::new(&system);
/// let request = Request {
///     class: TransferClass::KvRead,
///     path: Path::Even(system.even_reads(TierId::HBM)),
///     bytes: Bytes::new(4_915_000),
///     granule: Bytes::new(32_768),
///     pattern: Pattern::Random,
///     urgency: Urgency::Due,
///     reach: Reach::FULL,
///     tag: "first",
/// };
/// fabric.issue(SimTime::ZERO, request);
/// fabric.issue(SimTime::ZERO, Request { tag: "second", ..request });
/// fabric.settle(&mut calendar);
/// let (at, event) = calendar.pop().expect("one completion is pending");
/// assert_eq!(at.as_ns(), 2_000.0); // two of 1 us each that share the bus
/// let mut done = Vec::new();
/// fabric.complete(at, event, &mut done);
/// assert_eq!(done.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fabric<Tag> {
    arbiter: AnyArbiter,
    profiles: Profiles,
    admission: Admission,
    windows: Windows,
    /// For each latency, the transfers on their way, in the order of arrival.
    underway: Vec<VecDeque<(SimTime, TransferId)>>,
    slots: Slots<Tag>,
    lanes: Lanes,
    /// Lanes on which the turn of a transfer in line may have come.
    turns: Vec<usize>,
    /// Scratch space: what is complete.
    arrived: Vec<u32>,
    /// Events that may be pending for cancelled transfers.
    obsolete: Vec<Event>,
    /// How many transfers and parts have been given an [order](Transfer::order).
    ordered: u64,
    issued: PerClass<Bytes>,
    completed: PerClass<Bytes>,
    dropped: PerClass<Bytes>,
}

impl<Tag: Copy> Fabric<Tag> {
    /// Calendar ids from here on are the owner's.
    pub const OWNERS_EVENTS: u32 = Event::END;
    /// How many bytes a transfer that counts as complete may lack: 2^-20 of one.
    pub const TOLERANCE: f64 = progress::TOLERANCE as f64 / progress::BYTE as f64;

    /// The idle lanes of `system`.
    #[must_use]
    pub fn new(system: &MemorySystem) -> Self {
        let lanes = system.lanes();
        let arbiter = match system.arbitration() {
            Arbitration::Fifo => AnyArbiter::Fifo(Fifo::new(
                lanes.iter().map(|lane| lane.efficiency.as_ref().map_or(SimTime::ZERO, |it| it.turnaround())),
            )),
            Arbitration::Fair | Arbitration::Priority => {
                let pools: Vec<_> = lanes.iter().map(profile::pool).collect();
                let interference = Interference::new(system, |lane| pools[lane].capacity);
                let scale = Scale { levels: profile::LEVELS, shift: profile::shift(system) };
                AnyArbiter::Sharing(Sharing::new(pools, scale, interference))
            }
        };
        Self {
            arbiter,
            profiles: Profiles::new(system),
            admission: Admission::new(lanes.iter().map(|lane| lane.max_transfers)),
            windows: Windows::new(lanes),
            underway: Vec::new(),
            slots: Slots::new(),
            lanes: Lanes::new(lanes.len()),
            turns: Vec::new(),
            arrived: Vec::with_capacity(64),
            obsolete: Vec::new(),
            ordered: 0,
            issued: PerClass::filled(Bytes::ZERO),
            completed: PerClass::filled(Bytes::ZERO),
            dropped: PerClass::filled(Bytes::ZERO),
        }
    }

    /// Issues a transfer at `now`: it is requested at once, and on its lanes when its latency is
    /// over.
    ///
    /// The same as [`issue_held`](Fabric::issue_held) and [`admit`](Fabric::admit)
    /// (`tests/it/fabric/` compares them). A transfer over one route that has no
    /// latency and no limits, as all have in most systems, is on its lanes at once: it is written
    /// to its slot once, in its final state.
    pub fn issue(&mut self, now: SimTime, request: Request<'_, Tag>) -> TransferId {
        debug_assert!(request.bytes > Bytes::ZERO, "nothing is issued for zero bytes");
        if let Path::Route(route) | Path::Even(&[route]) | Path::Parts(&[(route, _)]) = request.path {
            let profile = self.find_profile(&request, route, 1);
            if self.profiles[profile].is_direct {
                self.issued[request.class] += request.bytes;
                let slot = self.slots.next();
                let size = progress::size(request.bytes, 1);
                let (order, state) = self.put_on_lanes(now, slot, profile, request.urgency, size);
                let carry = self.profiles[profile].rate.time_for_all(request.bytes);
                self.slots.put(slot, Transfer { order, state, ..Transfer::whole(now, &request, profile, carry) });
                return TransferId(slot);
            }
        }
        let id = self.issue_held(now, request);
        self.admit(now, id);
        id
    }

    /// Issues a transfer at `now` that waits for [`admit`](Fabric::admit) before it is requested.
    /// The wait counts as queueing.
    pub fn issue_held(&mut self, now: SimTime, request: Request<'_, Tag>) -> TransferId {
        debug_assert!(request.bytes > Bytes::ZERO, "nothing is issued for zero bytes");
        self.issued[request.class] += request.bytes;
        match request.path {
            Path::Route(route) | Path::Even(&[route]) | Path::Parts(&[(route, _)]) => {
                self.hold(now, &request, route, (request.bytes, 1), 1, Role::Whole)
            }
            Path::Even(routes) => {
                let parts = routes.len() as u64;
                let (least, over) = (request.bytes.get() / parts, request.bytes.get() % parts);
                let of = |index: usize| Bytes::new(least + u64::from((index as u64) < over));
                let parts_of = routes.iter().enumerate().map(|(index, route)| (*route, of(index)));
                self.hold_striped(now, &request, parts_of, parts)
            }
            Path::Parts(parts) => {
                debug_assert_eq!(parts.iter().map(|(_, bytes)| *bytes).sum::<Bytes>(), request.bytes);
                self.hold_striped(now, &request, parts.iter().copied(), 1)
            }
        }
    }

    #[inline]
    fn find_profile(&mut self, request: &Request<'_, Tag>, route: RouteId, parts: usize) -> u32 {
        let Request { pattern, granule, reach, .. } = *request;
        self.profile_of(request.class, route, Runs { pattern, granule, reach }, (request.bytes, parts))
    }

    /// The number of the profile of such transfers: see [`Profiles::find`].
    #[inline]
    fn profile_of(&mut self, class: TransferClass, route: RouteId, runs: Runs, size: (Bytes, usize)) -> u32 {
        match self.profiles.listed(class, route) {
            Some(profile) => profile,
            None => self.with_new_profiles(|profiles| profiles.find(class, route, runs, size)),
        }
    }

    /// The number of the profile of what `profile` is of, if it fits in the windows `fits` and in
    /// no others.
    fn profile_fitting(&mut self, profile: u32, fits: WindowSet) -> u32 {
        self.with_new_profiles(|profiles| profiles.fitting(profile, fits))
    }

    /// Finds a profile, and lets the arbiter know of those that were made for it.
    #[inline(never)]
    fn with_new_profiles(&mut self, find: impl FnOnce(&mut Profiles) -> u32) -> u32 {
        let known = self.profiles.len();
        let found = find(&mut self.profiles);
        self.profiles.since(known).iter().for_each(|made| self.arbiter.learn(made));
        found
    }

    /// The next order: those of later calls are higher.
    #[inline]
    fn next_order(&mut self) -> u64 {
        self.ordered += 1;
        self.ordered - 1
    }

    /// What is in `slot`, or will be, goes on the lanes of `profile`: its order, and its state from
    /// then on.
    #[inline(always)]
    fn put_on_lanes(&mut self, now: SimTime, slot: u32, profile: u32, urgency: Urgency, size: u128) -> (u64, State) {
        let order = self.next_order();
        let held = self.profiles[profile].lanes();
        let state = self.arbiter.join(now, Entry { slot, order, profile, urgency, size }, held, &mut self.lanes);
        (order, state)
    }

    /// Handles `event`, due at `now`: adds the transfers that are complete to `done`, in the order
    /// of completion, or puts on the lanes what has arrived there. O(1) amortized for each transfer
    /// that completes or arrives.
    pub fn complete(&mut self, now: SimTime, event: EventId, done: &mut Vec<Completed<Tag>>) {
        let index = match Event::unpack(event) {
            Event::Completion(index) => index,
            Event::Arrival(latency) => return self.arrive(now, latency as usize),
        };
        let mut arrived = std::mem::take(&mut self.arrived);
        self.arbiter.take_complete(now, index, &mut arrived, &mut self.slots);
        for &slot in &arrived {
            match self.slots[slot].role {
                Role::Whole => {
                    self.leave_lanes(now, slot);
                    self.transfer_completed(now, slot, done);
                }
                Role::PartOf(head) => {
                    self.leave_lanes(now, slot);
                    self.part_completed(now, slot, head, done);
                }
                Role::Head(stripe) => self.stripe_completed(now, slot, stripe, done),
            }
        }
        arrived.clear();
        self.arrived = arrived;
    }

    #[inline(always)]
    fn leave_lanes(&mut self, now: SimTime, slot: u32) {
        let transfer = &self.slots[slot];
        let held = self.profiles[transfer.profile].lanes();
        self.lanes.count(held, transfer.class, transfer.bytes);
        self.lanes.leave(held, now);
        self.arbiter.leave(held);
    }

    /// A part of the transfer in `head`, which has left its lanes, is complete.
    fn part_completed(&mut self, now: SimTime, slot: u32, head: u32, done: &mut Vec<Completed<Tag>>) {
        let started = self.slots[slot].started.min(now);
        self.slots.vacate(slot);
        let whole = &mut self.slots[head];
        whole.started = whole.started.min(started);
        let Role::Head(number) = whole.role else { return };
        let stripe = &mut self.slots.stripes[number as usize];
        stripe.left -= 1;
        if stripe.left == 0 {
            self.transfer_completed(now, head, done);
            self.slots.vacant_stripes.push(number);
        }
    }

    /// A striped transfer whose parts were carried as one is complete.
    fn stripe_completed(&mut self, now: SimTime, head: u32, number: u32, done: &mut Vec<Completed<Tag>>) {
        let stripe = std::mem::take(&mut self.slots.stripes[number as usize]);
        for &slot in &stripe.parts {
            let part = &self.slots[slot];
            self.lanes.count(self.profiles[part.profile].lanes(), part.class, part.bytes);
            self.slots.vacate(slot);
        }
        self.lanes.leave(&stripe.lanes, now);
        self.arbiter.leave(&stripe.lanes);
        self.slots.stripes[number as usize] = stripe;
        self.transfer_completed(now, head, done);
        self.slots.vacant_stripes.push(number);
    }

    /// All of the transfer in `slot` has arrived.
    fn transfer_completed(&mut self, now: SimTime, slot: u32, done: &mut Vec<Completed<Tag>>) {
        let transfer = &self.slots[slot];
        done.push(Completed {
            id: TransferId(slot),
            tag: transfer.tag,
            class: transfer.class,
            bytes: transfer.bytes,
            issued: transfer.issued,
            started: transfer.started.min(now),
            finished: now,
            unloaded: self.profiles[transfer.profile].latency + transfer.unloaded,
        });
        self.completed[transfer.class] += transfer.bytes;
        self.end(slot);
    }

    /// The transfer in `slot` ends: it gives back its places on lanes that carry only so many, and
    /// its slot.
    #[inline]
    fn end(&mut self, slot: u32) {
        let transfer = &self.slots[slot];
        let (in_windows, is_admitted) = (transfer.in_windows, transfer.is_admitted);
        if in_windows {
            self.leave_windows(slot);
        }
        if is_admitted {
            let held = self.slots.lanes_of(slot, &self.profiles);
            self.admission.give_back(held);
            self.turns.extend(held);
        }
        self.slots.vacate(slot);
    }

    /// Gives effect to all that was issued or completed since the last call: sets rates, starts
    /// what is first in line, and moves the pending completions in `calendar`, whose clock says
    /// when. To be called before the clock moves on.
    pub fn settle(&mut self, calendar: &mut Calendar) {
        if !self.turns.is_empty() {
            self.take_turns(calendar.now());
        }
        if !self.obsolete.is_empty() {
            self.obsolete.drain(..).for_each(|event| calendar.cancel(event.pack()));
        }
        for (latency, underway) in self.underway.iter().enumerate() {
            if let Some((at, _)) = underway.front() {
                calendar.schedule(Event::Arrival(latency as u32).pack(), *at);
            }
        }
        self.arbiter.settle(calendar, &mut self.slots, &self.profiles, &mut self.lanes);
    }
}

//! Transfers over routes, in time.

mod admission;
mod cancel;
mod division;
mod fifo;
mod filling;
mod marks;
mod memo;
mod profile;
mod sharing;
mod watch;
mod windows;

use super::{Arbitration, MemorySystem, Pattern, PerClass, RouteId, TransferClass};
use crate::kernel::{Calendar, EventId};
use crate::units::{Bytes, SimTime};
use admission::{Admission, Place};
pub use cancel::Cancelled;
use fifo::Fifo;
use filling::Scale;
use profile::{Profiles, in_turns};
use sharing::{Entries, Membership, Sharing};
use std::collections::VecDeque;
pub use watch::{HeldUp, InProgress};
use windows::Windows;

/// A transfer that was issued and is not complete. The fabric reuses ids of completed transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId(u32);

impl TransferId {
    /// Its number: tells apart what is in flight at one moment.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Tells how far transfers have come that progress alike: see [`Fabric::meter`].
#[derive(Clone, Copy, Debug)]
pub struct Meter(usize);

/// Whether a transfer is wanted now or ahead of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// As its class demands.
    Due,
    /// Read ahead of need (`weight_prefetch`): takes only what all due transfers leave of its lanes; under `Priority`,
    /// what demand reads leave. Under `Fifo`, where arrival decides, it makes no difference.
    Early,
}

/// Over which routes a transfer's bytes go.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// All over one.
    Route(RouteId),
    /// As much over each of these, to fractions of a byte.
    Even(&'a [RouteId]),
    /// So much over each of these; at least one byte.
    Parts(&'a [(RouteId, Bytes)]),
}

/// What is to be carried. `tag` is the issuer's own and comes back with the completion.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a, Tag> {
    /// What for.
    pub class: TransferClass,
    /// Over which routes.
    pub path: Path<'a>,
    /// How much; at least one byte.
    pub bytes: Bytes,
    /// How many bytes are contiguous in memory: on average, where they are in several runs. It
    /// matters only where a tier has an efficiency.
    pub granule: Bytes,
    /// Whether these runs lie anywhere, or one after the other. It matters only to a DRAM part's efficiency.
    pub pattern: Pattern,
    /// Now or ahead of time.
    pub urgency: Urgency,
    /// Comes back in [`Completed`].
    pub tag: Tag,
}

/// A transfer whose last byte has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Completed<Tag> {
    /// What it was while it was in flight.
    pub id: TransferId,
    /// The request's tag.
    pub tag: Tag,
    /// The request's class.
    pub class: TransferClass,
    /// Its size.
    pub bytes: Bytes,
    /// When it was issued.
    pub issued: SimTime,
    /// When its lanes first gave it something.
    pub started: SimTime,
    /// When its last byte arrived.
    pub finished: SimTime,
    /// What it would have taken with all its lanes to itself, its route's latency included.
    pub alone: SimTime,
}

impl<Tag> Completed<Tag> {
    /// From issue to the last byte.
    #[must_use]
    pub fn latency(&self) -> SimTime {
        self.finished - self.issued
    }

    /// What of the latency others caused.
    #[must_use]
    pub fn queueing(&self) -> SimTime {
        self.latency().saturating_sub(self.alone)
    }
}

/// What a lane has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneLoad {
    /// How long at least one transfer was active on it.
    pub busy: SimTime,
    /// Bytes of completed transfers, and what has arrived of cancelled ones, by class. Where a transfer is spread evenly, whole bytes: what is left over is counted
    /// on the first lanes.
    pub bytes: PerClass<Bytes>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Vacant,
    /// Issued, but not requested before [`Fabric::admit`].
    Held,
    /// In line for a lane that carries only so many at once: not requested yet.
    InLine,
    /// Requested; its bytes are not on the lanes yet.
    Underway,
    Shared(Membership),
    Queued,
    Running {
        since: SimTime,
    },
    /// A transfer in several parts, which have states of their own.
    InParts,
}

/// What a slot stands for.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// A transfer over one route.
    Whole,
    /// A transfer in several parts: its place among the gangs.
    Gang(u32),
    /// A part of the transfer in that slot.
    PartOf(u32),
}

#[derive(Clone, Debug)]
struct Transfer<Tag> {
    class: TransferClass,
    urgency: Urgency,
    tag: Tag,
    /// Its size; of a part of a transfer that is spread evenly, in whole bytes.
    bytes: Bytes,
    role: Role,
    /// Its lanes; of a gang, those of its first part.
    profile: u32,
    issued: SimTime,
    /// When its lanes first gave it something; `SimTime::MAX` before.
    started: SimTime,
    /// What its bytes take on the lanes that it holds, if nothing else does.
    carry: SimTime,
    /// The same, if nothing else had been in flight when it was requested.
    alone: SimTime,
    /// The order of admission to the lanes, or to the line for them; unique, so it also tells a slot's transfers apart.
    order: u64,
    state: State,
    has_slots: bool,
    /// Whether its bytes count in the windows on its route.
    in_windows: bool,
}

/// The parts of a transfer.
#[derive(Clone, Debug, Default)]
struct Gang {
    parts: Vec<u32>,
    left: usize,
    /// All lanes that any part holds.
    lanes: Vec<usize>,
    /// Whether all parts are of one size, to the fraction of a byte.
    even: bool,
    /// Whether parts hold the same lanes: then, under `Fifo`, they are carried as one, as lanes carry one transfer at a time.
    overlap: bool,
}

/// The order of what is not on its lanes: no entry of a group has it.
const NO_ORDER: u64 = u64::MAX;

/// Calendar ids from here on are those of latencies, one for each that there is.
const ARRIVALS: u32 = 1 << 30;

#[derive(Clone, Debug)]
// There is one in a fabric.
#[allow(clippy::large_enum_variant)]
enum Arbiter {
    Sharing(Sharing),
    Fifo(Fifo),
}

#[derive(Clone, Debug, Default)]
struct LaneState {
    load: LaneLoad,
    serving: u32,
    since: SimTime,
}

/// The lanes of a memory system and the transfers on them.
///
/// The owner issues transfers and takes completions; between two events all rates are constant. Whatever is issued or
/// completes at one instant takes effect together, at [`settle`](Fabric::settle). Completions at one instant come in the order in
/// which their lanes were first used, and on the same lanes in the order of arrival; then comes what reaches its lanes after a
/// latency.
///
/// ```
/// use tiersim::kernel::Calendar;
/// use tiersim::memory::{Fabric, MemorySystem, Path, Pattern, Request, TierId, TransferClass, Urgency};
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
    arbiter: Arbiter,
    profiles: Profiles,
    admission: Admission,
    windows: Windows,
    /// For each latency, what is under way for it, in the order of arrival.
    underway: Vec<VecDeque<(SimTime, TransferId)>>,
    transfers: Vec<Transfer<Tag>>,
    vacant: Vec<u32>,
    gangs: Vec<Gang>,
    vacant_gangs: Vec<u32>,
    lanes: Vec<LaneState>,
    /// Lanes on which somebody's turn may have come.
    turns: Vec<usize>,
    /// Scratch space: what is complete.
    arrived: Vec<u32>,
    /// Events that may be pending of what was cancelled.
    obsolete: Vec<EventId>,
    admitted: u64,
    issued: PerClass<Bytes>,
    completed: PerClass<Bytes>,
    dropped: PerClass<Bytes>,
}

/// The transfers at one instant.
struct Present<'a, Tag> {
    now: SimTime,
    transfers: &'a mut [Transfer<Tag>],
}

impl<Tag> Entries for Present<'_, Tag> {
    #[inline]
    fn is_current(&self, slot: u32, order: u64) -> bool {
        self.transfers[slot as usize].order == order
    }

    #[inline]
    fn start(&mut self, slot: u32, order: u64) {
        let transfer = &mut self.transfers[slot as usize];
        if transfer.order == order {
            transfer.started = transfer.started.min(self.now);
        }
    }
}

impl<Tag: Copy> Fabric<Tag> {
    /// Calendar ids from here on are the owner's.
    pub const OWNERS_EVENTS: u32 = 1 << 31;
    /// What a transfer that counts as complete may lack, in bytes.
    pub const SLACK: f64 = sharing::SLACK as f64 / sharing::BYTE as f64;

    /// The idle lanes of `system`.
    #[must_use]
    pub fn new(system: &MemorySystem) -> Self {
        let lanes = system.lanes();
        let arbiter = match system.arbitration() {
            Arbitration::Fifo => Arbiter::Fifo(Fifo::new(
                lanes.iter().map(|lane| lane.efficiency.as_ref().map_or(SimTime::ZERO, |it| it.turnaround())),
            )),
            Arbitration::Fair | Arbitration::Priority => Arbiter::Sharing(Sharing::new(
                lanes.iter().map(profile::pool).collect(),
                Scale { levels: LEVELS, shift: profile::shift(system) },
            )),
        };
        Self {
            arbiter,
            profiles: Profiles::new(system),
            admission: Admission::new(lanes.iter().map(|lane| lane.max_transfers)),
            windows: Windows::new(lanes),
            underway: Vec::new(),
            transfers: Vec::with_capacity(256),
            vacant: Vec::with_capacity(256),
            gangs: Vec::new(),
            vacant_gangs: Vec::new(),
            lanes: vec![LaneState::default(); lanes.len()],
            turns: Vec::new(),
            arrived: Vec::with_capacity(64),
            obsolete: Vec::new(),
            admitted: 0,
            issued: PerClass::filled(Bytes::ZERO),
            completed: PerClass::filled(Bytes::ZERO),
            dropped: PerClass::filled(Bytes::ZERO),
        }
    }

    /// Issues a transfer at `now`: it is requested at once, and on its lanes when its latency is over.
    pub fn issue(&mut self, now: SimTime, request: Request<'_, Tag>) -> TransferId {
        debug_assert!(request.bytes > Bytes::ZERO, "nothing is issued for zero bytes");
        if let Path::Route(route) | Path::Even(&[route]) | Path::Parts(&[(route, _)]) = request.path {
            let profile = self.find_profile(&request, route, 1);
            if self.profiles[profile].is_direct {
                self.issued[request.class] += request.bytes;
                let slot = self.next_slot();
                let size = sharing::size(request.bytes, 1);
                let (order, state) = self.put_on_lanes(now, slot, profile, request.urgency, size);
                let carry = self.profiles[profile].pace.time_for_all(request.bytes);
                return self.take_slot(slot, Transfer { order, state, ..Self::whole(now, &request, profile, carry) });
            }
        }
        let id = self.issue_held(now, request);
        self.admit(now, id);
        id
    }

    /// Issues a transfer at `now` that waits for [`admit`](Fabric::admit) before it is requested. The wait counts as
    /// queueing.
    pub fn issue_held(&mut self, now: SimTime, request: Request<'_, Tag>) -> TransferId {
        debug_assert!(request.bytes > Bytes::ZERO, "nothing is issued for zero bytes");
        self.issued[request.class] += request.bytes;
        match request.path {
            Path::Route(route) | Path::Even(&[route]) | Path::Parts(&[(route, _)]) => {
                self.occupy(now, &request, route, (request.bytes, 1), 1, Role::Whole)
            }
            Path::Even(routes) => {
                let parts = routes.len() as u64;
                let (least, over) = (request.bytes.get() / parts, request.bytes.get() % parts);
                let of = |index: usize| Bytes::new(least + u64::from((index as u64) < over));
                self.gang(now, &request, routes.iter().enumerate().map(|(index, route)| (*route, of(index))), parts)
            }
            Path::Parts(parts) => {
                debug_assert_eq!(parts.iter().map(|(_, bytes)| *bytes).sum::<Bytes>(), request.bytes);
                self.gang(now, &request, parts.iter().copied(), 1)
            }
        }
    }

    fn find_profile(&mut self, request: &Request<'_, Tag>, route: RouteId, parts: usize) -> u32 {
        let kind = (request.pattern, request.granule);
        self.profiles.find(&mut self.arbiter, request.class, route, kind, (request.bytes, parts))
    }

    /// All of `request` over one route, on which it takes `carry` alone; held.
    #[inline]
    fn whole(now: SimTime, request: &Request<'_, Tag>, profile: u32, carry: SimTime) -> Transfer<Tag> {
        Transfer {
            class: request.class,
            urgency: request.urgency,
            tag: request.tag,
            bytes: request.bytes,
            role: Role::Whole,
            profile,
            issued: now,
            started: SimTime::MAX,
            carry,
            alone: carry,
            order: NO_ORDER,
            state: State::Held,
            has_slots: false,
            in_windows: false,
        }
    }

    /// The slot that the next transfer takes.
    fn next_slot(&self) -> u32 {
        self.vacant.last().copied().unwrap_or(self.transfers.len() as u32)
    }

    /// Puts `transfer` into the [next slot](Self::next_slot).
    fn take_slot(&mut self, slot: u32, transfer: Transfer<Tag>) -> TransferId {
        match self.vacant.pop() {
            Some(_) => self.transfers[slot as usize] = transfer,
            None => self.transfers.push(transfer),
        }
        TransferId(slot)
    }

    /// Takes a slot for what goes over `route`: `bytes` of it, or the `parts`th part of the request where it is spread evenly. The
    /// transfer has `count` parts in all.
    fn occupy(
        &mut self,
        now: SimTime,
        request: &Request<'_, Tag>,
        route: RouteId,
        (bytes, parts): (Bytes, u64),
        count: usize,
        role: Role,
    ) -> TransferId {
        let profile = self.find_profile(request, route, count);
        let whole = if parts > 1 { request.bytes } else { bytes };
        let carry = self.profiles[profile].pace.time_for(whole, parts);
        let transfer = Transfer { bytes, role, ..Self::whole(now, request, profile, carry) };
        self.take_slot(self.next_slot(), transfer)
    }

    /// A transfer in parts, evenly in `evenly` or, where that is 1, of the sizes given.
    fn gang(
        &mut self,
        now: SimTime,
        request: &Request<'_, Tag>,
        parts: impl Iterator<Item = (RouteId, Bytes)> + Clone,
        evenly: u64,
    ) -> TransferId {
        let gang = self.vacant_gangs.pop().unwrap_or_else(|| {
            self.gangs.push(Gang::default());
            self.gangs.len() as u32 - 1
        });
        let count = parts.clone().count();
        let (first, _) = parts.clone().next().expect("a transfer has a part");
        let head = self.occupy(now, request, first, (request.bytes, 1), count, Role::Gang(gang));
        let mut members = std::mem::take(&mut self.gangs[gang as usize]);
        members.parts.clear();
        for (route, bytes) in parts {
            let part = self.occupy(now, request, route, (bytes, evenly), count, Role::PartOf(head.0));
            members.parts.push(part.0);
        }
        members.even = evenly > 1;
        members.left = members.parts.len();
        self.gangs[gang as usize] = members;
        self.measure_gang(head.0, gang);
        self.transfers[head.0 as usize].alone = self.transfers[head.0 as usize].carry;
        head
    }

    /// Notes which lanes the parts of a gang hold, and what it takes on them.
    fn measure_gang(&mut self, head: u32, gang: u32) {
        let mut members = std::mem::take(&mut self.gangs[gang as usize]);
        members.lanes.clear();
        for part in &members.parts {
            members.lanes.extend_from_slice(self.profiles[self.transfers[*part as usize].profile].lanes());
        }
        members.lanes.sort_unstable();
        let evenly = if members.even { members.parts.len() as u64 } else { 1 };
        let whole = &self.transfers[head as usize];
        let profile = &self.profiles[whole.profile];
        let carry =
            if evenly == profile.ways { profile.together.time_for(whole.bytes, 1) } else { self.carry_of(&members) };
        self.transfers[head as usize].carry = carry;
        let holds = members.lanes.len();
        members.lanes.dedup();
        members.overlap = members.lanes.len() < holds;
        self.gangs[gang as usize] = members;
    }

    /// What the parts of a gang take together, with all their lanes to themselves. `lanes` are those of all parts, sorted.
    fn carry_of(&self, gang: &Gang) -> SimTime {
        let parts = gang.parts.len();
        let runs = gang.lanes.chunk_by(|a, b| a == b);
        let shared: Vec<usize> = runs.filter(|run| run.len() == parts).map(|run| run[0]).collect();
        let part = |slot: &u32| &self.transfers[*slot as usize];
        let own = gang.parts.iter().map(|slot| part(slot).carry).chain([self.fullest_lane_of(gang)]);
        if shared.is_empty() {
            return own.max().unwrap_or_default();
        }
        let sizes = gang.parts.iter().map(|slot| self.size_of_part(gang, *slot)).collect();
        let profile = &self.profiles[part(&gang.parts[0]).profile];
        in_turns(sizes, profile.rate_but(&shared), profile.rate_of(&shared)).max(own.max().unwrap_or_default())
    }

    /// What the parts of a gang take of the lane of which they take the most.
    fn fullest_lane_of(&self, gang: &Gang) -> SimTime {
        let mut takes = self.takes_of(gang);
        takes.sort_by_key(|(lane, _)| *lane);
        let of_lanes = takes.chunk_by(|a, b| a.0 == b.0).map(|run| run.iter().map(|(_, time)| time).sum::<f64>());
        // Sums of floats may be a little high.
        SimTime::from_ps((of_lanes.fold(0.0, f64::max) * (1.0 - 1e-12)).ceil() as u64)
    }

    /// The time that each part of a gang takes of each of its lanes, in picoseconds.
    fn takes_of(&self, gang: &Gang) -> Vec<(usize, f64)> {
        let takes =
            |&slot: &u32| self.profiles[self.transfers[slot as usize].profile].takes(self.size_of_part(gang, slot));
        gang.parts.iter().flat_map(takes).collect()
    }

    /// What the transfer or part in `slot` is to receive, as `Sharing` counts.
    fn size_of(&self, slot: u32) -> u128 {
        let transfer = &self.transfers[slot as usize];
        if let Role::PartOf(head) = transfer.role
            && let Role::Gang(gang) = self.transfers[head as usize].role
        {
            self.size_of_part(&self.gangs[gang as usize], slot)
        } else {
            sharing::size(transfer.bytes, 1)
        }
    }

    /// The same of a part of `gang`.
    fn size_of_part(&self, gang: &Gang, slot: u32) -> u128 {
        let part = &self.transfers[slot as usize];
        match part.role {
            Role::PartOf(head) if gang.even => {
                sharing::size(self.transfers[head as usize].bytes, gang.parts.len() as u64)
            }
            _ => sharing::size(part.bytes, 1),
        }
    }

    /// The place in line of what is in line.
    fn place_of(&self, slot: u32) -> Place {
        let transfer = &self.transfers[slot as usize];
        (self.profiles[transfer.profile].level(transfer.urgency), transfer.order, slot)
    }

    /// Lets a held transfer be requested: at `now` or, where a lane carries only so many at once,
    /// when its turn has come.
    pub fn admit(&mut self, now: SimTime, id: TransferId) {
        let transfer = &self.transfers[id.0 as usize];
        debug_assert!(matches!(transfer.state, State::Held), "admitted twice");
        let limited = match transfer.role {
            Role::Gang(gang) => self.admission.limits(&self.gangs[gang as usize].lanes),
            _ => self.admission.limits(self.profiles[transfer.profile].lanes()),
        };
        if limited {
            let transfer = &mut self.transfers[id.0 as usize];
            transfer.order = self.admitted;
            self.admitted += 1;
            transfer.state = State::InLine;
            let place = self.place_of(id.0);
            let lanes = self.lanes_of(id);
            self.admission.wait(place, &lanes);
            self.turns.extend(lanes);
        } else {
            self.request(now, id);
        }
    }

    /// Requests a transfer at `now`: it is on its lanes when its latency is over.
    fn request(&mut self, now: SimTime, id: TransferId) {
        self.enter_windows(id);
        let transfer = &mut self.transfers[id.0 as usize];
        let profile = &self.profiles[transfer.profile];
        if profile.latency == SimTime::ZERO {
            self.start(now, id);
        } else {
            transfer.state = State::Underway;
            let timer = profile.timer;
            if timer >= self.underway.len() {
                self.underway.resize_with(timer + 1, VecDeque::new);
            }
            self.underway[timer].push_back((now + profile.latency, id));
        }
    }

    fn lanes_of(&self, id: TransferId) -> Vec<usize> {
        let transfer = &self.transfers[id.0 as usize];
        match transfer.role {
            Role::Gang(gang) => self.gangs[gang as usize].lanes.clone(),
            _ => self.profiles[transfer.profile].lanes().to_vec(),
        }
    }

    /// Requests the transfers whose turn has come, in the order of the line. Only once all that an
    /// instant brings is in line, so that precedence decides which goes first, and not the order in
    /// which the owner issues them.
    fn take_turns(&mut self, now: SimTime) {
        let mut chosen: Vec<Place> = Vec::new();
        while let Some(lane) = self.turns.pop() {
            while let Some(place) = self.admission.first(lane) {
                let id = TransferId(place.2);
                let held = self.lanes_of(id);
                if !self.admission.try_take(place, &held) {
                    break;
                }
                self.transfers[id.0 as usize].has_slots = true;
                chosen.push(place);
                // The one that was behind it is first now.
                self.turns.extend(held);
            }
        }
        chosen.sort_unstable();
        chosen.iter().for_each(|place| self.request(now, TransferId(place.2)));
    }

    /// Puts a transfer, or all its parts, on the lanes.
    fn start(&mut self, now: SimTime, id: TransferId) {
        if let Role::Gang(gang) = self.transfers[id.0 as usize].role {
            if let Arbiter::Fifo(fifo) = &mut self.arbiter
                && self.gangs[gang as usize].overlap
            {
                self.transfers[id.0 as usize].state = State::Queued;
                fifo.arrive(id.0, &self.gangs[gang as usize].lanes);
                return;
            }
            self.transfers[id.0 as usize].state = State::InParts;
            for index in 0..self.gangs[gang as usize].parts.len() {
                self.start_one(now, self.gangs[gang as usize].parts[index]);
            }
        } else {
            self.start_one(now, id.0);
        }
    }

    fn start_one(&mut self, now: SimTime, slot: u32) {
        let transfer = &self.transfers[slot as usize];
        let (profile, urgency) = (transfer.profile, transfer.urgency);
        let (order, state) = self.put_on_lanes(now, slot, profile, urgency, self.size_of(slot));
        let transfer = &mut self.transfers[slot as usize];
        (transfer.order, transfer.state) = (order, state);
    }

    /// What is in `slot`, or will be, goes on the lanes of `profile`: its order, and what it is then.
    #[inline(always)]
    fn put_on_lanes(&mut self, now: SimTime, slot: u32, profile: u32, urgency: Urgency, size: u128) -> (u64, State) {
        let order = self.admitted;
        self.admitted += 1;
        let profile = &self.profiles[profile];
        let state = match &mut self.arbiter {
            Arbiter::Sharing(sharing) => {
                enter(&mut self.lanes, profile.lanes(), now);
                State::Shared(sharing.join(now, profile.group(urgency), size, order, slot))
            }
            Arbiter::Fifo(fifo) => {
                fifo.arrive(slot, profile.lanes());
                State::Queued
            }
        };
        (order, state)
    }

    /// Puts what has been under way for its latency on its lanes.
    fn arrive(&mut self, now: SimTime, timer: usize) {
        while let Some(&(at, id)) = self.underway[timer].front()
            && at <= now
        {
            self.underway[timer].pop_front();
            self.start(now, id);
        }
    }

    /// An early transfer has become due at `now`: it goes on with the precedence of its class.
    pub fn promote(&mut self, now: SimTime, id: TransferId) {
        let transfer = &mut self.transfers[id.0 as usize];
        if transfer.urgency == Urgency::Due {
            return;
        }
        if let State::InLine = transfer.state {
            let before = self.place_of(id.0);
            self.transfers[id.0 as usize].urgency = Urgency::Due;
            let lanes = self.lanes_of(id);
            self.admission.leave_line(before, &lanes);
            self.admission.wait(self.place_of(id.0), &lanes);
            self.turns.extend(lanes);
        }
        self.promote_one(now, id.0);
        if let Role::Gang(gang) = self.transfers[id.0 as usize].role {
            for index in 0..self.gangs[gang as usize].parts.len() {
                let part = self.gangs[gang as usize].parts[index];
                // A part that is complete has given its slot to another transfer.
                if matches!(self.transfers[part as usize].role, Role::PartOf(head) if head == id.0) {
                    self.promote_one(now, part);
                }
            }
        }
    }

    fn promote_one(&mut self, now: SimTime, slot: u32) {
        let transfer = &mut self.transfers[slot as usize];
        transfer.urgency = Urgency::Due;
        if let (Arbiter::Sharing(sharing), State::Shared(member)) = (&mut self.arbiter, transfer.state) {
            transfer.order = self.admitted;
            self.admitted += 1;
            let group = self.profiles[transfer.profile].group(Urgency::Due);
            transfer.state = State::Shared(sharing.regroup(now, member, group, transfer.order, slot));
        }
    }

    /// The whole bytes of `id` that have arrived by `now`; of a transfer in parts of given sizes, those of the part `part`.
    #[must_use]
    pub fn delivered(&self, now: SimTime, id: TransferId, part: usize) -> Bytes {
        let whole = &self.transfers[id.0 as usize];
        let (transfer, bytes, parts) = match whole.role {
            Role::Gang(gang) => {
                let gang = &self.gangs[gang as usize];
                let of_part = &self.transfers[gang.parts[part] as usize];
                if let State::Running { since } = whole.state {
                    let gone = now.saturating_sub(since).min(whole.carry);
                    let profile = &self.profiles[whole.profile];
                    if gang.even && gang.parts.len() as u64 == profile.ways {
                        return profile.together.carried(gone, 1).min(whole.bytes);
                    }
                    // All parts progress in proportion to their sizes.
                    let bytes = if gang.even { whole.bytes } else { of_part.bytes };
                    let carried =
                        u128::from(bytes.get()) * u128::from(gone.as_ps()) / u128::from(whole.carry.as_ps().max(1));
                    return Bytes::new(u64::try_from(carried).unwrap_or(u64::MAX));
                }
                if !matches!(of_part.role, Role::PartOf(head) if head == id.0) {
                    // Complete: its slot is another's.
                    return Bytes::new(u64::MAX);
                }
                if gang.even {
                    // All parts progress alike.
                    (of_part, whole.bytes, gang.parts.len() as u64)
                } else {
                    (of_part, of_part.bytes, 1)
                }
            }
            _ => (whole, whole.bytes, 1),
        };
        match (&self.arbiter, transfer.state) {
            (Arbiter::Sharing(sharing), State::Shared(member)) => sharing.delivered(now, member, bytes, parts),
            (_, State::Running { since }) => {
                self.profiles[transfer.profile].pace.carried(now.saturating_sub(since), parts).min(bytes)
            }
            _ => Bytes::ZERO,
        }
    }

    /// Handles `event`, due at `now`: adds the transfers that are complete to `done`, in the order of completion, or puts on
    /// the lanes what has arrived there.
    pub fn complete(&mut self, now: SimTime, event: EventId, done: &mut Vec<Completed<Tag>>) {
        if let Some(timer) = event.number().checked_sub(ARRIVALS) {
            self.arrive(now, timer as usize);
            return;
        }
        let index = event.number() as usize;
        let mut arrived = std::mem::take(&mut self.arrived);
        let transfers = &mut self.transfers;
        match &mut self.arbiter {
            Arbiter::Sharing(sharing) => {
                sharing.take_complete(now, index, &mut arrived, &Present { now, transfers });
            }
            Arbiter::Fifo(fifo) => arrived.extend(fifo.first(index).filter(|&slot| {
                let transfer = &transfers[slot as usize];
                matches!(transfer.state, State::Running { since } if since + transfer.carry <= now)
            })),
        }
        for &slot in &arrived {
            match self.transfers[slot as usize].role {
                Role::Whole => {
                    self.leave_lanes(now, slot);
                    self.all_arrived(now, slot, done);
                }
                Role::PartOf(head) => {
                    self.leave_lanes(now, slot);
                    let started = self.transfers[slot as usize].started.min(now);
                    self.vacate(slot);
                    self.part_completed(now, head, started, done);
                }
                Role::Gang(gang) => self.gang_completed(now, slot, gang, done),
            }
        }
        arrived.clear();
        self.arrived = arrived;
    }

    /// A transfer in parts that were carried as one is complete.
    fn gang_completed(&mut self, now: SimTime, head: u32, gang: u32, done: &mut Vec<Completed<Tag>>) {
        let members = std::mem::take(&mut self.gangs[gang as usize]);
        for &slot in &members.parts {
            let part = &self.transfers[slot as usize];
            for &lane in self.profiles[part.profile].lanes() {
                self.lanes[lane].load.bytes[part.class] += part.bytes;
            }
            self.vacate(slot);
        }
        leave(&mut self.lanes, &members.lanes, now);
        if let Arbiter::Fifo(fifo) = &mut self.arbiter {
            fifo.leave(&members.lanes);
        }
        self.gangs[gang as usize] = members;
        self.all_arrived(now, head, done);
        self.vacant_gangs.push(gang);
    }

    #[inline(always)]
    fn leave_lanes(&mut self, now: SimTime, slot: u32) {
        let transfer = &self.transfers[slot as usize];
        let profile = &self.profiles[transfer.profile];
        for &lane in profile.lanes() {
            self.lanes[lane].load.bytes[transfer.class] += transfer.bytes;
        }
        leave(&mut self.lanes, profile.lanes(), now);
        if let Arbiter::Fifo(fifo) = &mut self.arbiter {
            fifo.leave(profile.lanes());
        }
    }

    fn vacate(&mut self, slot: u32) {
        let transfer = &mut self.transfers[slot as usize];
        transfer.state = State::Vacant;
        transfer.role = Role::Whole;
        // No live entry of a group has this order: entries of the slot's next transfer are told apart.
        transfer.order = NO_ORDER;
        self.vacant.push(slot);
    }

    fn part_completed(&mut self, now: SimTime, head: u32, started: SimTime, done: &mut Vec<Completed<Tag>>) {
        let whole = &mut self.transfers[head as usize];
        whole.started = whole.started.min(started);
        let Role::Gang(gang) = whole.role else { return };
        self.gangs[gang as usize].left -= 1;
        if self.gangs[gang as usize].left == 0 {
            self.all_arrived(now, head, done);
            self.vacant_gangs.push(gang);
        }
    }

    /// All of the transfer in `slot` has arrived.
    fn all_arrived(&mut self, now: SimTime, slot: u32, done: &mut Vec<Completed<Tag>>) {
        let transfer = &self.transfers[slot as usize];
        done.push(Completed {
            id: TransferId(slot),
            tag: transfer.tag,
            class: transfer.class,
            bytes: transfer.bytes,
            issued: transfer.issued,
            started: transfer.started.min(now),
            finished: now,
            alone: self.profiles[transfer.profile].latency + transfer.alone,
        });
        self.completed[transfer.class] += transfer.bytes;
        let lanes = transfer.has_slots.then(|| self.lanes_of(TransferId(slot)));
        self.leave_windows(TransferId(slot));
        self.vacate(slot);
        if let Some(lanes) = lanes {
            self.admission.give_back(&lanes);
            self.turns.extend(lanes);
        }
    }

    /// Gives effect to all that was issued or completed since the last call: sets rates, starts what is first in line,
    /// and moves the pending completions in `calendar`, whose clock says when. To be called before the clock moves on.
    pub fn settle(&mut self, calendar: &mut Calendar) {
        let now = calendar.now();
        if !self.turns.is_empty() {
            self.take_turns(now);
        }
        if !self.obsolete.is_empty() {
            self.obsolete.drain(..).for_each(|event| calendar.cancel(event));
        }
        for (timer, underway) in self.underway.iter().enumerate() {
            if let Some((at, _)) = underway.front() {
                calendar.schedule(EventId::new(ARRIVALS + timer as u32), *at);
            }
        }
        let Self { arbiter, transfers, gangs, profiles, lanes, .. } = self;
        match arbiter {
            Arbiter::Sharing(sharing) => sharing.settle(calendar, &mut Present { now, transfers }),
            Arbiter::Fifo(fifo) => {
                while let Some(slot) = fifo.next_candidate() {
                    let transfer = &transfers[slot as usize];
                    let gang = match transfer.role {
                        Role::Gang(gang) => Some(&gangs[gang as usize]),
                        _ => None,
                    };
                    let held = gang.map_or(profiles[transfer.profile].lanes(), |gang| &gang.lanes);
                    if matches!(transfer.state, State::Queued) && fifo.is_first(slot, held) {
                        let of = |slot: u32| profiles[transfers[slot as usize].profile].holds();
                        let turning = match gang {
                            None => fifo.turn(of(slot)),
                            Some(gang) => fifo.turn(gang.parts.iter().flat_map(|part| of(*part))),
                        };
                        let since = now + turning;
                        enter(lanes, held, now);
                        calendar.schedule(EventId::new(held[0] as u32), since + transfer.carry);
                        let transfer = &mut transfers[slot as usize];
                        transfer.state = State::Running { since };
                        transfer.started = now;
                    }
                }
            }
        }
    }

    /// What each lane has done by `now`, by lane.
    #[must_use]
    pub fn loads(&self, now: SimTime) -> Vec<LaneLoad> {
        self.lanes
            .iter()
            .map(|lane| {
                let running = if lane.serving > 0 { now.saturating_sub(lane.since) } else { SimTime::ZERO };
                LaneLoad { busy: lane.load.busy + running, ..lane.load }
            })
            .collect()
    }

    /// What each lane carries at this moment, in bytes a second, by lane.
    #[must_use]
    pub fn lane_rates(&self) -> Vec<f64> {
        let mut rates = vec![0.0; self.lanes.len()];
        match &self.arbiter {
            Arbiter::Sharing(sharing) => sharing.add_rates(&mut rates),
            Arbiter::Fifo(_) => {
                let running = |transfer: &&Transfer<Tag>| matches!(transfer.state, State::Running { .. });
                for transfer in self.transfers.iter().filter(running) {
                    let seconds = transfer.carry.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
                    let slots = match transfer.role {
                        Role::Gang(gang) => self.gangs[gang as usize].parts.as_slice(),
                        _ => &[],
                    };
                    let parts = slots.iter().map(|slot| &self.transfers[*slot as usize]);
                    let whole = slots.is_empty().then_some(transfer);
                    for part in parts.chain(whole) {
                        for &lane in self.profiles[part.profile].lanes() {
                            rates[lane] += part.bytes.as_f64() / seconds;
                        }
                    }
                }
            }
        }
        rates
    }

    /// The bytes of every transfer issued so far, by class.
    #[must_use]
    pub fn issued(&self) -> PerClass<Bytes> {
        self.issued
    }

    /// The bytes of every transfer completed so far, and what has been carried of those that were cancelled, by class.
    #[must_use]
    pub fn completed(&self) -> PerClass<Bytes> {
        self.completed
    }

    /// The bytes that are not carried, as their transfers were [cancelled](Fabric::cancel), by class. Issued bytes are completed, dropped or in
    /// flight.
    #[must_use]
    pub fn dropped(&self) -> PerClass<Bytes> {
        self.dropped
    }

    /// The bytes of every transfer that was issued and is not complete, by class.
    #[must_use]
    pub fn in_flight(&self) -> PerClass<Bytes> {
        let mut bytes = PerClass::filled(Bytes::ZERO);
        for transfer in &self.transfers {
            if !matches!(transfer.state, State::Vacant) && !matches!(transfer.role, Role::PartOf(_)) {
                bytes[transfer.class] += transfer.bytes;
            }
        }
        bytes
    }

    /// What tells how far due transfers of `class` over `route` in granules of `granule` that lie
    /// anywhere have come. `None` where they do not progress alike: under `Fifo`, and where some
    /// fit into a window of bytes in flight and some do not.
    #[must_use]
    pub fn meter(&mut self, route: RouteId, class: TransferClass, granule: Bytes) -> Option<Meter> {
        let profile = self.profiles.find(&mut self.arbiter, class, route, (Pattern::Random, granule), (Bytes::ZERO, 1));
        if self.profiles[profile].windows != 0 {
            return None;
        }
        match &self.arbiter {
            Arbiter::Sharing(_) => Some(Meter(self.profiles[profile].group(Urgency::Due))),
            Arbiter::Fifo(_) => None,
        }
    }

    /// How far each of the transfers of `meter` has come by `now` since an origin that all of them share, in a unit of the fabric's own.
    #[must_use]
    pub fn progress(&self, now: SimTime, meter: Meter) -> Option<u128> {
        match &self.arbiter {
            Arbiter::Sharing(sharing) => Some(sharing.progress(now, meter.0)),
            Arbiter::Fifo(_) => None,
        }
    }

    /// The progress at which a transfer that is at `progress` will have received `bytes` more, or just before.
    #[must_use]
    pub fn progress_after(progress: u128, bytes: Bytes) -> u128 {
        sharing::progress_after(progress, bytes)
    }
}

const LEVELS: u8 = 4;

/// Which transfers go before which: the lower level first.
fn level(arbitration: Arbitration, class: TransferClass, urgency: Urgency) -> u8 {
    match (arbitration, class, urgency) {
        (Arbitration::Fifo, ..) => 0,
        (Arbitration::Priority, TransferClass::KvWrite, _) => 2,
        (Arbitration::Priority, TransferClass::MigrateIn | TransferClass::MigrateOut, _) => 3,
        (_, _, Urgency::Early) => 1,
        (_, _, Urgency::Due) => 0,
    }
}

fn enter(lanes: &mut [LaneState], route: &[usize], now: SimTime) {
    for &lane in route {
        if lanes[lane].serving == 0 {
            lanes[lane].since = now;
        }
        lanes[lane].serving += 1;
    }
}

fn leave(lanes: &mut [LaneState], route: &[usize], now: SimTime) {
    for &lane in route {
        let lane = &mut lanes[lane];
        lane.serving -= 1;
        if lane.serving == 0 {
            lane.load.busy += now - lane.since;
        }
    }
}

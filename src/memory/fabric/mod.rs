//! Transfers over routes, in time.

mod fifo;
mod max_min;
mod sharing;

use super::{Arbitration, MemorySystem, RouteId, TransferClass};
use crate::kernel::{Calendar, EventId};
use crate::units::{Bandwidth, Bytes, SimTime};
use fifo::Fifo;
use max_min::{Demand, Rate};
use sharing::{Membership, Sharing};
use std::collections::VecDeque;

/// A transfer that was issued and is not complete. The fabric reuses ids of completed transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId(u32);

/// Whether a transfer is wanted now or ahead of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// As its class demands.
    Due,
    /// Read ahead of need (`weight_prefetch`): takes only what all due transfers leave of its lanes; under `Priority`,
    /// what demand reads leave. Under `Fifo`, where arrival decides, it makes no difference.
    Early,
}

/// What is to be carried. `tag` is the issuer's own and comes back with the completion.
#[derive(Clone, Copy, Debug)]
pub struct Request<Tag> {
    /// What for.
    pub class: TransferClass,
    /// Over which lanes.
    pub route: RouteId,
    /// How much; at least one byte.
    pub bytes: Bytes,
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
    /// The request's route.
    pub route: RouteId,
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
    /// Bytes of completed transfers, by class.
    pub bytes: [Bytes; TransferClass::COUNT],
}

#[derive(Clone, Copy, Debug)]
enum State {
    Vacant,
    /// Issued, but not requested before [`Fabric::admit`].
    Held,
    /// Requested; its bytes are not on the lanes yet.
    Underway,
    Shared(Membership),
    Queued,
    Running {
        since: SimTime,
    },
}

#[derive(Clone, Debug)]
struct Transfer<Tag> {
    request: Request<Tag>,
    issued: SimTime,
    started: Option<SimTime>,
    /// What its bytes take on their lanes, alone.
    carry: SimTime,
    /// The order of admission to the lanes; unique, so it also tells a slot's transfers apart.
    order: u64,
    state: State,
}

/// The order of what is not on its lanes: no heap entry has it.
const NO_ORDER: u64 = u64::MAX;

#[derive(Clone, Debug)]
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
/// completes at one instant takes effect together, at [`settle`](Fabric::settle).
///
/// ```
/// use tiersim::kernel::Calendar;
/// use tiersim::memory::{Fabric, MemorySystem, Request, TierId, TransferClass, Urgency};
/// use tiersim::units::{Bytes, SimTime};
///
/// let system = MemorySystem::new(&tiersim::catalog::memory("study")?)?;
/// let mut calendar = Calendar::with_capacity(16);
/// let mut fabric = Fabric::new(&system);
/// let request = Request {
///     class: TransferClass::KvRead,
///     route: system.read_route(TierId::HBM),
///     bytes: Bytes::new(4_915_000),
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
    /// For each route its lanes.
    routes: Vec<Vec<usize>>,
    /// For each route the bandwidth of its slowest lane.
    bandwidth: Vec<Bandwidth>,
    /// For each route, how long a request is under way.
    latency: Vec<SimTime>,
    /// For each route, what is under way, in the order of arrival: the latency is the same for all.
    underway: Vec<VecDeque<(SimTime, TransferId)>>,
    /// For each (route, class, urgency) the group under `Sharing`.
    groups: Vec<usize>,
    transfers: Vec<Transfer<Tag>>,
    vacant: Vec<u32>,
    lanes: Vec<LaneState>,
    /// Scratch space: what `Sharing` has started.
    started: Vec<(u64, u32)>,
    admitted: u64,
    issued: [Bytes; TransferClass::COUNT],
    completed: [Bytes; TransferClass::COUNT],
}

impl<Tag: Copy> Fabric<Tag> {
    /// The idle lanes of `system`.
    #[must_use]
    pub fn new(system: &MemorySystem) -> Self {
        let routes: Vec<Vec<usize>> =
            system.routes().iter().map(|route| route.iter().map(|lane| lane.0).collect()).collect();
        let mut groups = Vec::new();
        let arbiter = match system.arbitration() {
            Arbitration::Fifo => Arbiter::Fifo(Fifo::new(system.lanes().len())),
            shared => {
                let mut demands: Vec<Demand> = Vec::new();
                for lanes in &routes {
                    for (class, urgency) in kinds() {
                        let demand = Demand {
                            lanes: lanes.clone(),
                            weight: match shared {
                                Arbitration::Fair => u64::from(system.class_weights().of(class)),
                                _ => 1,
                            },
                            level: level(shared, class, urgency),
                            count: 0,
                        };
                        let same = |other: &Demand| {
                            (&other.lanes, other.weight, other.level) == (&demand.lanes, demand.weight, demand.level)
                        };
                        let group = demands.iter().position(same).unwrap_or(demands.len());
                        if group == demands.len() {
                            demands.push(demand);
                        }
                        groups.push(group);
                    }
                }
                let capacity = system.lanes().iter().map(|lane| rate(lane.bandwidth)).collect();
                Arbiter::Sharing(Sharing::new(demands, capacity, LEVELS))
            }
        };
        Self {
            arbiter,
            bandwidth: (0..routes.len()).map(|route| system.route_bandwidth(RouteId(route))).collect(),
            latency: (0..routes.len()).map(|route| system.route_latency(RouteId(route))).collect(),
            underway: vec![VecDeque::new(); routes.len()],
            routes,
            groups,
            transfers: Vec::with_capacity(256),
            vacant: Vec::with_capacity(256),
            lanes: vec![LaneState::default(); system.lanes().len()],
            started: Vec::with_capacity(64),
            admitted: 0,
            issued: [Bytes::ZERO; TransferClass::COUNT],
            completed: [Bytes::ZERO; TransferClass::COUNT],
        }
    }

    /// Calendar ids below this are the fabric's: first one a group or lane, then one a route.
    #[must_use]
    pub fn events(&self) -> u32 {
        self.completions() + self.routes.len() as u32
    }

    fn completions(&self) -> u32 {
        let events = match &self.arbiter {
            Arbiter::Sharing(sharing) => sharing.events(),
            Arbiter::Fifo(_) => self.lanes.len(),
        };
        events as u32
    }

    /// Issues a transfer at `now`: it is requested at once, and on its lanes when the route's latency is over.
    pub fn issue(&mut self, now: SimTime, request: Request<Tag>) -> TransferId {
        let id = self.issue_held(now, request);
        self.admit(now, id);
        id
    }

    /// Issues a transfer at `now` that waits for [`admit`](Fabric::admit) before it is requested. The wait counts as
    /// queueing.
    pub fn issue_held(&mut self, now: SimTime, request: Request<Tag>) -> TransferId {
        debug_assert!(request.bytes > Bytes::ZERO, "nothing is issued for zero bytes");
        self.issued[request.class.index()] += request.bytes;
        let transfer = Transfer {
            request,
            issued: now,
            started: None,
            carry: self.bandwidth[request.route.0].time_for(request.bytes),
            order: NO_ORDER,
            state: State::Held,
        };
        match self.vacant.pop() {
            Some(slot) => {
                self.transfers[slot as usize] = transfer;
                TransferId(slot)
            }
            None => {
                self.transfers.push(transfer);
                TransferId(self.transfers.len() as u32 - 1)
            }
        }
    }

    /// Requests a held transfer at `now`.
    pub fn admit(&mut self, now: SimTime, id: TransferId) {
        let transfer = &mut self.transfers[id.0 as usize];
        debug_assert!(matches!(transfer.state, State::Held), "admitted twice");
        let route = transfer.request.route.0;
        let latency = self.latency[route];
        if latency == SimTime::ZERO {
            self.enter(now, id);
        } else {
            transfer.state = State::Underway;
            self.underway[route].push_back((now + latency, id));
        }
    }

    /// Puts a transfer on its lanes at `now`.
    fn enter(&mut self, now: SimTime, id: TransferId) {
        let group = self.group(id, self.transfers[id.0 as usize].request.urgency);
        let transfer = &mut self.transfers[id.0 as usize];
        transfer.order = self.admitted;
        self.admitted += 1;
        let route = &self.routes[transfer.request.route.0];
        match &mut self.arbiter {
            Arbiter::Sharing(sharing) => {
                let member = sharing.join(now, group, transfer.request.bytes, transfer.order, id.0);
                transfer.state = State::Shared(member);
                enter(&mut self.lanes, route, now);
            }
            Arbiter::Fifo(fifo) => {
                transfer.state = State::Queued;
                fifo.arrive(id.0, route);
            }
        }
    }

    /// Puts what has been under way over `route` for its latency on its lanes.
    fn arrive(&mut self, now: SimTime, route: usize) {
        while let Some(&(at, id)) = self.underway[route].front()
            && at <= now
        {
            self.underway[route].pop_front();
            self.enter(now, id);
        }
    }

    /// An early transfer has become due at `now`: it goes on with the precedence of its class.
    pub fn promote(&mut self, now: SimTime, id: TransferId) {
        let group = self.group(id, Urgency::Due);
        let transfer = &mut self.transfers[id.0 as usize];
        if transfer.request.urgency == Urgency::Due {
            return;
        }
        transfer.request.urgency = Urgency::Due;
        if let (Arbiter::Sharing(sharing), State::Shared(member)) = (&mut self.arbiter, transfer.state) {
            transfer.order = self.admitted;
            self.admitted += 1;
            transfer.state = State::Shared(sharing.regroup(now, member, group, transfer.order, id.0));
        }
    }

    /// The whole bytes of `id` that have arrived by `now`.
    #[must_use]
    pub fn delivered(&self, now: SimTime, id: TransferId) -> Bytes {
        let transfer = &self.transfers[id.0 as usize];
        match (&self.arbiter, transfer.state) {
            (Arbiter::Sharing(sharing), State::Shared(member)) => {
                sharing.delivered(now, member, transfer.request.bytes)
            }
            (_, State::Running { since }) => {
                let rate = u128::from(self.bandwidth[transfer.request.route.0].get());
                let bytes = rate * u128::from((now - since).as_ps()) / u128::from(SimTime::PS_PER_SECOND);
                Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX).min(transfer.request.bytes.get()))
            }
            _ => Bytes::ZERO,
        }
    }

    /// Handles `event`, due at `now`: adds the transfers that are complete to `done`, in the order of completion, or puts on
    /// the lanes what has arrived there.
    pub fn complete(&mut self, now: SimTime, event: EventId, done: &mut Vec<Completed<Tag>>) {
        if let Some(route) = event.0.checked_sub(self.completions()) {
            self.arrive(now, route as usize);
            return;
        }
        let index = event.0 as usize;
        loop {
            let transfers = &self.transfers;
            let slot = match &mut self.arbiter {
                Arbiter::Sharing(sharing) => {
                    sharing.take_complete(now, index, |slot, order| transfers[slot as usize].order == order)
                }
                Arbiter::Fifo(fifo) => fifo.first(index).filter(|&slot| {
                    let transfer = &transfers[slot as usize];
                    matches!(transfer.state, State::Running { since } if since + transfer.carry <= now)
                }),
            };
            let Some(slot) = slot else { break };
            let transfer = &mut self.transfers[slot as usize];
            transfer.state = State::Vacant;
            // No live heap entry has this order: entries of the slot's next transfer are told apart.
            transfer.order = NO_ORDER;
            let Request { class, route, bytes, tag, .. } = transfer.request;
            done.push(Completed {
                id: TransferId(slot),
                tag,
                class,
                route,
                bytes,
                issued: transfer.issued,
                started: transfer.started.unwrap_or(now),
                finished: now,
                alone: self.latency[route.0] + transfer.carry,
            });
            self.vacant.push(slot);
            self.completed[class.index()] += bytes;
            let route = &self.routes[route.0];
            for &lane in route {
                self.lanes[lane].load.bytes[class.index()] += bytes;
            }
            leave(&mut self.lanes, route, now);
            if let Arbiter::Fifo(fifo) = &mut self.arbiter {
                fifo.leave(route);
                break;
            }
        }
    }

    /// Gives effect to all that was issued or completed since the last call: sets rates, starts what is first in line,
    /// and moves the pending completions in `calendar`, whose clock says when. To be called before the clock moves on.
    pub fn settle(&mut self, calendar: &mut Calendar) {
        let now = calendar.now();
        let first = self.completions();
        for (route, underway) in self.underway.iter().enumerate() {
            if let Some((at, _)) = underway.front() {
                calendar.schedule(EventId(first + route as u32), *at);
            }
        }
        let Self { arbiter, transfers, routes, lanes, started, .. } = self;
        match arbiter {
            Arbiter::Sharing(sharing) => {
                sharing.settle(now, calendar, started, |group, slot, order| {
                    let transfer = &transfers[slot as usize];
                    transfer.order == order && matches!(transfer.state, State::Shared(member) if member.group == group)
                });
                for (order, slot) in started.drain(..) {
                    let transfer = &mut transfers[slot as usize];
                    if transfer.order == order {
                        transfer.started.get_or_insert(now);
                    }
                }
            }
            Arbiter::Fifo(fifo) => {
                while let Some(slot) = fifo.next_candidate() {
                    let transfer = &mut transfers[slot as usize];
                    let route = &routes[transfer.request.route.0];
                    if matches!(transfer.state, State::Queued) && fifo.is_first(slot, route) {
                        transfer.state = State::Running { since: now };
                        transfer.started = Some(now);
                        enter(lanes, route, now);
                        calendar.schedule(EventId(route[0] as u32), now + transfer.carry);
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

    /// The bytes of every transfer issued so far, by class.
    #[must_use]
    pub fn issued(&self) -> [Bytes; TransferClass::COUNT] {
        self.issued
    }

    /// The bytes of every transfer completed so far, by class.
    #[must_use]
    pub fn completed(&self) -> [Bytes; TransferClass::COUNT] {
        self.completed
    }

    /// The bytes of every transfer that was issued and is not complete, by class.
    #[must_use]
    pub fn in_flight(&self) -> [Bytes; TransferClass::COUNT] {
        let mut bytes = [Bytes::ZERO; TransferClass::COUNT];
        for transfer in &self.transfers {
            if !matches!(transfer.state, State::Vacant) {
                bytes[transfer.request.class.index()] += transfer.request.bytes;
            }
        }
        bytes
    }

    /// How far each transfer of `class` over `route` has come since an origin that all of them share, in a unit of the
    /// fabric's own. `None` where they do not progress alike.
    #[must_use]
    pub fn progress(&self, now: SimTime, route: RouteId, class: TransferClass) -> Option<u128> {
        match &self.arbiter {
            Arbiter::Sharing(sharing) => Some(sharing.progress(now, self.group_of(route, class, Urgency::Due))),
            Arbiter::Fifo(_) => None,
        }
    }

    /// The progress at which a transfer that is at `progress` will have received `bytes` more, or just before.
    #[must_use]
    pub fn progress_after(progress: u128, bytes: Bytes) -> u128 {
        sharing::progress_after(progress, bytes)
    }

    fn group(&self, id: TransferId, urgency: Urgency) -> usize {
        let request = &self.transfers[id.0 as usize].request;
        self.group_of(request.route, request.class, urgency)
    }

    fn group_of(&self, route: RouteId, class: TransferClass, urgency: Urgency) -> usize {
        let kind = class.index() * 2 + usize::from(urgency == Urgency::Early);
        // Under `Fifo` there are no groups.
        self.groups.get(route.0 * TransferClass::COUNT * 2 + kind).copied().unwrap_or(0)
    }
}

/// Every class, due and early, in the order in which [`Fabric::group_of`] finds them.
fn kinds() -> impl Iterator<Item = (TransferClass, Urgency)> {
    TransferClass::ALL.into_iter().flat_map(|class| [(class, Urgency::Due), (class, Urgency::Early)])
}

const LEVELS: u8 = 4;

/// Which transfers go before which: the lower level first.
fn level(arbitration: Arbitration, class: TransferClass, urgency: Urgency) -> u8 {
    match (arbitration, class, urgency) {
        (Arbitration::Priority, TransferClass::KvWrite, _) => 2,
        (Arbitration::Priority, TransferClass::MigrateIn | TransferClass::MigrateOut, _) => 3,
        (_, _, Urgency::Early) => 1,
        (_, _, Urgency::Due) => 0,
    }
}

/// A bandwidth in the fixed-point format of rates, rounded down.
fn rate(bandwidth: Bandwidth) -> Rate {
    u128::from(bandwidth.get()) * sharing::BYTE / u128::from(SimTime::PS_PER_SECOND)
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

//! Transfers over one route or several at once, carried by a [`Fabric`], and the slow twin of `fair` and `priority`.
//!
//! The twin knows no groups, heaps or fixed-point numbers: every part of a transfer is a flow of its own, a lane is full when
//! the times of all bytes on it add up to the time there is, and at every event all rates are found anew by bisection.

pub mod dram_commands;
pub mod properties;
pub mod python;
pub mod runs;
pub mod schema;
pub mod skip;
pub mod study;

use proptest::test_runner::TestCaseError;
use std::collections::{BTreeMap, VecDeque};
use tiersim::memory::{
    Arbitration, Cancelled, ClassWeights, Completed, Direction, Interleaving, Lane, LaneLoad, Machine, MemoryConfig,
    MemorySystem, Path, Pattern, Request, ResidencyKind, RouteId, TierConfig, TierId, TransferClass, TransferId,
    Urgency,
};
use tiersim::units::{Bandwidth, Bytes, SimTime};

pub const GIGA: u64 = 1_000_000_000;
const PS_PER_SECOND: f64 = SimTime::PS_PER_SECOND as f64;
/// What a complete transfer may lack: 2^-20 byte, as the fabric says of itself.
pub const CRUMB: f64 = 1.0 / 1_048_576.0;

// ---- What is carried ----

/// Over which routes.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    One(RouteId),
    Even(Vec<RouteId>),
    Parts(Vec<(RouteId, u64)>),
}

/// A transfer and what befalls it. Times in picoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub class: TransferClass,
    pub source: Option<TierId>,
    pub destination: Option<TierId>,
    pub way: Way,
    pub bytes: u64,
    pub granule: u64,
    pub issued: u64,
    pub held: Option<u64>,
    pub promoted: Option<u64>,
    /// How long after its issue it is cancelled, if it is not complete by then.
    pub cancelled: Option<u64>,
    pub urgency: Urgency,
}

impl Planned {
    /// Its routes and the bytes on each.
    pub fn parts(&self) -> Vec<(RouteId, f64)> {
        match &self.way {
            Way::One(route) => vec![(*route, self.bytes as f64)],
            Way::Even(routes) => {
                let part = self.bytes as f64 / routes.len() as f64;
                routes.iter().map(|route| (*route, part)).collect()
            }
            Way::Parts(parts) => parts.iter().map(|(route, bytes)| (*route, *bytes as f64)).collect(),
        }
    }

    /// When it takes its lanes.
    pub fn admitted(&self) -> u64 {
        self.issued + self.held.unwrap_or(0)
    }

    pub fn holds(&self, system: &MemorySystem, lane: usize) -> bool {
        lanes_with(system, self, |_| true).contains(&lane)
    }

    pub fn latency(&self, system: &MemorySystem) -> u64 {
        [self.source, self.destination]
            .into_iter()
            .flatten()
            .map(|tier| system.tiers()[tier.index()].latency.as_ps())
            .sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Issue,
    Admit,
    Promote,
    Cancel,
}

/// What is done from outside, by time. The position in the plan orders equal actions of an instant.
pub fn agenda(plan: &[Planned]) -> VecDeque<(u64, Action, usize)> {
    let mut agenda = Vec::new();
    for (index, planned) in plan.iter().enumerate() {
        agenda.push((planned.issued, Action::Issue, index));
        agenda.extend(planned.held.map(|_| (planned.admitted(), Action::Admit, index)));
        agenda.extend(planned.promoted.map(|delay| (planned.issued + delay, Action::Promote, index)));
        agenda.extend(planned.cancelled.map(|delay| (planned.issued + delay, Action::Cancel, index)));
    }
    agenda.sort_unstable();
    agenda.into()
}

pub fn take_due(agenda: &mut VecDeque<(u64, Action, usize)>, now: u64) -> Option<(Action, usize)> {
    let &(at, action, index) = agenda.front()?;
    (at == now).then(|| {
        agenda.pop_front();
        (action, index)
    })
}

/// A fabric that carries out a plan. The tags are positions in the plan.
pub struct Replay<'a> {
    pub plan: &'a [Planned],
    agenda: VecDeque<(u64, Action, usize)>,
    pub machine: Machine<usize>,
    pub in_flight: BTreeMap<usize, TransferId>,
    pub completed: Vec<Completed<usize>>,
    pub cancelled: Vec<Cancelled<usize>>,
    /// Whether what is issued without being held is issued held and admitted at once, which is to make no difference.
    pub always_holds: bool,
}

impl<'a> Replay<'a> {
    pub fn new(system: &MemorySystem, plan: &'a [Planned]) -> Self {
        Self {
            plan,
            agenda: agenda(plan),
            machine: Machine::new(system),
            in_flight: BTreeMap::new(),
            completed: Vec::new(),
            cancelled: Vec::new(),
            always_holds: false,
        }
    }

    pub fn next_instant(&self) -> Option<SimTime> {
        let outside = self.agenda.front().map(|&(at, ..)| SimTime::from_ps(at));
        outside.into_iter().chain(self.machine.next_time()).min()
    }

    /// All that happens at `at`, completions first.
    pub fn handle(&mut self, at: SimTime) {
        let (in_flight, completed) = (&mut self.in_flight, &mut self.completed);
        self.machine.advance(at, &mut |transfer: Completed<usize>| {
            in_flight.remove(&transfer.tag);
            completed.push(transfer);
        });
        while let Some((action, index)) = take_due(&mut self.agenda, at.as_ps()) {
            self.act(action, index);
        }
        self.machine.settle();
        assert!(self.machine.next_time().is_none_or(|next| next > at), "the instant {at} comes up again");
    }

    fn act(&mut self, action: Action, index: usize) {
        let planned = &self.plan[index];
        match action {
            Action::Issue => {
                let parts: Vec<(RouteId, Bytes)>;
                let path = match &planned.way {
                    Way::One(route) => Path::Route(*route),
                    Way::Even(routes) => Path::Even(routes),
                    Way::Parts(of) => {
                        parts = of.iter().map(|(route, bytes)| (*route, Bytes::new(*bytes))).collect();
                        Path::Parts(&parts)
                    }
                };
                let request = Request {
                    class: planned.class,
                    path,
                    bytes: Bytes::new(planned.bytes),
                    granule: Bytes::new(planned.granule),
                    pattern: Pattern::Random,
                    urgency: planned.urgency,
                    tag: index,
                };
                let id = if planned.held.is_none() && !self.always_holds {
                    self.machine.issue(request)
                } else {
                    self.machine.issue_held(request)
                };
                if planned.held.is_none() && self.always_holds {
                    self.machine.admit(id);
                }
                self.in_flight.insert(index, id);
            }
            Action::Admit => {
                if let Some(&id) = self.in_flight.get(&index) {
                    self.machine.admit(id);
                }
            }
            Action::Cancel => {
                if let Some(id) = self.in_flight.remove(&index) {
                    self.cancelled.push(self.machine.cancel(id));
                }
            }
            Action::Promote => {
                if let Some(&id) = self.in_flight.get(&index) {
                    self.machine.raise_urgency(id);
                }
            }
        }
    }

    pub fn run(&mut self) {
        while let Some(at) = self.next_instant() {
            self.handle(at);
        }
        assert!(self.in_flight.is_empty(), "never completed: {:?}", self.in_flight);
    }

    /// Runs to the end: what each transfer said of itself when it was complete, by position in the plan.
    pub fn finish(mut self) -> Vec<Completed<usize>> {
        self.run();
        self.completed.sort_by_key(|transfer| transfer.tag);
        self.completed
    }
}

/// When each transfer of `plan` finishes on the fabric, in picoseconds.
pub fn finishes(system: &MemorySystem, plan: &[Planned]) -> Vec<u64> {
    Replay::new(system, plan).finish().iter().map(|transfer| transfer.finished.as_ps()).collect()
}

/// What the lanes did in the end.
pub fn loads(system: &MemorySystem, plan: &[Planned]) -> Vec<LaneLoad> {
    let mut replay = Replay::new(system, plan);
    replay.run();
    replay.machine.fabric().loads(replay.machine.now())
}

// ---- The twin ----

/// A part of a transfer on its lanes.
struct Flow {
    transfer: usize,
    holds: Vec<Held>,
    weight: f64,
    level: u8,
    cap: f64,
    missing: f64,
    crumb: f64,
}

/// A lane, and the time that a byte takes of it at each of the lane's read shares: in picoseconds, so that the lane is full
/// when the times of what is carried in a picosecond add up to 1.
struct Held {
    lane: usize,
    reads: bool,
    times: Vec<f64>,
}

impl Flow {
    fn wait(&self, rate: f64) -> u64 {
        ((self.missing - self.crumb) / rate).ceil().max(0.0) as u64
    }
}

/// What the twin found out about a plan.
pub struct Twin {
    pub finishes: Vec<u64>,
    /// When each transfer was requested: it had a slot on all its limited lanes.
    pub requested: Vec<u64>,
    /// What each transfer that was cancelled had received.
    pub carried: Vec<f64>,
}

/// The bytes in flight in each window, and who had to share its rate.
struct InFlight<'a> {
    system: &'a MemorySystem,
    plan: &'a [Planned],
    /// By lane, the transfers that count.
    counted: Vec<Vec<usize>>,
    /// By transfer, the lanes of windows in which it did not fit.
    shares: Vec<Vec<usize>>,
}

impl InFlight<'_> {
    fn request(&mut self, index: usize) {
        for lane in lanes_with(self.system, &self.plan[index], |lane| lane.window.is_some()) {
            let window = self.system.lanes()[lane].window.expect("a window").get();
            let taken: u64 = self.counted[lane].iter().map(|&other| self.plan[other].bytes.min(window)).sum();
            if taken + self.plan[index].bytes > window {
                self.shares[index].push(lane);
            }
            self.counted[lane].push(index);
        }
    }

    fn arrived(&mut self, index: usize) {
        self.counted.iter_mut().for_each(|counted| counted.retain(|other| *other != index));
    }
}

/// Carries out `plan` under `fair` or `priority`.
pub fn twin(system: &MemorySystem, plan: &[Planned]) -> Twin {
    let mut agenda = agenda(plan);
    let mut urgency: Vec<Urgency> = plan.iter().map(|planned| planned.urgency).collect();
    let mut finishes = vec![0; plan.len()];
    let mut requested = vec![0; plan.len()];
    let mut carried = vec![0.0; plan.len()];
    let mut cancelled = vec![false; plan.len()];
    let mut flows: Vec<Flow> = Vec::new();
    // (precedence, order of arrival, transfer) in line; then (arrival at the lanes, transfer) under
    // way.
    let mut line: Vec<(u8, usize, usize)> = Vec::new();
    let mut underway: Vec<(u64, usize)> = Vec::new();
    let mut in_flight = InFlight {
        system,
        plan,
        counted: vec![Vec::new(); system.lanes().len()],
        shares: vec![Vec::new(); plan.len()],
    };
    let mut active: Vec<Vec<usize>> = vec![Vec::new(); system.lanes().len()];
    let (mut arrivals, mut now) = (0, 0u64);
    loop {
        // Whose turn is it? The first in line on each of its limited lanes, all with room, goes; and again from the start.
        loop {
            line.sort_unstable();
            let lanes_of = |transfer: usize| limited_lanes(system, &plan[transfer]);
            let next = (0..line.len()).find(|&at| {
                lanes_of(line[at].2).iter().all(|lane| {
                    let first = line[..at].iter().all(|before| !lanes_of(before.2).contains(lane));
                    let limit = system.lanes()[*lane].max_transfers.expect("a limited lane") as usize;
                    first && active[*lane].len() < limit
                })
            });
            let Some(at) = next else { break };
            let (_, _, transfer) = line.remove(at);
            for lane in lanes_of(transfer) {
                active[lane].push(transfer);
            }
            requested[transfer] = now;
            in_flight.request(transfer);
            underway.push((now + plan[transfer].latency(system), transfer));
        }
        for (_, index) in underway.extract_if(.., |(at, _)| *at <= now) {
            flows.extend(flows_of(system, plan, index, urgency[index], &in_flight.shares[index]));
        }
        let rates = rates(system, &flows);
        let completion = flows.iter().zip(&rates).map(|(flow, rate)| now.saturating_add(flow.wait(*rate))).min();
        let outside = agenda.front().map(|&(at, ..)| at);
        let arrival = underway.iter().map(|&(at, _)| at).min();
        let Some(next) = completion.into_iter().chain(outside).chain(arrival).min() else {
            assert!(line.is_empty(), "the twin leaves {line:?} in line");
            return Twin { finishes, requested, carried };
        };
        assert!(next < u64::MAX, "the twin starves {} flows", flows.len());
        for (flow, rate) in flows.iter_mut().zip(&rates) {
            flow.missing -= rate * (next - now) as f64;
        }
        now = next;
        let done: Vec<Flow> = flows.extract_if(.., |flow| flow.missing <= flow.crumb * (1.0 + 1e-9)).collect();
        for flow in done {
            if !flows.iter().any(|other| other.transfer == flow.transfer) {
                finishes[flow.transfer] = now;
                in_flight.arrived(flow.transfer);
                active.iter_mut().for_each(|on_lane| on_lane.retain(|other| *other != flow.transfer));
            }
        }
        while let Some((action, index)) = take_due(&mut agenda, now) {
            match action {
                Action::Issue if plan[index].held.is_some() => {}
                Action::Admit if cancelled[index] => {}
                Action::Issue | Action::Admit if limited_lanes(system, &plan[index]).is_empty() => {
                    requested[index] = now;
                    in_flight.request(index);
                    underway.push((now + plan[index].latency(system), index));
                }
                Action::Issue | Action::Admit => {
                    line.push((precedence(system, plan[index].class, urgency[index]), arrivals, index));
                    arrivals += 1;
                }
                Action::Cancel => {
                    cancelled[index] = true;
                    let missing: f64 =
                        flows.extract_if(.., |flow| flow.transfer == index).map(|flow| flow.missing).sum();
                    // 0 while it is in line or on its way to its lanes.
                    let waits = underway.iter().any(|it| it.1 == index)
                        || line.iter().any(|it| it.2 == index)
                        || (plan[index].held.is_some_and(|held| plan[index].issued + held > now));
                    carried[index] = if waits { 0.0 } else { plan[index].bytes as f64 - missing };
                    in_flight.arrived(index);
                    underway.retain(|it| it.1 != index);
                    line.retain(|it| it.2 != index);
                    active.iter_mut().for_each(|on_lane| on_lane.retain(|other| *other != index));
                }
                Action::Promote => {
                    urgency[index] = Urgency::Due;
                    let due = precedence(system, plan[index].class, Urgency::Due);
                    flows.iter_mut().filter(|flow| flow.transfer == index).for_each(|flow| flow.level = due);
                    line.iter_mut().filter(|place| place.2 == index).for_each(|place| place.0 = due);
                }
            }
        }
    }
}

/// The lanes of any part of it that carry only so many transfers at once.
fn limited_lanes(system: &MemorySystem, planned: &Planned) -> Vec<usize> {
    lanes_with(system, planned, |lane| lane.max_transfers.is_some())
}

/// The lanes of any part of it of which `what` holds.
pub fn lanes_with(system: &MemorySystem, planned: &Planned, what: impl Fn(&Lane) -> bool) -> Vec<usize> {
    let parts = planned.parts();
    let lanes = parts.iter().flat_map(|(route, _)| system.route(*route)).map(|hold| hold.lane.index());
    let mut found: Vec<usize> = lanes.filter(|lane| what(&system.lanes()[*lane])).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The parts of a transfer, which holds of all windows on its route only those that it `shares`.
fn flows_of(system: &MemorySystem, plan: &[Planned], transfer: usize, urgency: Urgency, shares: &[usize]) -> Vec<Flow> {
    let planned = &plan[transfer];
    let ports: usize =
        [planned.source, planned.destination].into_iter().flatten().map(|tier| system.ports(tier).len()).product();
    let weight = match system.arbitration() {
        Arbitration::Fair => system.class_weights().of(planned.class),
        _ => 1,
    };
    let parts = planned.parts();
    // What is spread evenly is complete when all of it together lacks a crumb.
    let crumb = if matches!(planned.way, Way::Even(_)) { CRUMB / parts.len() as f64 } else { CRUMB };
    let count = parts.len() as f64;
    let flow = |(route, bytes): (RouteId, f64)| {
        let mut route = system.route(route);
        route.retain(|hold| system.lanes()[hold.lane.index()].window.is_none() || shares.contains(&hold.lane.index()));
        let caps = route.iter().filter_map(|hold| system.lanes()[hold.lane.index()].transfer_cap);
        let cap = caps.map(|cap| cap.as_f64() / PS_PER_SECOND / count).fold(f64::INFINITY, f64::min);
        let holds = route.iter().map(|hold| {
            let lane = &system.lanes()[hold.lane.index()];
            let reads = hold.direction == Direction::Read;
            let whole_picosecond = PS_PER_SECOND * f64::from(lane.shared_by);
            let times = match &lane.efficiency {
                None => vec![whole_picosecond / lane.whole.as_f64()],
                Some(efficiency) => {
                    let tier = if reads { planned.source } else { planned.destination };
                    let granule = in_a_row(system, tier.expect("a lane of a tier"), planned.granule);
                    let time = |share: &f64| {
                        whole_picosecond / lane.peak.as_f64() / efficiency.achieved(Bytes::new(granule), *share)
                    };
                    efficiency.read_shares().iter().map(time).collect()
                }
            };
            Held { lane: hold.lane.index(), reads, times }
        });
        Flow {
            transfer,
            holds: holds.collect(),
            weight: f64::from(weight) / ports as f64,
            level: precedence(system, planned.class, urgency),
            cap,
            missing: bytes,
            crumb,
        }
    };
    parts.into_iter().map(flow).collect()
}

/// What one channel carries in a row of runs of `granule` bytes.
fn in_a_row(system: &MemorySystem, tier: TierId, granule: u64) -> u64 {
    let tier = &system.tiers()[tier.index()];
    match tier.interleaving {
        Interleaving::Striped => (granule / u64::from(tier.channels)).max(tier.stripe.get()).min(granule),
        Interleaving::Hashed { .. } => granule,
    }
}

pub const LOWEST_PRECEDENCE: u8 = 3;

pub fn precedence(system: &MemorySystem, class: TransferClass, urgency: Urgency) -> u8 {
    let early = u8::from(urgency == Urgency::Early);
    match (system.arbitration(), class) {
        (Arbitration::Fair, _) | (_, TransferClass::WeightRead | TransferClass::KvRead) => early,
        (_, TransferClass::KvWrite) => 2,
        (_, TransferClass::MigrateIn | TransferClass::MigrateOut) => LOWEST_PRECEDENCE,
    }
}

/// Weighted max-min fair rates, level by level: the rates of all that still rise grow together, each by its weight, until
/// a lane is full or one has its cap.
fn rates(system: &MemorySystem, flows: &[Flow]) -> Vec<f64> {
    let lanes = system.lanes();
    let mut rates = vec![0.0; flows.len()];
    let on_lane: Vec<Vec<(usize, &Held)>> = (0..lanes.len())
        .map(|lane| {
            let of_flow = |(index, flow): (usize, &'_ Flow)| {
                flow.holds.iter().position(|held| held.lane == lane).map(|at| (index, at))
            };
            let found: Vec<(usize, usize)> = flows.iter().enumerate().filter_map(of_flow).collect();
            found.into_iter().map(|(index, at)| (index, &flows[index].holds[at])).collect()
        })
        .collect();
    for level in 0..=LOWEST_PRECEDENCE {
        let mut rising: Vec<bool> = flows.iter().map(|flow| flow.level == level).collect();
        let mut grown = 0.0;
        while rising.contains(&true) {
            let at = |t: f64, index: usize| if rising[index] { t * flows[index].weight } else { rates[index] };
            let mut stop = f64::INFINITY;
            let mut full = None;
            for (lane, on_lane) in on_lane.iter().enumerate() {
                if on_lane.iter().any(|(index, _)| rising[*index]) {
                    let shares = lanes[lane].efficiency.as_ref().map_or(&[][..], |it| it.read_shares());
                    let until = full_at(grown, |t| taken(shares, on_lane, |index| at(t, index)));
                    if until < stop {
                        (stop, full) = (until, Some(lane));
                    }
                }
            }
            for index in (0..flows.len()).filter(|index| rising[*index]) {
                if flows[index].cap <= stop * flows[index].weight {
                    let until = flows[index].cap / flows[index].weight;
                    if until < stop {
                        (stop, full) = (until, None);
                    }
                }
            }
            grown = stop;
            for index in 0..flows.len() {
                if !rising[index] {
                    continue;
                }
                rates[index] = stop * flows[index].weight;
                let capped = flows[index].cap <= rates[index] * (1.0 + 1e-15);
                if capped || full.is_some_and(|lane| flows[index].holds.iter().any(|held| held.lane == lane)) {
                    rising[index] = false;
                }
            }
        }
    }
    rates
}

/// What of a lane's time flows take at the rates given.
fn taken(shares: &[f64], on_lane: &[(usize, &Held)], rate: impl Fn(usize) -> f64) -> f64 {
    if shares.is_empty() {
        return on_lane.iter().map(|(index, held)| rate(*index) * held.times[0]).sum();
    }
    let all: f64 = on_lane.iter().map(|(index, _)| rate(*index)).sum();
    let reads: f64 = on_lane.iter().filter(|(_, held)| held.reads).map(|(index, _)| rate(*index)).sum();
    let share = if all > 0.0 { reads / all } else { 1.0 };
    let after = shares.iter().position(|at| *at >= share).unwrap_or(shares.len() - 1).max(1);
    let (from, to) = (shares[after - 1], shares[after]);
    let part = (share - from) / (to - from);
    on_lane
        .iter()
        .map(|(index, held)| rate(*index) * (held.times[after - 1] * (1.0 - part) + held.times[after] * part))
        .sum()
}

/// The t from `low` on at which `taken` reaches 1.
fn full_at(low: f64, taken: impl Fn(f64) -> f64) -> f64 {
    if taken(low) >= 1.0 {
        return low;
    }
    let (mut low, mut high) = (low, low.max(1e-9));
    while taken(high) < 1.0 {
        high *= 4.0;
    }
    while high - low > 1e-14 * high {
        let middle = low.midpoint(high);
        if middle <= low || middle >= high {
            break;
        }
        if taken(middle) < 1.0 { low = middle } else { high = middle }
    }
    low
}

/// A few picoseconds, as roundings add up, and what floats lose.
pub fn agree(fabrics: &[u64], twins: &[u64]) -> Result<(), TestCaseError> {
    for (index, (&fabric, &twin)) in fabrics.iter().zip(twins).enumerate() {
        let tolerance = 4.0 + 1e-9 * twin as f64;
        if fabric.abs_diff(twin) as f64 > tolerance {
            let all = format!("{fabrics:?} against {twins:?}");
            return Err(TestCaseError::fail(format!("transfer {index}: {fabric} ps, the twin says {twin}; {all}")));
        }
    }
    Ok(())
}

// ---- Systems ----

pub fn bandwidth(bytes_per_second: u64) -> Bandwidth {
    Bandwidth::new(bytes_per_second).expect("a bandwidth is not 0")
}

pub fn giga(gigabytes: u64) -> Bandwidth {
    bandwidth(gigabytes * GIGA)
}

pub fn config(arbitration: Arbitration, class_weights: ClassWeights, tiers: Vec<TierConfig>) -> MemoryConfig {
    MemoryConfig {
        name: "test".to_owned(),
        about: String::new(),
        arbitration,
        class_weights,
        residency: ResidencyKind::Exclusive,
        tiers,
    }
}

pub fn tier(name: &str, bandwidth: Bandwidth) -> TierConfig {
    TierConfig::new(name, Bytes::new(1 << 40), bandwidth)
}

/// The system of `config` with its tiers named and put in order.
pub fn lay(config: &MemoryConfig) -> MemorySystem {
    MemorySystem::new(&in_order(config)).expect("the tiers are in order")
}

/// `config` with its tiers named and ordered by what they can be read at.
pub fn in_order(config: &MemoryConfig) -> MemoryConfig {
    let mut config = config.clone();
    let names = ["hbm", "external", "third", "fourth"];
    let alone = |tier: &TierConfig| {
        let second = TierConfig { name: "other".to_owned(), ..TierConfig::new("other", Bytes::new(1), bandwidth(1)) };
        let tiers = vec![TierConfig { name: "one".to_owned(), ..tier.clone() }, second];
        let system = MemorySystem::new(&MemoryConfig { tiers, ..config.clone() }).expect("a tier is right");
        system.tiers()[0].wire_bandwidth
    };
    let mut tiers: Vec<(Bandwidth, TierConfig)> = config.tiers.iter().map(|tier| (alone(tier), tier.clone())).collect();
    tiers.sort_by_key(|(read, _)| std::cmp::Reverse(*read));
    config.tiers =
        tiers.into_iter().zip(names).map(|((_, tier), name)| TierConfig { name: name.to_owned(), ..tier }).collect();
    config
}

// ---- Transfers ----

/// A due transfer of 1 B that takes its lanes at 0, over what an even spread takes.
pub fn transfer(
    system: &MemorySystem,
    class: TransferClass,
    source: Option<TierId>,
    destination: Option<TierId>,
) -> Planned {
    let way = Way::Even(match (source, destination) {
        (Some(tier), None) => system.even_reads(tier).to_vec(),
        (None, Some(tier)) => system.even_writes(tier).to_vec(),
        (Some(source), Some(destination)) => system
            .ports(source)
            .flat_map(|from| system.ports(destination).map(move |to| (from, to)))
            .map(|(from, to)| system.move_route(from, to))
            .collect(),
        (None, None) => panic!("a transfer has an end at a tier"),
    });
    Planned {
        class,
        source,
        destination,
        way,
        bytes: 1,
        granule: 1 << 30,
        issued: 0,
        held: None,
        promoted: None,
        cancelled: None,
        urgency: Urgency::Due,
    }
}

pub fn read(system: &MemorySystem, tier: TierId, issued: u64, bytes: u64) -> Planned {
    Planned { issued, bytes, ..transfer(system, TransferClass::KvRead, Some(tier), None) }
}

pub fn write(system: &MemorySystem, tier: TierId, issued: u64, bytes: u64) -> Planned {
    Planned { issued, bytes, ..transfer(system, TransferClass::KvWrite, None, Some(tier)) }
}

pub fn moved(system: &MemorySystem, source: TierId, destination: TierId, issued: u64, bytes: u64) -> Planned {
    let class = if destination < source { TransferClass::MigrateIn } else { TransferClass::MigrateOut };
    Planned { issued, bytes, ..transfer(system, class, Some(source), Some(destination)) }
}

// ---- Random systems and plans ----

pub mod random {
    use super::*;
    use proptest::prelude::*;
    use tiersim::memory::{Duplex, EfficiencyConfig, EfficiencyTable, LinkConfig};
    use tiersim::units::Ratio;

    /// What of everything is drawn.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct With {
        pub efficiency: bool,
        pub caps: bool,
        pub limits: bool,
        pub channels: bool,
        pub hashed: bool,
        pub latencies: bool,
        /// Limits on the bytes in flight; they matter only with latencies.
        pub windows: bool,
    }

    pub fn gigabytes() -> impl Strategy<Value = Bandwidth> {
        prop_oneof![Just(900), Just(1000), 1u64..=5000].prop_map(giga)
    }

    /// Tables whose bytes take so nearly the same time in either direction that a byte more takes more time in any company:
    /// of other granules as well.
    pub fn table() -> impl Strategy<Value = EfficiencyTable> {
        let granules = prop::collection::btree_set(prop_oneof![1u64..100, 1u64..10_000, 1u64..1_000_000], 1..4);
        let shares = prop::collection::btree_set(0u32..=4, 1..4);
        (granules, shares).prop_flat_map(|(granules, shares)| {
            let (rows, columns) = (granules.len(), shares.len());
            let base = prop::collection::vec(100u32..=900, rows);
            let tilt = prop::collection::vec(prop::collection::vec(0u32..=40, columns), rows);
            (base, tilt).prop_map(move |(mut base, tilt)| {
                base.sort_unstable();
                // No row may achieve less than the row before, so each column is sorted.
                let mut columns: Vec<Vec<u32>> = (0..tilt[0].len())
                    .map(|column| (0..base.len()).map(|row| base[row] + base[row] * tilt[row][column] / 400).collect())
                    .collect();
                columns.iter_mut().for_each(|column| column.sort_unstable());
                let achieved = (0..base.len())
                    .map(|row| columns.iter().map(|column| Ratio::from_permille(column[row]).unwrap()).collect())
                    .collect();
                EfficiencyTable {
                    granules: granules.iter().copied().map(Bytes::new).collect(),
                    read_shares: shares.iter().map(|share| Ratio::from_permille(share * 250).unwrap()).collect(),
                    achieved,
                }
            })
        })
    }

    /// Not so small that what is left of a lane takes long.
    fn window() -> impl Strategy<Value = Bytes> {
        prop_oneof![1_000u64..=20_000, 1_000u64..=2_000_000].prop_map(Bytes::new)
    }

    fn efficiency() -> impl Strategy<Value = EfficiencyConfig> {
        table().prop_map(|table| EfficiencyConfig { source: "a test".to_owned(), table: Some(table), dram: None })
    }

    prop_compose! {
        fn link(with: With)(
            read in gigabytes(),
            write in gigabytes(),
            combined in prop::option::of(gigabytes()),
            cap in prop::option::of(gigabytes()),
            limit in prop::option::of(1u32..4),
            latency in prop::sample::select(vec![0u64, 0, 1_000, 70_000]),
            window in prop::option::of(window()),
        ) -> LinkConfig {
            LinkConfig {
                outstanding: window.filter(|_| with.windows),
                combined,
                transfer_cap: cap.filter(|_| with.caps),
                max_transfers: limit.filter(|_| with.limits),
                latency: SimTime::from_ps(if with.latencies { latency } else { 0 }),
                ..LinkConfig::new(read, write)
            }
        }
    }

    prop_compose! {
        fn one_tier(with: With)(
            bandwidth in gigabytes(),
            duplex in prop_oneof![Just(Duplex::Half), Just(Duplex::Full)],
            link in prop::option::of(link(with)),
            efficiency in prop::option::weighted(0.8, efficiency()),
            cap in prop::option::of(gigabytes()),
            limit in prop::option::of(1u32..4),
            channels in 1u32..6,
            hashed in prop::option::of(1u32..4),
            stripe in prop_oneof![Just(256u64), 1u64..2000],
            latency in prop::sample::select(vec![0u64, 0, 1_000, 70_000]),
            window in prop::option::of(window()),
        ) -> TierConfig {
            TierConfig {
                outstanding: window.filter(|_| with.windows),
                duplex,
                link: link.map(Into::into),
                efficiency: efficiency.filter(|_| with.efficiency).map(Into::into),
                transfer_cap: cap.filter(|_| with.caps),
                max_transfers: limit.filter(|_| with.limits),
                channels: if with.channels { channels } else { 1 },
                interleaving: match hashed {
                    Some(page_tokens) if with.hashed => Interleaving::Hashed { page_tokens },
                    _ => Interleaving::Striped,
                },
                stripe: Bytes::new(stripe),
                latency: SimTime::from_ps(if with.latencies { latency } else { 0 }),
                ..tier("tier", bandwidth)
            }
        }
    }

    pub fn class_weights() -> impl Strategy<Value = ClassWeights> {
        prop_oneof![Just([1; 5]), prop::array::uniform5(1u32..=5)].prop_map(
            |[weight_read, kv_read, kv_write, migrate_in, migrate_out]| ClassWeights {
                weight_read,
                kv_read,
                kv_write,
                migrate_in,
                migrate_out,
            },
        )
    }

    pub fn sharing() -> impl Strategy<Value = Arbitration> {
        prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority])
    }

    pub fn any_arbitration() -> impl Strategy<Value = Arbitration> {
        prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo])
    }

    /// Two or three tiers in order.
    pub fn memory(with: With, arbitration: impl Strategy<Value = Arbitration>) -> impl Strategy<Value = MemoryConfig> {
        (arbitration, class_weights(), prop::collection::vec(one_tier(with), 2..4))
            .prop_map(|(arbitration, weights, tiers)| in_order(&config(arbitration, weights, tiers)))
    }

    pub fn size() -> impl Strategy<Value = u64> {
        prop_oneof![1u64..=16, 1u64..=10_000, 1u64..=10_000_000, Just(1_000_000)]
    }

    pub fn instant() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), (0u64..20).prop_map(|step| step * 1_000_000), 0u64..1_000, 0u64..20_000_000]
    }

    pub fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0u64..1_000, 0u64..10_000_000]
    }

    /// What to draw before it is known which tiers and channels there are.
    #[derive(Clone, Debug)]
    pub struct Draft {
        class: TransferClass,
        ends: [usize; 2],
        bytes: u64,
        granule: u64,
        issued: u64,
        held: Option<u64>,
        promoted: Option<u64>,
        early: bool,
        /// Where pages are hashed: which parts, by how much.
        spread: Vec<u64>,
    }

    prop_compose! {
        pub fn draft()(
            class in prop::sample::select(TransferClass::ALL.to_vec()),
            ends in prop::array::uniform2(0usize..6),
            bytes in size(),
            granule in prop_oneof![1u64..300, 1u64..100_000, Just(u64::MAX)],
            issued in instant(),
            held in prop::option::weighted(0.2, delay()),
            promoted in prop::option::of(delay()),
            early in prop::bool::weighted(0.3),
            spread in prop::collection::vec(prop_oneof![Just(0), size()], 36),
        ) -> Draft {
            Draft { class, ends, bytes, granule, issued, held, promoted, early, spread }
        }
    }

    impl Draft {
        /// The transfer, on `system`.
        pub fn on(&self, system: &MemorySystem) -> Planned {
            let tiers = system.tiers().len();
            let first = TierId::new(self.ends[0] % tiers);
            let second = TierId::new((first.index() + 1 + self.ends[1] % (tiers - 1)) % tiers);
            let (faster, slower) = (first.min(second), first.max(second));
            let (source, destination) = match self.class {
                TransferClass::WeightRead | TransferClass::KvRead => (Some(first), None),
                TransferClass::KvWrite => (None, Some(first)),
                TransferClass::MigrateIn => (Some(slower), Some(faster)),
                TransferClass::MigrateOut => (Some(faster), Some(slower)),
            };
            let mut planned = transfer(system, self.class, source, destination);
            let hashed =
                |tier: TierId| matches!(system.tiers()[tier.index()].interleaving, Interleaving::Hashed { .. });
            let Way::Even(routes) = &planned.way else { panic!("a plan begins evenly") };
            planned.bytes = self.bytes;
            if [source, destination].into_iter().flatten().any(hashed) && self.class != TransferClass::WeightRead {
                let mut parts: Vec<(RouteId, u64)> = routes
                    .iter()
                    .zip(self.spread.iter().cycle())
                    .map(|(route, bytes)| (*route, *bytes))
                    .filter(|(_, bytes)| *bytes > 0)
                    .collect();
                if parts.is_empty() {
                    parts.push((routes[0], self.bytes));
                }
                planned.bytes = parts.iter().map(|(_, bytes)| bytes).sum();
                planned.way = Way::Parts(parts);
            }
            planned.granule = self.granule.min(planned.bytes);
            planned.issued = self.issued;
            planned.held = self.held;
            if self.early {
                planned.urgency = Urgency::Early;
                planned.promoted = self.promoted;
            }
            planned
        }
    }

    pub fn plan(most: usize) -> impl Strategy<Value = Vec<Draft>> {
        prop::collection::vec(draft(), 1..most)
    }

    pub fn on(system: &MemorySystem, drafts: &[Draft]) -> Vec<Planned> {
        drafts.iter().map(|draft| draft.on(system)).collect()
    }
}

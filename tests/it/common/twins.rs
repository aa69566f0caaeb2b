//! The slow twin of `fair` and `priority`.
//!
//! It has no groups, heaps or fixed-point numbers: every part of a transfer is a flow of its own, a
//! lane is full when the times of all bytes on it add up to the time that there is, and at every
//! event all rates are computed again by bisection.

use super::plans::{Action, Planned, Way, agenda, lanes_with, take_due};
use proptest::test_runner::TestCaseError;
use tiersim::memory::{Arbitration, Direction, Interleaving, MemorySystem, RouteId, TierId, TransferClass, Urgency};
use tiersim::units::{Bytes, SimTime};

const PS_PER_SECOND: f64 = SimTime::PS_PER_SECOND as f64;
/// What a complete transfer may lack: 2^-20 byte, the fabric's own tolerance.
pub const TOLERANCE: f64 = 1.0 / 1_048_576.0;

/// A part of a transfer on its lanes.
struct Flow {
    transfer: usize,
    holds: Vec<Held>,
    weight: f64,
    level: u8,
    cap: f64,
    missing: f64,
    tolerance: f64,
}

/// A lane, and the time that a byte takes of it at each of the lane's read shares: in picoseconds,
/// so that the lane is full when the times of what is carried in a picosecond add up to 1.
struct Held {
    lane: usize,
    reads: bool,
    times: Vec<f64>,
}

impl Flow {
    fn wait(&self, rate: f64) -> u64 {
        ((self.missing - self.tolerance) / rate).ceil().max(0.0) as u64
    }
}

/// The results of a plan on the twin. Times in picoseconds.
pub struct Twin {
    pub finishes: Vec<u64>,
    /// When each transfer was requested: it had a slot on all its limited lanes.
    pub requested: Vec<u64>,
    /// The bytes that each cancelled transfer had received.
    pub carried: Vec<f64>,
}

/// The bytes in flight in each window, and the transfers that had to share its rate.
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
        // The transfer that is first in line on each of its limited lanes, all with room, is
        // requested; then the search starts again.
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
        let done: Vec<Flow> = flows.extract_if(.., |flow| flow.missing <= flow.tolerance * (1.0 + 1e-9)).collect();
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
                Action::RaiseUrgency => {
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
    // An even stripe is complete when all of its parts together are within the tolerance.
    let tolerance = if matches!(planned.way, Way::Even(_)) { TOLERANCE / parts.len() as f64 } else { TOLERANCE };
    let count = parts.len() as f64;
    let flow = |(of, bytes): (RouteId, f64)| {
        let mut route = system.route(of);
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
                    let granule = contiguous(system, tier.expect("a lane of a tier"), planned.granule);
                    let time = |share: &f64| {
                        whole_picosecond / lane.peak.as_f64() / efficiency.achieved(Bytes::new(granule), *share)
                    };
                    efficiency.read_shares().iter().map(time).collect()
                }
            };
            Held { lane: hold.lane.index(), reads, times }
        });
        let mut holds: Vec<Held> = holds.collect();
        let is_demand = matches!(planned.class, TransferClass::WeightRead | TransferClass::KvRead);
        if let Some(kernels) = system.kernels(of).filter(|_| is_demand) {
            let lane = |held: &Held| &system.lanes()[held.lane];
            // What a byte takes of all the tier's bandwidth, if nothing else is read.
            let wires = holds.iter().filter(|held| lane(held).window.is_none());
            let unloaded = wires.map(|held| held.times[held.times.len() - 1] / f64::from(lane(held).shared_by));
            let time = unloaded.fold(0.0, f64::max) / planned.reach.share();
            holds.push(Held { lane: kernels.index(), reads: true, times: vec![time] });
        }
        Flow {
            transfer,
            holds,
            weight: f64::from(weight) / ports as f64,
            level: precedence(system, planned.class, urgency),
            cap,
            missing: bytes,
            tolerance,
        }
    };
    parts.into_iter().map(flow).collect()
}

/// The contiguous bytes that one channel carries of a run of `granule` bytes.
fn contiguous(system: &MemorySystem, tier: TierId, granule: u64) -> u64 {
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
        (Arbitration::Fair, _)
        | (_, TransferClass::WeightRead | TransferClass::KvRead | TransferClass::Stage | TransferClass::Activation) => {
            early
        }
        (_, TransferClass::KvWrite) => 2,
        (_, TransferClass::MigrateIn | TransferClass::MigrateOut) => LOWEST_PRECEDENCE,
    }
}

/// Weighted max-min fair rates, level by level: the rates of all that still rise grow together,
/// each by its weight, until a lane is full or one has its cap.
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

/// The share of a lane's time that flows take at the given rates.
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

/// Whether times agree within a few picoseconds and 1e-8 of the time: rounding errors of rates and
/// costs, 1e-9 at most, add up over the transfers that shared lanes before.
pub fn agree(fabrics: &[u64], twins: &[u64]) -> Result<(), TestCaseError> {
    for (index, (&fabric, &twin)) in fabrics.iter().zip(twins).enumerate() {
        let tolerance = 4.0 + 1e-8 * twin as f64;
        if fabric.abs_diff(twin) as f64 > tolerance {
            let all = format!("{fabrics:?} against {twins:?}");
            return Err(TestCaseError::fail(format!("transfer {index}: {fabric} ps, the twin {twin}; {all}")));
        }
    }
    Ok(())
}

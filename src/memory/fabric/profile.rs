//! What the fabric knows of a route before anything goes over it: its lanes, what bytes cost on
//! them, and the unloaded service time of a transfer.
//!
//! Profiles are made when a request of a new kind (route, class, granule, parts) is first issued,
//! and found by that kind from then on: in most systems by a look-up in a list, otherwise by a
//! hash.

use super::division::Divisor;
use super::filling::{GroupHold, PLAIN, Pool, Rate};
use super::progress::{BYTE, TOLERANCE, size};
use super::request::Urgency;
use super::windows::WindowSet;
use crate::memory::{Arbitration, Direction, Hold, Lane, LaneId, MemorySystem, Pattern, Reach, RouteId, TransferClass};
use crate::units::{Bandwidth, Bytes, SimTime};
use rustc_hash::FxHashMap;
use std::ops::Index;

/// Transfers of a class over a route, in granules of one size.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    holds: Box<[Hold]>,
    lanes: Box<[usize]>,
    /// The rate that each lane gives a transfer which has it to itself, by hold.
    rates: Box<[Rate]>,
    /// How fast it goes with its lanes to itself.
    pub rate: ServiceRate,
    /// How fast it would go if it went evenly over all the ways between its ends at once.
    pub together: ServiceRate,
    /// Over how many of them.
    pub ways: u64,
    /// From the request to the first byte.
    pub latency: SimTime,
    /// The number of that latency.
    pub timer: usize,
    /// Whether a transfer is on its lanes as soon as it is requested: they have no latency, and
    /// carry any number at once.
    pub is_direct: bool,
    /// The windows of bytes in flight on its route.
    pub windows: WindowSet,
    /// Those of them in which it fits: it does not hold their lanes.
    pub fits: WindowSet,
    key: Key,
    /// The precedence: of due transfers, then of early ones.
    pub levels: [u8; 2],
    /// What its bytes cost on each lane, its share against one of weight 1, and the most that it
    /// gets: see [`Demand`](super::filling::Demand).
    pub costs: Box<[GroupHold]>,
    pub weight: u64,
    pub cap: Option<Rate>,
    /// Of a direct read that leaves less to other kernels: which of the tiers of the
    /// [interference](super::interference) it is of.
    pub interferes: Option<usize>,
}

impl Profile {
    pub fn lanes(&self) -> &[usize] {
        &self.lanes
    }

    pub fn holds(&self) -> impl Iterator<Item = (usize, Direction)> + '_ {
        self.holds.iter().map(|hold| (hold.lane.index(), hold.direction))
    }

    pub fn level(&self, urgency: Urgency) -> u8 {
        self.levels[usize::from(urgency == Urgency::Early)]
    }

    /// The rate of the slowest of those of `lanes` that it holds.
    pub fn rate_of(&self, lanes: &[usize]) -> Rate {
        let pairs = self.holds.iter().zip(&self.rates);
        pairs.filter(|(hold, _)| lanes.contains(&hold.lane.index())).map(|(_, rate)| *rate).min().unwrap_or(Rate::MAX)
    }

    /// The time that `size` takes of each of its lanes, in picoseconds.
    pub fn takes(&self, size: u128) -> impl Iterator<Item = (usize, f64)> + '_ {
        let size = size.saturating_sub(TOLERANCE) as f64;
        self.lanes.iter().zip(&self.rates).map(move |(lane, rate)| (*lane, size / *rate as f64))
    }

    /// The rate of the slowest of its lanes that are not among `lanes`.
    pub fn rate_but(&self, lanes: &[usize]) -> Rate {
        let pairs = self.holds.iter().zip(&self.rates);
        pairs.filter(|(hold, _)| !lanes.contains(&hold.lane.index())).map(|(_, rate)| *rate).min().unwrap_or(Rate::MAX)
    }
}

/// How fast a transfer goes with its lanes to itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum ServiceRate {
    /// At one of so many equal parts of a bandwidth; `divisor` is the whole of it.
    Exact { whole: Bandwidth, shared_by: u32, divisor: Divisor },
    /// At a rate that losses make no simple fraction.
    Rounded(Rate),
}

impl ServiceRate {
    /// Of a transfer on these lanes, whose bytes cost so much on each: the rate of the slowest, of
    /// which the transfer has one of `shares` equal parts, or of the cap if that is less.
    fn of_slowest<'a>(
        lanes: impl Iterator<Item = (&'a Lane, &'a GroupHold)> + Clone,
        shares: impl Fn(&Lane) -> u32,
        cap: Option<(Bandwidth, u32)>,
    ) -> Self {
        if lanes.clone().all(|(_, hold)| hold.cost == PLAIN) {
            let slowest = lanes
                .map(|(lane, _)| (lane.whole, shares(lane)))
                .chain(cap)
                .min_by_key(|(whole, shared_by)| rate(*whole, *shared_by))
                .expect("a route holds a lane");
            let (whole, shared_by) = slowest;
            Self::Exact { whole, shared_by, divisor: Divisor::new(u128::from(whole.get())) }
        } else {
            let slowest = lanes
                .map(|(lane, hold)| rate(lane.whole, shares(lane)) * Rate::from(PLAIN) / Rate::from(hold.cost))
                .chain(cap.map(|(cap, part)| rate(cap, part)))
                .min();
            Self::Rounded(slowest.expect("a route holds a lane"))
        }
    }

    /// The time that `bytes` take.
    #[inline]
    pub fn time_for_all(&self, bytes: Bytes) -> SimTime {
        match self {
            Self::Exact { shared_by: 1, divisor, .. } => {
                SimTime::from_ps(divisor.div_ceil(u128::from(bytes.get()) * u128::from(SimTime::PS_PER_SECOND)))
            }
            _ => self.time_for(bytes, 1),
        }
    }

    /// The time that `bytes`, or one of `parts` equal parts of them, take.
    pub fn time_for(self, bytes: Bytes, parts: u64) -> SimTime {
        let picoseconds = match self {
            Self::Exact { whole, shared_by, divisor } => {
                let exact = u128::from(bytes.get()) * u128::from(SimTime::PS_PER_SECOND) * u128::from(shared_by);
                if parts == 1 {
                    return SimTime::from_ps(divisor.div_ceil(exact));
                }
                exact.div_ceil(u128::from(whole.get()) * u128::from(parts))
            }
            Self::Rounded(rate) => (size(bytes, parts) - TOLERANCE).div_ceil(rate),
        };
        u64::try_from(picoseconds).map_or(SimTime::MAX, SimTime::from_ps)
    }

    /// The whole bytes that so many equal parts carry in `time`.
    pub fn carried(self, time: SimTime, parts: u64) -> Bytes {
        let bytes = match self {
            Self::Exact { whole, shared_by, .. } => {
                let exact = u128::from(whole.get()) * u128::from(time.as_ps()) * u128::from(parts);
                exact / (u128::from(SimTime::PS_PER_SECOND) * u128::from(shared_by))
            }
            Self::Rounded(rate) => {
                // The rate is rounded down: a byte that lacks no more than the tolerance has
                // arrived, as under sharing.
                let carried = rate.saturating_mul(u128::from(time.as_ps())).saturating_mul(u128::from(parts));
                carried.saturating_add(TOLERANCE) / BYTE
            }
        };
        Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

/// A bandwidth in the fixed-point format of rates, rounded down.
fn rate(bandwidth: Bandwidth, shared_by: u32) -> Rate {
    u128::from(bandwidth.get()) * BYTE / (u128::from(SimTime::PS_PER_SECOND) * u128::from(shared_by))
}

/// How many levels of precedence there are: one more than the largest that [`level`] returns.
pub(super) const LEVELS: u8 = 4;

/// The level of precedence of a transfer: lower levels are served first.
fn level(arbitration: Arbitration, class: TransferClass, urgency: Urgency) -> u8 {
    match (arbitration, class, urgency) {
        (Arbitration::Fifo, ..) => 0,
        (Arbitration::Priority, TransferClass::KvWrite, _) => 2,
        (Arbitration::Priority, TransferClass::MigrateIn | TransferClass::MigrateOut, _) => 3,
        (_, _, Urgency::Early) => 1,
        (_, _, Urgency::Due) => 0,
    }
}

/// A lane as filling sees it.
pub(super) fn pool(lane: &Lane) -> Pool {
    let read_shares = lane.efficiency.as_ref().map(|efficiency| efficiency.read_shares().into());
    Pool::new(rate(lane.whole, lane.shared_by), read_shares, lane.is_kernels)
}

/// The weight of a transfer over one route, in units of which each part of a striped one has a
/// whole number: a common multiple of all numbers of parts there may be, unless that is too large
/// for exact shares. An n-way striped transfer gives each part weight 1/n, so that on a lane that
/// all parts cross the whole still counts once.
fn weight_unit(system: &MemorySystem) -> u64 {
    const LARGEST: u64 = 1 << 34;
    let ports = || system.tier_ids().map(|tier| system.ports(tier).len() as u64);
    let ways = ports().enumerate().flat_map(|(at, one)| ports().skip(at + 1).map(move |other| one * other));
    let unit = ways.fold(1, |unit, ways| if unit > LARGEST { unit } else { unit / common_divisor(unit, ways) * ways });
    if unit > LARGEST { 1 << 32 } else { unit }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// How many fractional bits shares need for such weights.
pub(super) fn shift(system: &MemorySystem) -> u32 {
    if system.tier_ids().all(|tier| system.ports(tier).len() == 1) { 0 } else { 40 }
}

/// All profiles, made when they are first asked for.
#[derive(Clone, Debug)]
pub(super) struct Profiles {
    system: MemorySystem,
    /// Whether any lane's costs depend on granules.
    by_granule: bool,
    /// Whether any lane has a cap, which a transfer's parts share.
    capped: bool,
    /// Whether any tier has a lane for kernels, so that reaches make a difference.
    by_reach: bool,
    /// The lanes that stand for windows of bytes in flight, and how large these are.
    windows: Vec<(usize, Bytes)>,
    /// The windows on each route, where there are any.
    windows_on: FxHashMap<RouteId, WindowSet>,
    known: FxHashMap<Key, u32>,
    /// The same by route, then class, of the first routes, where neither granules nor caps make a
    /// difference.
    direct: Vec<u32>,
    /// By route: the largest granules that make a difference, of reads and of writes.
    most: FxHashMap<RouteId, (Bytes, Bytes)>,
    all: Vec<Profile>,
    latencies: Vec<SimTime>,
    /// The weight of a transfer of class weight 1 over a single route.
    weight_unit: u64,
}

/// Transfers that are alike: they have one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    route: RouteId,
    class: TransferClass,
    /// What follows what.
    pattern: Pattern,
    /// The contiguous bytes a channel of reads and of writes.
    read: Bytes,
    write: Bytes,
    /// What a read gets of the bandwidth; all of it where that makes no difference.
    reach: Reach,
    /// In how many parts a transfer is; 0 where that makes no difference.
    parts: u32,
    /// The windows in which it fits.
    fits: WindowSet,
}

/// How the bytes of a transfer lie, and at which reach they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub pattern: Pattern,
    pub granule: Bytes,
    pub reach: Reach,
}

/// How many routes and classes are looked up without a hash.
const DIRECT: usize = 1 << 14;
const UNKNOWN: u32 = u32::MAX;

/// Where the direct list has the profile of `class` over `route`.
#[inline]
fn place(class: TransferClass, route: RouteId) -> usize {
    route.index() * TransferClass::COUNT + class.index()
}

impl Index<u32> for Profiles {
    type Output = Profile;

    fn index(&self, profile: u32) -> &Profile {
        &self.all[profile as usize]
    }
}

impl Profiles {
    pub fn new(system: &MemorySystem) -> Self {
        Self {
            capped: system.lanes().iter().any(|lane| lane.transfer_cap.is_some()),
            by_reach: system.lanes().iter().any(|lane| lane.is_kernels),
            by_granule: system.lanes().iter().any(|lane| lane.efficiency.is_some()),
            windows: (0..).zip(system.lanes()).filter_map(|(at, lane)| Some((at, lane.window?))).collect(),
            windows_on: FxHashMap::default(),
            system: system.clone(),
            known: FxHashMap::default(),
            direct: Vec::new(),
            most: FxHashMap::default(),
            all: Vec::new(),
            latencies: Vec::new(),
            weight_unit: weight_unit(system),
        }
    }

    /// Whether a lane of `profile` has a cap.
    pub fn has_cap(&self, profile: &Profile) -> bool {
        profile.holds.iter().any(|hold| self.system.lanes()[hold.lane.index()].transfer_cap.is_some())
    }

    /// How many lanes the memory system has.
    pub fn lanes(&self) -> usize {
        self.system.lanes().len()
    }

    /// All profiles that were made from number `first` on.
    pub fn since(&self, first: usize) -> &[Profile] {
        &self.all[first..]
    }

    /// How many profiles were made.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of the profile of `class` over `route`, where that is known without looking at
    /// granules and sizes.
    #[inline]
    pub fn listed(&self, class: TransferClass, route: RouteId) -> Option<u32> {
        self.direct.get(place(class, route)).copied().filter(|profile| *profile != UNKNOWN)
    }

    /// The number of the profile of `class` over `route` in such runs, for a transfer
    /// of `bytes` in so many parts that is requested while nothing else is in flight. It is made if
    /// there is none.
    pub fn find(&mut self, class: TransferClass, route: RouteId, runs: Runs, (bytes, parts): (Bytes, usize)) -> u32 {
        let direct = place(class, route);
        let Runs { pattern, granule, reach } = runs;
        let (read, write) =
            if self.by_granule { self.contiguous_bytes(route, granule) } else { (Bytes::ZERO, Bytes::ZERO) };
        let pattern = if self.by_granule { pattern } else { Pattern::Random };
        let parts = if self.capped { u32::try_from(parts).unwrap_or(u32::MAX) } else { 0 };
        let fits = self.windows_on(route) & self.windows_of_at_least(bytes);
        let reach = if self.kernels(class, route).is_some() { reach } else { Reach::FULL };
        let number = self.find_by_key(Key { route, class, pattern, read, write, reach, parts, fits });
        if !self.by_granule && !self.by_reach && !self.capped && self.windows.is_empty() && direct < DIRECT {
            self.direct.resize(self.direct.len().max(direct + 1), UNKNOWN);
            self.direct[direct] = number;
        }
        number
    }

    fn find_by_key(&mut self, key: Key) -> u32 {
        if let Some(&profile) = self.known.get(&key) {
            return profile;
        }
        let profile = self.make(key);
        self.all.push(profile);
        let number = self.all.len() as u32 - 1;
        self.known.insert(key, number);
        number
    }

    /// As `profile`, of a transfer that fits in the windows `fits`, and in no others.
    pub fn fitting(&mut self, profile: u32, fits: WindowSet) -> u32 {
        let key = Key { fits, ..self[profile].key };
        self.find_by_key(key)
    }

    /// The lane of the kernels that transfers of `class` over `route` hold: demand reads alone.
    fn kernels(&self, class: TransferClass, route: RouteId) -> Option<LaneId> {
        let is_demand = matches!(class, TransferClass::WeightRead | TransferClass::KvRead);
        if self.by_reach && is_demand { self.system.kernels(route) } else { None }
    }

    /// The windows on `route`.
    fn windows_on(&mut self, route: RouteId) -> WindowSet {
        if self.windows.is_empty() {
            return 0;
        }
        let (windows, system) = (&self.windows, &self.system);
        *self.windows_on.entry(route).or_insert_with(|| {
            let holds = system.route(route);
            let on_route = |lane: usize| holds.iter().any(|hold| hold.lane.index() == lane);
            (0..).zip(windows).map(|(bit, (lane, _))| WindowSet::from(on_route(*lane)) << bit).sum()
        })
    }

    /// The windows that `bytes` do not exceed.
    fn windows_of_at_least(&self, bytes: Bytes) -> WindowSet {
        (0..).zip(&self.windows).map(|(bit, (_, limit))| WindowSet::from(bytes <= *limit) << bit).sum()
    }

    /// The contiguous bytes on each channel, for reads and for writes, where they make a
    /// difference: beyond the largest granule of an efficiency they make none.
    fn contiguous_bytes(&mut self, route: RouteId, granule: Bytes) -> (Bytes, Bytes) {
        let (read, write) = self.system.contiguous_bytes(route, granule);
        let system = &self.system;
        let most = self.most.entry(route).or_insert_with(|| {
            let mut most = (Bytes::ZERO, Bytes::ZERO);
            for hold in system.route(route) {
                if let Some(efficiency) = &system.lanes()[hold.lane.index()].efficiency {
                    let most = if hold.direction == Direction::Read { &mut most.0 } else { &mut most.1 };
                    *most = (*most).max(efficiency.largest_granule());
                }
            }
            most
        });
        (read.min(most.0), write.min(most.1))
    }

    fn make(&mut self, key: Key) -> Profile {
        let Key { route, class, pattern, read, write, reach, parts, fits } = key;
        let windows = self.windows_on(route);
        let system = &self.system;
        let mut holds = system.route(route);
        holds.retain(|hold| {
            let window = self.windows.iter().position(|(lane, _)| *lane == hold.lane.index());
            window.is_none_or(|window| fits >> window & 1 == 0)
        });
        let mut costs: Vec<GroupHold> = holds
            .iter()
            .map(|hold| {
                let granule = if hold.direction == Direction::Read { read } else { write };
                group_hold(&system.lanes()[hold.lane.index()], *hold, pattern, granule)
            })
            .collect();
        if let Some(lane) = self.kernels(class, route) {
            costs.push(kernels_hold(system.lanes(), lane, &costs, reach));
            holds.push(Hold { lane, direction: Direction::Read });
        }
        let (holds, costs): (Box<[Hold]>, Box<[GroupHold]>) = (holds.into(), costs.into());
        // A transfer over several routes at once has that much less weight on each.
        let ways = system.ways(route);
        let part = parts.max(1);
        let caps = holds.iter().filter_map(|hold| system.lanes()[hold.lane.index()].transfer_cap).min();
        let weight = match system.arbitration() {
            Arbitration::Fair => u64::from(system.class_weights().of(class)),
            _ => 1,
        };
        let weight = weight * self.weight_unit / ways;
        let levels = [Urgency::Due, Urgency::Early].map(|urgency| level(system.arbitration(), class, urgency));
        let rates: Box<[Rate]> = holds
            .iter()
            .zip(&costs)
            .map(|(hold, cost)| {
                let lane = &system.lanes()[hold.lane.index()];
                rate(lane.whole, lane.shared_by) * Rate::from(PLAIN) / Rate::from(cost.cost)
            })
            .collect();
        let lanes = || holds.iter().map(|hold| &system.lanes()[hold.lane.index()]).zip(&costs);
        let over_one = ServiceRate::of_slowest(lanes(), |lane| lane.shared_by, caps.map(|cap| (cap, part)));
        let together = ServiceRate::of_slowest(lanes(), |_| 1, caps.map(|cap| (cap, 1)));
        let latency = system.route_latency(route);
        let is_limited = holds.iter().any(|hold| system.lanes()[hold.lane.index()].max_transfers.is_some());
        let is_direct = latency == SimTime::ZERO && !is_limited;
        let timer = number_of(latency, &mut self.latencies);
        Profile {
            lanes: holds.iter().map(|hold| hold.lane.index()).collect(),
            holds,
            rates,
            rate: over_one,
            together,
            ways,
            latency,
            timer,
            is_direct,
            windows,
            fits,
            key,
            levels,
            costs,
            weight,
            cap: caps.map(|cap| rate(cap, part)),
            interferes: system.interferes(route),
        }
    }
}

/// The place of `latency` in `latencies`, to which it is added if it is not there.
fn number_of(latency: SimTime, latencies: &mut Vec<SimTime>) -> usize {
    latencies.iter().position(|known| *known == latency).unwrap_or_else(|| {
        latencies.push(latency);
        latencies.len() - 1
    })
}

fn group_hold(lane: &Lane, hold: Hold, pattern: Pattern, granule: Bytes) -> GroupHold {
    let Hold { lane: id, direction } = hold;
    let Some(efficiency) = &lane.efficiency else {
        return GroupHold { lane: id.index(), direction, cost: PLAIN, costs: None };
    };
    let times = efficiency.times(pattern, granule);
    let last = times.len() - 1;
    let longest = efficiency.streaming_times();
    let reference = if lane.write_only { longest[0] } else { longest[last] };
    let costs: Vec<f64> = times.iter().map(|time| time / reference).collect();
    // On one of a pair of lanes, or while a bus carries nothing else.
    let pure = if direction == Direction::Read { costs[last] } else { costs[0] };
    GroupHold { lane: id.index(), direction, cost: (pure * PLAIN as f64).ceil() as u64, costs: Some(costs.into()) }
}

/// What a byte of a read that holds `others` and reaches that much costs on the lane of its tier's
/// kernels: as much more than on the slowest of the others as its reach says.
fn kernels_hold(lanes: &[Lane], lane: LaneId, others: &[GroupHold], reach: Reach) -> GroupHold {
    let all_of = |lane: usize| rate(lanes[lane].whole, 1);
    let wires = others.iter().filter(|hold| lanes[hold.lane].window.is_none());
    let slowest = wires.map(|hold| all_of(hold.lane) * Rate::from(PLAIN) / Rate::from(hold.cost)).min();
    let slowest = slowest.expect("a route holds a lane");
    let cost = (all_of(lane.index()) * Rate::from(reach.cost())).div_ceil(slowest);
    let cost = u64::try_from(cost).unwrap_or(u64::MAX);
    GroupHold { lane: lane.index(), direction: Direction::Read, cost, costs: None }
}

/// When the last of parts of these sizes is complete, if all share the rate `together` equally and
/// none gets more than `each`.
pub(super) fn in_turns(mut sizes: Vec<u128>, each: Rate, together: Rate) -> SimTime {
    sizes.sort_unstable();
    let (mut time, mut done) = (0.0, 0.0);
    for (index, size) in sizes.iter().enumerate() {
        let size = size.saturating_sub(TOLERANCE) as f64;
        let left = (sizes.len() - index) as f64;
        time += (size - done) / (each as f64).min(together as f64 / left);
        done = size;
    }
    SimTime::from_ps(time.ceil() as u64)
}

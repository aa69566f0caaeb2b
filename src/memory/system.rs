use super::TransferClass;
use super::config::{
    Arbitration, ClassWeights, Duplex, Interleaving, LinkConfig, MemoryConfig, ResidencyKind, TierConfig,
};
use super::efficiency::{Efficiency, EfficiencyError, payload};
use super::ids::{LaneId, PortId, RouteId, TierId};
use crate::config::{NameError, Reference, check_name};
use crate::units::{Bandwidth, Bytes, RegionId, SimTime};
use std::sync::Arc;
use thiserror::Error;

/// Whether a lane is read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the chip.
    Read,
    /// Away from it.
    Write,
}

/// A lane of a route, and the direction in which it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    /// The lane.
    pub lane: LaneId,
    /// Reads or writes.
    pub direction: Direction,
}

/// What a memory system cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum MemoryError {
    /// Too few or too many tiers.
    #[error("tiers: {0} of them, but a memory system has from 1 to {max}, the fastest first", max = MemorySystem::MAX_TIERS)]
    TierCount(usize),
    /// The system's own name.
    #[error("name: {0}")]
    SystemName(NameError),
    /// A name that cannot stand in a path, a CSV heading or a flag.
    #[error("tiers[{index}].name: '{name}' is no name: use 1 to 32 of a-z, 0-9, '_' and '-'")]
    Name { index: usize, name: String },
    /// The name of the transfers' other end.
    #[error(
        "tiers[{index}].name: 'chip' is what transfers between a tier and the chip call the chip: use another name"
    )]
    Chip { index: usize },
    /// Two tiers of one name.
    #[error("tiers[{index}].name: '{name}' is taken by another tier: names must differ")]
    SameName { index: usize, name: String },
    /// A tier that holds nothing.
    #[error("tiers[{index}].capacity: '{name}' holds 0 bytes: write a size such as \"4GiB\"")]
    NoCapacity { index: usize, name: String },
    /// No channels, or too many.
    #[error("tiers[{index}].channels: '{name}' has {channels}, but it must have from 1 to {max}", max = MemorySystem::MAX_CHANNELS)]
    Channels { index: usize, name: String, channels: u32 },
    /// Pages of no tokens, or absurdly long.
    #[error(
        "tiers[{index}].interleaving: '{name}' has pages of {page_tokens} tokens, but they must hold from 1 to {max}",
        max = Interleaving::MAX_PAGE_TOKENS
    )]
    PageTokens { index: usize, name: String, page_tokens: u32 },
    /// A stripe of nothing.
    #[error("tiers[{index}].stripe: '{name}' has 0 B: write a size such as \"256 B\"")]
    Stripe { index: usize, name: String },
    /// Fewer than one transfer at once.
    #[error("tiers[{index}].{field}: '{name}' carries 0 transfers at once: write at least 1, or leave it out")]
    NoTransfers { index: usize, name: String, field: &'static str },
    /// No bytes in flight.
    #[error(
        "tiers[{index}].{field}: '{name}' may have 0 B in flight: write a size such as \"64 KiB\", or leave it out"
    )]
    NoOutstanding { index: usize, name: String, field: &'static str },
    /// So few bytes in flight that less than the least bandwidth is left.
    #[error(
        "tiers[{index}].{field}: {outstanding} in flight at a latency of {latency} leave '{name}' less than 1 MB/s: \
         enlarge {field} or lower the latency"
    )]
    Outstanding { index: usize, name: String, field: &'static str, outstanding: Bytes, latency: SimTime },
    /// Packets that leave less than the least bandwidth.
    #[error("tiers[{index}].link.packet: '{name}' is left less than 1 MB/s: lower the overhead or enlarge the payload")]
    Packet { index: usize, name: String },
    /// An efficiency that makes no sense.
    #[error("tiers[{index}].efficiency of '{name}': {source}")]
    Efficiency { index: usize, name: String, source: EfficiencyError },
    /// A name that was not looked up.
    #[error(
        "tiers[{index}].{field}: '{name}' is a name, and names are looked up in the catalog: resolve the configuration first"
    )]
    Unresolved { index: usize, field: &'static str, name: String },
    /// A class weight of 0 or beyond reason.
    #[error("class_weights: the weight of {class} is {weight}, but it must be between 1 and {max}", max = ClassWeights::MAX)]
    Weight { class: TransferClass, weight: u32 },
    /// A latency beyond reason.
    #[error("tiers[{index}].latency: '{name}' answers after {latency}, link included, but at most {max} is accepted", max = MemorySystem::MAX_LATENCY)]
    Latency { index: usize, name: String, latency: SimTime },
    /// The later tier is faster than the earlier one.
    #[error(
        "tiers[{index}].bandwidth: '{name}' can be read at {read}, faster than the tier before it ({before}): list the fastest tier first"
    )]
    Order { index: usize, name: String, read: Bandwidth, before: Bandwidth },
}

/// One tier, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// The name in reports.
    pub name: String,
    /// How many bytes it holds.
    pub capacity: Bytes,
    /// How many channels it has.
    pub channels: u32,
    /// How bytes are spread over them.
    pub interleaving: Interleaving,
    /// The least that lies in one channel in a row, where bytes are spread over all of them.
    pub stripe: Bytes,
    /// Whether what its channels achieve depends on how many bytes are contiguous.
    pub granule_matters: bool,
    /// What it can be read at, in long granules: the least of its channels, its link, and what may
    /// be in flight on it ([`Lane::window`]); losses subtracted.
    pub read_bandwidth: Bandwidth,
    /// The same, whatever may be in flight: what bounds are computed from.
    pub wire_bandwidth: Bandwidth,
    /// What it can be written at, in long granules.
    pub write_bandwidth: Bandwidth,
    /// What it can be read and written at together, half and half, in long granules.
    pub mixed_bandwidth: Bandwidth,
    /// From a request to its first byte, the link's latency included.
    pub latency: SimTime,
}

/// Something that carries bytes at a bandwidth, shared by the transfers whose routes hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// `hbm.bus`, `external.link.read`; `hbm.bus.7` where channels are simulated one by one.
    pub name: String,
    /// What it carries in long granules, losses subtracted: of reads, where it carries both directions. Where it is one of
    /// [`shared_by`](Self::shared_by) equal channels, what all of them carry together.
    pub whole: Bandwidth,
    /// How many lanes like this one share `whole`.
    pub shared_by: u32,
    /// What it would carry without losses, all of those together.
    pub peak: Bandwidth,
    /// Whether it carries only writes.
    pub write_only: bool,
    /// Why it carries less than its peak, where that depends on what it carries.
    pub efficiency: Option<Arc<Efficiency>>,
    /// The most that one transfer gets of `whole`.
    pub transfer_cap: Option<Bandwidth>,
    /// How many transfers it carries at once, each from its request to its last byte.
    pub max_transfers: Option<u32>,
    /// How many bytes of the transfers that cross it may be in flight at once, where the lane
    /// stands for such a limit and not for wires: `external.outstanding`,
    /// `external.link.read.outstanding`.
    ///
    /// A byte is in flight from its request to its arrival: at least the tier's latency. By
    /// Little's law (J. D. C. Little, "A Proof for the Queuing Formula L = λW", Operations Research
    /// 9(3), 1961) no more than window / latency arrive in the long run, which is the lane's
    /// [`whole`](Self::whole).
    /// * A transfer that fits beside all that is in flight when it is requested asks for all its
    ///   bytes at once. It does not hold this lane.
    /// * Any other transfer asks for bytes as earlier ones arrive: it holds this lane along with
    ///   the others of its route, and all that do share its bandwidth as they share any lane. So
    ///   one that is larger than the window never gets more than window / latency, even alone; and
    ///   never more than its `transfer_cap`, if that is less.
    ///
    /// From an idle start, at most `time * window / latency` bytes have arrived after any `time`.
    pub window: Option<Bytes>,
}

impl Lane {
    /// What this lane alone carries, rounded down to a whole byte a second.
    #[must_use]
    pub fn bandwidth(&self) -> Bandwidth {
        Bandwidth::new(self.whole.get() / u64::from(self.shared_by)).unwrap_or(self.whole)
    }
}

/// A memory system that the engine may trust.
#[derive(Clone, Debug)]
pub struct MemorySystem {
    name: String,
    arbitration: Arbitration,
    residency: ResidencyKind,
    weights: ClassWeights,
    tiers: Vec<Tier>,
    lanes: Vec<Lane>,
    ports: Vec<Port>,
    /// For each tier its first port.
    first_ports: Vec<usize>,
    /// For each tier the routes over which what is spread evenly is read, and written.
    even_reads: Vec<Vec<RouteId>>,
    even_writes: Vec<Vec<RouteId>>,
}

/// A port's tier and the lanes of its two directions.
#[derive(Clone, Debug)]
struct Port {
    tier: TierId,
    read: Vec<LaneId>,
    write: Vec<LaneId>,
}

impl MemorySystem {
    /// The most tiers.
    pub const MAX_TIERS: usize = 8;
    /// The most channels of a tier.
    pub const MAX_CHANNELS: u32 = 1024;
    /// The longest latency: 1 s.
    pub const MAX_LATENCY: SimTime = SimTime::from_ps(SimTime::PS_PER_SECOND);

    /// Checks `config` and lays its lanes and ports.
    ///
    /// The channels of a striped tier carry the same at any time, so they are in the same state and are one lane of their
    /// bandwidths together.
    ///
    /// # Errors
    /// [`MemoryError`], naming the field, the value and what to write instead.
    pub fn new(config: &MemoryConfig) -> Result<Self, MemoryError> {
        Self::lay(config, false)
    }

    /// As [`new`](Self::new), but with a lane for every channel of a striped tier too: slower, and the same results. A system
    /// that has a tier with hashed pages is laid as by `new`.
    ///
    /// # Errors
    /// [`MemoryError`], as `new`.
    pub fn channel_by_channel(config: &MemoryConfig) -> Result<Self, MemoryError> {
        let striped = |tier: &TierConfig| tier.interleaving == Interleaving::Striped;
        Self::lay(config, config.tiers.iter().all(striped))
    }

    fn lay(config: &MemoryConfig, every_channel: bool) -> Result<Self, MemoryError> {
        check_name(&config.name).map_err(MemoryError::SystemName)?;
        if !(1..=Self::MAX_TIERS).contains(&config.tiers.len()) {
            return Err(MemoryError::TierCount(config.tiers.len()));
        }
        for class in TransferClass::ALL {
            let weight = config.class_weights.of(class);
            if weight == 0 || weight > ClassWeights::MAX {
                return Err(MemoryError::Weight { class, weight });
            }
        }
        let mut lanes = Vec::new();
        let mut ports: Vec<Port> = Vec::new();
        let mut tiers: Vec<Tier> = Vec::new();
        let mut first_ports = Vec::new();
        for (index, tier) in config.tiers.iter().enumerate() {
            check_tier(index, tier, &config.tiers[..index])?;
            let efficiency = tier.efficiency().map(Efficiency::new).transpose();
            let efficiency = efficiency
                .map_err(|source| MemoryError::Efficiency { index, name: tier.name.clone(), source })?
                .map(Arc::new);
            let one_by_one = every_channel || matches!(tier.interleaving, Interleaving::Hashed { .. });
            first_ports.push(ports.len());
            let channels: Vec<ChannelLanes> = (0..if one_by_one { tier.channels } else { 1 })
                .map(|channel| lay_channel(tier, efficiency.as_ref(), one_by_one.then_some(channel), &mut lanes))
                .collect();
            let mut shared = lay_link(index, tier, &mut lanes)?;
            lay_windows(index, tier, &mut shared, &mut lanes)?;
            for of_port in channels {
                let with_shared = |own: LaneId, shared: &[LaneId]| [&[own], shared].concat();
                ports.push(Port {
                    tier: TierId::new(index),
                    read: with_shared(of_port.read, &shared.read),
                    write: with_shared(of_port.write, &shared.write),
                });
            }
            let port = &ports[first_ports[index]];
            let slowest = |windows: bool| {
                let held = port.read.iter().map(|lane| &lanes[lane.index()]);
                let held = held.filter(|lane| windows || lane.window.is_none());
                held.map(|lane| lane.whole).min().expect("a port holds a lane")
            };
            let (read_bandwidth, wire_bandwidth) = (slowest(true), slowest(false));
            if let Some(before) = tiers.last().map(|tier| tier.wire_bandwidth).filter(|before| wire_bandwidth > *before)
            {
                return Err(MemoryError::Order { index, name: tier.name.clone(), read: wire_bandwidth, before });
            }
            tiers.push(Tier {
                name: tier.name.clone(),
                capacity: tier.capacity,
                channels: tier.channels,
                interleaving: tier.interleaving,
                stripe: tier.stripe,
                granule_matters: efficiency.as_ref().is_some_and(|efficiency| efficiency.depends_on_granule()),
                read_bandwidth,
                wire_bandwidth,
                write_bandwidth: read_bandwidth,
                mixed_bandwidth: read_bandwidth,
                latency: latency(tier),
            });
        }
        let mut system = Self {
            name: config.name.clone(),
            arbitration: config.arbitration,
            residency: config.residency,
            weights: config.class_weights.clone(),
            tiers,
            lanes,
            ports,
            first_ports,
            even_reads: Vec::new(),
            even_writes: Vec::new(),
        };
        system.measure_writes();
        system.even_reads =
            system.tier_ids().map(|tier| system.ports(tier).map(|p| system.read_route(p)).collect()).collect();
        system.even_writes =
            system.tier_ids().map(|tier| system.ports(tier).map(|p| system.write_route(p)).collect()).collect();
        Ok(system)
    }

    /// The same, but that every lane carries what it carries of long reads (of long writes, where it carries only these),
    /// whatever the granules and the mix are.
    #[must_use]
    pub fn without_losses(mut self) -> Self {
        for lane in &mut self.lanes {
            lane.efficiency = None;
        }
        for tier in &mut self.tiers {
            tier.granule_matters = false;
        }
        self.measure_writes();
        self
    }

    /// Sets what tiers carry of writes, and of both.
    fn measure_writes(&mut self) {
        for tier in self.tier_ids() {
            let at = |read_share| Bandwidth::new(self.saturation(tier, LONG, read_share) as u64);
            let (written, mixed) = (at(0.0), at(0.5));
            let tier = &mut self.tiers[tier.index()];
            tier.write_bandwidth = written.unwrap_or(tier.read_bandwidth);
            tier.mixed_bandwidth = mixed.unwrap_or(tier.read_bandwidth);
        }
    }

    /// How reports call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How transfers share lanes.
    #[must_use]
    pub fn arbitration(&self) -> Arbitration {
        self.arbitration
    }

    /// Whether a byte lies in one tier, or the last tier holds a copy of all.
    #[must_use]
    pub fn residency(&self) -> ResidencyKind {
        self.residency
    }

    /// The weight of each class under `Fair`.
    #[must_use]
    pub fn class_weights(&self) -> &ClassWeights {
        &self.weights
    }

    /// The tiers, the fastest first.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The ids of all tiers, the fastest first.
    pub fn tier_ids(&self) -> impl ExactSizeIterator<Item = TierId> + use<> {
        (0..self.tiers.len()).map(TierId::new)
    }

    /// The slowest tier.
    #[must_use]
    pub fn last_tier(&self) -> TierId {
        TierId::new(self.tiers.len() - 1)
    }

    /// All lanes.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// The ports of `tier`: one, unless its channels are simulated one by one.
    pub fn ports(&self, tier: TierId) -> impl ExactSizeIterator<Item = PortId> + use<> {
        let end = self.first_ports.get(tier.index() + 1).copied().unwrap_or(self.ports.len());
        (self.first_ports[tier.index()]..end).map(PortId::new)
    }

    /// The port of a page of `region` on `tier`: its channel, where pages are hashed. The same on
    /// every machine.
    #[must_use]
    pub fn port_of_page(&self, tier: TierId, region: RegionId, page: u64) -> PortId {
        let ports = self.ports(tier).len() as u64;
        let key = scrambled(region.index() as u64) ^ page;
        // A multiplication by `ports` in place of a remainder: the high bits of the hash are the good ones.
        PortId::new(self.first_ports[tier.index()] + ((u128::from(scrambled(key)) * u128::from(ports)) >> 64) as usize)
    }

    /// All routes: a read and a write of each port, and a move from each port to each.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = RouteId> + use<> {
        let ports = self.ports.len();
        (0..ports * (2 + ports)).map(RouteId::new)
    }

    /// The route from `port` to the chip.
    #[must_use]
    pub fn read_route(&self, port: PortId) -> RouteId {
        RouteId::new(port.index())
    }

    /// The route from the chip to `port`.
    #[must_use]
    pub fn write_route(&self, port: PortId) -> RouteId {
        RouteId::new(self.ports.len() + port.index())
    }

    /// The route of a migration.
    #[must_use]
    pub fn move_route(&self, source: PortId, destination: PortId) -> RouteId {
        let ports = self.ports.len();
        RouteId::new(2 * ports + source.index() * ports + destination.index())
    }

    /// The routes over which what is spread evenly over `tier` is read: one, unless its channels are simulated one by one.
    #[must_use]
    pub fn even_reads(&self, tier: TierId) -> &[RouteId] {
        &self.even_reads[tier.index()]
    }

    /// The routes over which what is spread evenly over `tier` is written.
    #[must_use]
    pub fn even_writes(&self, tier: TierId) -> &[RouteId] {
        &self.even_writes[tier.index()]
    }

    /// The source and the destination of a route; a read has but a source, a write but a destination.
    fn ends(&self, route: RouteId) -> (Option<&Port>, Option<&Port>) {
        let ports = self.ports.len();
        match (route.index() / ports, route.index() % ports) {
            (0, port) => (Some(&self.ports[port]), None),
            (1, port) => (None, Some(&self.ports[port])),
            (source, destination) => (Some(&self.ports[source - 2]), Some(&self.ports[destination])),
        }
    }

    /// The lanes of `route`.
    #[must_use]
    pub fn route(&self, route: RouteId) -> Vec<Hold> {
        let (source, destination) = self.ends(route);
        let read =
            source.into_iter().flat_map(|port| &port.read).map(|&lane| Hold { lane, direction: Direction::Read });
        let write = destination
            .into_iter()
            .flat_map(|port| &port.write)
            .map(|&lane| Hold { lane, direction: Direction::Write });
        let mut holds: Vec<Hold> = read.chain(write).collect();
        holds.sort_unstable();
        // A move within a tier would hold its bus once.
        holds.dedup_by_key(|hold| hold.lane);
        holds
    }

    /// How long after a request over `route` its bytes begin to take its lanes: the latency of its tier; for a move, of both,
    /// as the second is asked when the first has answered.
    #[must_use]
    pub fn route_latency(&self, route: RouteId) -> SimTime {
        let (source, destination) = self.ends(route);
        source.into_iter().chain(destination).map(|port| self.tiers[port.tier.index()].latency).sum()
    }

    /// The bytes that a channel of each tier of `route` carries in a row, of a transfer of runs of `granule` bytes: the first
    /// for reads, the second for writes.
    #[must_use]
    pub fn in_a_row(&self, route: RouteId, granule: Bytes) -> (Bytes, Bytes) {
        let (source, destination) = self.ends(route);
        let of = |port: Option<&Port>| port.map_or(granule, |port| self.tiers[port.tier.index()].in_a_row(granule));
        (of(source), of(destination))
    }

    /// Over how many routes a transfer between the ends of `route` may go at once.
    #[must_use]
    pub(super) fn ways(&self, route: RouteId) -> u64 {
        let (source, destination) = self.ends(route);
        source.into_iter().chain(destination).map(|port| self.ports(port.tier).len() as u64).product()
    }

    /// What `tier` carries at most, in bytes a second, of transfers in runs of `granule` bytes of which `read_share` are reads.
    #[must_use]
    pub fn saturation(&self, tier: TierId, granule: Bytes, read_share: f64) -> f64 {
        let port = &self.ports[self.first_ports[tier.index()]];
        let granule = self.tiers[tier.index()].in_a_row(granule);
        let of_lane = |id: &LaneId| {
            let lane = &self.lanes[id.index()];
            // What crosses this lane, and the share of reads in that.
            let (crossing, reads) = match (port.read.contains(id), port.write.contains(id)) {
                (true, true) => (1.0, read_share),
                (true, false) => (read_share, 1.0),
                _ => (1.0 - read_share, 0.0),
            };
            let carried = match &lane.efficiency {
                Some(efficiency) => lane.peak.as_f64() * efficiency.achieved(granule, reads),
                None => lane.whole.as_f64(),
            };
            if crossing > 0.0 { carried / crossing } else { f64::INFINITY }
        };
        port.read.iter().chain(&port.write).map(of_lane).fold(f64::INFINITY, f64::min)
    }

    /// The sum of the tiers' read bandwidths, in bytes a second: what a perfect placement reads at.
    #[must_use]
    pub fn total_read_bandwidth(&self) -> u128 {
        self.tiers.iter().map(|tier| u128::from(tier.read_bandwidth.get())).sum()
    }

    /// HBM's share of all tiers' read bandwidth, section 2 of the model.
    #[must_use]
    pub fn best_ratio(&self) -> f64 {
        self.tiers[TierId::HBM.index()].read_bandwidth.as_f64() / self.total_read_bandwidth() as f64
    }
}

impl Tier {
    /// What one channel carries in a row of a run of `granule` bytes.
    #[must_use]
    pub fn in_a_row(&self, granule: Bytes) -> Bytes {
        match self.interleaving {
            Interleaving::Striped => {
                let share = Bytes::new(granule.get() / u64::from(self.channels));
                share.max(self.stripe).min(granule)
            }
            Interleaving::Hashed { .. } => granule,
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of `key` changes half of the result's.
fn scrambled(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn check_tier(index: usize, tier: &TierConfig, before: &[TierConfig]) -> Result<(), MemoryError> {
    let name = tier.name.clone();
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(usable) {
        return Err(MemoryError::Name { index, name });
    }
    if name == "chip" {
        return Err(MemoryError::Chip { index });
    }
    if before.iter().any(|other| other.name == name) {
        return Err(MemoryError::SameName { index, name });
    }
    if latency(tier) > MemorySystem::MAX_LATENCY {
        return Err(MemoryError::Latency { index, name, latency: latency(tier) });
    }
    if let Some(Reference::Name(name)) = &tier.link {
        return Err(MemoryError::Unresolved { index, field: "link", name: name.clone() });
    }
    if let Some(Reference::Name(name)) = &tier.efficiency {
        return Err(MemoryError::Unresolved { index, field: "efficiency", name: name.clone() });
    }
    if tier.capacity == Bytes::ZERO {
        return Err(MemoryError::NoCapacity { index, name });
    }
    if !(1..=MemorySystem::MAX_CHANNELS).contains(&tier.channels) {
        return Err(MemoryError::Channels { index, name, channels: tier.channels });
    }
    if let Interleaving::Hashed { page_tokens } = tier.interleaving
        && !(1..=Interleaving::MAX_PAGE_TOKENS).contains(&page_tokens)
    {
        return Err(MemoryError::PageTokens { index, name, page_tokens });
    }
    if tier.stripe == Bytes::ZERO {
        return Err(MemoryError::Stripe { index, name });
    }
    let of_link = tier.link().and_then(|link| link.max_transfers);
    for (field, limit) in [("max_transfers", tier.max_transfers), ("link.max_transfers", of_link)] {
        if limit == Some(0) {
            return Err(MemoryError::NoTransfers { index, name, field });
        }
    }
    let of_link = tier.link().and_then(|link| link.outstanding);
    for (field, outstanding) in [("outstanding", tier.outstanding), ("link.outstanding", of_link)] {
        if outstanding == Some(Bytes::ZERO) {
            return Err(MemoryError::NoOutstanding { index, name, field });
        }
    }
    Ok(())
}

/// A tier's latency and its link's.
fn latency(tier: &TierConfig) -> SimTime {
    tier.latency + tier.link().map_or(SimTime::ZERO, |link| link.latency)
}

/// A granule beyond which longer ones make no difference.
const LONG: Bytes = Bytes::new(1 << 40);

/// `peak` less what is lost, rounded down.
fn achieved(peak: Bandwidth, share: f64) -> Bandwidth {
    // At least 1 MB/s times the least efficiency.
    Bandwidth::new((peak.as_f64() * share) as u64).unwrap_or(peak)
}

/// The lanes of a link, and of limits on the bytes in flight, by direction: all ports of a tier
/// share them.
#[derive(Default)]
struct SharedLanes {
    read: Vec<LaneId>,
    write: Vec<LaneId>,
}

fn lay_link(index: usize, tier: &TierConfig, lanes: &mut Vec<Lane>) -> Result<SharedLanes, MemoryError> {
    let Some(link) = tier.link() else { return Ok(SharedLanes::default()) };
    let LinkConfig { read, write, combined, packet, transfer_cap, max_transfers, .. } = *link;
    let mut lay = |part: &str, peak: Bandwidth| {
        let whole = payload(peak, packet)
            .filter(|whole| whole.get() >= Bandwidth::MIN_INPUT)
            .ok_or_else(|| MemoryError::Packet { index, name: tier.name.clone() })?;
        let name = format!("{}.link.{part}", tier.name);
        lanes.push(Lane {
            name,
            whole,
            shared_by: 1,
            peak,
            write_only: false,
            efficiency: None,
            transfer_cap,
            max_transfers,
            window: None,
        });
        Ok(LaneId::new(lanes.len() - 1))
    };
    let mut of_link = SharedLanes { read: vec![lay("read", read)?], write: vec![lay("write", write)?] };
    if let Some(combined) = combined {
        let both = lay("both", combined)?;
        of_link.read.push(both);
        of_link.write.push(both);
    }
    Ok(of_link)
}

/// Adds the lanes that stand for limits on the bytes in flight. Where there is no latency, nothing
/// is in flight.
fn lay_windows(
    index: usize,
    tier: &TierConfig,
    shared: &mut SharedLanes,
    lanes: &mut Vec<Lane>,
) -> Result<(), MemoryError> {
    let latency = latency(tier);
    if latency == SimTime::ZERO {
        return Ok(());
    }
    let mut lay = |part: &str, field: &'static str, outstanding: Bytes| {
        let rate = u128::from(outstanding.get()) * u128::from(SimTime::PS_PER_SECOND) / u128::from(latency.as_ps());
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).min(Bandwidth::MAX_INPUT);
        let whole = Bandwidth::new(rate)
            .filter(|rate| rate.get() >= Bandwidth::MIN_INPUT)
            .ok_or_else(|| MemoryError::Outstanding { index, name: tier.name.clone(), field, outstanding, latency })?;
        lanes.push(Lane {
            name: format!("{}.{part}", tier.name),
            whole,
            shared_by: 1,
            peak: whole,
            write_only: false,
            efficiency: None,
            transfer_cap: None,
            max_transfers: None,
            window: Some(outstanding),
        });
        Ok(LaneId::new(lanes.len() - 1))
    };
    if let Some(outstanding) = tier.link().and_then(|link| link.outstanding) {
        shared.read.push(lay("link.read.outstanding", "link.outstanding", outstanding)?);
        shared.write.push(lay("link.write.outstanding", "link.outstanding", outstanding)?);
    }
    if let Some(outstanding) = tier.outstanding {
        let both = lay("outstanding", "outstanding", outstanding)?;
        shared.read.push(both);
        shared.write.push(both);
    }
    Ok(())
}

/// The lanes of a channel, or of all channels of a tier together.
struct ChannelLanes {
    read: LaneId,
    write: LaneId,
}

fn lay_channel(
    tier: &TierConfig,
    efficiency: Option<&Arc<Efficiency>>,
    channel: Option<u32>,
    lanes: &mut Vec<Lane>,
) -> ChannelLanes {
    let at = |read_share| efficiency.map_or(tier.bandwidth, |it| achieved(tier.bandwidth, it.streaming(read_share)));
    let (read, written) = (at(1.0), at(0.0));
    let mut lay = |part: &str, whole: Bandwidth, write_only: bool| {
        lanes.push(Lane {
            name: match channel {
                None => format!("{}.{part}", tier.name),
                Some(channel) => format!("{}.{part}.{channel}", tier.name),
            },
            whole,
            shared_by: if channel.is_some() { tier.channels } else { 1 },
            peak: tier.bandwidth,
            write_only,
            efficiency: efficiency.cloned(),
            transfer_cap: tier.transfer_cap,
            max_transfers: tier.max_transfers,
            window: None,
        });
        LaneId::new(lanes.len() - 1)
    };
    match tier.duplex {
        Duplex::Half => {
            let bus = lay("bus", read, false);
            ChannelLanes { read: bus, write: bus }
        }
        Duplex::Full => ChannelLanes { read: lay("read", read, false), write: lay("write", written, true) },
    }
}

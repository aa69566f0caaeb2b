//! A memory system that the engine may trust: tiers, lanes, ports and the routes over them.
//!
//! A *port* is what a transfer reads from or writes to: a channel of a tier, or all of them
//! together. A *route* leads from a port to the chip, from the chip to a port, or from a port to a
//! port, and holds all lanes on the way at the same time. Routes are numbered: reads by port, then
//! writes by port, then moves by source and destination; last, local reads by port, which end at
//! what computes on the tier and not at the chip, so that they hold the port's own lane but not the
//! tier's link.

use super::check::{MAX_CHANNELS, MAX_LATENCY, MAX_TIERS, MemoryError};
use super::config::{Arbitration, ClassWeights, Interleaving, MemoryConfig, ResidencyKind, TierConfig};
use super::ids::{LaneId, PerTier, PortId, RouteId, TierId};
use super::lay::{Laid, lay};
use super::parts::{Direction, Hold, Lane, Port, Tier};
use crate::units::{Bandwidth, Bytes, RegionId, SimTime};
use std::ops::Range;

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
    /// The places of each tier's ports.
    tier_ports: PerTier<Range<usize>>,
    /// The routes over which what is spread evenly over a tier is read, and written.
    even_reads: PerTier<Vec<RouteId>>,
    even_writes: PerTier<Vec<RouteId>>,
    /// The routes over which what is spread evenly over a tier is read by what computes there.
    local_reads: PerTier<Vec<RouteId>>,
    /// The lanes that stand for the kernels which read from a tier.
    kernels: PerTier<Option<LaneId>>,
    /// The lanes that stand for what computes on a tier.
    cores: PerTier<Option<LaneId>>,
    interference: Option<Interference>,
}

/// What direct reads of some tiers leave of the first tier's bandwidth to the kernels that read
/// both.
#[derive(Clone, Debug)]
pub(super) struct Interference {
    /// The lane of the first tier's kernels.
    pub lane: LaneId,
    /// Which tiers, and what they leave.
    pub tiers: Vec<(TierId, f64)>,
}

impl MemorySystem {
    /// The most tiers.
    pub const MAX_TIERS: usize = MAX_TIERS;
    /// The most channels of a tier.
    pub const MAX_CHANNELS: u32 = MAX_CHANNELS;
    /// The longest latency: 1 s.
    pub const MAX_LATENCY: SimTime = MAX_LATENCY;

    /// Checks `config` and lays its lanes and ports.
    ///
    /// The channels of a striped tier carry the same at any time, so they are in the same state and
    /// are one lane of their bandwidths together.
    ///
    /// # Errors
    /// [`MemoryError`], naming the field, the value and what to write instead.
    pub fn new(config: &MemoryConfig) -> Result<Self, MemoryError> {
        Ok(Self::of(config, lay(config, false)?))
    }

    /// As [`new`](Self::new), but with a lane for every channel of a striped tier too: slower, and
    /// the same results. A system that has a tier with hashed pages is laid as by `new`.
    ///
    /// # Errors
    /// [`MemoryError`], as `new`.
    pub fn channel_by_channel(config: &MemoryConfig) -> Result<Self, MemoryError> {
        let striped = |tier: &TierConfig| tier.interleaving == Interleaving::Striped;
        Ok(Self::of(config, lay(config, config.tiers.iter().all(striped))?))
    }

    /// The system of `config` with the lanes and ports that were laid for it.
    fn of(config: &MemoryConfig, laid: Laid) -> Self {
        let Laid { tiers, lanes, ports, tier_ports } = laid;
        let mut system = Self {
            name: config.name.clone(),
            arbitration: config.arbitration,
            residency: config.residency,
            weights: config.class_weights.clone(),
            tiers,
            lanes,
            ports,
            tier_ports: tier_ports.into_iter().collect(),
            even_reads: PerTier::filled(0, Vec::new()),
            even_writes: PerTier::filled(0, Vec::new()),
            local_reads: PerTier::filled(0, Vec::new()),
            kernels: PerTier::filled(config.tiers.len(), None),
            cores: PerTier::filled(config.tiers.len(), None),
            interference: None,
        };
        system.measure_writes();
        let ports = |tier| system.ports(tier);
        let reads = system.tier_ids().map(|tier| ports(tier).map(|port| system.read_route(port)).collect()).collect();
        let writes = system.tier_ids().map(|tier| ports(tier).map(|port| system.write_route(port)).collect()).collect();
        let local = system.tier_ids().map(|tier| ports(tier).map(|port| system.local_route(port)).collect()).collect();
        (system.even_reads, system.even_writes, system.local_reads) = (reads, writes, local);
        system
    }

    /// The same, but that every lane carries what it carries of long reads (of long writes, where
    /// it carries only these), whatever the granules and the mix are.
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

    /// The same, but that kernels which read from these tiers run one after another, each at the
    /// reach of its read: each of the tiers gets a lane `TIER.kernels` of its read bandwidth,
    /// behind all other lanes.
    #[must_use]
    pub fn with_kernels(mut self, tiers: impl IntoIterator<Item = TierId>) -> Self {
        for tier in tiers {
            if self.kernels[tier].is_some() {
                continue;
            }
            let Tier { name, wire_bandwidth, .. } = &self.tiers[tier.index()];
            self.lanes.push(kernels_lane(format!("{name}.kernels"), *wire_bandwidth));
            self.kernels[tier] = Some(LaneId::new(self.lanes.len() - 1));
        }
        self
    }

    /// The same, but that what computes on these tiers reads them at the reach of its read: each of
    /// the tiers gets a lane `TIER.cores` of its own bandwidth, behind all other lanes.
    #[must_use]
    pub fn with_cores(mut self, tiers: impl IntoIterator<Item = TierId>) -> Self {
        for tier in tiers {
            if self.cores[tier].is_some() {
                continue;
            }
            let Tier { name, local_bandwidth, .. } = &self.tiers[tier.index()];
            self.lanes.push(kernels_lane(format!("{name}.cores"), *local_bandwidth));
            self.cores[tier] = Some(LaneId::new(self.lanes.len() - 1));
        }
        self
    }

    /// The same, but that kernels which read from these tiers in place leave to those that read the
    /// first tier that share of its bandwidth, and no more, as long as they do. Where several tiers
    /// are read, the least share holds.
    #[must_use]
    pub fn with_interference(self, tiers: &[(TierId, f64)]) -> Self {
        if tiers.is_empty() {
            return self;
        }
        let mut system = self.with_kernels([TierId::HBM]);
        let lane = system.kernels[TierId::HBM];
        system.interference = lane.map(|lane| Interference { lane, tiers: tiers.to_vec() });
        system
    }

    /// What direct reads leave to other kernels, where it is not all.
    pub(super) fn interference(&self) -> Option<&Interference> {
        self.interference.as_ref()
    }

    /// The place among the tiers of the [interference](Self::interference) of the one that is read
    /// over `route`.
    pub(super) fn interferes(&self, route: RouteId) -> Option<usize> {
        let interference = self.interference.as_ref()?;
        match self.ends(route) {
            // What computes on the tier does not wait in the chip's queues.
            (Some(port), None) if !self.is_local(route) => {
                interference.tiers.iter().position(|(tier, _)| *tier == port.tier)
            }
            _ => None,
        }
    }

    /// The same with so much less room on the first tier, which has more than that.
    #[must_use]
    pub fn with_buffers(mut self, bytes: Bytes) -> Self {
        let first = &mut self.tiers[TierId::HBM.index()];
        first.capacity = first.capacity.saturating_sub(bytes);
        self
    }

    /// The routes over which what is spread evenly over `source` is copied to `destination`,
    /// evenly.
    #[must_use]
    pub fn even_copies(&self, source: TierId, destination: TierId) -> Vec<RouteId> {
        let to = |from| self.ports(destination).map(move |to| self.move_route(from, to));
        self.ports(source).flat_map(to).collect()
    }

    /// The lane of the kernels that read over `route`, if it leads from a tier that has one to the
    /// chip, or to what computes on the tier. It is not among the lanes of the
    /// [route](Self::route): only demand reads hold it.
    #[must_use]
    pub fn kernels(&self, route: RouteId) -> Option<LaneId> {
        match self.ends(route) {
            (Some(port), None) if self.is_local(route) => self.cores[port.tier],
            (Some(port), None) => self.kernels[port.tier],
            _ => None,
        }
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

    /// Whether a byte is on one tier, or the last tier holds a copy of all.
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
        self.tier_ports[tier].clone().map(PortId::new)
    }

    /// The port of a page of `region` on `tier`: its channel, where pages are hashed. The same on
    /// every machine.
    #[must_use]
    pub fn port_of_page(&self, tier: TierId, region: RegionId, page: u64) -> PortId {
        let ports = self.ports(tier).len() as u64;
        let key = scrambled(region.index() as u64) ^ page;
        // A multiplication by `ports` in place of a remainder: the high bits of the hash are the
        // good ones.
        PortId::new(self.tier_ports[tier].start + ((u128::from(scrambled(key)) * u128::from(ports)) >> 64) as usize)
    }

    /// All routes but local reads: a read and a write of each port, and a move from each port to
    /// each.
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

    /// The route from `port` to what computes on its tier.
    #[must_use]
    pub fn local_route(&self, port: PortId) -> RouteId {
        let ports = self.ports.len();
        RouteId::new((2 + ports) * ports + port.index())
    }

    /// Whether `route` leads to what computes on its tier.
    fn is_local(&self, route: RouteId) -> bool {
        let ports = self.ports.len();
        route.index() >= (2 + ports) * ports
    }

    /// The routes that read bytes spread evenly over `tier`: one, unless its channels are simulated
    /// one by one.
    #[must_use]
    pub fn even_reads(&self, tier: TierId) -> &[RouteId] {
        &self.even_reads[tier]
    }

    /// The routes that write bytes spread evenly over `tier`.
    #[must_use]
    pub fn even_writes(&self, tier: TierId) -> &[RouteId] {
        &self.even_writes[tier]
    }

    /// The routes over which what computes on `tier` reads bytes spread evenly over it.
    #[must_use]
    pub fn local_reads(&self, tier: TierId) -> &[RouteId] {
        &self.local_reads[tier]
    }

    /// The source and the destination of a route; a read has but a source, a write but a
    /// destination.
    fn ends(&self, route: RouteId) -> (Option<&Port>, Option<&Port>) {
        let ports = self.ports.len();
        match (route.index() / ports, route.index() % ports) {
            (0, port) => (Some(&self.ports[port]), None),
            (1, port) => (None, Some(&self.ports[port])),
            (local, port) if local == 2 + ports => (Some(&self.ports[port]), None),
            (source, destination) => (Some(&self.ports[source - 2]), Some(&self.ports[destination])),
        }
    }

    /// The lanes of `route`.
    #[must_use]
    pub fn route(&self, route: RouteId) -> Vec<Hold> {
        let (source, destination) = self.ends(route);
        if let (Some(port), true) = (source, self.is_local(route)) {
            return vec![Hold { lane: port.local, direction: Direction::Read }];
        }
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

    /// How long after a request over `route` its bytes begin to take its lanes: the latency of its
    /// tier; for a move, of both, as the second is asked when the first has answered.
    #[must_use]
    pub fn route_latency(&self, route: RouteId) -> SimTime {
        let (source, destination) = self.ends(route);
        if let (Some(port), true) = (source, self.is_local(route)) {
            return self.tiers[port.tier.index()].local_latency;
        }
        source.into_iter().chain(destination).map(|port| self.tiers[port.tier.index()].latency).sum()
    }

    /// Contiguous bytes per channel when a transfer with granule `granule` uses `route`, as (read
    /// side, write side).
    #[must_use]
    pub fn contiguous_bytes(&self, route: RouteId, granule: Bytes) -> (Bytes, Bytes) {
        let (source, destination) = self.ends(route);
        let of =
            |port: Option<&Port>| port.map_or(granule, |port| self.tiers[port.tier.index()].contiguous_bytes(granule));
        (of(source), of(destination))
    }

    /// Over how many routes a transfer between the ends of `route` may go at once.
    #[must_use]
    pub(super) fn ways(&self, route: RouteId) -> u64 {
        let (source, destination) = self.ends(route);
        source.into_iter().chain(destination).map(|port| self.ports(port.tier).len() as u64).product()
    }

    /// The saturation bandwidth of `tier`, in bytes a second, for transfers in runs of `granule`
    /// bytes of which the share `read_share` are reads. O(lanes of a port).
    #[must_use]
    pub fn saturation(&self, tier: TierId, granule: Bytes, read_share: f64) -> f64 {
        let port = &self.ports[self.tier_ports[tier].start];
        let granule = self.tiers[tier.index()].contiguous_bytes(granule);
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

/// A lane that stands for kernels which read at up to that bandwidth.
fn kernels_lane(name: String, bandwidth: Bandwidth) -> Lane {
    Lane {
        name,
        whole: bandwidth,
        shared_by: 1,
        peak: bandwidth,
        write_only: false,
        efficiency: None,
        transfer_cap: None,
        max_transfers: None,
        window: None,
        is_kernels: true,
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of `key` changes half of
/// the result's.
fn scrambled(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A granule beyond which longer ones make no difference.
const LONG: Bytes = Bytes::new(1 << 40);

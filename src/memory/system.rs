use super::TransferClass;
use super::config::{Arbitration, ClassWeights, Duplex, MemoryConfig, TierConfig};
use crate::units::{Bandwidth, Bytes, SimTime};
use thiserror::Error;

/// A tier's place in [`MemorySystem::tiers`]; 0 is HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierId(pub usize);

impl TierId {
    /// The fastest tier.
    pub const HBM: Self = Self(0);
}

/// A lane's place in [`MemorySystem::lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub usize);

/// A route's place in [`MemorySystem::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub usize);

/// What a memory system cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum MemoryError {
    /// Too few or too many tiers.
    #[error("tiers: {0} of them, but a memory system has from 2 to {max}, the fastest first", max = MemorySystem::MAX_TIERS)]
    TierCount(usize),
    /// A name that cannot stand in a path, a CSV heading or a flag.
    #[error("tiers[{index}].name: '{name}' is no name: use 1 to 32 of a-z, 0-9, '_' and '-'")]
    Name { index: usize, name: String },
    /// Two tiers of one name.
    #[error("tiers[{index}].name: '{name}' is taken by another tier: names must differ")]
    SameName { index: usize, name: String },
    /// A tier that holds nothing.
    #[error("tiers[{index}].capacity: '{name}' holds 0 bytes: write a size such as \"4GiB\"")]
    NoCapacity { index: usize, name: String },
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
    /// What one transfer alone can read at: the least of its bus and its link.
    pub read_bandwidth: Bandwidth,
    /// From a request to its first byte, the link's latency included.
    pub latency: SimTime,
}

/// Something that carries bytes at a bandwidth, shared by the transfers whose routes hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// `hbm.bus`, `external.link.read`.
    pub name: String,
    /// What it carries.
    pub bandwidth: Bandwidth,
}

/// A memory system that the engine may trust.
#[derive(Clone, Debug)]
pub struct MemorySystem {
    name: String,
    arbitration: Arbitration,
    weights: ClassWeights,
    tiers: Vec<Tier>,
    lanes: Vec<Lane>,
    /// For each route its lanes: reads of each tier, then writes, then moves from each tier to each.
    routes: Vec<Vec<LaneId>>,
}

/// The lanes of one tier, while routes are laid.
struct TierLanes {
    read: Vec<LaneId>,
    write: Vec<LaneId>,
}

impl MemorySystem {
    /// The most tiers.
    pub const MAX_TIERS: usize = 8;
    /// The longest latency: 1 s.
    pub const MAX_LATENCY: SimTime = SimTime::from_ps(SimTime::PS_PER_SECOND);

    /// Checks `config` and lays its lanes and routes.
    ///
    /// # Errors
    /// [`MemoryError`], naming the field, the value and what to write instead.
    pub fn new(config: &MemoryConfig) -> Result<Self, MemoryError> {
        if !(2..=Self::MAX_TIERS).contains(&config.tiers.len()) {
            return Err(MemoryError::TierCount(config.tiers.len()));
        }
        for (index, tier) in config.tiers.iter().enumerate() {
            check_tier(index, tier, &config.tiers[..index])?;
        }
        for class in TransferClass::ALL {
            let weight = config.class_weights.of(class);
            if weight == 0 || weight > ClassWeights::MAX {
                return Err(MemoryError::Weight { class, weight });
            }
        }

        let mut lanes = Vec::new();
        let of_tiers: Vec<TierLanes> = config.tiers.iter().map(|tier| lay_lanes(tier, &mut lanes)).collect();
        let slowest = |route: &[LaneId], lanes: &[Lane]| {
            route.iter().map(|lane| lanes[lane.0].bandwidth).min().expect("a route holds a lane")
        };
        let tiers: Vec<Tier> = config
            .tiers
            .iter()
            .zip(&of_tiers)
            .map(|(tier, of_tier)| Tier {
                name: tier.name.clone(),
                capacity: tier.capacity,
                read_bandwidth: slowest(&of_tier.read, &lanes),
                latency: latency(tier),
            })
            .collect();
        for index in 1..tiers.len() {
            let (before, read) = (tiers[index - 1].read_bandwidth, tiers[index].read_bandwidth);
            if read > before {
                let name = tiers[index].name.clone();
                return Err(MemoryError::Order { index, name, read, before });
            }
        }

        let reads = of_tiers.iter().map(|tier| tier.read.clone());
        let writes = of_tiers.iter().map(|tier| tier.write.clone());
        let moves = of_tiers.iter().flat_map(|source| {
            of_tiers.iter().map(|destination| {
                let mut route = source.read.clone();
                route.extend(&destination.write);
                route.sort_unstable();
                route.dedup();
                route
            })
        });
        let routes = reads.chain(writes).chain(moves).collect();
        Ok(Self {
            name: config.name.clone(),
            arbitration: config.arbitration,
            weights: config.class_weights.clone(),
            tiers,
            lanes,
            routes,
        })
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
        (0..self.tiers.len()).map(TierId)
    }

    /// All lanes.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// The lanes of every route, by [`RouteId`].
    #[must_use]
    pub fn routes(&self) -> &[Vec<LaneId>] {
        &self.routes
    }

    /// The route from `tier` to the chip.
    #[must_use]
    pub fn read_route(&self, tier: TierId) -> RouteId {
        RouteId(tier.0)
    }

    /// The route from the chip to `tier`.
    #[must_use]
    pub fn write_route(&self, tier: TierId) -> RouteId {
        RouteId(self.tiers.len() + tier.0)
    }

    /// The route of a migration.
    #[must_use]
    pub fn move_route(&self, source: TierId, destination: TierId) -> RouteId {
        let tiers = self.tiers.len();
        RouteId(2 * tiers + source.0 * tiers + destination.0)
    }

    /// How long after a request over `route` its bytes begin to take its lanes: the latency of its tier; for a move, of both,
    /// as the second is asked when the first has answered.
    #[must_use]
    pub fn route_latency(&self, route: RouteId) -> SimTime {
        let tiers = self.tiers.len();
        match route.0.checked_sub(2 * tiers) {
            None => self.tiers[route.0 % tiers].latency,
            Some(pair) => self.tiers[pair / tiers].latency + self.tiers[pair % tiers].latency,
        }
    }

    /// The bandwidth of the slowest lane of `route`: what a transfer alone gets.
    #[must_use]
    pub fn route_bandwidth(&self, route: RouteId) -> Bandwidth {
        self.routes[route.0].iter().map(|lane| self.lanes[lane.0].bandwidth).min().expect("a route holds a lane")
    }

    /// The sum of the tiers' read bandwidths, in bytes a second: what a perfect placement reads at.
    #[must_use]
    pub fn total_read_bandwidth(&self) -> u128 {
        self.tiers.iter().map(|tier| u128::from(tier.read_bandwidth.get())).sum()
    }

    /// HBM's share of all tiers' read bandwidth, section 2 of the model.
    #[must_use]
    pub fn best_ratio(&self) -> f64 {
        self.tiers[TierId::HBM.0].read_bandwidth.as_f64() / self.total_read_bandwidth() as f64
    }
}

fn check_tier(index: usize, tier: &TierConfig, before: &[TierConfig]) -> Result<(), MemoryError> {
    let name = tier.name.clone();
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(usable) {
        return Err(MemoryError::Name { index, name });
    }
    if before.iter().any(|other| other.name == name) {
        return Err(MemoryError::SameName { index, name });
    }
    if latency(tier) > MemorySystem::MAX_LATENCY {
        return Err(MemoryError::Latency { index, name, latency: latency(tier) });
    }
    if tier.capacity == Bytes::ZERO {
        return Err(MemoryError::NoCapacity { index, name });
    }
    Ok(())
}

/// A tier's latency and its link's.
fn latency(tier: &TierConfig) -> SimTime {
    tier.latency + tier.link.as_ref().map_or(SimTime::ZERO, |link| link.latency)
}

fn lay_lanes(tier: &TierConfig, lanes: &mut Vec<Lane>) -> TierLanes {
    let mut lay = |part: &str, bandwidth: Bandwidth| {
        lanes.push(Lane { name: format!("{}.{part}", tier.name), bandwidth });
        LaneId(lanes.len() - 1)
    };
    let (mut read, mut write) = match tier.duplex {
        Duplex::Half => {
            let bus = lay("bus", tier.bandwidth);
            (vec![bus], vec![bus])
        }
        Duplex::Full => (vec![lay("read", tier.bandwidth)], vec![lay("write", tier.bandwidth)]),
    };
    if let Some(link) = &tier.link {
        read.push(lay("link.read", link.read));
        write.push(lay("link.write", link.write));
        if let Some(combined) = link.combined {
            let both = lay("link.both", combined);
            read.push(both);
            write.push(both);
        }
    }
    TierLanes { read, write }
}

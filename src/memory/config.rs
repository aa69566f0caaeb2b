//! A memory system as a person writes it, before it is checked.
//!
//! The fields are those of the RON files in `models/memory/`, which `models/README.md` explains one
//! by one. Names of links and of DRAM parts stay names here, as [`Reference::Name`]; the
//! [`catalog`](crate::catalog) spells them out, and [`MemorySystem::new`](super::MemorySystem::new)
//! checks the whole and lays its lanes.

use super::TransferClass;
use super::efficiency::EfficiencyConfig;
use super::link::LinkConfig;
use crate::config::Reference;
use crate::units::{Bandwidth, Bytes, Price, SimTime};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A memory system as a person writes it: a RON file in `models/memory/`.
///
/// [`MemorySystem::new`](super::MemorySystem::new) checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "MemorySystem", deny_unknown_fields)]
pub struct MemoryConfig {
    /// How reports call it.
    pub name: String,
    /// What it is, in a line.
    #[serde(default)]
    pub about: String,
    /// How transfers that are active on a lane share it.
    #[serde(default)]
    pub arbitration: Arbitration,
    /// Under `Fair`, how much of a lane a transfer of each class gets against one of another. All 1
    /// in the study.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Whether a byte lies in one tier, or the last tier holds a copy of all.
    #[serde(default)]
    pub residency: ResidencyKind,
    /// What the machine costs, with all of its ranks: `"2.99 USD/h"`. Decisions make the cost of
    /// tokens of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// The tiers, the fastest first: the first is the one that alpha counts.
    pub tiers: Vec<TierConfig>,
}

/// One memory tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Tier", deny_unknown_fields)]
pub struct TierConfig {
    /// `hbm`, `external`: the name in reports and in `--set memory.NAME.capacity=...`.
    pub name: String,
    /// How many bytes it holds.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub capacity: Bytes,
    /// The peak bandwidth of its memory, all channels together.
    pub bandwidth: Bandwidth,
    /// How many channels share that bandwidth, all alike.
    #[serde(default = "one", deserialize_with = "crate::config::not_zero")]
    pub channels: u32,
    /// How bytes are spread over the channels.
    #[serde(default)]
    pub interleaving: Interleaving,
    /// The fewest contiguous bytes in one channel, where bytes are spread over all channels.
    #[serde(default = "stripe", deserialize_with = "crate::config::not_zero")]
    pub stripe: Bytes,
    /// Whether reads and writes share the bandwidth.
    #[serde(default)]
    pub duplex: Duplex,
    /// What of the peak is achieved, by granule and read share; all of it where not given. The name
    /// of a DRAM part stands for its efficiency: `"hbm3-6400"`.
    #[serde(default)]
    pub efficiency: Option<Reference<EfficiencyConfig>>,
    /// From a request's arrival at the tier to its first byte.
    #[serde(default)]
    pub latency: SimTime,
    /// The most that one transfer gets of the tier, however idle it is.
    #[serde(default)]
    pub transfer_cap: Option<Bandwidth>,
    /// How many transfers the tier carries at once, each from its request to its last byte, so the
    /// latency included; the others wait in line.
    #[serde(default)]
    pub max_transfers: Option<u32>,
    /// How many bytes may be in flight on the tier at once, each from its request to its arrival,
    /// so the latency (the link's as well) included. See [`Lane::window`](super::Lane::window).
    #[serde(default)]
    pub outstanding: Option<Bytes>,
    /// The chip-to-chip or expansion link that every transfer to or from this tier crosses, if
    /// there is one; a shipped one may be given by its name: `"pcie5-x16"`.
    #[serde(default)]
    pub link: Option<Reference<LinkConfig>>,
    /// Whether the chips of a runtime with several `ranks` share the tier: each has its part of the
    /// capacity and of the bandwidth. The link is each chip's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_by_ranks: bool,
}

fn one() -> u32 {
    1
}

/// Address bits interleave channels at a few hundred bytes in every controller that the presets
/// stand for.
const fn stripe() -> Bytes {
    Bytes::new(256)
}

impl MemoryConfig {
    /// What one of so many ranks has of it.
    #[must_use]
    pub fn of_rank(&self, ranks: u32) -> Self {
        let tiers = self.tiers.iter().map(|tier| tier.clone().of_rank(ranks));
        Self { tiers: tiers.collect(), ..self.clone() }
    }
}

impl TierConfig {
    /// A tier of one channel, without losses, latency, limits or link.
    #[must_use]
    pub fn new(name: &str, capacity: Bytes, bandwidth: Bandwidth) -> Self {
        Self {
            name: name.to_owned(),
            capacity,
            bandwidth,
            channels: 1,
            interleaving: Interleaving::Striped,
            stripe: stripe(),
            duplex: Duplex::Half,
            efficiency: None,
            latency: SimTime::ZERO,
            transfer_cap: None,
            max_transfers: None,
            outstanding: None,
            link: None,
            shared_by_ranks: false,
        }
    }

    /// What one of so many ranks has of it.
    #[must_use]
    pub fn of_rank(mut self, ranks: u32) -> Self {
        if self.shared_by_ranks && ranks > 1 {
            let ranks = u64::from(ranks);
            self.capacity = Bytes::new((self.capacity.get() / ranks).max(1));
            self.bandwidth = Bandwidth::new(self.bandwidth.get() / ranks).unwrap_or(self.bandwidth);
        }
        self
    }

    /// The link, where there is one and it is spelled out.
    #[must_use]
    pub fn link(&self) -> Option<&LinkConfig> {
        self.link.as_ref().and_then(Reference::inline)
    }

    /// The same, to change it.
    pub fn link_mut(&mut self) -> Option<&mut LinkConfig> {
        match &mut self.link {
            Some(Reference::Inline(link)) => Some(link),
            _ => None,
        }
    }

    /// The efficiency, where there is one and it is spelled out.
    #[must_use]
    pub fn efficiency(&self) -> Option<&EfficiencyConfig> {
        self.efficiency.as_ref().and_then(Reference::inline)
    }
}

/// Whether reads and writes of a tier share one bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Duplex {
    /// One DRAM bus: reads and writes share the bandwidth.
    #[default]
    Half,
    /// A pair of lanes: each direction has the bandwidth to itself.
    Full,
}

/// How bytes are spread over a tier's channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interleaving {
    /// Every transfer evenly over all channels.
    #[default]
    Striped,
    /// A page of KV lies in one channel, chosen by a hash of its layer and number. Weights are
    /// spread evenly.
    Hashed {
        /// How many tokens of a layer make a page.
        #[serde(deserialize_with = "crate::config::not_zero")]
        page_tokens: u32,
    },
}

impl Interleaving {
    /// The longest page that is accepted, in tokens.
    pub const MAX_PAGE_TOKENS: u32 = 65_536;
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResidencyKind {
    /// In one tier.
    #[default]
    Exclusive,
    /// The last tier holds a copy of all, and the faster ones are caches of it: moving to it writes
    /// nothing, and a KV write goes to both.
    Inclusive,
}

/// How transfers that are active on a lane share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arbitration {
    /// Max-min fair over all lanes of all routes.
    #[default]
    #[serde(alias = "fair")]
    Fair,
    /// Demand reads before KV writes before migration, fair within a class; preemptive.
    #[serde(alias = "priority")]
    Priority,
    /// In the order of arrival on each lane, one at a time.
    #[serde(alias = "fifo")]
    Fifo,
}

impl Arbitration {
    /// Each with its name and with what it does, in a line.
    pub const ALL: [(&'static str, &'static str, Self); 3] = [
        ("fair", "Max-min fair over all lanes of all routes", Self::Fair),
        ("priority", "Demand reads before KV writes before migration, fair within a class; preemptive", Self::Priority),
        ("fifo", "In the order of arrival on each lane, one at a time", Self::Fifo),
    ];
}

impl fmt::Display for Arbitration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fair => "fair",
            Self::Priority => "priority",
            Self::Fifo => "fifo",
        })
    }
}

/// The weight of each class under `Fair`: a transfer of weight 2 gets twice the share of one of
/// weight 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ClassWeights {
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub weight_read: u32,
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub kv_read: u32,
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub kv_write: u32,
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub migrate_in: u32,
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub migrate_out: u32,
}

impl Default for ClassWeights {
    fn default() -> Self {
        Self { weight_read: 1, kv_read: 1, kv_write: 1, migrate_in: 1, migrate_out: 1 }
    }
}

impl ClassWeights {
    /// The largest weight that is accepted.
    pub const MAX: u32 = 1_000_000;

    /// The weight of `class`.
    #[must_use]
    pub fn of(&self, class: TransferClass) -> u32 {
        match class {
            // A stage waits for a copy, and for activations, as it does for a read.
            TransferClass::WeightRead | TransferClass::Stage | TransferClass::Activation => self.weight_read,
            TransferClass::KvRead => self.kv_read,
            TransferClass::KvWrite => self.kv_write,
            TransferClass::MigrateIn => self.migrate_in,
            TransferClass::MigrateOut => self.migrate_out,
        }
    }
}

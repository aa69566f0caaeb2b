use super::TransferClass;
use crate::units::{Bandwidth, Bytes, SimTime};
use clap::ValueEnum;
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
    /// Under `Fair`, how much of a lane a transfer of each class gets against one of another. All 1 in the study.
    #[serde(default)]
    pub class_weights: ClassWeights,
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
    /// The bandwidth of its DRAM, all channels together.
    pub bandwidth: Bandwidth,
    /// Whether reads and writes share the bandwidth.
    #[serde(default)]
    pub duplex: Duplex,
    /// From a request's arrival at the tier to its first byte.
    #[serde(default)]
    pub latency: SimTime,
    /// The chip-to-chip or expansion link that every transfer to or from this tier crosses, if there is one.
    #[serde(default)]
    pub link: Option<LinkConfig>,
}

/// The lanes between the chip and a tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Link", deny_unknown_fields)]
pub struct LinkConfig {
    /// Towards the chip.
    pub read: Bandwidth,
    /// Away from the chip.
    pub write: Bandwidth,
    /// A limit on both directions together, where there is one.
    #[serde(default)]
    pub combined: Option<Bandwidth>,
    /// What the link adds to the tier's latency, there and back.
    #[serde(default)]
    pub latency: SimTime,
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

/// How transfers that are active on a lane share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[value(rename_all = "lower")]
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

impl fmt::Display for Arbitration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fair => "fair",
            Self::Priority => "priority",
            Self::Fifo => "fifo",
        })
    }
}

/// The weight of each class under `Fair`: a transfer of weight 2 gets twice the share of one of weight 1.
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
            TransferClass::WeightRead => self.weight_read,
            TransferClass::KvRead => self.kv_read,
            TransferClass::KvWrite => self.kv_write,
            TransferClass::MigrateIn => self.migrate_in,
            TransferClass::MigrateOut => self.migrate_out,
        }
    }
}

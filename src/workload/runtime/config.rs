//! A runtime as a person writes it: a RON file in `models/runtimes/`.

use super::computes::{Merge, TierComputeConfig};
use crate::units::{Bytes, FlopRate, SimTime};
use crate::workload::Format;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A runtime as a person writes it. [`Runtime::new`](super::Runtime::new) checks it.
///
/// ```
/// use tiersim::workload::RuntimeConfig;
/// let text = "Runtime(name: \"mine\", per_stage: \"5 us\", reaches: [\
///     (class: Weights, format: \"q8_0\", reach: 0.93), (class: Weights, reach: 0.9), \
///     (class: Kv, reach: [(\"64 KiB\", 0.3), (\"16 MiB\", 0.8)])])";
/// let runtime: RuntimeConfig = tiersim::config::parse(text, "mine.ron")?;
/// assert_eq!(runtime.reaches.len(), 3);
/// assert!(RuntimeConfig::default().is_ideal() && !runtime.is_ideal());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Runtime", deny_unknown_fields)]
pub struct RuntimeConfig {
    /// How reports call it.
    pub name: String,
    /// The memory system on which its figures were measured, by name; `None` for typical values.
    #[serde(default)]
    pub machine: Option<String>,
    /// What it is, in a line.
    #[serde(default)]
    pub about: String,
    /// Where its figures are from.
    #[serde(default)]
    pub source: String,
    /// The time in each stage that reads something in which it neither reads nor computes: kernel
    /// launches, synchronization.
    #[serde(default)]
    pub per_stage: SimTime,
    /// The same for each sequence of the batch, in each such stage.
    #[serde(default)]
    pub per_sequence: SimTime,
    /// The same once a step, at its start.
    #[serde(default)]
    pub per_step: SimTime,
    /// The shares of bandwidths that kernels reach. The first that matches a read holds for it;
    /// where none does, the read reaches all of the bandwidth.
    #[serde(default)]
    pub reaches: Vec<ReachConfig>,
    /// How each tier but the first is read, by its name: `Direct` where not given.
    #[serde(default)]
    pub reads: BTreeMap<String, ReadsConfig>,
    /// The tiers that compute what lies there themselves, by name; none where not given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub computes: BTreeMap<String, TierComputeConfig>,
    /// What direct reads of a tier leave of the first tier's bandwidth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interference: Vec<InterferenceConfig>,
    /// By how much more bytes cross a link where several tokens share a direct read. The first that
    /// matches a read holds for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amplification: Vec<AmplificationConfig>,
    /// How fast the chip computes, where the scenario does not say. Of a model with an
    /// architecture; the FLOP of one in bytes are not known without the scenario's `compute`.
    #[serde(default)]
    pub compute: Option<FlopRate>,
    /// Tensor parallelism over equal chips, of which one is simulated.
    #[serde(default)]
    pub ranks: Option<RanksConfig>,
}

/// Tensor parallelism over equal chips: each has its share of every weight and of the KV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Ranks", deny_unknown_fields)]
pub struct RanksConfig {
    /// How many chips.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub count: u32,
    /// The time of the all-reduce at the end of each attention and each feed-forward part; none
    /// with one chip.
    pub all_reduce: SimTime,
}

/// The share of a tier's effective bandwidth that some reads reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Reach", deny_unknown_fields)]
pub struct ReachConfig {
    /// Of which reads.
    pub class: ReachClass,
    /// Of weights of this format alone.
    #[serde(default)]
    pub format: Option<Format>,
    /// On the tier of that name; on the first tier where not given.
    #[serde(default)]
    pub tier: Option<String>,
    /// The share: one number, or one for each of some sizes.
    pub reach: BySize,
}

/// What is left of the first tier's bandwidth to kernels while others read a tier in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Interference", deny_unknown_fields)]
pub struct InterferenceConfig {
    /// The tier that is read, by its name: one that is read `Direct`.
    pub tier: String,
    /// What is left, by the bytes in flight to that tier: one number, or one for each of some
    /// sizes.
    pub left: BySize,
    /// How many bytes kernels keep in flight to it. Where not given, what it carries at its
    /// bandwidth in its latency. The tier's `outstanding` limits both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Bytes>,
}

/// By how much more bytes cross the link of a tier where several tokens share a read in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Amplification", deny_unknown_fields)]
pub struct AmplificationConfig {
    /// The tier that is read, by its name.
    pub tier: String,
    /// Of which reads.
    pub class: ReachClass,
    /// The factor, by the tokens that share a read: `[(1, 1.0), (16, 2.5)]`, linear between two.
    pub factors: Vec<(u32, f64)>,
}

/// How a tier is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadsConfig {
    /// In place, at the same time as the other tiers.
    #[default]
    Direct,
    /// In place, one tier after another: a stage reads this tier when it has read all faster ones.
    Serial,
    /// Copied into a buffer on the first tier, and read from there.
    Staged {
        /// The room that the buffer takes on the first tier. What does not fit at once is copied in
        /// rounds of what fits.
        #[serde(deserialize_with = "crate::config::not_zero")]
        buffer: Bytes,
        /// How many stages early the copies may begin. With 0, a stage copies what it needs itself.
        #[serde(default, deserialize_with = "crate::config::count")]
        ahead: u32,
        /// The size of a copy: a stage reads each chunk as soon as it has arrived. Without it, a
        /// stage reads when all of its copies have arrived.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chunk: Option<Bytes>,
    },
}

/// The reads that a reach is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReachClass {
    /// Of weights.
    Weights,
    /// Of KV.
    Kv,
}

impl fmt::Display for ReachClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Weights => "weights",
            Self::Kv => "KV",
        })
    }
}

/// A number that may depend on the size of a read: `0.9`, or `[("64 KiB", 0.3), ("16 MiB", 0.8)]`.
#[derive(Clone, Debug, PartialEq)]
pub enum BySize {
    /// The same for all sizes.
    Constant(f64),
    /// At each of these sizes, the smallest first.
    Points(Vec<(Bytes, f64)>),
}

impl Default for RuntimeConfig {
    /// `ideal`: no software or kernel costs.
    fn default() -> Self {
        Self {
            name: Self::IDEAL.to_owned(),
            machine: None,
            about: String::new(),
            source: String::new(),
            per_stage: SimTime::ZERO,
            per_sequence: SimTime::ZERO,
            per_step: SimTime::ZERO,
            reaches: Vec::new(),
            reads: BTreeMap::new(),
            computes: BTreeMap::new(),
            interference: Vec::new(),
            amplification: Vec::new(),
            compute: None,
            ranks: None,
        }
    }
}

impl RuntimeConfig {
    /// The name of the runtime without costs.
    pub const IDEAL: &'static str = "ideal";

    /// Over how many chips the model is spread.
    #[must_use]
    pub fn rank_count(&self) -> u32 {
        self.ranks.map_or(1, |ranks| ranks.count)
    }

    /// The same without the times in which nothing is read or computed.
    #[must_use]
    pub fn without_fixed_times(&self) -> Self {
        let ranks = self.ranks.map(|ranks| RanksConfig { all_reduce: SimTime::ZERO, ..ranks });
        let none = SimTime::ZERO;
        Self { per_stage: none, per_sequence: none, per_step: none, ranks, ..self.clone() }
    }

    /// The same with all tiers read at once, and parts that tiers compute at the same time as the
    /// chip's.
    #[must_use]
    pub fn with_all_at_once(&self) -> Self {
        let mut runtime = Self { reads: BTreeMap::new(), ..self.clone() };
        runtime.computes.values_mut().for_each(|of| of.merge = Merge::Parallel);
        runtime
    }

    /// The same with tiers that [compute at once](TierComputeConfig::at_once).
    #[must_use]
    pub fn with_tiers_at_once(&self) -> Self {
        let mut runtime = self.clone();
        runtime.computes.values_mut().for_each(|of| *of = of.at_once());
        runtime
    }

    /// Whether it is `ideal`: of that name, and without any cost.
    #[must_use]
    pub fn is_ideal(&self) -> bool {
        let Self { about, source, .. } = self;
        *self == Self { about: about.clone(), source: source.clone(), ..Self::default() }
    }
}

impl Serialize for BySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Constant(value) => value.serialize(serializer),
            Self::Points(points) => points.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for BySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrPoints;

        impl<'de> Visitor<'de> for NumberOrPoints {
            type Value = BySize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a list of (size, number): [(\"64 KiB\", 0.3), (\"16 MiB\", 0.8)]")
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<BySize, E> {
                Ok(BySize::Constant(value))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<BySize, E> {
                Ok(BySize::Constant(value as f64))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<BySize, E> {
                Ok(BySize::Constant(value as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, points: A) -> Result<BySize, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(points)).map(BySize::Points)
            }
        }

        deserializer.deserialize_any(NumberOrPoints)
    }
}

//! Requests as a person writes them: the field `requests` of a scenario.
//!
//! ```text
//! requests: (
//!     source: Log(file: "conversation.csv"),      // or Poisson(...), Gamma(...), Bursts(...)
//!     rate: "x2",                                 // twice as fast as recorded; or "4/s" on average
//!     first: "1h",                                // what arrives in the first hour of the log
//!     limits: (sequences: 256, tokens: 2048),
//!     preemption: Swap,
//!     kv: (cache: External, write: Through),
//!     goals: "ttft<2s,tpot<50ms",
//! )
//! ```

use super::generate::GeneratedConfig;
use super::log::LogFormat;
use crate::units::{Bytes, Ratio, SimTime};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Requests as a person writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Requests", deny_unknown_fields)]
pub struct RequestsConfig {
    /// Where requests come from.
    pub source: SourceConfig,
    /// How fast they arrive, compared with the source.
    #[serde(default, skip_serializing_if = "RateConfig::is_recorded")]
    pub rate: RateConfig,
    /// Only requests that arrive before this time of the source, before `rate` changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<SimTime>,
    /// Only so many requests, the first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// What a step, and the engine as a whole, may hold.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Which of the waiting requests is admitted first.
    #[serde(default)]
    pub order: QueueOrder,
    /// What happens to the KV of a request that is preempted.
    #[serde(default)]
    pub preemption: Preemption,
    /// Where KV is kept, and what moves.
    #[serde(default)]
    pub kv: KvConfig,
    /// What a request must meet to count as goodput.
    #[serde(default)]
    pub goals: GoalsConfig,
}

/// Where requests come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SourceConfig {
    /// A log file.
    Log {
        /// Its path; relative to the scenario's file.
        file: PathBuf,
        /// Its format; recognized by its first lines where not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<LogFormat>,
    },
    /// A generator.
    Generated(GeneratedConfig),
}

/// How fast requests arrive, compared with their source: `"x2"`, or `"4/s"` on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum RateConfig {
    /// As the source has it.
    #[default]
    Recorded,
    /// So many times as fast: all times between arrivals are divided by it.
    Times(f64),
    /// So many requests a second on average, from the first arrival to the last.
    PerSecond(f64),
}

impl RateConfig {
    /// Whether it is as the source has it.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        *self == Self::Recorded
    }
}

/// What a step, and the engine as a whole, may hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Limits", deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The most requests that run at once (vLLM: `max_num_seqs`).
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub sequences: u32,
    /// The most tokens of a step, of decoding requests and of prompts (`max_num_batched_tokens`).
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub tokens: u32,
    /// The most tokens of a request, prompt and output together (`max_model_len`); requests that
    /// are longer are rejected.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::config::optional_count_from_1")]
    pub context: Option<u32>,
    /// The tokens of KV that the first tier holds, as an engine reports it; where not given, what
    /// `memory` leaves besides the weights.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::config::optional_count_from_1")]
    pub kv_tokens: Option<u32>,
    /// The share of the first tier that weights and KV may take (`gpu_memory_utilization`).
    pub memory: Ratio,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let memory = Ratio::from_permille(900).unwrap_or(Ratio::ONE);
        Self { sequences: 256, tokens: 2048, context: None, kv_tokens: None, memory }
    }
}

/// Which of the waiting requests is admitted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueOrder {
    /// First come, first served.
    #[default]
    Fcfs,
    /// The one with the fewest tokens to compute; of equals the first.
    ShortestFirst,
}

/// What happens to the KV of a request that is preempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preemption {
    /// It is dropped, and computed again when the request is admitted again.
    #[default]
    Recompute,
    /// It is moved to external memory, and back when the request is admitted again; recomputed
    /// where external memory has no room for it.
    Swap,
}

/// Where KV is kept, and what moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Kv", deny_unknown_fields, default)]
pub struct KvConfig {
    /// Which tiers keep the prefix blocks of prompts for later requests.
    pub cache: CacheConfig,
    /// The tier behind the first that keeps KV; the second where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// How much of that tier is for KV; what weights leave where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Bytes>,
    /// How KV in external memory is read.
    pub external: ExternalKv,
    /// When prefix blocks are written to external memory.
    pub write: WriteBack,
    /// Which KV is written there.
    pub blocks: StoredBlocks,
    /// Whether loads and stores contend alike, or loads come first.
    pub moves: MovePriority,
}

/// Which tiers keep prefix blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheConfig {
    /// None: every prompt is computed in full.
    Off,
    /// The first tier, while there is room.
    #[default]
    Hbm,
    /// The first tier and external memory.
    External,
}

/// How KV in external memory is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternalKv {
    /// It is loaded into the first tier; a request waits for all of its KV before its first step.
    #[default]
    Load,
    /// It is loaded layer by layer; the first step of a request begins at once, and each layer's
    /// attention waits for the KV of that layer.
    LoadByLayer,
    /// It is read in place in every step. New KV is written to external memory as well where the
    /// first tier is full, in the place of a preemption.
    Direct,
}

/// When prefix blocks are written to external memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteBack {
    /// When they have been computed.
    #[default]
    Through,
    /// When the first tier gives them up.
    OnEviction,
}

/// Which KV is written to external memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredBlocks {
    /// That of prompts.
    #[default]
    Prompt,
    /// That of prompts and of outputs.
    All,
}

/// Whether loads and stores contend alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovePriority {
    /// They share lanes.
    #[default]
    Fair,
    /// Stores wait while anything is loaded.
    LoadsFirst,
}

/// What a request must meet to count as goodput: `"ttft<2s,tpot<50ms"`; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Goals", deny_unknown_fields, default)]
pub struct GoalsConfig {
    /// The longest time from arrival to the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft: Option<SimTime>,
    /// The longest mean time between the tokens of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot: Option<SimTime>,
    /// The longest time from arrival to the last token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e: Option<SimTime>,
}

impl GoalsConfig {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// As typed: `ttft<2s,tpot<50ms`.
impl std::fmt::Display for GoalsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [("ttft", self.ttft), ("tpot", self.tpot), ("e2e", self.e2e)];
        let typed = all.into_iter().filter_map(|(name, limit)| Some(format!("{name}<{}", limit?)));
        f.write_str(&typed.collect::<Vec<String>>().join(",").replace(' ', ""))
    }
}

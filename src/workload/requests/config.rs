//! Requests as a person writes them: the field `requests` of a scenario.
//!
//! ```text
//! requests: (
//!     source: Log(file: "conversation.csv"),
//!     rate: "x2",                                 // twice as fast as recorded; or "4/s"
//!     first: "1h",                                // what arrives in the first hour of the log
//!     limits: (sequences: 256, tokens: 2048),
//!     preemption: Swap,
//!     kv: (cache: External, write: Through),
//!     goals: "ttft<2s,tpot<50ms",
//! )
//! ```
//!
//! Instead of a log, requests can be generated:
//!
//! ```text
//! source: Generated(
//!     per_second: 4,
//!     // Poisson if not given; Uniform, Bursts(on: "2s", off: "8s").
//!     arrivals: Gamma(cv: 2),
//!     prompt: LogNormal(median: 1000, sigma: 1),  // Fixed(1000), Uniform(from: 100, to: 2000)
//!     output: Fixed(200),
//!     prefixes: (count: 10, tokens: 1024),        // system prompts that requests share
//! ),
//! count: 1000,
//! ```

use super::error::RequestsError;
use super::generate::GeneratedConfig;
use super::goals::GoalsConfig;
use super::log::LogFormat;
use super::rate::RateConfig;
use crate::units::{Bytes, Ratio, SimTime};
use crate::workload::MAX_TOKENS;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Requests as a person writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Requests", deny_unknown_fields)]
pub struct RequestsConfig {
    /// Where requests come from.
    pub source: SourceConfig,
    /// How fast they arrive, compared with the source.
    #[serde(default)]
    pub rate: RateConfig,
    /// Only requests that arrive before this time of the source, before `rate` changes it.
    #[serde(default)]
    pub first: Option<SimTime>,
    /// Only so many requests, the first ones.
    #[serde(default, deserialize_with = "crate::config::optional_count_from_1")]
    pub count: Option<u32>,
    /// How many tokens a prefix block has: 512 in Mooncake's logs and 16 elsewhere where not given.
    #[serde(default, deserialize_with = "crate::config::optional_count_from_1")]
    pub block_tokens: Option<u32>,
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

impl RequestsConfig {
    /// The requests of `source`, served as an engine does by default.
    #[must_use]
    pub fn of(source: SourceConfig) -> Self {
        Self {
            source,
            rate: RateConfig::default(),
            first: None,
            count: None,
            block_tokens: None,
            limits: LimitsConfig::default(),
            order: QueueOrder::default(),
            preemption: Preemption::default(),
            kv: KvConfig::default(),
            goals: GoalsConfig::default(),
        }
    }

    /// Checks all fields but the source.
    ///
    /// # Errors
    /// [`RequestsError::Field`] of the first field that is not right.
    pub(super) fn check(&self) -> Result<(), RequestsError> {
        let most = MAX_TOKENS as u32;
        let counts = [
            ("count", self.count, u32::MAX),
            ("block_tokens", self.block_tokens, most),
            ("limits.sequences", Some(self.limits.sequences), MAX_SEQUENCES),
            ("limits.tokens", Some(self.limits.tokens), most),
            ("limits.context", self.limits.context, most),
            ("limits.kv_tokens", self.limits.kv_tokens, u32::MAX),
        ];
        for (field, count, most) in counts {
            if let Some(count) = count.filter(|count| *count == 0 || *count > most) {
                let message = format!("'{count}' is outside of what it may be: write 1 to {most}");
                return Err(RequestsError::field(field, message));
            }
        }
        let too_little =
            |field: &str, remedy: &str| Err(RequestsError::field(field, format!("'0' is too little: {remedy}")));
        if self.first == Some(SimTime::ZERO) {
            return too_little("first", "write how long requests arrive, such as \"1h\"");
        }
        if self.limits.memory == Ratio::default() {
            return too_little(
                "limits.memory",
                "write the share of the first tier that an engine may take, such as 0.9",
            );
        }
        if self.kv.capacity == Some(Bytes::ZERO) {
            return too_little("kv.capacity", "write a size such as \"64 GiB\", or keep nothing in external memory");
        }
        if self.kv.tier.as_ref().is_some_and(String::is_empty) {
            return Err(RequestsError::field("kv.tier", "it is empty: write the name of a tier of the memory system"));
        }
        self.rate.check().map_err(|message| RequestsError::field("rate", message))?;
        self.goals.check().map_err(|message| RequestsError::field("goals", message))
    }
}

/// The most requests that run at once: vLLM's largest setting is some thousands.
const MAX_SEQUENCES: u32 = 1 << 16;

/// Where requests come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SourceConfig {
    /// A log file.
    Log {
        /// Its path; relative to the scenario's file.
        file: PathBuf,
        /// Its format; recognized by its first lines where not given.
        #[serde(default)]
        format: Option<LogFormat>,
    },
    /// A generator.
    Generated(GeneratedConfig),
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
    #[serde(deserialize_with = "crate::config::optional_count_from_1")]
    pub context: Option<u32>,
    /// The tokens of KV that the first tier holds, as an engine reports it; where not given, what
    /// `memory` leaves besides the weights.
    #[serde(deserialize_with = "crate::config::optional_count_from_1")]
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
    #[serde(alias = "fcfs")]
    Fcfs,
    /// The one with the fewest tokens to compute; of equals the first.
    #[serde(alias = "shortest-first")]
    ShortestFirst,
}

impl QueueOrder {
    /// The orders as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 2] = [
        ("fcfs", "first come, first served", Self::Fcfs),
        ("shortest-first", "the request with the fewest tokens to compute first", Self::ShortestFirst),
    ];
}

/// What happens to the KV of a request that is preempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preemption {
    /// It is dropped, and computed again when the request is admitted again.
    #[default]
    #[serde(alias = "recompute")]
    Recompute,
    /// It is moved to external memory, and back when the request is admitted again; recomputed
    /// where external memory has no room for it.
    #[serde(alias = "swap")]
    Swap,
}

impl Preemption {
    /// The ways as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 2] = [
        ("recompute", "its KV is dropped and computed again", Self::Recompute),
        ("swap", "its KV is moved to external memory and back", Self::Swap),
    ];
}

/// Where KV is kept, and what moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Kv", deny_unknown_fields, default)]
pub struct KvConfig {
    /// Which tiers keep the prefix blocks of prompts for later requests.
    pub cache: CacheConfig,
    /// The tier behind the first that keeps KV; the second where not given.
    pub tier: Option<String>,
    /// How much of that tier is for KV; what weights leave where not given.
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

impl KvConfig {
    /// Whether any KV is kept in external memory, where preempted requests are treated so.
    #[must_use]
    pub fn uses_external(&self, preemption: Preemption) -> bool {
        self.cache == CacheConfig::External || self.external == ExternalKv::Direct || preemption == Preemption::Swap
    }

    /// The fields that have an effect only where KV is kept in external memory, and that are not as
    /// by default.
    pub fn of_external(&self) -> impl Iterator<Item = &'static str> {
        let default = Self::default();
        [
            ("tier", self.tier != default.tier),
            ("capacity", self.capacity != default.capacity),
            ("external", self.external != default.external),
            ("write", self.write != default.write),
            ("blocks", self.blocks != default.blocks),
            ("moves", self.moves != default.moves),
        ]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
    }
}

/// Which tiers keep prefix blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheConfig {
    /// None: every prompt is computed in full.
    #[serde(alias = "off")]
    Off,
    /// The first tier, while there is room.
    #[default]
    #[serde(alias = "hbm")]
    Hbm,
    /// The first tier and external memory.
    #[serde(alias = "external")]
    External,
}

impl CacheConfig {
    /// The choices as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 3] = [
        ("off", "every prompt is computed in full", Self::Off),
        ("hbm", "prefix blocks stay in the first tier while there is room", Self::Hbm),
        ("external", "prefix blocks stay in the first tier and in external memory", Self::External),
    ];
}

/// How KV in external memory is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternalKv {
    /// It is loaded into the first tier; a request waits for all of its KV before its first step.
    #[default]
    #[serde(alias = "load")]
    Load,
    /// It is loaded layer by layer; the first step of a request begins at once, and each layer's
    /// attention waits for the KV of that layer.
    #[serde(alias = "load-by-layer")]
    LoadByLayer,
    /// It is read in place in every step. New KV is written to external memory as well where the
    /// first tier is full, in the place of a preemption.
    #[serde(alias = "direct")]
    Direct,
}

impl ExternalKv {
    /// The ways as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 3] = [
        ("load", "a request waits until all of its KV is in the first tier", Self::Load),
        ("load-by-layer", "each layer's attention waits for the KV of that layer", Self::LoadByLayer),
        ("direct", "it is read in place in every step", Self::Direct),
    ];
}

/// When prefix blocks are written to external memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteBack {
    /// When they have been computed.
    #[default]
    #[serde(alias = "through")]
    Through,
    /// When the first tier gives them up.
    #[serde(alias = "on-eviction")]
    OnEviction,
}

impl WriteBack {
    /// The choices as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 2] = [
        ("through", "when they have been computed", Self::Through),
        ("on-eviction", "when the first tier gives them up", Self::OnEviction),
    ];
}

/// Which KV is written to external memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredBlocks {
    /// That of prompts.
    #[default]
    #[serde(alias = "prompt")]
    Prompt,
    /// That of prompts and of outputs.
    #[serde(alias = "all")]
    All,
}

impl StoredBlocks {
    /// The choices as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 2] =
        [("prompt", "those of prompts", Self::Prompt), ("all", "those of prompts and of outputs", Self::All)];
}

/// Whether loads and stores contend alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovePriority {
    /// They share lanes.
    #[default]
    #[serde(alias = "fair")]
    Fair,
    /// Stores wait while anything is loaded.
    #[serde(alias = "loads-first")]
    LoadsFirst,
}

impl MovePriority {
    /// The choices as they are typed, and what each means.
    pub const ALL: [(&'static str, &'static str, Self); 2] = [
        ("fair", "loads and stores share lanes", Self::Fair),
        ("loads-first", "stores wait while anything is loaded", Self::LoadsFirst),
    ];
}

//! A scenario as a person writes it, before anything in it is looked up or checked.
//!
//! It is read from a RON file, or from the JSON of an earlier run's `summary.json`. What it names
//! stays a name here ([`Reference::Name`]); [`Scenario::new`](super::Scenario::new) looks names up
//! in the [`catalog`] and checks the whole.

use crate::catalog;
use crate::config::{self, ConfigError, Reference};
use crate::memory::MemoryConfig;
use crate::strategy::{BoundKind, LayoutRules, Strategy};
use crate::workload::{
    ComputeConfig, ExpertTraceConfig, IndexConfig, KvGroups, ModelConfig, PrefillConfig, RecordedConfig,
    RequestsConfig, RuntimeConfig, SequencesConfig, SourceConfig, TraceConfig,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::Path;

/// A scenario as a person writes it: a RON file in `models/scenarios/`.
///
/// What it names (model, memory system, strategy) it may also spell out in place. Paths in a file
/// are relative to that file. [`Scenario::new`](super::Scenario::new) reads in what is named, and
/// checks all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Scenario", deny_unknown_fields, remote = "Self")]
pub struct ScenarioConfig {
    /// How reports call it.
    pub name: String,
    /// What it asks, in a line.
    #[serde(default)]
    pub about: String,
    /// The language model.
    pub model: Reference<ModelConfig>,
    /// The memory system.
    pub memory: Reference<MemoryConfig>,
    /// The tokens of the prompt: with one sequence, those before step 0. Not given where there are
    /// `requests`.
    #[serde(default = "unwritten", skip_serializing_if = "is_unwritten", deserialize_with = "crate::config::count")]
    pub prefill_tokens: u32,
    /// The tokens that are decoded: with one sequence, the steps. Not given where there are
    /// `requests`.
    #[serde(
        default = "unwritten",
        skip_serializing_if = "is_unwritten",
        deserialize_with = "crate::config::count_from_1"
    )]
    pub decode_tokens: u32,
    /// How many equal sequences are decoded at once, each with its own KV and skip sets.
    #[serde(default = "one", skip_serializing_if = "is_one", deserialize_with = "crate::config::count_from_1")]
    pub batch: u32,
    /// Groups of sequences, in the place of a `batch` of equal ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<SequencesConfig>,
    /// Whether the KV of prompts is there from the start, or computed.
    #[serde(default, skip_serializing_if = "PrefillConfig::is_given")]
    pub prefill: PrefillConfig,
    /// Requests that arrive over time, in the place of sequences that are there from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsConfig>,
    /// How many of the first steps are left out of histograms, means and rates.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "crate::config::count")]
    pub warmup_steps: u32,
    /// How many tokens of a layer make a page: KV is placed, moved and read in whole pages. By
    /// default 1, and 16 where there are `requests`.
    #[serde(default = "unwritten", deserialize_with = "crate::config::count_from_1")]
    pub page_tokens: u32,
    /// Into which regions the KV of a layer is divided, each with its own tiers, moves and skip
    /// sets.
    #[serde(default, skip_serializing_if = "KvGroups::is_whole")]
    pub kv_groups: KvGroups,
    /// Which tokens each step skips.
    #[serde(default)]
    pub trace: TraceConfig,
    /// Which experts the tokens of each step are routed to: experts are placed, moved and read as
    /// units then. Where not given, they are weights of which a step reads an expected share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<ExpertTraceConfig>,
    /// Where data is placed and what moves.
    #[serde(default)]
    pub strategy: Strategy,
    /// Which pieces lie on which tier, in the place of the strategy's initialization and placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<LayoutRules>,
    /// What attention reads of every page to select those that it reads, from the first tier;
    /// nothing where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexConfig>,
    /// How many stages ahead weights may be read early, within a step.
    #[serde(default)]
    pub weight_prefetch: u32,
    /// Which bounds the run is compared with.
    #[serde(default)]
    pub bound: BoundKind,
    /// How fast the chip computes; infinitely fast where not given.
    #[serde(default)]
    pub compute: Option<ComputeConfig>,
    /// The software that runs the model, and what its kernels achieve: `ideal` where not given.
    #[serde(default = "ideal", skip_serializing_if = "is_ideal")]
    pub runtime: Reference<RuntimeConfig>,
}

/// The runtime of a scenario that names none.
fn ideal() -> Reference<RuntimeConfig> {
    Reference::Inline(RuntimeConfig::default())
}

/// Whether a runtime is the one of scenarios that name none, which results do not spell out.
fn is_ideal(runtime: &Reference<RuntimeConfig>) -> bool {
    match runtime {
        Reference::Name(name) => name == RuntimeConfig::IDEAL,
        Reference::Inline(runtime) => runtime.is_ideal(),
    }
}

fn one() -> u32 {
    1
}

/// In the place of a count that a file does not have, while it is read or written: more than any
/// count may be.
fn unwritten() -> u32 {
    u32::MAX
}

fn is_unwritten(count: &u32) -> bool {
    *count == unwritten()
}

/// What is not written depends on whether there are `requests`.
impl<'de> Deserialize<'de> for ScenarioConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The function that is derived, not this one.
        let mut config = Self::deserialize(deserializer)?;
        let serves = config.requests.is_some();
        let counts = [("prefill_tokens", &mut config.prefill_tokens), ("decode_tokens", &mut config.decode_tokens)];
        for ((field, count), of_requests) in counts.into_iter().zip(Self::OF_REQUESTS) {
            match (is_unwritten(count), serves) {
                // As RON says it of other fields.
                (true, false) => {
                    let message = format_args!("Unexpected missing field named `{field}` in `Scenario`");
                    return Err(D::Error::custom(message));
                }
                (true, true) => *count = of_requests,
                (false, _) => {}
            }
        }
        if is_unwritten(&config.page_tokens) {
            config.page_tokens = if serves { Self::PAGE_OF_REQUESTS } else { 1 };
        }
        Ok(config)
    }
}

/// As it is read: with `requests`, prompts and outputs are theirs.
impl Serialize for ScenarioConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.requests.is_some() && [self.prefill_tokens, self.decode_tokens] == Self::OF_REQUESTS {
            let (prefill_tokens, decode_tokens) = (unwritten(), unwritten());
            let config = Self { prefill_tokens, decode_tokens, ..self.clone() };
            return Self::serialize(&config, serializer);
        }
        Self::serialize(self, serializer)
    }
}

fn is_one(batch: &u32) -> bool {
    *batch == 1
}

fn is_zero(steps: &u32) -> bool {
    *steps == 0
}

impl ScenarioConfig {
    /// `prefill_tokens` and `decode_tokens` where there are `requests`, which have their own.
    pub const OF_REQUESTS: [u32; 2] = [0, 1];
    /// The tokens of a page where there are `requests` and nothing else is said: those of vLLM.
    pub const PAGE_OF_REQUESTS: u32 = 16;

    /// The scenario of that name or path. A path may also lead to the `summary.json` of an earlier
    /// run, or to the `scenario` in it: the same scenario again.
    ///
    /// # Errors
    /// [`ConfigError`] if there is none or its file is not right.
    pub fn load(name_or_path: &str) -> Result<Self, ConfigError> {
        let (text, origin) = catalog::text("scenario", catalog::SCENARIOS, name_or_path)?;
        if text.trim_start().starts_with('{') {
            // Its paths are as they were typed in the folder of that run.
            return if config::parse_json::<Summary>(&text, &origin)?.scenario.is_null() {
                config::parse_json(&text, &origin)
            } else {
                Ok(config::parse_json::<SummaryWithScenario>(&text, &origin)?.scenario)
            };
        }
        catalog::check_kind(&text, &origin, catalog::FileKind::Scenario)?;
        let mut scenario: Self = config::parse(&text, &origin)?;
        if let Some(folder) = Path::new(name_or_path).parent().filter(|_| origin == name_or_path) {
            scenario.relative_to(folder);
        }
        Ok(scenario)
    }

    /// Paths as seen from the working directory, where they were relative to `folder`.
    fn relative_to(&mut self, folder: &Path) {
        let seen_from_here = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let shipped = |list: &[catalog::Shipped], name: &str| list.iter().any(|file| file.name == name);
        if let Reference::Name(name) = &mut self.model
            && !shipped(catalog::MODELS, name)
        {
            *name = seen_from_here(name);
        }
        if let Reference::Name(name) = &mut self.memory
            && !shipped(catalog::MEMORY_SYSTEMS, name)
        {
            *name = seen_from_here(name);
        }
        if let Reference::Name(name) = &mut self.runtime
            && !catalog::is_runtime(name)
        {
            *name = seen_from_here(name);
        }
        for trace in
            std::iter::once(&mut self.trace).chain(self.sequences.iter_mut().filter_map(|of| of.trace.as_mut()))
        {
            if let TraceConfig::Recorded(RecordedConfig { file, .. }) = trace
                && catalog::trace(&file.to_string_lossy()).is_none()
            {
                *file = folder.join(&*file);
            }
        }
        if let Some(ExpertTraceConfig::Recorded(recorded)) = &mut self.routing
            && catalog::trace(&recorded.file.to_string_lossy()).is_none()
        {
            recorded.file = folder.join(&recorded.file);
        }
        if let Some(RequestsConfig { source: SourceConfig::Log { file, .. }, .. }) = &mut self.requests
            && catalog::request_log(&file.to_string_lossy()).is_none()
        {
            *file = folder.join(&*file);
        }
    }
}

/// Whether JSON is a run's summary.
#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    scenario: serde_json::Value,
}

/// What of a run's summary is read back.
#[derive(Deserialize)]
struct SummaryWithScenario {
    scenario: ScenarioConfig,
}

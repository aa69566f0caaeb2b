use super::idealization::{Ideal, Idealization};
use super::size::{check_room, check_size};
use crate::catalog::{self, open_trace};
use crate::config::{self, ConfigError, NameError, Reference, check_name};
use crate::memory::{Interleaving, MemoryConfig, MemoryError, MemorySystem};
use crate::strategy::{AsBound, BoundKind, ChargedBound, ChargedError, KvLoad, MigrationKind, StepBound, Strategy};
use crate::units::{Bytes, PageSize, SequenceId, SimTime, Table};
use crate::workload::{
    ComputeConfig, ComputeError, Demand, FittedTrace, LanguageModel, MAX_TOKENS, ModelConfig, ModelError,
    RecordedConfig, Regions, Roofline, Shape, SkipSource, Stage, StoredSkips, TraceConfig, TraceError, TraceWindow,
    stages,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// A scenario as a person writes it: a RON file in `models/scenarios/`.
///
/// What it names (model, memory system, strategy) it may also spell out in place. Paths in a file are relative to that
/// file. [`Scenario::new`] reads in what is named, and checks all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Scenario", deny_unknown_fields)]
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
    /// The tokens before step 0.
    #[serde(deserialize_with = "crate::config::count")]
    pub prefill_tokens: u32,
    /// The steps.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub decode_tokens: u32,
    /// How many of the first steps are left out of histograms, means and rates.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "crate::config::count")]
    pub warmup_steps: u32,
    /// How many tokens of a layer make a page: KV is placed, moved and read in whole pages.
    #[serde(default = "one", deserialize_with = "crate::config::count_from_1")]
    pub page_tokens: u32,
    /// Which tokens each step skips.
    #[serde(default)]
    pub trace: TraceConfig,
    /// Where data is placed and what moves.
    #[serde(default)]
    pub strategy: Strategy,
    /// How many stages ahead weights may be read early, within a step.
    #[serde(default)]
    pub weight_prefetch: u32,
    /// Which bounds the run is held against.
    #[serde(default)]
    pub bound: BoundKind,
    /// How fast the chip computes; infinitely fast where not given.
    #[serde(default)]
    pub compute: Option<ComputeConfig>,
}

fn one() -> u32 {
    1
}

fn is_zero(steps: &u32) -> bool {
    *steps == 0
}

impl ScenarioConfig {
    /// The scenario of that name or path. A path may also lead to the `summary.json` of an earlier run, or to the
    /// `scenario` in it: the same scenario again.
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
        if let TraceConfig::Recorded(RecordedConfig { file, .. }) = &mut self.trace
            && catalog::trace(&file.to_string_lossy()).is_none()
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

/// Why a scenario cannot be run.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ScenarioError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("name: {0}")]
    Name(NameError),
    #[error("model: {0}")]
    Model(#[from] ModelError),
    #[error("memory: {0}")]
    Memory(#[from] MemoryError),
    #[error("{0}")]
    Trace(#[from] TraceError),
    #[error("{0}")]
    Compute(#[from] ComputeError),
    #[error(transparent)]
    Charged(#[from] ChargedError),
    #[error("decode_tokens: 0 steps: there is nothing to simulate; write at least 1")]
    NoSteps,
    #[error(
        "warmup_steps: {warmup} steps are left out, but the run has {decode} (decode_tokens), so that nothing is left to measure: write \
         at most {}",
        .decode - 1
    )]
    Warmup { warmup: u32, decode: u32 },
    #[error("page_tokens: {0}, but a page holds from 1 to {max} tokens", max = Scenario::MAX_PAGE_TOKENS)]
    PageTokens(u32),
    #[error("prefill_tokens + decode_tokens: {0} tokens are more than the {max} that can be simulated", max = Scenario::MAX_TOKENS)]
    TooManyTokens(u64),
    #[error(
        "prefill_tokens + decode_tokens: {tokens} tokens in {layers} layers on {tiers} tiers are, multiplied, more than the {max} \
         that can be simulated",
        max = Scenario::MAX_RESIDENCIES
    )]
    TooManyResidencies { tokens: u64, layers: usize, tiers: usize },
    #[error(
        "page_tokens: a page of {page_tokens} tokens of {kv_bytes} (layers[].kv_bytes) is more than {max}, the largest size that is \
         counted: take fewer tokens a page",
        max = Bytes::MAX_INPUT
    )]
    PageTooLarge { page_tokens: u32, kv_bytes: Bytes },
    #[error("decode_tokens: {steps} steps may read up to {bytes} B, more than can be counted: decode fewer tokens")]
    TooManyBytes { steps: u32, bytes: u128 },
    #[error(
        "prefill_tokens: the weights ({}) and the KV of {prefill} tokens ({}) are {} more than the tiers hold ({}; under inclusive residency, the last one): enlarge a tier or lower prefill_tokens",
        weights.rounded(),
        kv.rounded(),
        missing.rounded(),
        capacity.rounded()
    )]
    DoesNotFit { weights: Bytes, prefill: u32, kv: Bytes, missing: Bytes, capacity: Bytes },
}

/// A scenario that the engine may trust.
#[derive(Clone, Debug)]
pub struct Scenario {
    resolved: ScenarioConfig,
    model: LanguageModel,
    memory: MemorySystem,
    roofline: Option<Roofline>,
    /// Its skip sets, where another run has them already.
    stored: Option<Arc<StoredSkips>>,
    idealization: Idealization,
    /// What its file says, before flags changed it.
    written: Option<Arc<ScenarioConfig>>,
}

impl Scenario {
    /// The most tokens, prefill and decode together.
    pub const MAX_TOKENS: u64 = MAX_TOKENS;
    /// The most tokens of a page.
    pub const MAX_PAGE_TOKENS: u32 = 65_536;
    /// The most tokens times layers times tiers: each takes up to five bits, so this much takes 2.7 GB.
    pub const MAX_RESIDENCIES: u64 = 1 << 32;
    /// Over so many steps [`read_share`](Self::read_share) is measured.
    pub const MEASURED_STEPS: usize = 8;

    /// Reads in what `config` names and checks all of it.
    ///
    /// # Errors
    /// [`ScenarioError`], naming the field, the value and what to write instead.
    pub fn new(mut config: ScenarioConfig) -> Result<Self, ScenarioError> {
        let model_config = config.model.resolve(catalog::model)?;
        let memory_config = catalog::resolved(config.memory)?;
        check_name(&config.name).map_err(ScenarioError::Name)?;
        let model = LanguageModel::new(&model_config)?;
        let memory = MemorySystem::new(&memory_config)?;
        config.model = Reference::Inline(model_config);
        config.memory = Reference::Inline(memory_config);

        if !(1..=Self::MAX_PAGE_TOKENS).contains(&config.page_tokens) {
            return Err(ScenarioError::PageTokens(config.page_tokens));
        }
        if config.decode_tokens == 0 {
            return Err(ScenarioError::NoSteps);
        }
        if config.warmup_steps >= config.decode_tokens {
            return Err(ScenarioError::Warmup { warmup: config.warmup_steps, decode: config.decode_tokens });
        }
        let tokens = u64::from(config.prefill_tokens) + u64::from(config.decode_tokens);
        if tokens > Self::MAX_TOKENS {
            return Err(ScenarioError::TooManyTokens(tokens));
        }
        check_size(&model, memory.tiers().len(), &config)?;
        check_room(&model, &memory, config.prefill_tokens, config.page_tokens)?;
        let roofline = config.compute.as_ref().map(Roofline::new).transpose()?;
        let mut scenario = Self {
            resolved: config,
            model,
            memory,
            roofline,
            stored: None,
            idealization: Idealization::NONE,
            written: None,
        };
        scenario.resolve_trace()?;
        scenario.check_trace()?;
        if scenario.resolved.bound == BoundKind::Charged {
            scenario.charged()?;
        }
        Ok(scenario)
    }

    /// Spells out the generator that goes on from a recorded trace that is too short.
    fn resolve_trace(&mut self) -> Result<(), ScenarioError> {
        let (prefill, decode) = (self.prefill(), self.decode());
        if let TraceConfig::Recorded(recorded) = &mut self.resolved.trace {
            let file = recorded.file.clone();
            FittedTrace::resolve(|| open_trace(&file), recorded, Demand { model: &self.model, prefill, decode })?;
        }
        Ok(())
    }

    /// The same with a lane for every channel of a striped tier: slower, and the same results.
    ///
    /// # Errors
    /// [`ScenarioError`], as [`new`](Self::new).
    pub fn channel_by_channel(config: ScenarioConfig) -> Result<Self, ScenarioError> {
        let mut scenario = Self::new(config)?;
        if let Reference::Inline(memory) = &scenario.resolved.memory {
            scenario.memory = MemorySystem::channel_by_channel(memory)?;
        }
        Ok(scenario)
    }

    /// The same, spared what `idealization` says besides what it is spared already. Its [`resolved`](Self::resolved) input is
    /// changed where a configuration can say so; [`idealization`](Self::idealization) has all.
    ///
    /// # Errors
    /// [`ScenarioError`], as [`new`](Self::new).
    pub fn idealized(&self, idealization: Idealization) -> Result<Self, ScenarioError> {
        let mut config = self.resolved.clone();
        let ideals = || Ideal::ALL.into_iter().filter(|ideal| idealization.has(*ideal));
        if let Reference::Inline(memory) = &mut config.memory {
            ideals().for_each(|ideal| self.idealize_memory(memory, ideal));
        }
        if idealization.has(Ideal::SingleTokens) {
            config.page_tokens = 1;
        }
        let mut scenario = Self::new(config)?;
        scenario.idealization = ideals().fold(self.idealization, Idealization::with);
        if scenario.idealization.has(Ideal::NoLosses) {
            scenario.memory = scenario.memory.without_losses();
        }
        Ok(scenario)
    }

    fn idealize_memory(&self, memory: &mut MemoryConfig, ideal: Ideal) {
        for (index, tier) in memory.tiers.iter_mut().enumerate() {
            match ideal {
                Ideal::NoLimits => {
                    (tier.transfer_cap, tier.max_transfers, tier.outstanding) = (None, None, None);
                    if let Some(link) = tier.link_mut() {
                        (link.transfer_cap, link.max_transfers, link.outstanding) = (None, None, None);
                    }
                }
                Ideal::EvenChannels => tier.interleaving = Interleaving::Striped,
                Ideal::NoLatencies => {
                    tier.latency = SimTime::ZERO;
                    if let Some(link) = tier.link_mut() {
                        link.latency = SimTime::ZERO;
                    }
                }
                Ideal::AmpleHbm if index == 0 => tier.capacity = tier.capacity.max(self.stored_at_the_end()),
                _ => {}
            }
        }
    }

    /// What weights and KV occupy at the end, once.
    fn stored_at_the_end(&self) -> Bytes {
        let pages = self.shape().pages(self.prefill() + self.decode()) as u64;
        self.model.stored_weights() + self.model.token_bytes().times(pages * self.shape().page_size.tokens() as u64)
    }

    /// Whether being spared `ideal` can make a difference to this scenario.
    #[must_use]
    pub fn is_affected_by(&self, ideal: Ideal) -> bool {
        let memory = &self.memory;
        let has_kv = self.model.token_bytes() > Bytes::ZERO;
        match ideal {
            Ideal::FreeMigration => self.strategy().migration != MigrationKind::None && memory.tiers().len() > 1,
            Ideal::FreeWrites => has_kv,
            Ideal::NoLosses => memory.lanes().iter().any(|lane| lane.efficiency.is_some()),
            Ideal::NoLimits => memory
                .lanes()
                .iter()
                .any(|lane| lane.transfer_cap.is_some() || lane.max_transfers.is_some() || lane.window.is_some()),
            Ideal::EvenChannels => memory.tiers().iter().any(|tier| tier.interleaving != Interleaving::Striped),
            Ideal::NoLatencies => memory.tiers().iter().any(|tier| tier.latency > SimTime::ZERO),
            Ideal::BoundLayout => memory.tiers().len() > 1,
            Ideal::AmpleHbm => memory.tiers()[0].capacity < self.stored_at_the_end(),
            Ideal::SingleTokens => self.shape().page_size != PageSize::TOKEN && has_kv,
        }
    }

    /// What its runs are spared.
    #[must_use]
    pub fn idealization(&self) -> Idealization {
        self.idealization
    }

    fn check_trace(&self) -> Result<(), ScenarioError> {
        match &self.resolved.trace {
            TraceConfig::Generated(generator) => {
                generator.check(self.prefill(), self.decode())?;
            }
            TraceConfig::Lifelike(lifelike) => lifelike.check(self.prefill(), self.decode())?,
            // What is in its rows is found as they are read: a long trace takes as long to read as to simulate.
            TraceConfig::Recorded(recorded) => drop(self.fitted(recorded)?),
        }
        Ok(())
    }

    /// The whole input, with everything that was named spelled out: what reports keep so that a run can be repeated.
    #[must_use]
    pub fn resolved(&self) -> &ScenarioConfig {
        &self.resolved
    }

    /// The same, with what its file says before anything was changed: reports say then what was.
    #[must_use]
    pub fn with_written(self, written: Arc<ScenarioConfig>) -> Self {
        Self { written: Some(written), ..self }
    }

    /// What its file says, where that is known.
    #[must_use]
    pub fn written(&self) -> Option<&Arc<ScenarioConfig>> {
        self.written.as_ref()
    }

    /// The language model.
    #[must_use]
    pub fn model(&self) -> &LanguageModel {
        &self.model
    }

    /// The memory system.
    #[must_use]
    pub fn memory(&self) -> &MemorySystem {
        &self.memory
    }

    /// The strategy.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.resolved.strategy
    }

    /// The compute times, where compute is not infinitely fast.
    #[must_use]
    pub fn roofline(&self) -> Option<Roofline> {
        self.roofline
    }

    /// The tokens before step 0.
    #[must_use]
    pub fn prefill(&self) -> usize {
        self.resolved.prefill_tokens as usize
    }

    /// The steps.
    #[must_use]
    pub fn decode(&self) -> usize {
        self.resolved.decode_tokens as usize
    }

    /// How many of the first steps are left out of histograms, means and rates.
    #[must_use]
    pub fn warmup(&self) -> usize {
        self.resolved.warmup_steps as usize
    }

    /// How many layers, tokens and pages there are.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            layers: self.model.layers(),
            prefill: self.prefill(),
            decode: self.decode(),
            page_size: PageSize::new(self.resolved.page_tokens).expect("pages hold tokens: checked"),
        }
    }

    /// How many stages ahead weights may be read early.
    #[must_use]
    pub fn weight_prefetch(&self) -> usize {
        self.resolved.weight_prefetch as usize
    }

    /// The bound of its steps.
    #[must_use]
    pub fn step_bound(&self) -> StepBound {
        let regions = self.regions();
        StepBound::new(&self.stages(&regions), &regions, &self.memory, self.roofline, self.weight_prefetch() > 0)
    }

    /// Everything of it that occupies memory.
    #[must_use]
    pub fn regions(&self) -> Regions {
        Regions::new(&self.model, 1)
    }

    /// The stages of its steps, which read `regions`.
    #[must_use]
    pub fn stages(&self, regions: &Regions) -> Vec<Stage> {
        stages(&self.model, regions, &[SequenceId::default()])
    }

    /// The layout that the bound of the first step uses.
    ///
    /// # Errors
    /// [`TraceError`] if the first step of a recorded trace cannot be read.
    pub fn layout_of_bound(&self) -> Result<AsBound, TraceError> {
        let shape = self.shape();
        let window = TraceWindow::new(self.skips()?, shape, 0)?;
        let skips = window.step(0).expect("a scenario has at least one step");
        let pages = shape.pages(shape.prefill);
        let missing = pages * shape.page_size.tokens() - shape.prefill;
        let active = skips.counts.iter().zip(&skips.sets).map(|(skipped, set)| {
            let tokens = (pages - skipped) * shape.page_size.tokens();
            if tokens > 0 && !set.contains(pages - 1) { tokens - missing } else { tokens }
        });
        let load = KvLoad { stored: Table::filled(shape.layers, shape.prefill), read: active.collect() };
        Ok(AsBound::new(self.step_bound().reads(&load), skips))
    }

    /// The share of the tokens that the first steps read, between 0 and 1: what the `skip` of a
    /// generator leaves, or measured over the first [`MEASURED_STEPS`](Self::MEASURED_STEPS) steps
    /// of a recorded trace. Of pages of several tokens it is measured in any case.
    ///
    /// # Errors
    /// [`TraceError`] if these steps cannot be read.
    pub fn read_share(&self) -> Result<f64, TraceError> {
        match &self.resolved.trace {
            TraceConfig::Generated(generator) if self.shape().page_size == PageSize::TOKEN => {
                Ok(1.0 - generator.skip.as_f64())
            }
            TraceConfig::Lifelike(generator) if self.shape().page_size == PageSize::TOKEN => {
                Ok(1.0 - generator.skip.as_f64())
            }
            _ => self.measured_read_share(),
        }
    }

    fn measured_read_share(&self) -> Result<f64, TraceError> {
        let shape = self.shape();
        let mut window = TraceWindow::new(self.skips()?, shape, 0)?;
        let (mut read, mut all) = (0, 0);
        for step in 0..Self::MEASURED_STEPS.min(shape.decode) {
            let Some(skips) = window.step(0) else { break };
            let pages = shape.pages(shape.prefill + step);
            all += pages * shape.layers;
            read += skips.counts.iter().map(|skipped| pages - skipped).sum::<usize>();
            window.advance()?;
        }
        Ok(if all > 0 { read as f64 / all as f64 } else { 1.0 })
    }

    fn charged(&self) -> Result<ChargedBound, ChargedError> {
        let overlap = self.weight_prefetch() > 0;
        let (regions, page_size) = (self.regions(), self.shape().page_size);
        ChargedBound::new(&self.stages(&regions), &regions, &self.memory, self.roofline, overlap, page_size)
    }

    /// The bound of the run as a whole that pays for what must move, if the scenario asks for it.
    ///
    /// # Errors
    /// [`TraceError`] if a recorded trace cannot be read.
    pub fn charged_bound(&self) -> Result<Option<SimTime>, TraceError> {
        if self.resolved.bound == BoundKind::Free {
            return Ok(None);
        }
        let Ok(mut bound) = self.charged() else { return Ok(None) };
        bound.of(|| self.skips(), self.shape()).map(|(charged, _)| Some(charged))
    }

    /// A fresh stream of this scenario's skip sets.
    ///
    /// # Errors
    /// [`TraceError`] if a recorded trace can no longer be opened.
    pub fn skips(&self) -> Result<Box<dyn SkipSource + Send>, TraceError> {
        if let Some(stored) = &self.stored {
            return Ok(stored.stream());
        }
        let trace = &self.resolved.trace;
        Ok(match (trace.made_up(self.model.layers(), self.prefill(), self.decode())?, trace) {
            (None, TraceConfig::Recorded(recorded)) => Box::new(self.fitted(recorded)?),
            (made_up, _) => made_up.expect("every other trace is made up"),
        })
    }

    /// Whether the skip sets of `other` are the same, whatever else differs.
    #[must_use]
    pub fn shares_skips(&self, other: &Self) -> bool {
        let of = |scenario: &Self| (scenario.model.layers(), scenario.prefill(), scenario.decode());
        of(self) == of(other) && self.resolved.trace == other.resolved.trace
    }

    /// The skip sets of this scenario in memory, for all scenarios that share them.
    ///
    /// # Errors
    /// [`TraceError`] if the trace cannot be read to its end.
    pub fn store_skips(&self) -> Result<StoredSkips, TraceError> {
        let Shape { layers, prefill, decode, .. } = self.shape();
        StoredSkips::of(&mut *self.skips()?, layers, prefill, decode)
    }

    /// The same with `stored` skip sets, which must be those of a scenario with this trace, prefill, decode and layers.
    #[must_use]
    pub fn with_stored_skips(self, stored: Arc<StoredSkips>) -> Self {
        Self { stored: Some(stored), ..self }
    }

    fn fitted(&self, recorded: &RecordedConfig) -> Result<FittedTrace, TraceError> {
        let file = recorded.file.clone();
        let demand = Demand { model: &self.model, prefill: self.prefill(), decode: self.decode() };
        FittedTrace::new(move || open_trace(&file), recorded, demand)
    }
}

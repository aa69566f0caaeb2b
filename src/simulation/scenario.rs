//! A scenario that is checked: what the engine may trust.
//!
//! [`Scenario::new`] is the one edge between what a person typed and the engine. It looks up all
//! that the configuration names, and refuses what cannot be simulated, with the field, the value
//! and what to write instead; the [`resolved`](Scenario::resolved) configuration that it keeps is
//! what reports hold, so that a run can be repeated.

use super::at_once::check_at_once;
use super::config::ScenarioConfig;
use super::idealization::{Ideal, Idealization};
use super::refused::{MAX_PAGE_TOKENS, MAX_RESIDENCIES, ScenarioError};
use super::served::{self, check_served};
use super::size::{check_room, check_size, check_tokens};
use crate::catalog;
use crate::config::{Reference, check_name};
use crate::memory::{MemorySystem, PerTier, TierId};
use crate::strategy::{
    BoundKind, ByRules, ChargedBound, ChargedError, ExpertOrder, Knowledge, Parts, PrefetchKind, Rules, StepBound,
    Strategy, TierBound,
};
use crate::units::{Bytes, GroupId, LayerId, PageSize, SequenceId, Table};
use crate::workload::{
    ComputeConfig, ComputeError, ExpertTraceConfig, Experts, ExpertsError, KvIndex, LanguageModel, LikeConfig,
    MAX_TOKENS, Regions, Requests, Roofline, RoutingSource, Runtime, RuntimeConfig, RuntimeError, Schedule, Sequence,
    Sequences, SequencesConfig, Shape, Stage, StoredSkips, TierCompute, TraceConfig, TraceError, charged_stages,
    lengths, presumed, routings,
};
use std::sync::Arc;

/// The skip sets of all sequences of a run in memory, by sequence; `None` where nothing is ever
/// skipped.
pub type StoredSequences = Table<SequenceId, Option<Arc<StoredSkips>>>;

/// A scenario that the engine may trust.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(super) resolved: ScenarioConfig,
    pub(super) model: LanguageModel,
    pub(super) memory: MemorySystem,
    runtime: Runtime,
    roofline: Option<Roofline>,
    /// How fast tiers compute, where there is a limit.
    tier_rooflines: PerTier<Option<Roofline>>,
    /// The experts of each layer, where they are units.
    experts: Option<Table<LayerId, Experts>>,
    pub(super) sequences: Sequences,
    /// The requests that it serves, in the place of the sequences.
    requests: Option<Arc<Requests>>,
    /// The layout by piece, where one is given.
    rules: Option<Rules>,
    index: Option<KvIndex>,
    /// How many steps it has.
    steps: usize,
    /// Its skip sets, where another run has them already: by sequence, `None` where nothing is ever
    /// skipped.
    pub(super) stored: Option<Arc<StoredSequences>>,
    pub(super) idealization: Idealization,
    /// What its file says, before flags changed it.
    written: Option<Arc<ScenarioConfig>>,
}

impl Scenario {
    /// The most tokens, prefill and decode together.
    pub const MAX_TOKENS: u64 = MAX_TOKENS;
    /// The most tokens of a page.
    pub const MAX_PAGE_TOKENS: u32 = MAX_PAGE_TOKENS;
    /// The most tokens times layers times tiers: each takes up to five bits, so this much takes 2.7
    /// GB.
    pub const MAX_RESIDENCIES: u64 = MAX_RESIDENCIES;
    /// The number of steps over which [`read_share`](Self::read_share) is measured.
    pub const MEASURED_STEPS: usize = 8;

    /// Reads in what `config` names and checks all of it.
    ///
    /// # Errors
    /// [`ScenarioError`], naming the field, the value and what to write instead.
    pub fn new(mut config: ScenarioConfig) -> Result<Self, ScenarioError> {
        let model_config = config.model.resolve(catalog::model)?;
        let memory_config = catalog::resolved(config.memory)?;
        check_name(&config.name).map_err(ScenarioError::Name)?;
        let runtime_config = catalog::resolved_runtime(config.runtime, &memory_config.name)?;
        runtime_config.check()?;
        let ranks = runtime_config.rank_count();
        let model = LanguageModel::new(&model_config)?.of_rank(ranks).with_kv_groups(config.kv_groups)?;
        let memory = MemorySystem::new(&memory_config.of_rank(ranks))?;
        let runtime = Runtime::new(&runtime_config, &memory)?;
        let memory = with_runtime(memory, &runtime);
        check_activations(&runtime, &model, &memory)?;
        config.model = Reference::Inline(model_config);
        config.memory = Reference::Inline(memory_config);
        config.runtime = Reference::Inline(runtime_config);

        if config.requests.is_some() {
            check_served(&mut config)?;
        }
        if !(1..=Self::MAX_PAGE_TOKENS).contains(&config.page_tokens) {
            return Err(ScenarioError::PageTokens(config.page_tokens));
        }
        let page_size = PageSize::new(config.page_tokens).expect("pages hold tokens: checked");
        let Strategy { migration, prefetch, .. } = config.strategy;
        if let Some(prefetch) = prefetch.filter(|_| migration.places().is_none_or(|places| places.budget.is_none())) {
            return Err(ScenarioError::Prefetch { prefetch, migration });
        }
        if prefetch.and_then(PrefetchKind::precision).is_some_and(|precision| precision.as_f64() <= 0.0) {
            return Err(ScenarioError::PrefetchPrecision);
        }
        if config.decode_tokens == 0 {
            return Err(ScenarioError::NoSteps);
        }
        let like = LikeConfig {
            prefill_tokens: config.prefill_tokens,
            decode_tokens: config.decode_tokens,
            trace: &config.trace,
        };
        let sequences = Sequences::new(&like, config.batch, &config.sequences, config.prefill)?;
        let (model, index) = match config.index {
            Some(index) => {
                let (index, model) = KvIndex::split(index, model, page_size)?;
                (model, Some(index))
            }
            None => (model, None),
        };
        let memory = with_index(memory, index.as_ref(), &sequences)?;
        check_tokens(&model, memory.tiers().len(), &config, &sequences)?;
        let steps = Schedule::checked(&sequences)?.steps_left();
        if config.warmup_steps as usize >= steps {
            return Err(ScenarioError::Warmup { warmup: config.warmup_steps, decode: steps as u32 });
        }
        check_size(&model, &config, &sequences, steps)?;
        if sequences.count() == 1 && sequences.prefill().is_given() {
            let room = check_room(&model, &memory, &sequences, config.page_tokens);
            room.map_err(|error| if config.requests.is_some() { error.of_weights() } else { error })?;
        } else {
            let is_batch = config.sequences.is_empty();
            check_at_once(&model, &memory, &sequences, config.page_tokens, is_batch)?;
        }
        let requests = config.requests.as_ref().map(served::requests).transpose()?;
        let roofline = compute(&config, &model)?;
        let tier_rooflines = tier_rooflines(&config, &model, &runtime, memory.tiers().len())?;
        let experts = config.routing.as_ref().map(|_| model.experts()).transpose()?;
        let mut scenario = Self {
            resolved: config,
            model,
            memory,
            runtime,
            roofline,
            tier_rooflines,
            experts,
            sequences,
            requests,
            rules: None,
            index,
            steps,
            stored: None,
            idealization: Idealization::NONE,
            written: None,
        };
        scenario.rules = scenario.checked_rules()?;
        scenario.check_traces()?;
        scenario.runtime.check_copies(&scenario.memory, scenario.stored_at_the_end())?;
        if scenario.routing()?.is_some() && !scenario.runtime.pipelines().is_empty() {
            return Err(ExpertsError::Ahead.into());
        }
        if scenario.resolved.bound == BoundKind::Charged {
            scenario.charged()?;
        }
        Ok(scenario)
    }

    /// The same with a lane for every channel of a striped tier: slower, and the same results.
    ///
    /// # Errors
    /// [`ScenarioError`], as [`new`](Self::new).
    pub fn channel_by_channel(config: ScenarioConfig) -> Result<Self, ScenarioError> {
        let mut scenario = Self::new(config)?;
        if let Reference::Inline(memory) = &scenario.resolved.memory {
            let ranks = scenario.resolved.runtime.inline().map_or(1, RuntimeConfig::rank_count);
            let memory = MemorySystem::channel_by_channel(&memory.of_rank(ranks))?;
            let memory = with_runtime(memory, &scenario.runtime);
            scenario.memory = with_index(memory, scenario.index.as_ref(), &scenario.sequences)?;
        }
        Ok(scenario)
    }

    /// The causes of loss that its runs are free of.
    #[must_use]
    pub fn idealization(&self) -> Idealization {
        self.idealization
    }

    /// The layout by piece held against the model and the memory system, if there is one.
    fn checked_rules(&self) -> Result<Option<Rules>, ScenarioError> {
        let Some(layout) = &self.resolved.layout else { return Ok(None) };
        let regions = self.regions();
        let rules = Rules::new(layout, &regions, &self.memory)?;
        // Groups of sequences may end before others have grown: a run finds what it needs.
        let are_equal = self.resolved.sequences.is_empty();
        rules.check_room(&regions, &self.memory, self.page_size(), are_equal)?;
        Ok(Some(rules))
    }

    /// Checks the traces of all groups, and spells out the generator that goes on from a recorded
    /// one that is too short. A recorded trace is opened once for each group.
    fn check_traces(&mut self) -> Result<(), ScenarioError> {
        for group in GroupId::all(self.sequences.groups()) {
            let checked = self.check_trace(group);
            if self.resolved.sequences.is_empty() {
                checked?;
            } else {
                checked.map_err(|source| ScenarioError::GroupTrace { group, source })?;
            }
        }
        Ok(())
    }

    fn check_trace(&mut self, group: GroupId) -> Result<(), TraceError> {
        let of_group = self.sequences.all().iter().find(|sequence| sequence.group == group);
        let Sequence { prefill, decode, .. } = *of_group.expect("a group has sequences: checked");
        match self.sequences.trace_of(group) {
            TraceConfig::Generated(generator) => generator.check(prefill, decode),
            TraceConfig::Lifelike(lifelike) => lifelike.check(prefill, decode),
            // What is in its rows is found as they are read: a long trace takes as long to read as
            // to simulate.
            TraceConfig::Recorded(recorded) => {
                let fitted = self.fitted(recorded, prefill, decode)?.config().clone();
                self.spell_out(group, TraceConfig::Recorded(fitted));
                Ok(())
            }
        }
    }

    /// Keeps the trace of a group as it was spelled out.
    fn spell_out(&mut self, group: GroupId, trace: TraceConfig) {
        match self.resolved.sequences.get_mut(group.index()) {
            Some(SequencesConfig { trace: Some(own), .. }) => *own = trace.clone(),
            // Others may take theirs from the scenario's with other lengths: it stays as it is.
            Some(_) => {}
            None => self.resolved.trace = trace.clone(),
        }
        self.sequences.set_trace(group, trace);
    }

    /// The whole input, with everything that was named spelled out: what reports keep so that a run
    /// can be repeated.
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

    /// The requests that it serves, if it serves any: in the place of its sequences.
    #[must_use]
    pub fn requests(&self) -> Option<&Arc<Requests>> {
        self.requests.as_ref()
    }

    /// The runtime: what software and kernels cost on the memory system.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The strategy.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.resolved.strategy
    }

    /// The parts of its strategy, for one run; where a layout by piece is given, that in the place
    /// of the strategy's initialization and placement, unless the run starts from the layout of its
    /// bound.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let parts = self.strategy().build();
        match &self.rules {
            None => parts,
            // The layout of the bound fills the first tier, where a rule may want new KV.
            Some(_) if self.idealization.has(Ideal::BoundLayout) => parts,
            Some(rules) => {
                Parts { initialization: Box::new(rules.clone()), placement: Box::new(ByRules::new(rules)), ..parts }
            }
        }
    }

    /// How reports call its strategy: where a layout by piece is given, by that and the migration.
    #[must_use]
    pub fn strategy_name(&self) -> String {
        let strategy = self.strategy();
        if let Some(requests) = &self.resolved.requests {
            let mut name = requests.policy();
            // Where weights lie.
            if let Some(layout) = &self.resolved.layout {
                name += &format!("/Rules({layout})");
            } else if strategy.initialization != Strategy::REFERENCE.initialization {
                name += &format!("/{}", strategy.initialization);
            }
            return name;
        }
        match &self.resolved.layout {
            None => strategy.name(),
            Some(layout) => format!("Rules({layout})/{}", strategy.moves()),
        }
    }

    /// What its strategy must know of the skip sets.
    #[must_use]
    pub fn knowledge(&self) -> Knowledge {
        Knowledge::of(self.parts().look_ahead()).assuming(self.strategy().prefetch.map(PrefetchKind::hit_rate))
    }

    /// The compute times, where compute is not infinitely fast.
    #[must_use]
    pub fn roofline(&self) -> Option<Roofline> {
        self.roofline
    }

    /// The compute times of a tier that computes, where these have a limit.
    #[must_use]
    pub fn tier_roofline(&self, tier: TierId) -> Option<Roofline> {
        self.tier_rooflines[tier]
    }

    /// What crosses the link of a tier that computes for each token, in and out.
    #[must_use]
    pub fn activations(&self, of: &TierCompute) -> Bytes {
        of.activations.or(self.model.activations()).unwrap_or_default()
    }

    /// The tokens of each prompt, unless the group of its sequence says otherwise.
    #[must_use]
    pub fn prefill(&self) -> usize {
        self.resolved.prefill_tokens as usize
    }

    /// The tokens that are decoded of each sequence, unless its group says otherwise.
    #[must_use]
    pub fn decode(&self) -> usize {
        self.resolved.decode_tokens as usize
    }

    /// The sequences that it decodes.
    #[must_use]
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// Whether it decodes one sequence whose prompt is given, as the study does.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.sequences.count() == 1 && self.sequences.prefill().is_given()
    }

    /// What progress is counted in: steps, or the output tokens of requests, whose steps nobody
    /// knows beforehand.
    #[must_use]
    pub fn progress_units(&self) -> u64 {
        let tokens = |requests: &Arc<Requests>| requests.all.iter().map(|request| u64::from(request.output)).sum();
        self.requests.as_ref().map_or(self.steps as u64, tokens)
    }

    /// How many steps it has: the tokens that are decoded, with one sequence; 1 where requests are
    /// served, as nobody knows beforehand.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How many of the first steps are left out of histograms, means and rates.
    #[must_use]
    pub fn warmup(&self) -> usize {
        self.resolved.warmup_steps as usize
    }

    /// How many layers, tokens and pages a sequence has, unless its group says otherwise.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let (prefill, decode) = (self.prefill(), self.decode());
        Shape { layers: self.model.kv_regions(), prefill, decode, page_size: self.page_size() }
    }

    /// How many layers, tokens and pages `sequence` has.
    #[must_use]
    pub fn shape_of(&self, sequence: &Sequence) -> Shape {
        let Sequence { prefill, decode, .. } = *sequence;
        Shape { layers: self.model.kv_regions(), prefill, decode, page_size: self.page_size() }
    }

    /// How many tokens make a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        PageSize::new(self.resolved.page_tokens).expect("pages hold tokens: checked")
    }

    /// What attention reads of every page, from the first tier, if it does.
    #[must_use]
    pub fn index(&self) -> Option<&KvIndex> {
        self.index.as_ref()
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
        self.bound_of(&self.stages(&regions), &regions)
    }

    /// The bound of steps of `stages`, which read `regions`, on its machine.
    #[must_use]
    pub fn bound_of(&self, stages: &[Stage], regions: &Regions) -> StepBound {
        let overlap = self.weight_prefetch() > 0;
        let bound = StepBound::new(stages, regions, &self.memory, &self.runtime, self.roofline, overlap);
        let bound = bound.with_tiers(self.tier_bounds());
        bound.with_index(self.index.as_ref(), (stages, regions), &self.memory, &self.runtime, overlap)
    }

    /// The tiers that compute, as bounds see them.
    fn tier_bounds(&self) -> Vec<TierBound> {
        let bound =
            |of: &TierCompute| TierBound::new(of, &self.memory, self.activations(of), self.tier_roofline(of.tier));
        self.runtime.computes().iter().map(bound).collect()
    }

    /// The experts of each layer, where they are units.
    #[must_use]
    pub fn experts(&self) -> Option<&Table<LayerId, Experts>> {
        self.experts.as_ref()
    }

    /// A fresh stream of the experts that tokens are routed to, where experts are units.
    ///
    /// # Errors
    /// [`TraceError`] if there is a parameter that is not right, or a recorded trace that can no
    /// longer be opened.
    pub fn routing(&self) -> Result<Option<Box<dyn RoutingSource>>, TraceError> {
        let source = |config: &ExpertTraceConfig| catalog::routing(config, &routings(&self.model), self.steps);
        self.resolved.routing.as_ref().map(source).transpose()
    }

    /// In which order experts go to the faster tiers, where experts are units.
    ///
    /// # Errors
    /// As [`routing`](Self::routing).
    pub(super) fn expert_order(&self) -> Result<ExpertOrder, TraceError> {
        let choice = self.strategy().experts;
        let Some(source) = self.routing()?.filter(|_| !choice.is_default()) else { return Ok(ExpertOrder::default()) };
        Ok(ExpertOrder::new(choice, LayerId::all(self.model.layers()).map(|layer| source.popularity(layer))))
    }

    /// Everything of it that occupies memory.
    #[must_use]
    pub fn regions(&self) -> Regions {
        Regions::with_experts(&self.model, &lengths(&self.sequences), self.experts.as_ref())
    }

    /// The stages of a step that decodes all its sequences, which read `regions`: those that
    /// layouts presume.
    #[must_use]
    pub fn stages(&self, regions: &Regions) -> Arc<[Stage]> {
        charged_stages(&self.model, &self.runtime, regions, &presumed(&self.sequences))
    }

    pub(super) fn charged(&self) -> Result<ChargedBound, ChargedError> {
        if self.experts.is_some() {
            return Err(ChargedError::Experts);
        }
        // That an empty prompt begins later does not show in its region.
        if self.sequences.all().iter().any(|sequence| sequence.start > 0) {
            return Err(ChargedError::Sequences(self.sequences.count()));
        }
        let overlap = self.weight_prefetch() > 0;
        let (regions, page_size) = (self.regions(), self.page_size());
        let stages = self.stages(&regions);
        let bound =
            ChargedBound::new(&stages, &regions, &self.memory, &self.runtime, self.roofline, overlap, page_size)?;
        Ok(bound.with_tiers(self.tier_bounds()))
    }
}

/// A memory system as the kernels of `runtime` find it.
fn with_runtime(memory: MemorySystem, runtime: &Runtime) -> MemorySystem {
    let memory = memory.with_kernels(runtime.tiers_with_reaches()).with_interference(runtime.interference());
    memory.with_buffers(runtime.buffers()).with_cores(runtime.computes().iter().map(|of| of.tier))
}

/// The compute times of a scenario: by its own `compute` or, for a model whose FLOP are known, by
/// that of its runtime.
fn compute(config: &ScenarioConfig, model: &LanguageModel) -> Result<Option<Roofline>, ComputeError> {
    let of_runtime = || {
        let rate = config.runtime.inline()?.compute.filter(|_| model.has_flop())?;
        Some(ComputeConfig { rate, flop_per_weight_byte: None, flop_per_kv_byte: None })
    };
    let compute = config.compute.clone().or_else(of_runtime);
    compute.map(|compute| Roofline::new(&compute, model)).transpose()
}

/// The compute times of tiers that compute, by the rates of the runtime.
fn tier_rooflines(
    config: &ScenarioConfig,
    model: &LanguageModel,
    runtime: &Runtime,
    tiers: usize,
) -> Result<PerTier<Option<Roofline>>, ComputeError> {
    let mut rooflines = PerTier::filled(tiers, None);
    for of in runtime.computes().iter() {
        if let Some(rate) = of.rate {
            let factors = |compute: &ComputeConfig| (compute.flop_per_weight_byte, compute.flop_per_kv_byte);
            let (flop_per_weight_byte, flop_per_kv_byte) = config.compute.as_ref().map(factors).unwrap_or_default();
            let compute = ComputeConfig { rate, flop_per_weight_byte, flop_per_kv_byte };
            rooflines[of.tier] = Some(Roofline::new(&compute, model)?);
        }
    }
    Ok(rooflines)
}

/// Whether the size of what goes to tiers that compute is known.
fn check_activations(runtime: &Runtime, model: &LanguageModel, memory: &MemorySystem) -> Result<(), RuntimeError> {
    let unknown = |of: &&TierCompute| of.activations.is_none() && model.activations().is_none();
    match runtime.computes().iter().find(unknown) {
        Some(of) => Err(RuntimeError::Activations { name: memory.tiers()[of.tier.index()].name.clone() }),
        None => Ok(()),
    }
}

/// The same with room for `index` on its first tier, if there is one.
fn with_index(
    memory: MemorySystem,
    index: Option<&KvIndex>,
    sequences: &Sequences,
) -> Result<MemorySystem, ScenarioError> {
    let Some(index) = index else { return Ok(memory) };
    let first = &memory.tiers()[TierId::HBM.index()];
    let tokens = sequences.all().iter().map(|sequence| sequence.prefill + sequence.decode);
    let reserved = index.reserved(tokens, &first.name, first.capacity)?;
    Ok(memory.with_buffers(reserved))
}

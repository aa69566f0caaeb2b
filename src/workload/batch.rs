//! Decoding the sequences of a scenario: the workload of every run.
//!
//! Each step decodes a token of every sequence whose prompt is done, and computes parts of prompts,
//! as the [`Schedule`] says. Steps whose batches are alike share their stages; a sequence that
//! begins or ends makes new ones.

use super::LanguageModel;
use super::experts::Experts;
use super::region::{Lengths, Regions};
use super::routing::{RoutingSource, RoutingWindow, routings, unread};
use super::runtime::Runtime;
use super::schedule::{Schedule, StepBatch};
use super::sequences::{Sequence, Sequences};
use super::stages::batch_stages;
use super::step::{Arrival, Free, Next, Stage, StepPlan, Workload};
use super::trace::{Shape, SkipSource, TraceError, TraceWindow};
use super::windows::SkipWindows;
use crate::units::{Bytes, LayerId, PageSize, RegionId, SequenceId, SimTime, Step, Table};
use std::sync::Arc;

/// The skip sets of one sequence: a stream of them, or `None` where nothing is ever skipped.
pub type SequenceSkips = Option<Box<dyn SkipSource + Send>>;

/// The experts of each layer as units, and which of them the tokens of each step are routed to.
pub struct RoutedExperts {
    /// The experts.
    pub experts: Table<LayerId, Experts>,
    /// Where tokens are routed to.
    pub source: Box<dyn RoutingSource>,
}

/// The sequences of a run, step by step.
pub struct Batch {
    model: LanguageModel,
    runtime: Runtime,
    regions: Regions,
    sequences: Table<SequenceId, Sequence>,
    schedule: Schedule,
    windows: SkipWindows,
    page_size: PageSize,
    /// By layer, how many tokens attention sees, the last ones.
    sliding: Vec<usize>,
    /// What the present step computes, and its stages.
    batch: Arc<StepBatch>,
    stages: Arc<[Stage]>,
    /// Those that layouts presume.
    presumed: Arc<[Stage]>,
}

impl Batch {
    /// `model` decoding `sequences` in pages of `page_size`, with the fixed times of `runtime`;
    /// each skips what its own of `skips` says, and its window shows `look_ahead` steps besides the
    /// present one. Experts are units where they are `routed`.
    ///
    /// # Errors
    /// [`TraceError`] if the first steps of `skips`, or of the routing, cannot be read.
    pub fn new(
        model: &LanguageModel,
        runtime: &Runtime,
        sequences: &Sequences,
        page_size: PageSize,
        skips: impl IntoIterator<Item = SequenceSkips>,
        look_ahead: usize,
        routed: Option<RoutedExperts>,
    ) -> Result<Self, TraceError> {
        let experts = routed.as_ref().map(|routed| &routed.experts);
        let regions = Regions::with_experts(model, &lengths(sequences), experts);
        let sliding: Vec<usize> = regions.windows().take(model.kv_regions()).collect();
        let mut windows = SkipWindows::new(model.kv_regions());
        for (sequence, skips) in sequences.all().iter().zip(skips) {
            let &Sequence { prefill, decode, .. } = sequence;
            let shape = Shape { layers: model.kv_regions(), prefill, decode, page_size };
            let slides = sliding.iter().any(|window| *window < prefill + decode);
            let skips = skips.or_else(|| slides.then(|| Box::new(NothingSkipped) as Box<dyn SkipSource + Send>));
            let window = skips.map(|skips| TraceWindow::sliding(skips, shape, sliding.clone(), look_ahead));
            windows.push(window.transpose()?, shape.range(), decode);
        }
        let schedule = Schedule::new(sequences);
        if let Some(RoutedExperts { source, .. }) = routed {
            let room = unread(&routings(model));
            windows.set_experts(RoutingWindow::new(source, schedule.clone(), &room, look_ahead)?);
        }
        let batch = schedule.clone().next_step().cloned().unwrap_or_default();
        let stages = charged_stages(model, runtime, &regions, &batch);
        let all = presumed(sequences);
        let is_presumed = batch.decoding == all.decoding && batch.chunks.is_empty();
        let presumed = if is_presumed { Arc::clone(&stages) } else { charged_stages(model, runtime, &regions, &all) };
        Ok(Self {
            model: model.clone(),
            runtime: runtime.clone(),
            sequences: sequences.all().clone(),
            schedule,
            windows,
            page_size,
            sliding,
            batch,
            stages,
            presumed,
            regions,
        })
    }

    /// Moves on from the step that is completed.
    fn complete(&mut self) -> Result<(), TraceError> {
        for &sequence in &self.batch.decoding {
            self.windows.advance(sequence)?;
        }
        for chunk in self.batch.chunks.iter().filter(|chunk| chunk.is_last) {
            self.windows.end_prompt(chunk.sequence);
        }
        self.windows.end_step()
    }

    /// Whether a step that computes `batch` has the stages of the present one.
    fn has_same_stages(&self, batch: &StepBatch) -> bool {
        let widest = self.sliding.iter().copied().filter(|window| *window != usize::MAX).max().unwrap_or(0);
        let shape = |batch: &StepBatch| -> Vec<_> {
            let chunks = batch.chunks.iter();
            chunks.map(|chunk| (chunk.sequence, chunk.tokens, chunk.is_last, chunk.first.min(widest))).collect()
        };
        self.batch.decoding == batch.decoding && shape(&self.batch) == shape(batch)
    }

    /// Takes over what the next step computes.
    fn begin(&mut self, batch: &Arc<StepBatch>) {
        if !Arc::ptr_eq(&self.batch, batch) {
            if !self.has_same_stages(batch) {
                self.stages = charged_stages(&self.model, &self.runtime, &self.regions, batch);
            }
            self.batch = Arc::clone(batch);
        }
        for chunk in &self.batch.chunks {
            self.windows.set_prompt(chunk.sequence, chunk.first, &self.sliding, self.page_size);
        }
    }

    /// The regions of a sequence that hold KV of their own.
    fn kv_of(&self, sequence: SequenceId) -> impl Iterator<Item = RegionId> + '_ {
        let own = self.model.kv().entries().filter(|(layer, kv)| kv.source == *layer && kv.token_bytes > Bytes::ZERO);
        let all = own.flat_map(move |(layer, _)| self.regions.kv_of(sequence, layer));
        all.filter(|region| self.regions.has_bytes(*region))
    }

    /// The tokens of the longest sequence of the present step.
    fn context(&self) -> usize {
        let decoding = self.batch.decoding.iter().map(|id| self.windows.decoded(*id) + self.sequences[*id].prefill);
        decoding.chain(self.batch.chunks.iter().map(|chunk| chunk.first)).max().unwrap_or(0)
    }
}

/// The step that layouts presume: one that decodes all `sequences` at once, whenever they begin.
/// The first step of a run may read less than what must be laid out: no head where it computes a
/// part of a prompt, and nothing of sequences that begin later.
#[must_use]
pub fn presumed(sequences: &Sequences) -> StepBatch {
    StepBatch::decoding(&sequences.all().ids().collect::<Vec<_>>())
}

/// The stages of a step that computes `batch`, with the fixed times of `runtime`.
#[must_use]
pub fn charged_stages(model: &LanguageModel, runtime: &Runtime, regions: &Regions, batch: &StepBatch) -> Arc<[Stage]> {
    let mut stages = batch_stages(model, regions, batch);
    runtime.charge(&mut stages, batch.active());
    stages.into()
}

/// How long each of `sequences` is.
#[must_use]
pub fn lengths(sequences: &Sequences) -> Vec<Lengths> {
    let is_given = sequences.prefill().is_given();
    let of = |sequence: &Sequence| Lengths {
        at_start: if is_given && sequence.start == 0 { sequence.prefill } else { 0 },
        prompt: sequence.prefill,
        expected: if sequence.start == 0 { sequence.prefill } else { 0 },
        most: sequence.prefill + sequence.decode,
    };
    sequences.all().iter().map(of).collect()
}

/// Nothing is skipped in any step.
struct NothingSkipped;

impl SkipSource for NothingSkipped {
    fn next_step(&mut self, _context: usize, skips: &mut super::StepSkips) -> Result<(), TraceError> {
        skips.sets.iter_mut().for_each(super::TokenSet::clear);
        skips.counts.fill(0);
        Ok(())
    }
}

impl Workload for Batch {
    fn regions(&self) -> &Regions {
        &self.regions
    }

    #[allow(clippy::misnamed_getters)] // Those of a step are in its plan.
    fn stages(&self) -> &[Stage] {
        &self.presumed
    }

    fn next(&mut self, _now: SimTime, completed: Option<Step>) -> Result<Next, TraceError> {
        if completed.is_some() {
            self.complete()?;
        }
        let step = completed.map_or(Step::new(0), Step::next);
        let Some(batch) = self.schedule.next_step() else { return Ok(Next::End) };
        let batch = Arc::clone(batch);
        self.begin(&batch);
        let arrival = |&sequence: &SequenceId| {
            let tokens = self.sequences[sequence].prefill;
            self.kv_of(sequence).map(move |region| Arrival { region, tokens })
        };
        Ok(Next::Step(StepPlan {
            step,
            context: self.context(),
            frees: self.batch.ended.iter().flat_map(|sequence| self.kv_of(*sequence)).map(Free::Region).collect(),
            arrivals: self.batch.arrivals.iter().flat_map(arrival).collect(),
            batch,
            stages: Arc::clone(&self.stages),
            is_last: self.schedule.is_over(),
        }))
    }

    fn window(&self) -> &SkipWindows {
        &self.windows
    }
}

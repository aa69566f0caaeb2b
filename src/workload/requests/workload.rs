//! Requests as a [`Workload`]: what the scheduler decides, for the engine of runs.
//!
//! The engine of runs knows sequences, each with its KV page by page, in regions of its own. So
//! each request that runs has one of as many sequences as may run at once; when it ends or is
//! preempted, its regions are freed and another request may have them. Without external memory this
//! gives the same results as a serving engine, more slowly: the two check each other. Prefix blocks
//! that a request finds come to its regions at no cost, so that blocks that several requests share
//! take room several times.

use super::request::Requests;
use super::scheduler::{Decision, KvRoom, Scheduler, StepPart};
use crate::units::{Bytes, PageSize, RegionId, RequestId, SequenceId, SimTime, Step};
use crate::workload::{
    Arrival, Chunk, Free, LanguageModel, Lengths, Next, Regions, Runtime, SkipWindows, Stage, StepBatch, StepPlan,
    TraceError, Workload, charged_stages,
};
use std::sync::Arc;

/// Requests, step by step, as sequences of the engine of runs.
pub struct RequestsWorkload {
    model: LanguageModel,
    runtime: Runtime,
    scheduler: Scheduler,
    regions: Regions,
    windows: SkipWindows,
    page_size: PageSize,
    /// By layer, how many tokens attention sees, the last ones; and whether any request has more.
    sliding: Vec<usize>,
    slides: bool,
    /// Sequences that no request has.
    unused: Vec<SequenceId>,
    /// The requests that run, their sequences, and how often they had been preempted before.
    running: Vec<(RequestId, SequenceId, u32)>,
    /// Whether it waits: nothing has been completed since it was asked last.
    is_waiting: bool,
    /// Sequences that were given up since the last step began.
    ended: Vec<SequenceId>,
    batch: Arc<StepBatch>,
    stages: Arc<[Stage]>,
    presumed: Arc<[Stage]>,
}

impl RequestsWorkload {
    /// `model` serving `requests` with so many pages of KV, of `page_size` tokens each, with the
    /// fixed times of `runtime`. O(sequences at once x stages).
    #[must_use]
    pub fn new(
        model: &LanguageModel,
        runtime: &Runtime,
        requests: &Arc<Requests>,
        pages: u64,
        page_size: PageSize,
    ) -> Self {
        let most = requests.all.iter().map(|request| request.most_tokens()).max().unwrap_or(0);
        // What would take more pages is rejected.
        let most = usize::try_from(most.min(pages.saturating_mul(page_size.tokens() as u64))).unwrap_or(usize::MAX);
        let at_once = requests.all.len().min(requests.limits.sequences as usize);
        let regions = Regions::new(model, &vec![Lengths { most, ..Lengths::default() }; at_once]);
        let sliding: Vec<usize> = regions.windows().take(model.kv_regions()).collect();
        let mut windows = SkipWindows::new(model.kv_regions());
        (0..at_once).for_each(|_| windows.push(None, page_size.pages(most), usize::MAX));
        let all: Vec<SequenceId> = SequenceId::all(at_once).collect();
        let presumed = charged_stages(model, runtime, &regions, &StepBatch::decoding(&all));
        Self {
            scheduler: Scheduler::new(Arc::clone(requests), KvRoom { hbm: pages, external: 0 }, page_size),
            model: model.clone(),
            runtime: runtime.clone(),
            slides: sliding.iter().any(|window| *window < most),
            sliding,
            regions,
            windows,
            page_size,
            unused: all.into_iter().rev().collect(),
            running: Vec::new(),
            is_waiting: false,
            ended: Vec::new(),
            batch: Arc::default(),
            stages: Arc::clone(&presumed),
            presumed,
        }
    }

    /// The scheduler of each step's requests.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Gives up the sequences of requests that have ended or were preempted.
    fn end_sequences(&mut self) {
        let Self { scheduler, running, windows, unused, ended, .. } = self;
        running.retain(|(request, sequence, preemptions)| {
            let record = &scheduler.records()[*request];
            let goes_on = record.finished.is_none() && record.preemptions == *preemptions;
            if !goes_on {
                windows.end_prompt(*sequence);
                unused.push(*sequence);
                ended.push(*sequence);
            }
            goes_on
        });
    }

    /// The sequence of a request that runs, and whether it has just been given one.
    fn sequence_of(&mut self, request: RequestId) -> (SequenceId, bool) {
        if let Some((_, sequence, _)) = self.running.iter().find(|(other, ..)| *other == request) {
            return (*sequence, false);
        }
        let sequence = self.unused.pop().expect("no more requests run than there are sequences");
        self.running.push((request, sequence, self.scheduler.records()[request].preemptions));
        (sequence, true)
    }

    /// The regions of a sequence that hold KV of their own.
    fn kv_of(&self, sequence: SequenceId) -> impl Iterator<Item = RegionId> + '_ {
        let own = self.model.kv().entries().filter(|(layer, kv)| kv.source == *layer && kv.token_bytes > Bytes::ZERO);
        let all = own.flat_map(move |(layer, _)| self.regions.kv_of(sequence, layer));
        all.filter(|region| self.regions.has_bytes(*region))
    }

    /// The step that the scheduler has decided.
    fn plan(&mut self, step: Step) -> StepPlan {
        let frees = self.ended.iter().flat_map(|sequence| self.kv_of(*sequence)).map(Free::Region).collect();
        let mut arrivals = Vec::new();
        let mut batch = StepBatch {
            ended: std::mem::take(&mut self.ended),
            sequences: self.scheduler.step().running as usize,
            ..StepBatch::default()
        };
        let parts: Vec<StepPart> = self.scheduler.step().parts.clone();
        for part in &parts {
            let (sequence, is_new) = self.sequence_of(part.request);
            let (first, tokens) = (part.context as usize, part.tokens as usize);
            if is_new && first > 0 {
                arrivals.extend(self.kv_of(sequence).map(|region| Arrival { region, tokens: first }));
            }
            if part.is_chunk {
                batch.chunks.push(Chunk { sequence, first, tokens, is_last: part.outputs });
            } else {
                batch.decoding.push(sequence);
            }
            if self.slides {
                self.windows.set_prompt(sequence, first, &self.sliding, self.page_size);
            }
        }
        let is_alike = self.batch.decoding == batch.decoding && batch.chunks.is_empty() && self.batch.chunks.is_empty();
        if !is_alike {
            self.stages = charged_stages(&self.model, &self.runtime, &self.regions, &batch);
        }
        self.batch = Arc::new(batch);
        StepPlan {
            step,
            context: parts.iter().map(|part| part.context as usize).max().unwrap_or(0),
            batch: Arc::clone(&self.batch),
            frees,
            arrivals,
            stages: Arc::clone(&self.stages),
            is_last: false,
        }
    }
}

impl Workload for RequestsWorkload {
    fn regions(&self) -> &Regions {
        &self.regions
    }

    #[allow(clippy::misnamed_getters)] // Those of a step are in its plan.
    fn stages(&self) -> &[Stage] {
        &self.presumed
    }

    fn next(&mut self, now: SimTime, completed: Option<Step>) -> Result<Next, TraceError> {
        // Asked after a wait, the same step is completed still.
        let is_waiting = std::mem::take(&mut self.is_waiting);
        if completed.is_some() && !is_waiting {
            self.scheduler.completed(now);
        }
        let decision = self.scheduler.next(now);
        self.end_sequences();
        Ok(match decision {
            Decision::Step => Next::Step(self.plan(completed.map_or(Step::new(0), Step::next))),
            Decision::Wait(until) => {
                self.is_waiting = true;
                Next::WaitUntil(until)
            }
            Decision::End => Next::End,
        })
    }

    fn window(&self) -> &SkipWindows {
        &self.windows
    }
}

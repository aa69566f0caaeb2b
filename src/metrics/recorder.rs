//! From a run to its figures: the [`Recorder`] watches, the [`RunReport`] is the result.
//!
//! A recorder is a [`Probe`]: the simulation calls it at the start and end of every step, stage and
//! layer and with every transfer that completes or is dropped. It adds each event to a histogram or
//! a sum at once, so that a run of any length keeps no list of its transfers. Steps of the warm-up
//! are left out of all distributions and of alpha, but not of byte counts, waits and the simulated
//! time. [`Recorder::finish`] computes the [`Summary`] from these sums and from the [`Outcome`],
//! which has the totals that only the simulation knows (events, peaks, lane loads).

use super::distribution::Timings;
use super::requests::{RequestTimings, RequestsReport};
use super::sequences::{SequenceRecorder, SequenceRow, TokenTimings};
use super::series::Series;
use super::summary::{
    AlphaSummary, BoundSummary, CacheSummary, LaneSummary, LayoutSummary, MigrationSummary, Named, StageAlpha,
    StoredSummary, Summary, TransferSummary, WaitsSummary,
};
use crate::memory::{Cancelled, Completed, Lane, LaneLoad, MemorySystem, PerClass, TierId, TransferClass};
use crate::simulation::{
    Ends, Hits, Identity, Outcome, Prefetched, Probe, Scenario, ScenarioConfig, StepRecord, Stored,
};
use crate::units::{Bytes, LayerId, SimTime, Step};
use crate::workload::{PerLabel, StageLabel, TraceError};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The version of `summary.json` and `steps.csv`.
pub const SCHEMA: u32 = 1;

/// A run's figures, series and histograms: the input of all reports.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The figures of `summary.json`.
    pub summary: Summary,
    /// The values of every step.
    pub series: Series,
    /// The distributions behind the figures.
    pub histograms: Histograms,
    /// What became of each sequence; of one whose prompt is given there is none.
    pub sequences: Vec<SequenceRow>,
    /// What became of each request, of a run that serves requests: its `series` is empty, as such
    /// runs have too many steps to keep them all.
    pub requests: Option<RequestsReport>,
    /// The names of the tiers, the fastest first.
    pub tiers: Vec<String>,
    /// The scenario as its file has it, where that is known: reports name the changes against it.
    pub written: Option<Arc<ScenarioConfig>>,
}

/// The distributions of a run.
#[derive(Clone, Debug, Default)]
pub struct Histograms {
    /// From a step's start to its end.
    pub token_latency: Timings,
    /// From a layer's start to its end.
    pub layer_latency: Timings,
    /// The tokens of all sequences; empty for one whose prompt is given.
    pub tokens: TokenTimings,
    /// Those of each group, where there are several and not too many.
    pub groups: Vec<TokenTimings>,
    /// By class, from issue to the last byte.
    pub latency: PerClass<Timings>,
    /// By class, queueing delay: latency minus the unloaded service time.
    pub queueing: PerClass<Timings>,
    /// By class, for migrations: the time from the issue of the reads that a move was meant for to
    /// its completion, where it was late.
    pub lateness: PerClass<Timings>,
    /// Those of requests, of a run that serves requests.
    pub requests: Option<Box<RequestTimings>>,
}

impl RunReport {
    /// What was run, in a few words.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::of(&self.summary.scenario, self.written.as_deref())
    }

    /// TPOT over all sequences; of one sequence whose prompt is given the latency of a step.
    #[must_use]
    pub fn tpot(&self) -> &Timings {
        if self.summary.is_single() { &self.histograms.token_latency } else { &self.histograms.tokens.tpot }
    }

    /// Adds the bound that pays for what must move, if `scenario` asks for it.
    ///
    /// # Errors
    /// [`TraceError`] if its trace cannot be read to the end.
    pub fn charge(&mut self, scenario: &Scenario) -> Result<(), TraceError> {
        if let Some(charged) = scenario.charged_bound()? {
            let bound = &mut self.summary.bound;
            bound.charged_ns = Some(charged.as_ns());
            let comparable = self.summary.complete && charged > SimTime::ZERO;
            bound.achieved_over_charged = comparable.then(|| self.summary.simulated_ns / charged.as_ns());
        }
        Ok(())
    }
}

impl Histograms {
    /// The most groups of sequences that have distributions of their own: each takes up to some
    /// hundreds of KB, and two files.
    pub const MOST_GROUPS: usize = 64;

    /// Empty ones of a run whose sequences are of that many groups.
    #[must_use]
    pub fn of_groups(groups: usize) -> Self {
        let each =
            if (2..=Self::MOST_GROUPS).contains(&groups) { vec![TokenTimings::default(); groups] } else { Vec::new() };
        Self { groups: each, ..Self::default() }
    }

    /// Adds a transfer to its class.
    pub fn record<Tag>(&mut self, transfer: &Completed<Tag>) {
        self.latency[transfer.class].record(transfer.latency());
        self.queueing[transfer.class].record(transfer.queueing());
    }

    /// Gives up [room](Timings::shrink) that no distribution needs.
    pub fn shrink(&mut self) {
        let by_class = [&mut self.latency, &mut self.queueing, &mut self.lateness];
        let by_class = by_class.into_iter().flat_map(PerClass::values_mut);
        let of_tokens = self.groups.iter_mut().chain([&mut self.tokens]);
        let of_tokens = of_tokens.flat_map(|of| [&mut of.tpot, &mut of.ttft]);
        let of_requests = self.requests.iter_mut().flat_map(|of| of.named_mut()).map(|(_, timings)| timings);
        by_class
            .chain(of_tokens)
            .chain(of_requests)
            .chain([&mut self.token_latency, &mut self.layer_latency])
            .for_each(Timings::shrink);
    }

    /// The distribution of that name, empty or not.
    pub fn named_mut(&mut self, name: &str) -> Option<&mut Timings> {
        match name {
            "token_latency" => return Some(&mut self.token_latency),
            "layer_latency" => return Some(&mut self.layer_latency),
            "tpot" => return Some(&mut self.tokens.tpot),
            "ttft" => return Some(&mut self.tokens.ttft),
            _ => {}
        }
        if let Some((kind @ ("tpot" | "ttft"), group)) = name.split_once("_group") {
            let of = self.groups.get_mut(group.parse::<usize>().ok()?)?;
            return Some(if kind == "tpot" { &mut of.tpot } else { &mut of.ttft });
        }
        if RequestTimings::has(name) {
            let mut of_requests = self.requests.get_or_insert_default().named_mut();
            return of_requests.find(|(known, _)| *known == name).map(|(_, timings)| timings);
        }
        let (class, what) = name.rsplit_once('_')?;
        let class = TransferClass::ALL.into_iter().find(|known| known.name() == class)?;
        match what {
            "latency" => Some(&mut self.latency[class]),
            "queueing" => Some(&mut self.queueing[class]),
            "lateness" => Some(&mut self.lateness[class]),
            _ => None,
        }
    }

    /// Every distribution that is not empty, with its name in file names and tags.
    pub fn named(&self) -> impl Iterator<Item = (String, &Timings)> {
        let classes = TransferClass::ALL.into_iter().flat_map(|class| {
            [
                (format!("{class}_latency"), &self.latency[class]),
                (format!("{class}_queueing"), &self.queueing[class]),
                (format!("{class}_lateness"), &self.lateness[class]),
            ]
        });
        let groups = self.groups.iter().enumerate().flat_map(|(group, of)| {
            [(format!("tpot_group{group}"), &of.tpot), (format!("ttft_group{group}"), &of.ttft)]
        });
        let of_run = [
            ("token_latency", &self.token_latency),
            ("layer_latency", &self.layer_latency),
            ("tpot", &self.tokens.tpot),
            ("ttft", &self.tokens.ttft),
        ];
        (of_run.into_iter().map(|(name, timings)| (name.to_owned(), timings)))
            .chain(groups)
            .chain(self.requests.iter().flat_map(|of| of.named()).map(|(name, timings)| (name.to_owned(), timings)))
            .chain(classes)
            .filter(|(_, timings)| timings.count() > 0)
    }
}

/// Watches a run and keeps what reports need.
#[derive(Clone, Debug)]
pub struct Recorder {
    histograms: Histograms,
    series: Series,
    /// Of several sequences, or of prompts that take time.
    sequences: Option<SequenceRecorder>,
    /// By class and tier.
    bytes: PerClass<Vec<Bytes>>,
    /// HBM's share of what the stages of each label read.
    stages: PerLabel<Mean>,
    /// KV of skipped tokens that was read with the rest of their pages.
    read_beyond: Bytes,
    /// By tier: the sum over steps of its share of the bytes read.
    shares: Vec<Mean>,
    /// Of a run whose migration is a cache, or that prefetches.
    cache: Option<(Hits, Prefetched)>,
    /// The experts read, where experts are units.
    experts: Option<Hits>,
    /// By tier, then compute: for how long stages waited for it.
    waited: Vec<SimTime>,
    /// The fixed times of all stages, and that of the present one.
    fixed: SimTime,
    fixed_of_stage: SimTime,
    /// How many of the first steps are not measured.
    warmup: usize,
    /// Whether the present step is measured.
    measures: bool,
}

impl Recorder {
    /// A recorder for a run of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let tiers = scenario.memory().tiers().len();
        let sequences = SequenceRecorder::of(scenario);
        let groups = sequences.as_ref().map_or(0, SequenceRecorder::groups);
        Self {
            histograms: Histograms::of_groups(groups),
            sequences,
            series: Series::with_capacity(tiers, scenario.steps()),
            bytes: PerClass::from_fn(|_| vec![Bytes::ZERO; tiers]),
            stages: PerLabel::default(),
            read_beyond: Bytes::ZERO,
            shares: vec![Mean::default(); tiers],
            cache: scenario.strategy().is_cached().then(Default::default),
            experts: None,
            waited: vec![SimTime::ZERO; tiers + 1],
            fixed: SimTime::ZERO,
            fixed_of_stage: SimTime::ZERO,
            warmup: scenario.warmup(),
            measures: true,
        }
    }

    /// The report of the run that this recorder watched.
    #[must_use]
    pub fn finish(self, scenario: &Scenario, outcome: &Outcome) -> RunReport {
        let tiers: Vec<String> = scenario.memory().tiers().iter().map(|tier| tier.name.clone()).collect();
        let by_tier = |values: &[Bytes]| -> Named<u64> {
            tiers.iter().cloned().zip(values.iter().map(|bytes| bytes.get())).collect()
        };
        let measured_steps = self.series.len().saturating_sub(self.warmup);
        let measured_time = self.histograms.token_latency.sum_ps() as f64 / SimTime::PS_PER_SECOND as f64;
        let tokens = self.sequences.as_ref().map_or(measured_steps as u64, SequenceRecorder::tokens);
        let Histograms { tokens: of_tokens, groups, .. } = &self.histograms;
        let by_group = self.sequences.as_ref().map(|of| of.summary(measured_time, of_tokens, groups));
        let layout = |stored: &Stored| StoredSummary {
            weights_bytes: by_tier(&stored.weights),
            weights_share: shares(&tiers, &stored.weights),
            kv_bytes: by_tier(&stored.kv),
            kv_share: shares(&tiers, &stored.kv),
        };
        let read_beyond = self.read_beyond.get();
        let kv_read: Bytes = self.bytes[TransferClass::KvRead].iter().copied().sum();
        let asked_for = kv_read.get().saturating_sub(read_beyond);
        let summary = Summary {
            schema: SCHEMA,
            strategy: scenario.strategy_name(),
            knows: scenario.knowledge().to_string(),
            complete: outcome.error.is_none(),
            error: outcome.error.as_ref().map(ToString::to_string),
            steps: outcome.steps as u64,
            simulated_ns: outcome.simulated.as_ns(),
            tokens_per_s: (measured_time > 0.0).then(|| tokens as f64 / measured_time),
            drained_ns: outcome.drained.as_ns(),
            events: outcome.events,
            best_ratio: scenario.memory().best_ratio(),
            alpha: self.alpha(scenario),
            read_share: tiers.iter().cloned().zip(self.shares.iter().map(Mean::mean)).collect(),
            token_latency_ns: self.histograms.token_latency.distribution(),
            tpot_ns: of_tokens.tpot.distribution(),
            ttft_ns: of_tokens.ttft.distribution(),
            sequences: by_group.unwrap_or_default(),
            layer_latency_ns: self.histograms.layer_latency.distribution(),
            transfers: transfer_summaries(scenario.memory(), &self.histograms, &self.bytes),
            peak_bytes: by_tier(&outcome.peak),
            capacity_bytes: capacities(scenario.memory()),
            layout: Some(LayoutSummary { start: layout(&outcome.at_start), end: layout(&outcome.at_end) }),
            waits: Some(WaitsSummary {
                tiers_ns: tiers.iter().cloned().zip(self.waited.iter().map(|time| time.as_ns())).collect(),
                compute_ns: self.waited[tiers.len()].as_ns(),
                fixed_ns: Some(self.fixed.as_ns()).filter(|fixed| *fixed > 0.0),
            }),
            lanes: lane_summaries(scenario.memory(), &outcome.lanes, outcome.drained),
            read_beyond_bytes: read_beyond,
            read_beyond_share: if asked_for > 0 { read_beyond as f64 / asked_for as f64 } else { 0.0 },
            migration: self.migration(outcome),
            cache: self.cache(scenario),
            experts: self.experts.map(Into::into),
            bound: self.bound(outcome),
            requests: None,
            // Known only when the files are written.
            files: Named::default(),
            scenario: scenario.resolved().clone(),
        };
        let written = scenario.written().cloned();
        let sequences = self.sequences.as_ref().map(SequenceRecorder::rows).unwrap_or_default();
        RunReport {
            summary,
            series: self.series,
            histograms: self.histograms,
            sequences,
            requests: None,
            tiers,
            written,
        }
    }

    /// Alpha over the measured steps, of the kinds of stages that the model has.
    fn alpha(&self, scenario: &Scenario) -> AlphaSummary {
        let of_model = |label: StageLabel| {
            let has_label = scenario.model().stages().iter().any(|stage| stage.label == label);
            has_label.then(|| self.stages[label].summary())
        };
        let steps = || self.series.steps().skip(self.warmup);
        let alphas = || steps().map(|step| step.alpha()).filter(|alpha| alpha.is_finite());
        AlphaSummary {
            mean: self.shares[TierId::HBM.index()].mean(),
            min: alphas().min_by(f64::total_cmp),
            max: alphas().max_by(f64::total_cmp),
            first: alphas().next(),
            last: alphas().last(),
            attention: self.stages[StageLabel::Attention].summary(),
            mlp: self.stages[StageLabel::Mlp].summary(),
            embedding: of_model(StageLabel::Embedding),
            head: of_model(StageLabel::Head),
        }
    }

    /// Migration over all steps.
    fn migration(&self, outcome: &Outcome) -> MigrationSummary {
        let sum = |value: fn(&super::series::Step<'_>) -> u64| self.series.steps().map(|step| value(&step)).sum();
        MigrationSummary {
            in_bytes: sum(|step| step.migrated_in.get()),
            out_bytes: sum(|step| step.migrated_out.get()),
            late_tokens: sum(|step| step.late_tokens),
            dropped_bytes: outcome.dropped.values().map(|bytes| bytes.get()).sum(),
        }
    }

    /// What the first tier had of what was read, if it is a cache.
    fn cache(&self, scenario: &Scenario) -> Option<CacheSummary> {
        let prefetches = scenario.strategy().prefetch.is_some();
        self.cache
            .map(|(kv, prefetched)| CacheSummary { kv: kv.into(), prefetch: prefetches.then(|| prefetched.into()) })
    }

    /// The bound over all steps; [`RunReport::charge`] adds the charged one.
    fn bound(&self, outcome: &Outcome) -> BoundSummary {
        let bound: SimTime = self.series.steps().map(|step| step.bound).sum();
        BoundSummary {
            simulated_ns: bound.as_ns(),
            achieved_over_bound: (bound > SimTime::ZERO).then(|| outcome.simulated.as_ns() / bound.as_ns()),
            charged_ns: None,
            achieved_over_charged: None,
        }
    }
}

/// Each tier's share of all bytes.
pub(super) fn shares(tiers: &[String], stored: &[Bytes]) -> Named<Option<f64>> {
    let all: Bytes = stored.iter().copied().sum();
    let share = |bytes: &Bytes| (all > Bytes::ZERO).then(|| bytes.as_f64() / all.as_f64());
    tiers.iter().cloned().zip(stored.iter().map(share)).collect()
}

/// The figures of each class, from its distributions and its bytes by tier.
#[must_use]
pub fn transfer_summaries(
    system: &MemorySystem,
    histograms: &Histograms,
    bytes: &PerClass<Vec<Bytes>>,
) -> Named<TransferSummary> {
    let of_class = |class: TransferClass| {
        let tiers = system.tiers().iter().zip(&bytes[class]);
        TransferSummary {
            count: histograms.latency[class].count(),
            bytes: tiers.map(|(tier, bytes)| (tier.name.clone(), bytes.get())).collect(),
            latency_ns: histograms.latency[class].distribution(),
            queueing_ns: histograms.queueing[class].distribution(),
            lateness_ns: histograms.lateness[class].distribution(),
        }
    };
    let used = |class: TransferClass| bytes[class].iter().any(|bytes| *bytes > Bytes::ZERO);
    let shown = TransferClass::ALL.into_iter().filter(|class| class.is_shown(used(*class)));
    shown.map(|class| (class.name().to_owned(), of_class(class))).collect()
}

/// The capacity of each tier, in bytes.
#[must_use]
pub fn capacities(system: &MemorySystem) -> Named<u64> {
    system.tiers().iter().map(|tier| (tier.name.clone(), tier.capacity.get())).collect()
}

/// The figures of each lane, from the start until `end`.
#[must_use]
pub fn lane_summaries(system: &MemorySystem, loads: &[LaneLoad], end: SimTime) -> Named<LaneSummary> {
    let seconds = end.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
    let of_lane = |(lane, load): (&Lane, &LaneLoad)| {
        let bytes: Bytes = load.bytes.values().copied().sum();
        let could = lane.bandwidth().as_f64() * seconds;
        let shown = load.bytes.iter().filter(|(class, bytes)| class.is_shown(**bytes > Bytes::ZERO));
        let by_class = shown.map(|(class, bytes)| (class.name().to_owned(), bytes.get())).collect();
        let summary = LaneSummary {
            busy_ns: load.busy.as_ns(),
            bytes: bytes.get(),
            // Each of several channels counts whole bytes, so rounding may add a byte to one of
            // them.
            utilization: if could > 0.0 { (bytes.as_f64() / could).min(1.0) } else { 0.0 },
            bytes_by_class: by_class,
        };
        (lane.name.clone(), summary)
    };
    system.lanes().iter().zip(loads).map(of_lane).collect()
}

impl Probe for Recorder {
    fn begin_step(&mut self, step: Step, _now: SimTime) {
        self.measures = step.index() >= self.warmup;
    }

    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, ends: Ends) {
        if self.measures {
            self.histograms.record(transfer);
        }
        self.bytes[transfer.class][ends.tier().index()] += transfer.bytes;
    }

    /// A dropped transfer has no latency, as it never completed; the bytes that it carried count.
    fn dropped<Tag>(&mut self, transfer: &Cancelled<Tag>, ends: Ends) {
        self.bytes[transfer.class][ends.tier().index()] += transfer.carried;
    }

    fn lateness(&mut self, class: TransferClass, late: SimTime) {
        if self.measures {
            self.histograms.lateness[class].record(late);
        }
    }

    fn fixed(&mut self, time: SimTime) {
        self.fixed += time;
        self.fixed_of_stage = time;
    }

    fn stage(&mut self, _label: StageLabel, awaited: Option<TierId>, time: SimTime) {
        let compute = self.waited.len() - 1;
        let fixed = std::mem::take(&mut self.fixed_of_stage);
        self.waited[awaited.map_or(compute, |tier| tier.index())] += time.saturating_sub(fixed);
    }

    fn layer(&mut self, _layer: LayerId, began: SimTime, ended: SimTime) {
        if self.measures {
            self.histograms.layer_latency.record(ended - began);
        }
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.series.push(step, self.cache.is_some());
        self.read_beyond += step.read_beyond;
        if let Some(sequences) = &mut self.sequences {
            let Histograms { tokens, groups, .. } = &mut self.histograms;
            sequences.step(step, self.measures, tokens, groups);
        }
        if !self.measures {
            return ControlFlow::Continue(());
        }
        self.histograms.token_latency.record(step.latency);
        if let Some((kv, prefetched)) = &mut self.cache {
            *kv += step.kv_hits;
            *prefetched += step.prefetched;
        }
        if let Some(routed) = step.experts {
            *self.experts.get_or_insert_default() += routed.hits();
        }
        for (label, read) in step.read.iter() {
            self.stages[label].add(read[TierId::HBM], read.values().copied().sum());
        }
        let all = step.used.ids().map(|tier| step.read_from(tier)).sum();
        for (tier, share) in step.used.ids().zip(&mut self.shares) {
            share.add(step.read_from(tier), all);
        }
        ControlFlow::Continue(())
    }
}

/// The unweighted mean over steps of a share, and its last value. A step that read nothing does not
/// count.
#[derive(Clone, Debug, Default)]
pub(super) struct Mean {
    sum: f64,
    count: u64,
    last: Option<f64>,
}

impl Mean {
    pub fn add(&mut self, part: Bytes, whole: Bytes) {
        if whole > Bytes::ZERO {
            let share = part.as_f64() / whole.as_f64();
            self.sum += share;
            self.count += 1;
            self.last = Some(share);
        }
    }

    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    fn summary(&self) -> StageAlpha {
        StageAlpha { mean: self.mean(), last: self.last }
    }
}

//! What a candidate comes to: a lower bound of its time, and its simulated time.

use crate::memory::{Ledger, PerTier, TierId};
use crate::simulation::{Outcome, Probe, RunError, Scenario, StepRecord, run};
use crate::strategy::{KvLoad, Layout};
use crate::units::{Bytes, RegionId, SimTime, Step, Table};
use crate::workload::{Contents, ReadsConfig, StageReads, TraceError, Weights};
use std::ops::ControlFlow;

/// What the simulation of a candidate came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Of all its steps.
    pub total: SimTime,
    pub steps: usize,
    /// Tokens that came out.
    pub tokens: usize,
    /// Bytes read from each tier.
    pub read: Vec<u128>,
    /// The most bytes in use on each tier.
    pub used: Vec<Bytes>,
}

/// Simulates a candidate; `None` once it takes longer than `limit`.
///
/// # Errors
/// [`RunError`] of a run that ends early.
pub fn judge(scenario: &Scenario, limit: Option<SimTime>) -> Result<Option<Judged>, RunError> {
    let mut probe = Sums { limit, over: false, tokens: 0, read: Vec::new() };
    let Outcome { error, steps, simulated, peak, .. } = match run(scenario, &mut probe) {
        Err(RunError::Interrupted) if probe.over => return Ok(None),
        outcome => outcome?,
    };
    if let Some(error) = error {
        return Err(error);
    }
    Ok(Some(Judged { total: simulated, steps, tokens: probe.tokens, read: probe.read, used: peak }))
}

/// Adds up steps, until the run takes longer than the limit.
struct Sums {
    limit: Option<SimTime>,
    over: bool,
    tokens: usize,
    read: Vec<u128>,
}

impl Probe for Sums {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.tokens += step.batch.outputs();
        self.read.resize(step.used.values().count(), 0);
        for (tier, read) in self.read.iter_mut().enumerate() {
            *read += u128::from(step.read_from(TierId::new(tier)).get());
        }
        self.over = self.limit.is_some_and(|limit| step.ended > limit);
        if self.over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The KV of the first step: what is stored before it, of which it reads all where the trace skips
/// nothing; where some is skipped, nothing is certain to be read.
fn load(scenario: &Scenario) -> KvLoad {
    let regions = scenario.regions();
    let is_read = scenario.sequences().all().iter().all(|of| scenario.sequences().trace_of(of.group).skips_nothing());
    let stored: Table<RegionId, usize> = regions
        .lengths()
        .zip(regions.windows())
        .map(|(lengths, window)| lengths.at_start.min(window.saturating_sub(1)))
        .collect();
    let read = stored.iter().map(|tokens| if is_read { *tokens } else { 0 }).collect();
    KvLoad { stored, read }
}

/// The bound of the first step, which no strategy beats in any step: later ones read more.
///
/// # Errors
/// [`RunError`] if the skip sets cannot be read.
pub fn bound(scenario: &Scenario) -> Result<SimTime, RunError> {
    Ok(scenario.step_bound().step(&load(scenario)))
}

/// A lower bound of the time of all steps of a candidate: of any layout, and where nothing moves,
/// of its own.
///
/// # Errors
/// [`RunError`] if the skip sets cannot be read.
pub fn least(scenario: &Scenario) -> Result<SimTime, RunError> {
    // Where prompts are computed, or sequences begin later, the first step is not the shortest.
    let is_plain =
        scenario.sequences().prefill().is_given() && scenario.sequences().all().iter().all(|of| of.start == 0);
    if !is_plain || scenario.steps() == 0 {
        return Ok(SimTime::ZERO);
    }
    let mut least = bound(scenario)?;
    if !scenario.strategy().moves_anything() {
        least = least.max(of_layout(scenario)?);
    }
    // Sequences of different lengths: only the first steps are as long.
    let decode = scenario.sequences().all().iter().map(|of| of.decode).min().unwrap_or(0);
    Ok(SimTime::from_ps(least.as_ps().saturating_mul(decode as u64)))
}

/// The least time of the first step with the layout before it, none of which moves: of each stage,
/// or of the step where stages overlap, the tier that takes longest at the full bandwidth of its
/// wires. Zero where a tier computes, so that its bytes do not cross its link.
fn of_layout(scenario: &Scenario) -> Result<SimTime, RunError> {
    let runtime = scenario.resolved().runtime.inline();
    let computes = runtime.is_some_and(|runtime| !runtime.computes.is_empty());
    if computes {
        return Ok(SimTime::ZERO);
    }
    let (system, size, regions) = (scenario.memory(), scenario.page_size(), scenario.regions());
    let stages = scenario.stages(&regions);
    let mut ledger = Ledger::new(system);
    let mut layout = Layout::new(&regions, &stages, system, &mut ledger, size);
    let initialization = scenario.parts().initialization;
    if initialization.uses_read_share() {
        let at_first = |source: TraceError| RunError::Trace { step: Step::default(), source };
        layout = layout.with_read_share(scenario.read_share().map_err(at_first)?);
    }
    if initialization.lay_out(&mut layout).is_err() {
        return Ok(SimTime::ZERO);
    }
    let Ok(laid_out) = layout.finish() else { return Ok(SimTime::ZERO) };
    let load = load(scenario);
    // What is in a window moves on: it may be read from elsewhere soon.
    let windows: Vec<usize> = regions.windows().collect();
    let tiers = system.tiers().len();
    let read = |reads: &StageReads| -> PerTier<f64> {
        let mut bytes: PerTier<f64> = PerTier::filled(tiers, 0.0);
        // Of experts that are units it is not known which a step reads.
        let is_read = |(region, of): &(_, Weights)| of.stored > Bytes::ZERO && !regions.is_experts(*region);
        for (region, of) in reads.divisible().filter(is_read) {
            let on = &laid_out.divided[region.index() - regions.paged_len()];
            for (tier, here) in on.iter() {
                // A part is read in whole bytes.
                let read = here.as_f64() * of.read.as_f64() / of.stored.as_f64() - 1.0;
                bytes[tier] += read.max(0.0);
            }
        }
        for of in reads.kv.iter().filter(|of| load.read[of.region] > 0 && windows[of.region.index()] == usize::MAX) {
            let Contents::Kv { token_bytes, .. } = regions.region(of.region).contents else { continue };
            for (tier, pages) in laid_out.pages[of.region.index()].iter() {
                // The last page may hold fewer tokens than others.
                let tokens = (pages.count() * size.tokens()).saturating_sub(size.tokens());
                bytes[tier] += tokens as f64 * token_bytes.as_f64();
            }
        }
        bytes
    };
    let in_place = runtime.is_none_or(|runtime| {
        runtime.reads.values().all(|reads| matches!(reads, ReadsConfig::Direct | ReadsConfig::Serial))
    });
    let time = |bytes: &PerTier<f64>| -> f64 {
        let of = |(tier, bytes): (TierId, &f64)| bytes / system.tiers()[tier.index()].wire_bandwidth.as_f64();
        bytes.iter().map(of).fold(0.0, f64::max)
    };
    let by_stage: Vec<PerTier<f64>> = stages.iter().map(|stage| read(&stage.reads_of(&regions))).collect();
    let seconds = if in_place && scenario.weight_prefetch() == 0 {
        by_stage.iter().map(time).sum::<f64>()
    } else {
        let sum = |tier: TierId| by_stage.iter().map(|bytes| bytes[tier]).sum::<f64>();
        // Only what must come from external memory: what is staged may be read from a buffer.
        let external = PerTier::from_fn(tiers, |tier| if tier == TierId::HBM { 0.0 } else { sum(tier) });
        time(&external)
    };
    Ok(SimTime::from_ps((seconds * (1.0 - ROUNDING) * SimTime::PS_PER_SECOND as f64) as u64))
}

/// What sums of floats may be too large by, as a share: far more than their rounding.
const ROUNDING: f64 = 1e-6;

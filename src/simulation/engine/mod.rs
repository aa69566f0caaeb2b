//! The engine: runs the steps of a workload on a machine, stage by stage.
//!
//! An [`Engine`] has two halves. The [`Machine`] carries transfers and keeps time. The [`Run`] is
//! everything else: what the workload asks for, where the bytes lie, what the strategy decides. The
//! machine calls the run back when a transfer completes.
//!
//! | file | question |
//! | --- | --- |
//! | `mod.rs` | which step and which stage comes next, and when has it ended? |
//! | `reads.rs` | what does a stage read, from which tier, over which routes? |
//! | `compute.rs` | which parts do tiers compute themselves, and when are these done? |
//! | `experts.rs` | which experts does a stage read, where they are units? |
//! | `turns.rs` | which reads wait for the turn of their tier? |
//! | `staging.rs` | which copies go on ahead of their stage, or chunk by chunk? |
//! | `writes.rs` | where does new KV go, and when may it be read? |
//! | `prompts.rs` | how does the KV of a prompt come to its tiers? |
//! | `state.rs` | how is recurrent state read and written back? |
//! | `migrate.rs` | what moves in the background? |
//! | `prefetch.rs` | what is fetched before a later layer of the same step reads it? |
//! | `completions.rs` | what does a completed transfer bring about? |
//! | `tally.rs` | what came of the present step and stage? |

mod completions;
mod compute;
mod experts;
mod migrate;
mod prefetch;
mod prompts;
mod reads;
mod staging;
mod state;
mod tally;
mod turns;
mod writes;

use super::idealization::Ideal;
use super::moves::Moves;
use super::outcome::{Outcome, RunError};
use super::paging::Paging;
use super::probe::{Ends, Probe, StepRecord};
use super::residency::Residency;
use super::scenario::Scenario;
use super::stored::Stored;
use crate::memory::{Cancelled, Ledger, Machine, MemorySystem, PerTier, TierId, Timer};
use crate::strategy::{
    AnyMigration, AnyPlacement, Budget, Initialization, KvLoad, LaidOut, Late, Layout, MoveBatch, MovePlan, On, Parts,
    StepBound,
};
use crate::units::{Bytes, PageSize, RegionId, SimTime, StageId, Step, Table};
use crate::workload::{Amount, Free, Next, Read, Regions, Stage, StepPlan, Workload};
use completions::Purpose;
use compute::{Progress, TierParts};
use prefetch::Prefetching;
use prompts::ChunkWrite;
use reads::StepReads;
pub(super) use reads::spread;
use staging::Staging;
use state::StateWrites;
use tally::{Measured, StepTotals};
use turns::Turns;
use writes::Writes;

/// Expires when the present stage has computed.
const COMPUTED: Timer = Timer(0);
/// Expires when the fixed time of the present stage is over.
const LAUNCHED: Timer = Timer(1);

/// What [`Engine::advance`] has done.
pub(super) enum Advanced {
    /// A step has been simulated.
    Step,
    /// There is nothing more to simulate.
    End,
    /// The run ends here, with results.
    Stopped(RunError),
}

/// A run in progress.
pub(super) struct Engine<'a, P, W> {
    machine: Machine<Purpose>,
    run: Run<'a, P, W>,
}

/// All of a run but its machine.
struct Run<'a, P, W> {
    scenario: &'a Scenario,
    system: &'a MemorySystem,
    probe: &'a mut P,
    workload: W,
    page_size: PageSize,
    decisions: Decisions,
    prefetching: Option<Box<Prefetching>>,
    bound: StepBound,
    paging: Paging,
    moves: Moves,
    rooms: Rooms,
    reads: StepReads,
    turns: Turns,
    parts: TierParts,
    staging: Staging,
    writes: Writes,
    states: StateWrites,
    /// The stage that runs; none between steps.
    present: Option<StageId>,
    /// Whether the present stage still computes.
    computing: bool,
    /// Whether the fixed time of the present stage goes on.
    launching: bool,
    /// When the last read of the present stage arrived so far, and from which tier.
    arrived: Option<(SimTime, TierId)>,
    measured: Measured,
    /// The same of the last stage that read experts that are units.
    measured_experts: Measured,
    totals: StepTotals,
    at_start: Stored,
    scratch: Scratch,
    /// How many steps were simulated to their end, the last of them, and when it ended.
    steps: usize,
    completed: Option<Step>,
    step_ended: SimTime,
}

/// The parts of the strategy that decide while the run goes on.
struct Decisions {
    placement: Box<dyn AnyPlacement>,
    migration: Box<dyn AnyMigration>,
    budget: Option<Budget>,
    late: Late,
    /// Which regions it decides for.
    on: On,
    /// What may be moved in the present step.
    allowed: Bytes,
    /// How many decisions a step takes for regions of KV, and for regions of experts, and how many
    /// the present one has taken.
    in_step: (usize, usize),
    taken: usize,
}

/// What each tier has for pages.
struct Rooms {
    /// Of KV: its capacity less the weights and the state stored there, and less what experts have.
    kv: PerTier<Bytes>,
    /// Of experts: what was laid out there before the first step.
    experts: PerTier<Bytes>,
    /// Of all that migration decides for.
    shared: PerTier<Bytes>,
}

impl Rooms {
    fn new(system: &MemorySystem, residency: &Residency, on: On) -> Self {
        let tiers = system.tiers().len();
        let experts = PerTier::from_fn(tiers, |tier| residency.experts_on(tier));
        let all = PerTier::from_fn(tiers, |tier| {
            system.tiers()[tier.index()].capacity.saturating_sub(residency.fixed_on(tier))
        });
        let kv = PerTier::from_fn(tiers, |tier| all[tier].saturating_sub(experts[tier]));
        let shared = match on {
            On::Both => all,
            On::Kv => kv.clone(),
            On::Experts => experts.clone(),
        };
        Self { kv, experts, shared }
    }
}

/// Buffers that are filled anew each time, so that a step allocates nothing.
struct Scratch {
    plan: MovePlan,
    /// Pages that another region's decision evicts.
    evicted: MoveBatch,
    free: PerTier<Bytes>,
    used: PerTier<Bytes>,
    /// What the stage that new KV belongs to reads from each tier, with what was placed since.
    expected: PerTier<Bytes>,
    /// What a part of a prompt writes to each tier.
    chunk: PerTier<ChunkWrite>,
    /// The KV of the step.
    load: KvLoad,
}

impl<'a, P: Probe, W: Workload> Engine<'a, P, W> {
    /// `workload` on the scenario's memory system, laid out by `parts`.
    ///
    /// # Errors
    /// [`RunError`] if the layout does not fit or asks for skip sets that cannot be read.
    pub fn new(scenario: &'a Scenario, parts: Parts, workload: W, probe: &'a mut P) -> Result<Self, RunError> {
        let system = scenario.memory();
        let page_size = scenario.page_size();
        let Parts { initialization, placement, migration, budget, prefetch, late } = parts;
        let tiers = system.tiers().len();

        let (regions, on) = (workload.regions(), scenario.strategy().on);
        let residency = lay_out(scenario, &workload, initialization)?.deciding(match on {
            On::Kv => 0..regions.kv_len(),
            On::Experts => regions.kv_len()..regions.paged_len(),
            On::Both => 0..regions.paged_len(),
        });
        let at_start = Stored::new(&residency, tiers);
        let (kv_regions, paged_regions) = (regions.kv_len(), regions.paged_len());
        Ok(Self {
            machine: Machine::new(system),
            run: Run {
                scenario,
                system,
                probe,
                page_size,
                decisions: Decisions {
                    placement,
                    migration,
                    budget,
                    late,
                    on,
                    allowed: budget.map_or(Bytes::new(u64::MAX), |budget| budget.bytes(system, SimTime::ZERO)),
                    in_step: (0, 0),
                    taken: 0,
                },
                prefetching: prefetch.map(|part| Box::new(Prefetching::new(part, paged_regions))),
                bound: scenario.bound_of(workload.stages(), workload.regions()),
                paging: Paging::new(system, page_size),
                rooms: Rooms::new(system, &residency, on),
                moves: Moves::new(residency, system),
                reads: StepReads::new(tiers),
                turns: Turns::default(),
                parts: TierParts::default(),
                staging: Staging::new(scenario.runtime(), system),
                writes: Writes::new(kv_regions),
                states: StateWrites::new(),
                present: None,
                computing: false,
                launching: false,
                arrived: None,
                measured: Measured::new(tiers),
                measured_experts: Measured::new(tiers),
                totals: StepTotals::new(tiers),
                at_start,
                scratch: Scratch {
                    plan: MovePlan::new(tiers),
                    evicted: MoveBatch::default(),
                    free: PerTier::filled(tiers, Bytes::ZERO),
                    used: PerTier::filled(tiers, Bytes::ZERO),
                    expected: PerTier::filled(tiers, Bytes::ZERO),
                    chunk: PerTier::filled(tiers, ChunkWrite::default()),
                    load: KvLoad { stored: Table::filled(paged_regions, 0), read: Table::filled(paged_regions, 0) },
                },
                workload,
                steps: 0,
                completed: None,
                step_ended: SimTime::ZERO,
            },
        })
    }

    /// Simulates the next step of the workload, and what must be waited for before it.
    ///
    /// # Errors
    /// [`RunError`] for what interrupts the run without results; what ends it early with results is
    /// [`Advanced::Stopped`].
    pub fn advance(&mut self) -> Result<Advanced, RunError> {
        match self.try_advance() {
            Err(stop @ (RunError::OutOfMemory { .. } | RunError::ClockOverflow { .. })) => Ok(Advanced::Stopped(stop)),
            advanced => advanced,
        }
    }

    fn try_advance(&mut self) -> Result<Advanced, RunError> {
        loop {
            let completed = self.run.completed;
            let failed = |source| RunError::Trace { step: completed.map_or(Step::default(), Step::next), source };
            match self.run.workload.next(self.machine.now(), completed).map_err(failed)? {
                Next::End => return Ok(Advanced::End),
                Next::WaitUntil(time) => self.wait_until(time),
                Next::Step(plan) => {
                    self.step(&plan)?;
                    self.run.completed = Some(plan.step);
                    self.run.steps += 1;
                    return Ok(Advanced::Step);
                }
            }
        }
    }

    /// Lets what is in flight go on until `time`.
    fn wait_until(&mut self, time: SimTime) {
        self.run.present = None;
        self.settle();
        while self.machine.next_time().is_some_and(|next| next <= time) {
            self.next_instant();
        }
        if time > self.machine.now() {
            self.machine.advance(time, &mut self.run);
        }
    }

    fn step(&mut self, plan: &StepPlan) -> Result<(), RunError> {
        let started = self.machine.now();
        self.run.begin_step(&mut self.machine, plan)?;
        self.run.probe.begin_step(plan.step, started);
        let mut layer_started = started;
        for (index, stage) in plan.stages.iter().enumerate() {
            let neighbour = |other: usize| plan.stages.get(other).is_some_and(|other| other.layer == stage.layer);
            if index == 0 || !neighbour(index - 1) {
                layer_started = self.machine.now();
            }
            let stage_started = self.machine.now();
            self.stage(plan, StageId::new(index), stage)?;
            self.run.append(&mut self.machine, plan.step, stage)?;
            if !stage.updates.is_empty() {
                self.run.update(&mut self.machine, stage);
            }
            if !plan.is_last {
                self.run.migrate(&mut self.machine, stage);
            }
            if self.run.prefetching.is_some() {
                self.run.prefetch(&mut self.machine, plan.step, StageId::new(index));
            }
            match stage.layer {
                Some(layer) if !neighbour(index + 1) => {
                    self.run.probe.layer(layer, layer_started, self.machine.now());
                }
                Some(_) => {}
                None => self.run.probe.outside_layers(stage.label, stage_started, self.machine.now()),
            }
        }
        let now = self.machine.now();
        self.run.step_ended = now;
        if let Some(budget) = self.run.decisions.budget {
            self.run.decisions.allowed = budget.bytes(self.run.system, now - started);
        }
        self.run.report(&self.machine, plan, now - started)
    }

    /// Issues the reads of a stage and runs until they and its compute are done.
    fn stage(&mut self, plan: &StepPlan, id: StageId, stage: &Stage) -> Result<(), RunError> {
        let began = self.machine.now();
        let overflow = RunError::ClockOverflow { step: plan.step };
        self.run.present = Some(id);
        self.run.arrived = None;
        if stage.fixed > SimTime::ZERO {
            (self.run.computing, self.run.launching) = (true, true);
            if !self.machine.set_timer(LAUNCHED, began + stage.fixed) {
                return Err(overflow);
            }
            self.settle();
            while self.run.computing {
                if self.next_instant().is_none() {
                    return Err(overflow);
                }
            }
            self.run.probe.fixed(stage.fixed);
        }
        let kv = self.run.read(&mut self.machine, plan, id, stage);
        let of_chip = self.run.begin_parts(&mut self.machine, id, stage, kv);
        if let Some(roofline) = self.run.scenario.roofline() {
            let of_chip = of_chip.unwrap_or_else(|| self.run.all_of(id, stage, kv));
            let time = roofline.time_for(stage.tokens, of_chip.weights, of_chip.attended, of_chip.flop);
            self.run.computing = time > SimTime::ZERO;
            if self.run.computing && !self.machine.set_timer(COMPUTED, self.machine.now() + time) {
                return Err(overflow);
            }
        }
        self.settle();
        loop {
            if self.run.reads.outstanding(id) == 0 {
                if self.run.take_turn(&mut self.machine, id) {
                    self.settle();
                } else if !self.run.computing {
                    if self.run.parts.is_empty() {
                        break;
                    }
                    match self.run.next_part(&mut self.machine, id) {
                        Progress::Over => break,
                        Progress::Begun => self.settle(),
                        Progress::Going => {}
                    }
                }
            }
            if self.next_instant().is_none() {
                // Lanes carry something while reads are outstanding: what is missing is past the
                // end of the clock.
                return Err(overflow);
            }
        }
        if self.run.is_past_clock() {
            return Err(overflow);
        }
        let now = self.machine.now();
        let awaited = self.run.arrived.and_then(|(at, tier)| (at == now).then_some(tier));
        self.run.probe.stage(stage.label, awaited, now - began);
        Ok(())
    }

    /// Jumps to the next event and handles all that is due at its time; `None` if nothing is. Most
    /// of a run is spent in here, and a call costs 1 % of it.
    #[inline(always)]
    fn next_instant(&mut self) -> Option<SimTime> {
        let now = self.machine.next_instant(&mut self.run);
        self.run.watch(&self.machine);
        now
    }

    /// Gives effect to what was issued at this instant.
    #[inline]
    fn settle(&mut self) {
        self.machine.settle();
        self.run.watch(&self.machine);
    }

    /// Carries what is in flight to its end, after a complete run, and returns how the run ended.
    pub fn finish(mut self, error: Option<RunError>) -> Outcome {
        self.run.present = None;
        if error.is_none() {
            self.settle();
            while self.next_instant().is_some() {}
        }
        let now = self.machine.now();
        let fabric = self.machine.fabric();
        let residency = self.run.moves.residency_at(now, fabric);
        Outcome {
            error,
            at_start: self.run.at_start,
            at_end: Stored::new(residency, self.run.system.tiers().len()),
            steps: self.run.steps,
            simulated: self.run.step_ended,
            drained: now,
            events: self.machine.events(),
            peak: self.run.system.tier_ids().map(|tier| residency.ledger.peak(tier)).collect(),
            lanes: fabric.loads(now),
            issued: fabric.issued(),
            completed: fabric.completed(),
            dropped: fabric.dropped(),
            in_flight: fabric.in_flight(),
        }
    }
}

/// Where everything is before the first step.
fn lay_out(
    scenario: &Scenario,
    workload: &impl Workload,
    initialization: Box<dyn Initialization>,
) -> Result<Residency, RunError> {
    let regions = workload.regions();
    let (laid_out, ledger) = lay_out_regions(scenario, (regions, workload.stages()), initialization)?;
    Ok(Residency::new(regions, laid_out, scenario.page_size(), ledger))
}

/// Lays out `regions`, which the first step reads in those stages, as `initialization` says.
///
/// # Errors
/// [`RunError`] if they do not fit, or that asks for skip sets that cannot be read.
pub(super) fn lay_out_regions(
    scenario: &Scenario,
    (regions, stages): (&Regions, &[Stage]),
    initialization: Box<dyn Initialization>,
) -> Result<(LaidOut, Ledger), RunError> {
    let (system, size) = (scenario.memory(), scenario.page_size());
    let at_first = |source| RunError::Trace { step: Step::default(), source };
    let mut ledger = Ledger::new(system);
    let order = scenario.expert_order().map_err(at_first)?;
    let mut layout = Layout::new(regions, stages, system, &mut ledger, size).with_expert_order(order);
    let initialization = if scenario.idealization().has(Ideal::BoundLayout) {
        Box::new(scenario.layout_of_bound().map_err(at_first)?)
    } else {
        initialization
    };
    if initialization.uses_read_share() {
        layout = layout.with_read_share(scenario.read_share().map_err(at_first)?);
    }
    initialization.lay_out(&mut layout).map_err(RunError::Layout)?;
    let laid_out = layout.finish().map_err(RunError::Layout)?;
    Ok((laid_out, ledger))
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    fn begin_step(&mut self, machine: &mut Machine<Purpose>, plan: &StepPlan) -> Result<(), RunError> {
        self.totals.reset();
        self.decisions.taken = 0;
        if self.reads.is_new(plan) {
            self.decisions.in_step = self.decisions_of(plan);
            if let Some(prefetching) = &mut self.prefetching {
                prefetching.begin_stages(&plan.stages);
            }
            if self.completed.is_some() || !std::ptr::eq(self.workload.stages(), &*plan.stages) {
                self.bound = self.scenario.bound_of(&plan.stages, self.workload.regions());
            }
        }
        plan.frees.iter().for_each(|free| self.free(machine, *free));
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        self.reads.begin_step(plan, residency, self.workload.regions(), self.scenario.runtime());
        for arrival in &plan.arrivals {
            self.arrive(machine, plan, *arrival)?;
        }
        if self.staging.is_used() {
            self.staging.begin_step(plan.stages.len() as u64, !plan.is_last);
            self.copy_ahead(machine);
        }
        self.note_load(plan);
        Ok(())
    }

    /// How many decisions a step takes, for regions of KV and for regions of experts.
    fn decisions_of(&self, plan: &StepPlan) -> (usize, usize) {
        let (regions, on) = (self.workload.regions(), self.decisions.on);
        let all: usize = plan.stages.iter().map(|stage| stage.releases.len()).sum();
        let is_experts = |region: &&RegionId| regions.is_experts(**region);
        let experts = plan.stages.iter().map(|stage| stage.releases.iter().filter(is_experts).count()).sum();
        (if on == On::Experts { 0 } else { all - experts }, if on == On::Kv { 0 } else { experts })
    }

    /// Gives up KV that no step reads any more.
    fn free(&mut self, machine: &mut Machine<Purpose>, free: Free) {
        match free {
            Free::Before(region, token) => {
                let residency = self.moves.residency_at(machine.now(), machine.fabric());
                residency.free_before(region, token);
            }
            Free::Region(region) => {
                let probe = &mut *self.probe;
                let mut dropped = |cancelled: Cancelled<Purpose>, source, destination| {
                    probe.dropped(&cancelled, Ends { source, destination });
                };
                self.writes.cancel(machine, region, &mut dropped);
                self.moves.free(machine, region, |cancelled, source, to| dropped(cancelled, source, Some(to)));
                self.decisions.migration.forget(region);
                if let Some(prefetching) = &mut self.prefetching {
                    prefetching.forget(region);
                }
            }
        }
    }

    /// Counts the KV, and the experts, that the step stores and reads, before anything is appended.
    fn note_load(&mut self, plan: &StepPlan) {
        let KvLoad { stored, read } = &mut self.scratch.load;
        stored.iter_mut().for_each(|stored| *stored = 0);
        read.iter_mut().for_each(|read| *read = 0);
        let window = self.workload.window();
        let reads = plan.stages.iter().flat_map(|stage| &stage.reads);
        let is_paged = |read: &&Read| matches!(read.amount, Amount::Unskipped { .. } | Amount::Routed { .. });
        for region in reads.filter(is_paged).map(|read| read.region) {
            let (context, gone, size) = self.moves.tokens(region);
            let pages = size.pages(context);
            let skipped = window.skipped(0, region).expect("the window shows the present step");
            let mut active = (pages - skipped.count) * size.tokens();
            if active > 0 && !skipped.pages.contains(pages - 1) {
                active -= pages * size.tokens() - context;
            }
            (stored[region], read[region]) = (context - gone, active);
        }
    }

    /// Calls the probe with the figures of the step.
    fn report(&mut self, machine: &Machine<Purpose>, plan: &StepPlan, latency: SimTime) -> Result<(), RunError> {
        let now = machine.now();
        let residency = self.moves.residency_at(now, machine.fabric());
        for (tier, used) in self.scratch.used.iter_mut() {
            *used = residency.ledger.used(tier);
        }
        let record = StepRecord {
            step: plan.step,
            context: plan.context,
            batch: &plan.batch,
            read_kv_tokens: self.totals.read_kv_tokens,
            read_beyond: self.totals.read_beyond,
            latency,
            ended: now,
            bound: self.bound.step(&self.scratch.load),
            read: &self.totals.read,
            used: &self.scratch.used,
            migrated_in: self.totals.migrated_in,
            migrated_out: self.totals.migrated_out,
            late_tokens: self.totals.late_tokens,
            kv_hits: self.totals.kv_hits,
            prefetched: self.totals.prefetched,
            experts: self.workload.regions().has_experts().then_some(&self.totals.experts),
        };
        if self.probe.step(&record).is_break() { Err(RunError::Interrupted) } else { Ok(()) }
    }
}

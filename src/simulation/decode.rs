mod migrate;

use super::idealization::Ideal;
use super::moves::Moves;
use super::paging::Paging;
use super::probe::{Ends, Probe, StepRecord};
use super::residency::{LayerTokens, Residency};
use super::scenario::Scenario;
use super::stored::Stored;
use super::waits::{Waiting, Waits};
use crate::kernel::{Calendar, EventId};
use crate::memory::{
    Completed, Fabric, LaneLoad, Ledger, MemorySystem, Path, Pattern, PerClass, Request, ResidencyKind, Shortage, Tier,
    TierId, TransferClass, TransferId, Urgency,
};
use crate::strategy::{
    AnyMigration, AnyPlacement, Budget, Convoy, Late, Layout, MovePlan, Parts, PlacementView, Skips, StepBound,
};
use crate::units::{Bytes, SimTime};
use crate::workload::{Ahead, Fan, LanguageModel, Shape, SkipSource, Sublayer, TokenSet, TraceError, TraceWindow};
use thiserror::Error;

/// Why a run did not get to its end.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RunError {
    /// Nothing was simulated.
    #[error("the weights and the prefill KV cannot be laid out: {0}. Enlarge the tier or lower prefill_tokens")]
    Layout(Shortage),
    #[error(
        "step {step}, layer {layer}: the KV of the token just computed fits nowhere: {shortage}. Enlarge the tier or decode fewer tokens"
    )]
    OutOfMemory { step: usize, layer: usize, shortage: Shortage },
    #[error("the trace cannot be read on at step {step}: {source}")]
    Trace { step: usize, source: TraceError },
    #[error("step {step}: simulated time ran past the clock's 213 days: the bandwidths are too low for the bytes")]
    ClockOverflow { step: usize },
    #[error("interrupted")]
    Interrupted,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended early, if it did.
    pub error: Option<RunError>,
    /// How many steps were simulated to their end.
    pub steps: usize,
    /// From the start of the first step to the end of the last. Transfers in flight then (posted writes, migrations) are
    /// carried to their end, which counts in their class and on their lanes but not here.
    pub simulated: SimTime,
    /// When the last transfer was complete.
    pub drained: SimTime,
    /// How many events were handled.
    pub events: u64,
    /// The most bytes in use on each tier at any moment.
    pub peak: Vec<Bytes>,
    /// Where the bytes were before the first step.
    pub at_start: Stored,
    /// Where they were when the run ended.
    pub at_end: Stored,
    /// What each lane did.
    pub lanes: Vec<LaneLoad>,
    /// Bytes issued, by class.
    pub issued: PerClass<Bytes>,
    /// Bytes completed, and what was carried of late moves before they were dropped, by class.
    pub completed: PerClass<Bytes>,
    /// Bytes of late moves that were dropped, by class: what is issued is completed, dropped or in flight.
    pub dropped: PerClass<Bytes>,
    /// Bytes in flight when the run ended, by class: none after a complete run.
    pub in_flight: PerClass<Bytes>,
}

/// Simulates `scenario`, telling `probe` what happens.
///
/// A run that ends early for want of memory or time is an [`Outcome`] with an error: what was simulated counts.
///
/// # Errors
/// [`RunError`] for what is wrong with the input or interrupts the run: its layout does not fit, its trace cannot be read,
/// the probe said so.
///
/// ```
/// use tiersim::simulation::{Scenario, ScenarioConfig, run};
/// let mut config = ScenarioConfig::load("study")?;
/// config.decode_tokens = 4;
/// let outcome = run(&Scenario::new(config)?, &mut ())?;
/// assert_eq!(outcome.steps, 4);
/// assert!(outcome.error.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run<P: Probe>(scenario: &Scenario, probe: &mut P) -> Result<Outcome, RunError> {
    run_with(scenario, scenario.strategy().build(), probe)
}

/// As [`run`], with `parts` in the place of the scenario's strategy: with parts that no list names.
///
/// # Errors
/// As [`run`].
pub fn run_with<P: Probe>(scenario: &Scenario, parts: Parts, probe: &mut P) -> Result<Outcome, RunError> {
    let skips = scenario.skips().map_err(|source| RunError::Trace { step: 0, source })?;
    let mut decode = Decode::new(scenario, parts, skips, probe)?;
    for step in 0..scenario.decode() {
        if let Some(error) = decode.next_step(step)? {
            return Ok(decode.finish(Some(error)));
        }
    }
    Ok(decode.finish(None))
}

/// Where the skip sets of runs are made up, or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipsMade {
    /// Between their steps, on the thread of the runs.
    Between,
    /// Ahead of them, on a thread of their own: for a core that has nothing else to do.
    Ahead,
}

/// As [`run`], of several scenarios that [share their skip sets](Scenario::shares_skips), a step of each in turn: the sets are made
/// once for all, and are not in memory for longer than the runs need them. What comes out is the same.
///
/// # Errors
/// As [`run`], for the first that fails; the others do not go on.
///
/// # Panics
/// If there are not as many probes as scenarios.
pub fn run_abreast<P: Probe>(
    scenarios: &[&Scenario],
    made: SkipsMade,
    probes: &mut [P],
) -> Result<Vec<Outcome>, RunError> {
    assert_eq!(scenarios.len(), probes.len(), "each run has its probe");
    let Some(first) = scenarios.first() else { return Ok(Vec::new()) };
    debug_assert!(scenarios.iter().all(|scenario| scenario.shares_skips(first)));
    let Shape { layers, prefill, decode: steps, .. } = first.shape();
    let mut skips = first.skips().map_err(|source| RunError::Trace { step: 0, source })?;
    if made == SkipsMade::Ahead {
        skips = Ahead::start(skips, layers, prefill, steps);
    }
    let readers = Fan::out(skips, layers, prefill + steps, scenarios.len());
    let mut going = Vec::with_capacity(scenarios.len());
    for (index, ((scenario, probe), skips)) in scenarios.iter().zip(probes).zip(readers).enumerate() {
        going.push((index, Decode::new(scenario, scenario.strategy().build(), Box::new(skips), probe)?));
    }
    let mut ended = Vec::with_capacity(scenarios.len());
    for step in 0..steps {
        let mut at = 0;
        while at < going.len() {
            match going[at].1.next_step(step)? {
                None => at += 1,
                Some(error) => {
                    let (index, decode) = going.remove(at);
                    ended.push((index, decode.finish(Some(error))));
                }
            }
        }
    }
    ended.extend(going.into_iter().map(|(index, decode)| (index, decode.finish(None))));
    ended.sort_by_key(|(index, _)| *index);
    Ok(ended.into_iter().map(|(_, outcome)| outcome).collect())
}

/// What a transfer is, when it comes back.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Read { sublayer: u32, tier: TierId },
    Write { layer: u32, token: u32, tier: TierId },
    Move { slot: u32 },
}

/// A KV write that is not complete.
struct PendingWrite {
    token: usize,
    tier: TierId,
    /// Whether the layer's KV read waits for it.
    awaited: bool,
}

/// A KV read that waits for writes of its tokens.
#[derive(Clone, Copy)]
struct HeldRead {
    transfer: TransferId,
    writes: usize,
}

/// What happened in the step so far.
struct StepTotals {
    read_kv_tokens: u64,
    read_beyond: Bytes,
    attention_read: Vec<Bytes>,
    mlp_read: Vec<Bytes>,
    migrated_in: Bytes,
    migrated_out: Bytes,
    late_tokens: u64,
}

/// What the present attention sublayer read from each tier, and how long it waited for that.
struct Measured {
    sublayer: usize,
    issued: SimTime,
    read: Vec<Bytes>,
    waited: Vec<SimTime>,
}

struct Decode<'a, P> {
    scenario: &'a Scenario,
    model: &'a LanguageModel,
    system: &'a MemorySystem,
    probe: &'a mut P,
    calendar: Calendar,
    fabric: Fabric<Purpose>,
    compute_timer: EventId,
    page_tokens: usize,
    paging: Paging,
    residency: Residency,
    moves: Moves,
    window: TraceWindow,
    placement: Box<dyn AnyPlacement>,
    migration: Box<dyn AnyMigration>,
    budget: Option<Budget>,
    late: Late,
    /// What may be carried in the present step.
    allowed: Bytes,
    bound: StepBound,
    /// By sublayer, what it reads of its weights on each tier.
    weights: Vec<Vec<Bytes>>,
    /// By sublayer: reads of this step that have been issued and are not complete.
    outstanding: Vec<u32>,
    /// By sublayer: weight reads of this step that were issued early and are not complete.
    early: Vec<Vec<TransferId>>,
    /// The first sublayer whose weight reads of this step are not issued.
    weights_issued: usize,
    computing: bool,
    /// By layer.
    writes: Vec<Vec<PendingWrite>>,
    /// By layer: the tokens whose writes have been issued.
    written: Vec<usize>,
    /// By tier.
    held: Vec<Option<HeldRead>>,
    done: Vec<Completed<Purpose>>,
    /// The sublayer that runs; none after the last step.
    present: Option<u32>,
    /// When its last read arrived so far, and from which tier.
    arrived: Option<(SimTime, TierId)>,
    at_start: Stored,
    plan: MovePlan,
    /// Scratch space: tokens that another layer's decision evicts.
    evicted: Convoy,
    /// By tier: its capacity less the weights stored there.
    kv_room: Vec<Bytes>,
    measured: Measured,
    totals: StepTotals,
    /// Scratch space, by tier.
    free: Vec<Bytes>,
    used: Vec<Bytes>,
    /// Scratch space, by layer.
    active: Vec<usize>,
    steps: usize,
    step_ended: SimTime,
}

impl<'a, P: Probe> Decode<'a, P> {
    fn new(
        scenario: &'a Scenario,
        parts: Parts,
        skips: Box<dyn SkipSource + Send>,
        probe: &'a mut P,
    ) -> Result<Self, RunError> {
        let (model, system) = (scenario.model(), scenario.memory());
        let (layers, tiers) = (model.layers().len(), system.tiers().len());
        let look_ahead = parts.look_ahead();
        let Parts { initialization, placement, migration, budget, late } = parts;

        let mut ledger = Ledger::new(system);
        let shape = scenario.shape();
        let mut layout = Layout::new(model, system, &mut ledger, shape);
        let initialization = if scenario.idealization().has(Ideal::BoundLayout) {
            Box::new(scenario.layout_of_bound().map_err(|source| RunError::Trace { step: 0, source })?)
        } else {
            initialization
        };
        if initialization.uses_read_share() {
            let share = scenario.read_share().map_err(|source| RunError::Trace { step: 0, source })?;
            layout = layout.with_read_share(share);
        }
        initialization.lay_out(&mut layout).map_err(RunError::Layout)?;
        let (stored, tokens) = layout.into_parts();
        let weights = model.sublayers().zip(&stored).map(|(sublayer, stored)| weight_reads(sublayer, stored)).collect();
        let stored: Vec<Bytes> =
            (0..tiers).map(|tier| stored.iter().map(|of_sublayer| of_sublayer[tier]).sum()).collect();
        let beside = |(tier, weights): (&Tier, &Bytes)| tier.capacity.saturating_sub(*weights);
        let kv_room = system.tiers().iter().zip(&stored).map(beside).collect();
        let page_bytes = model.layers().iter().map(|layer| layer.kv_bytes.times(shape.page_tokens as u64));
        let mut residency = Residency::new(tokens, page_bytes.clone(), shape.range(), ledger);
        let at_start = Stored::new(stored, &residency, layers);
        if !scenario.prefill().is_multiple_of(shape.page_tokens) {
            for layer in 0..layers {
                residency.keep_open(layer, scenario.prefill() / shape.page_tokens);
            }
        }

        let window =
            TraceWindow::new(skips, shape, look_ahead).map_err(|source| RunError::Trace { step: 0, source })?;
        let fabric = Fabric::new(system);
        let compute_timer = EventId::new(Fabric::<Purpose>::OWNERS_EVENTS);
        Ok(Self {
            scenario,
            model,
            system,
            probe,
            calendar: Calendar::with_capacity(64),
            fabric,
            compute_timer,
            page_tokens: shape.page_tokens,
            paging: Paging::new(system, shape.page_tokens),
            residency,
            moves: Moves::new(page_bytes, system),
            window,
            placement,
            migration,
            budget,
            late,
            allowed: budget.map_or(Bytes::new(u64::MAX), |budget| budget.bytes(system, SimTime::ZERO)),
            bound: scenario.step_bound(),
            weights,
            outstanding: vec![0; 2 * layers],
            early: vec![Vec::with_capacity(tiers); 2 * layers],
            weights_issued: 0,
            computing: false,
            writes: (0..layers).map(|_| Vec::with_capacity(2)).collect(),
            written: vec![scenario.prefill(); layers],
            held: vec![None; tiers],
            done: Vec::with_capacity(64),
            present: None,
            arrived: None,
            at_start,
            plan: MovePlan::new(tiers),
            evicted: Convoy::default(),
            kv_room,
            measured: Measured {
                sublayer: 0,
                issued: SimTime::ZERO,
                read: vec![Bytes::ZERO; tiers],
                waited: vec![SimTime::ZERO; tiers],
            },
            totals: StepTotals {
                read_kv_tokens: 0,
                read_beyond: Bytes::ZERO,
                attention_read: vec![Bytes::ZERO; tiers],
                mlp_read: vec![Bytes::ZERO; tiers],
                migrated_in: Bytes::ZERO,
                migrated_out: Bytes::ZERO,
                late_tokens: 0,
            },
            free: vec![Bytes::ZERO; tiers],
            used: vec![Bytes::ZERO; tiers],
            active: vec![0; layers],
            steps: 0,
            step_ended: SimTime::ZERO,
        })
    }

    fn now(&self) -> SimTime {
        self.calendar.now()
    }

    /// The tokens before `step`.
    fn context(&self, step: usize) -> usize {
        self.scenario.prefill() + step
    }

    /// The pages that hold them.
    fn pages(&self, step: usize) -> usize {
        self.context(step).div_ceil(self.page_tokens)
    }

    /// Simulates `step`. What ends the run early, but with results, is a value.
    fn next_step(&mut self, step: usize) -> Result<Option<RunError>, RunError> {
        match self.step(step) {
            Ok(()) => {
                self.steps = step + 1;
                Ok(None)
            }
            Err(stop @ (RunError::OutOfMemory { .. } | RunError::ClockOverflow { .. })) => Ok(Some(stop)),
            Err(stop) => Err(stop),
        }
    }

    fn step(&mut self, step: usize) -> Result<(), RunError> {
        self.totals.reset();
        self.weights_issued = 0;
        let started = self.now();
        self.probe.begin_step(step, started);
        for layer in 0..self.model.layers().len() {
            let layer_started = self.now();
            self.sublayer(step, 2 * layer)?;
            self.write_kv(step, layer)?;
            self.sublayer(step, 2 * layer + 1)?;
            self.migrate(step, layer);
            self.probe.layer(layer, layer_started, self.now());
        }
        self.step_ended = self.now();
        if let Some(budget) = self.budget {
            self.allowed = budget.bytes(self.system, self.now() - started);
        }
        self.report(step, self.now() - started)?;
        self.window.advance().map_err(|source| RunError::Trace { step: step + 1, source })
    }

    /// Issues the reads of a sublayer and runs until they and its compute are done.
    fn sublayer(&mut self, step: usize, sublayer: usize) -> Result<(), RunError> {
        let began = self.now();
        self.present = Some(sublayer as u32);
        self.arrived = None;
        if self.weights_issued > sublayer {
            while let Some(transfer) = self.early[sublayer].pop() {
                self.fabric.raise_urgency(self.calendar.now(), transfer);
            }
        } else {
            self.read_weights(sublayer, Urgency::Due);
        }
        self.count_weights(sublayer);
        let kv = if sublayer.is_multiple_of(2) { self.read_kv(step, sublayer / 2) } else { Bytes::ZERO };
        let last = (sublayer + self.scenario.weight_prefetch()).min(self.weights.len() - 1);
        while self.weights_issued <= last {
            self.read_weights(self.weights_issued, Urgency::Early);
        }
        if let Some(roofline) = self.scenario.roofline() {
            let weights = self.weights[sublayer].iter().copied().sum();
            let time = roofline.time_for(weights, kv);
            self.computing = time > SimTime::ZERO;
            if self.computing {
                let end = self.now() + time;
                if end == SimTime::MAX {
                    return Err(RunError::ClockOverflow { step });
                }
                self.calendar.schedule(self.compute_timer, end);
            }
        }
        self.settle();
        while self.outstanding[sublayer] > 0 || self.computing {
            self.next_instant(step)?;
        }
        let now = self.now();
        let awaited = self.arrived.and_then(|(at, tier)| (at == now).then_some(tier));
        self.probe.sublayer(awaited, now - began);
        Ok(())
    }

    /// Whether `layer` has KV: of one that has none, nothing is read, written or moved.
    fn has_kv(&self, layer: usize) -> bool {
        self.model.layers()[layer].kv_bytes > Bytes::ZERO
    }

    fn read_weights(&mut self, sublayer: usize, urgency: Urgency) {
        debug_assert_eq!(sublayer, self.weights_issued);
        self.weights_issued += 1;
        for (tier, &bytes) in self.weights[sublayer].iter().enumerate() {
            if bytes == Bytes::ZERO {
                continue;
            }
            let tier = TierId::new(tier);
            let request = Request {
                class: TransferClass::WeightRead,
                path: Path::Even(self.system.even_reads(tier)),
                bytes,
                granule: bytes,
                pattern: Pattern::Streams,
                urgency,
                tag: Purpose::Read { sublayer: sublayer as u32, tier },
            };
            let transfer = self.fabric.issue(self.calendar.now(), request);
            self.outstanding[sublayer] += 1;
            if urgency == Urgency::Early {
                self.early[sublayer].push(transfer);
            }
        }
    }

    fn count_weights(&mut self, sublayer: usize) {
        let read = if sublayer.is_multiple_of(2) { &mut self.totals.attention_read } else { &mut self.totals.mlp_read };
        for (total, bytes) in read.iter_mut().zip(&self.weights[sublayer]) {
            *total += *bytes;
        }
    }

    /// Issues the KV reads of a layer and returns their size: nothing for a layer without KV.
    fn read_kv(&mut self, step: usize, layer: usize) -> Bytes {
        let now = self.calendar.now();
        self.moves.sync(now, &self.fabric, &mut self.residency);
        let skips = self.window.step(0).expect("the window shows the present step");
        let skipped = &skips.sets[layer];
        self.measured.begin(2 * layer, now, &self.weights[2 * layer]);
        if !self.has_kv(layer) {
            return Bytes::ZERO;
        }
        let (context, pages) =
            (self.scenario.prefill() + step, self.scenario.shape().pages(self.scenario.prefill() + step));
        let late = late_pages(self.residency.layer(layer), skipped, pages);
        self.totals.late_tokens += late * self.page_tokens as u64;
        match self.late {
            Late::Finish => self.moves.reads_issued(now, layer),
            Late::Drop => {
                let probe = &mut *self.probe;
                self.moves.drop_late(now, layer, &mut self.fabric, &mut self.residency, |late, source, to| {
                    probe.dropped(&late, Ends { source, destination: Some(to) });
                });
            }
        }
        let tokens = self.residency.layer(layer);
        let active = pages - skips.counts[layer];
        // Of the last page, what was not computed yet is not read.
        let last_page = pages.saturating_sub(1);
        let missing = (pages * self.page_tokens - context) as u64;
        let last_is_read = missing > 0 && !skipped.contains(last_page);
        let token_bytes = self.model.layers()[layer].kv_bytes;
        let read_tokens = (active * self.page_tokens) as u64 - if last_is_read { missing } else { 0 };
        self.totals.read_kv_tokens += read_tokens;
        let needed = (context - self.window.skipped_tokens()[layer]) as u64;
        self.totals.read_beyond += token_bytes.times(read_tokens - needed);
        let mut rest = active;
        for tier in self.system.tier_ids() {
            // The tiers partition the context, so the last one has what the others have not.
            let last = tier.index() + 1 == tokens.at.len();
            let count = if last { rest } else { tokens.at[tier.index()].count_without_below(skipped, pages) };
            rest -= count;
            if count == 0 {
                continue;
            }
            let mut bytes = tokens.kv_bytes.times(count as u64);
            let partial = last_is_read && tokens.at[tier.index()].contains(last_page);
            let missing = if partial { token_bytes.times(missing) } else { Bytes::ZERO };
            bytes -= missing;
            self.totals.attention_read[tier.index()] += bytes;
            self.measured.read[tier.index()] += bytes;
            let granule = self.paging.read_granule(self.system, tier, tokens, skipped, (pages, bytes));
            let parts = self.paging.reads(self.system, (tier, layer), tokens, skipped, (pages, missing));
            let path = parts.map_or(Path::Even(self.system.even_reads(tier)), Path::Parts);
            let request = Request {
                class: TransferClass::KvRead,
                path,
                bytes,
                granule,
                pattern: Pattern::Random,
                urgency: Urgency::Due,
                tag: Purpose::Read { sublayer: 2 * layer as u32, tier },
            };
            self.outstanding[2 * layer] += 1;
            let mut writes = 0;
            for write in self.writes[layer].iter_mut().filter(|write| write.tier == tier) {
                let page = write.token / self.page_tokens;
                write.awaited = tokens.at[tier.index()].contains(page) && !skipped.contains(page);
                writes += usize::from(write.awaited);
            }
            if writes == 0 {
                self.fabric.issue(now, request);
            } else {
                let transfer = self.fabric.issue_held(now, request);
                self.held[tier.index()] = Some(HeldRead { transfer, writes });
            }
        }
        token_bytes.times(read_tokens)
    }

    /// Issues the write of the token just computed, which is posted.
    fn write_kv(&mut self, step: usize, layer: usize) -> Result<(), RunError> {
        if !self.has_kv(layer) {
            return Ok(());
        }
        let now = self.calendar.now();
        self.moves.sync(now, &self.fabric, &mut self.residency);
        let token = self.context(step);
        let page = token / self.page_tokens;
        if token.is_multiple_of(self.page_tokens) {
            self.place(step, layer, page)?;
        }
        let tokens = self.residency.layer(layer);
        let tier = self
            .system
            .tier_ids()
            .find(|tier| tokens.at[tier.index()].contains(page))
            .expect("an open page lies on a tier");
        let bytes = self.model.layers()[layer].kv_bytes;
        if self.scenario.idealization().has(Ideal::FreeWrites) {
            self.written[layer] = token + 1;
            if (token + 1).is_multiple_of(self.page_tokens) {
                self.residency.end_write(layer, page);
            }
            return Ok(());
        }
        let last = self.system.last_tier();
        let copy = self.system.residency() == ResidencyKind::Inclusive && tier != last;
        self.written[layer] = token + 1;
        for tier in [Some(tier), copy.then_some(last)].into_iter().flatten() {
            self.writes[layer].push(PendingWrite { token, tier, awaited: false });
            let routes;
            let path = match self.paging.port(self.system, tier, layer, page) {
                None => Path::Even(self.system.even_writes(tier)),
                Some(port) => {
                    routes = [self.system.write_route(port)];
                    Path::Even(&routes)
                }
            };
            self.fabric.issue(
                now,
                Request {
                    class: TransferClass::KvWrite,
                    path,
                    bytes,
                    granule: bytes,
                    pattern: Pattern::Random,
                    urgency: Urgency::Due,
                    tag: Purpose::Write { layer: layer as u32, token: token as u32, tier },
                },
            );
        }
        Ok(())
    }

    /// Chooses the tier of a new page, and takes its room.
    fn place(&mut self, step: usize, layer: usize, page: usize) -> Result<(), RunError> {
        self.note_free();
        let tokens = self.residency.layer(layer);
        let view = PlacementView {
            layer,
            layers: self.weights.len() / 2,
            token: page,
            kv_bytes: tokens.kv_bytes,
            tokens: &tokens.count,
            free: &self.free,
            read: &self.measured.read,
            skips: Skips::all(&self.window),
            system: self.system,
        };
        // Where it fits nowhere, the last tier is the one whose shortage is told: the one meant to be large.
        let tier = self.placement.place(&view).unwrap_or(self.system.last_tier());
        self.residency.begin_write(layer, page, tier).map_err(|shortage| RunError::OutOfMemory {
            step,
            layer,
            shortage,
        })
    }

    fn note_free(&mut self) {
        for tier in self.system.tier_ids() {
            self.free[tier.index()] = self.residency.ledger.room(tier);
        }
    }

    /// Jumps to the next event and handles all that is due at its time.
    fn next_instant(&mut self, step: usize) -> Result<(), RunError> {
        let Some((now, first)) = self.calendar.pop() else {
            // Lanes always carry something while reads are outstanding, so what is missing lies beyond the clock.
            return Err(RunError::ClockOverflow { step });
        };
        let mut next = Some(first);
        while let Some(event) = next {
            if event == self.compute_timer {
                self.computing = false;
            } else {
                self.fabric.complete(now, event, &mut self.done);
                self.handle_completions(now);
            }
            next = self.calendar.pop_due();
        }
        self.settle();
        Ok(())
    }

    /// Gives effect to what was issued or has completed at this instant.
    fn settle(&mut self) {
        self.fabric.settle(&mut self.calendar);
        if self.probe.watches_lanes() {
            let rates = self.fabric.lane_rates();
            self.probe.lane_rates(self.calendar.now(), &rates);
        }
        if self.probe.watches_waits()
            && let Some(sublayer) = self.present
        {
            self.tell_waits(sublayer);
        }
    }

    fn tell_waits(&mut self, sublayer: u32) {
        let mut reads: Vec<(TierId, Waiting)> = self
            .fabric
            .in_progress()
            .filter_map(|read| match read.tag {
                Purpose::Read { sublayer: of, tier } if of == sublayer => Some((
                    tier,
                    Waiting {
                        read: (read.id.number(), read.part),
                        class: read.class,
                        issued: read.issued,
                        bottleneck: read.bottleneck,
                    },
                )),
                _ => None,
            })
            .collect();
        reads.sort_by_key(|(tier, waiting)| (waiting.issued, waiting.class, *tier, waiting.read));
        let reads: Vec<Waiting> = reads.into_iter().map(|(_, waiting)| waiting).collect();
        let mut rates = vec![PerClass::filled(0.0); self.system.lanes().len()];
        self.fabric.add_class_rates(self.calendar.now(), &mut rates);
        self.probe.waits(self.calendar.now(), &Waits { reads: &reads, computing: self.computing, rates: &rates });
    }

    fn handle_completions(&mut self, now: SimTime) {
        let mut done = std::mem::take(&mut self.done);
        for transfer in done.drain(..) {
            let ends = match transfer.tag {
                Purpose::Read { sublayer, tier } => {
                    if self.present == Some(sublayer) {
                        self.arrived = Some(match self.arrived {
                            Some((at, other)) if at == now => (now, other.min(tier)),
                            _ => (now, tier),
                        });
                    }
                    let sublayer = sublayer as usize;
                    self.measured.arrived(sublayer, tier, now);
                    self.outstanding[sublayer] -= 1;
                    self.early[sublayer].retain(|early| *early != transfer.id);
                    Ends { source: Some(tier), destination: None }
                }
                Purpose::Write { layer, token, tier } => {
                    self.end_write(now, layer as usize, token as usize, tier);
                    Ends { source: None, destination: Some(tier) }
                }
                Purpose::Move { slot } => {
                    let (source, destination, late) = self.moves.complete(now, slot, &mut self.residency);
                    self.probe.lateness(transfer.class, late);
                    Ends { source, destination: Some(destination) }
                }
            };
            self.probe.transfer(&transfer, ends);
        }
        self.done = done;
    }

    fn end_write(&mut self, now: SimTime, layer: usize, token: usize, tier: TierId) {
        let pending = &mut self.writes[layer];
        let at = pending.iter().position(|write| (write.token, write.tier) == (token, tier));
        let write = pending.remove(at.expect("a write that completes was pending"));
        let page = token / self.page_tokens;
        let of_page = |write: &PendingWrite| write.token / self.page_tokens == page;
        // Of the writes of a page the last one is issued when the page is full.
        let full = self.written[layer] >= (page + 1) * self.page_tokens;
        if full && !pending.iter().any(of_page) {
            self.residency.end_write(layer, page);
        }
        if write.awaited
            && let Some(held) = &mut self.held[write.tier.index()]
        {
            held.writes -= 1;
            if held.writes == 0 {
                self.fabric.admit(now, held.transfer);
                self.held[write.tier.index()] = None;
            }
        }
    }

    fn report(&mut self, step: usize, latency: SimTime) -> Result<(), RunError> {
        let skips = self.window.step(0).expect("the window shows the present step");
        let (context, pages) = (self.context(step), self.pages(step));
        for (active, (skipped, set)) in self.active.iter_mut().zip(skips.counts.iter().zip(&skips.sets)) {
            *active = (pages - skipped) * self.page_tokens;
            if *active > 0 && !set.contains(pages - 1) {
                *active -= pages * self.page_tokens - context;
            }
        }
        self.moves.sync(self.calendar.now(), &self.fabric, &mut self.residency);
        for tier in self.system.tier_ids() {
            self.used[tier.index()] = self.residency.ledger.used(tier);
        }
        let record = StepRecord {
            step,
            context,
            read_kv_tokens: self.totals.read_kv_tokens,
            read_beyond: self.totals.read_beyond,
            latency,
            ended: self.calendar.now(),
            bound: self.bound.step(context, &self.active),
            attention_read: &self.totals.attention_read,
            mlp_read: &self.totals.mlp_read,
            used: &self.used,
            migrated_in: self.totals.migrated_in,
            migrated_out: self.totals.migrated_out,
            late_tokens: self.totals.late_tokens,
        };
        if self.probe.step(&record).is_break() { Err(RunError::Interrupted) } else { Ok(()) }
    }

    /// Carries what is in flight to its end, after a complete run, and says how the run ended.
    fn finish(mut self, error: Option<RunError>) -> Outcome {
        self.present = None;
        if error.is_none() {
            self.settle();
            while self.calendar.next_time().is_some() {
                if self.next_instant(self.steps).is_err() {
                    break;
                }
            }
        }
        let at_end = Stored::new(self.at_start.weights.clone(), &self.residency, self.model.layers().len());
        Outcome {
            error,
            at_start: std::mem::take(&mut self.at_start),
            at_end,
            steps: self.steps,
            simulated: self.step_ended,
            drained: self.now(),
            events: self.calendar.events(),
            peak: self.system.tier_ids().map(|tier| self.residency.ledger.peak(tier)).collect(),
            lanes: self.fabric.loads(self.now()),
            issued: self.fabric.issued(),
            completed: self.fabric.completed(),
            dropped: self.fabric.dropped(),
            in_flight: self.fabric.in_flight(),
        }
    }
}

impl Measured {
    fn begin(&mut self, sublayer: usize, now: SimTime, weights: &[Bytes]) {
        (self.sublayer, self.issued) = (sublayer, now);
        self.read.copy_from_slice(weights);
        self.waited.fill(SimTime::ZERO);
    }

    fn arrived(&mut self, sublayer: usize, tier: TierId, now: SimTime) {
        if sublayer == self.sublayer {
            self.waited[tier.index()] = now.saturating_sub(self.issued);
        }
    }
}

impl StepTotals {
    fn reset(&mut self) {
        self.read_kv_tokens = 0;
        self.read_beyond = Bytes::ZERO;
        self.attention_read.fill(Bytes::ZERO);
        self.mlp_read.fill(Bytes::ZERO);
        self.migrated_in = Bytes::ZERO;
        self.migrated_out = Bytes::ZERO;
        self.late_tokens = 0;
    }
}

/// The pages of a layer that a step reads at the source of a move that is not complete: those in flight that are not
/// being written.
fn late_pages(tokens: &LayerTokens, skipped: &TokenSet, pages: usize) -> u64 {
    if tokens.in_flight_count == tokens.being_written.len() {
        return 0;
    }
    let read_in_flight = tokens.in_flight.count_without_below(skipped, pages);
    let being_written = tokens.being_written.iter().filter(|page| !skipped.contains(**page)).count();
    (read_in_flight - being_written) as u64
}

/// Spreads the reads of a sublayer evenly over its stored bytes: the share of the first tiers together is rounded to the
/// nearest byte (halves up), so the parts add up to the whole.
fn weight_reads(sublayer: Sublayer, stored: &[Bytes]) -> Vec<Bytes> {
    let whole = u128::from(sublayer.stored.get());
    let mut below = Bytes::ZERO;
    let mut read_below = Bytes::ZERO;
    stored
        .iter()
        .map(|bytes| {
            below += *bytes;
            let read = if whole == 0 { Bytes::ZERO } else { sublayer.read.share(u128::from(below.get()), whole) };
            let part = read - read_below;
            read_below = read;
            part
        })
        .collect()
}

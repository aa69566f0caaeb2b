//! Serving, step by step and stage by stage.
//!
//! A [`Serving`] has two halves, as the engine of runs has: the [`Machine`] carries transfers and
//! keeps time, and the [`Run`] is everything else. A stage is simulated as in a run: its fixed
//! time; its reads of weights and KV on all tiers at once (one tier after another where the runtime
//! reads so) beside its compute; then, posted, the writes of new KV and of state. A read of KV
//! waits for the writes of the same layer to the same tier.

use super::decides::Decides;
use super::kinds::{Kinds, KvKind, Row, StageKind, Unit};
use super::layout::ServingLayout;
use super::moves::{KvMoves, Moving};
use super::outcome::{ServingOutcome, ServingWaits};
use super::probe::{MoveRecord, ServingProbe, ServingRecord, TransferRecord};
use super::shape::{StepShape, Tokens, WindowShape, written};
use super::spans::{Key, Spans};
use super::weights::{KnownReads, WeightReads};
use crate::memory::{
    Completed, Machine, MemorySystem, Owner, Path, Pattern, PerTier, Reach, Request, TierId, Timer, TransferClass,
    TransferId, Urgency,
};
use crate::simulation::outcome::RunError;
use crate::simulation::scenario::Scenario;
use crate::simulation::unserved::ServingError;
use crate::units::{Bytes, LayerId, PageSize, SimTime, Step, Table};
use crate::workload::{Decision, KvMove, Requests, Roofline, Runtime, StageFlop, StageLabel};
use std::sync::Arc;

/// Expires when the present stage has computed.
const COMPUTED: Timer = Timer(0);
/// Expires when the fixed time of the present stage is over.
const LAUNCHED: Timer = Timer(1);

/// What a transfer is for, when it comes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The present stage waits for it.
    Read { tier: TierId },
    /// Writes KV of a layer.
    Write { layer: LayerId, tier: TierId },
    /// Carries a move, or a layer of it: the move's slot.
    Move(u32),
}

/// How steps are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// What is like something before is passed over.
    Jumping,
    /// Every stage of every layer is simulated: the slow, obvious twin.
    StageByStage,
}

/// Serving in progress.
pub(super) struct Serving<'a, D, P> {
    machine: Machine<Purpose>,
    run: Run<'a, D, P>,
    spans: Spans,
    jumps: bool,
    /// What units depend on in the present step: those that take as long in other steps, and those
    /// that do not.
    keys: [Key; 2],
    /// By unit, which of the keys it has: where all that is written is single tokens, and where
    /// parts of prompts are.
    key_of: Vec<[usize; 2]>,
    /// How many steps were simulated to their end.
    steps: u64,
    /// When the last one ended.
    step_ended: SimTime,
    /// What was waited for since then, and is not counted before the next step begins.
    waited: Between,
    peak: PerTier<Bytes>,
    totals: StepTotals,
}

/// Times between steps.
#[derive(Clone, Copy, Debug, Default)]
struct Between {
    idle: SimTime,
    moves: SimTime,
}

/// What a step reads, writes and holds, by tier.
struct StepTotals {
    weights: PerTier<Bytes>,
    kv: PerTier<Bytes>,
    written: PerTier<Bytes>,
    used: PerTier<Bytes>,
}

/// All of serving but its machine.
struct Run<'a, D, P> {
    system: &'a MemorySystem,
    runtime: &'a Runtime,
    roofline: Option<Roofline>,
    decides: D,
    probe: &'a mut P,
    layout: ServingLayout,
    page_size: PageSize,
    reads: KnownReads,
    /// By kind, what a stage of the present step reads of its weights, and of how many tokens.
    weights: Vec<(u32, Arc<WeightReads>)>,
    shape: StepShape,
    moves: KvMoves,
    /// The stage whose writes are not issued yet: its kind and its layer.
    due: Option<(usize, LayerId)>,
    /// By layer, its KV writes that are not complete, by tier.
    writing: Table<LayerId, PerTier<u32>>,
    /// The layer whose KV the present stage reads.
    present: Option<LayerId>,
    /// Its reads that wait for writes to their tier.
    held: Vec<(TierId, TransferId)>,
    /// Its reads that are not complete.
    outstanding: u32,
    /// Its reads that wait until all faster tiers are read.
    deferred: Vec<Deferred>,
    computing: bool,
    /// When the last read of the present stage arrived so far, and from which tier.
    arrived: Option<(SimTime, TierId)>,
    waits: ServingWaits,
    /// Transfers that were completed and not reported yet.
    transfers: Vec<TransferRecord>,
    /// How many moves are complete.
    moved: u64,
    /// Scratch space.
    asked: Vec<KvMove>,
}

/// A read that is not issued yet.
#[derive(Clone, Copy)]
struct Deferred {
    class: TransferClass,
    tier: TierId,
    bytes: Bytes,
    granule: Bytes,
    reach: Reach,
}

impl<'a, D: Decides, P: ServingProbe> Serving<'a, D, P> {
    /// `scenario` at time 0, laid out as `layout` says.
    pub fn new(
        scenario: &'a Scenario,
        requests: &Requests,
        layout: ServingLayout,
        decides: D,
        probe: &'a mut P,
        detail: Detail,
    ) -> Self {
        let (system, runtime, page_size) = (scenario.memory(), scenario.runtime(), scenario.page_size());
        let tiers = system.tiers().len();
        let kinds = &layout.kinds;
        let mut reads = KnownReads::new(&kinds.kinds, runtime, tiers);
        let weights = (0..).zip(&kinds.kinds).map(|(number, kind)| (1, reads.of(number, kind, 1, runtime)));
        let weights = weights.collect();
        let machine = Machine::new(system);
        let none = || PerTier::filled(tiers, Bytes::ZERO);
        Self {
            jumps: detail == Detail::Jumping && machine.fabric().forgets(),
            spans: Spans::new(kinds.units.len(), tiers),
            keys: [Key::default(); 2],
            key_of: kinds.units.iter().map(|unit| key_of(kinds, *unit)).collect(),
            steps: 0,
            step_ended: SimTime::ZERO,
            waited: Between::default(),
            peak: layout.weights.clone(),
            totals: StepTotals { weights: none(), kv: none(), written: none(), used: none() },
            run: Run {
                system,
                runtime,
                roofline: scenario.roofline(),
                decides,
                probe,
                page_size,
                reads,
                weights,
                shape: StepShape::default(),
                moves: KvMoves::new(system, layout.external, kinds, page_size, requests.kv.moves),
                writing: Table::filled(scenario.model().layers(), PerTier::filled(tiers, 0)),
                due: None,
                present: None,
                held: Vec::new(),
                outstanding: 0,
                deferred: Vec::new(),
                computing: false,
                arrived: None,
                waits: ServingWaits::none(tiers),
                transfers: Vec::new(),
                moved: 0,
                asked: Vec::new(),
                layout,
            },
            machine,
        }
    }

    /// Serves all requests, and carries what is in flight then to its end.
    ///
    /// # Errors
    /// [`RunError`] for what interrupts the run without results.
    pub fn finish(mut self) -> Result<ServingOutcome, RunError> {
        let error = match self.serve() {
            Ok(()) => {
                self.machine.settle();
                while self.machine.next_instant(&mut self.run).is_some() {}
                None
            }
            Err(error @ RunError::ClockOverflow { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        let Self { mut machine, mut run, mut spans, .. } = self;
        run.report();
        spans.finish(&mut machine, &mut run.waits, |transfer| run.probe.transfers(transfer));
        let (now, fabric) = (machine.now(), machine.fabric());
        let room = |pages: u64| Bytes::new(run.layout.page_bytes.get().saturating_mul(pages));
        let mut kv_room = PerTier::filled(run.system.tiers().len(), Bytes::ZERO);
        kv_room[TierId::HBM] = room(run.layout.room.hbm);
        if let Some(tier) = run.layout.external {
            kv_room[tier] = room(run.layout.room.external);
        }
        let outcome = ServingOutcome {
            error,
            steps: self.steps,
            simulated: self.step_ended,
            drained: now,
            events: machine.events(),
            records: run.decides.records().clone(),
            waits: run.waits,
            weights: run.layout.weights,
            kv_room,
            peak: self.peak,
            lanes: fabric.loads(now),
            issued: fabric.issued(),
            completed: fabric.completed(),
            in_flight: fabric.in_flight(),
        };
        debug_assert!(outcome.error.is_some() || outcome.waits.total() == outcome.simulated, "waits add up");
        Ok(outcome)
    }

    fn serve(&mut self) -> Result<(), RunError> {
        loop {
            let decision = self.run.decides.next(self.machine.now());
            self.run.begin_moves(&mut self.machine);
            match decision {
                Decision::Step => self.step()?,
                Decision::Wait(until) => self.wait(until)?,
                Decision::End => return Ok(()),
            }
        }
    }

    fn overflow(&self) -> RunError {
        RunError::ClockOverflow { step: self.number() }
    }

    /// The number of the next step.
    fn number(&self) -> Step {
        Step::new(usize::try_from(self.steps).unwrap_or(usize::MAX).min(u32::MAX as usize))
    }

    /// Lets what is in flight go on until `until`, or until a move is complete.
    fn wait(&mut self, until: SimTime) -> Result<(), RunError> {
        let (began, moved) = (self.machine.now(), self.run.moved);
        let for_moves = self.run.decides.has_waiting();
        self.machine.settle();
        while self.run.moved == moved {
            match self.machine.next_time() {
                Some(next) if next <= until => {
                    self.machine.next_instant(&mut self.run);
                }
                None if until == SimTime::MAX => {
                    let (step, time) = (self.number(), self.machine.now());
                    return Err(ServingError::Stuck { step, time }.into());
                }
                _ => {
                    if until > self.machine.now() {
                        self.machine.advance(until, &mut self.run);
                    }
                    break;
                }
            }
        }
        let time = self.machine.now() - began;
        let waited = if for_moves { &mut self.waited.moves } else { &mut self.waited.idle };
        *waited += time;
        Ok(())
    }

    /// Simulates the step that was decided last, and what must be waited for before it.
    fn step(&mut self) -> Result<(), RunError> {
        let asked = self.machine.now();
        self.machine.settle();
        while self.run.lacks_moves() {
            if self.machine.next_instant(&mut self.run).is_none() {
                return Err(self.overflow());
            }
        }
        let began = self.machine.now();
        self.run.waits.idle += self.waited.idle;
        self.run.waits.moves += self.waited.moves + (began - asked);
        self.waited = Between::default();
        self.run.begin_step();
        let singles = self.find_keys();
        for row in 0..self.run.layout.kinds.rows.len() {
            self.row(row, singles)?;
        }
        self.run.write(&mut self.machine);
        self.step_ended = self.machine.now();
        self.end_step(began)
    }

    /// Sets what the units of the present step depend on. Returns whether all that is written is
    /// single tokens.
    fn find_keys(&mut self) -> usize {
        let shape = &self.run.shape;
        let (tokens, outputs, parts) = (shape.tokens, shape.outputs, shape.parts);
        let external = shape.windows.first().map_or(0, |window| window.written.external);
        let lasting = Key { step: 0, tokens, outputs, parts, external };
        self.keys = [lasting, Key { step: self.steps + 1, ..lasting }];
        usize::from(shape.largest > 1)
    }

    /// Simulates the layers of a row, one after the other, or passes over those that are like one
    /// before.
    fn row(&mut self, row: usize, writes: usize) -> Result<(), RunError> {
        let Row { layers, units } = &self.run.layout.kinds.rows[row];
        let (layers, units) = (layers.len(), units.len());
        let mut done = 0;
        while done < layers {
            if self.jumps && layers - done > 1 && self.machine.is_idle() && self.pass(row, layers - done, writes)? {
                break;
            }
            for at in 0..units {
                self.unit(row, (done, at), writes)?;
            }
            done += 1;
        }
        Ok(())
    }

    /// Passes over the last `layers` layers of a row, if the time of all their units is known.
    fn pass(&mut self, row: usize, layers: usize, writes: usize) -> Result<bool, RunError> {
        let Row { layers: all, units } = &self.run.layout.kinds.rows[row];
        let mut time = SimTime::ZERO;
        for (at, &unit) in units.iter().enumerate() {
            if at == 0 && self.run.due() != self.run.layout.kinds.units[unit].writes {
                return Ok(false);
            }
            match self.spans.known(unit, &self.keys[self.key_of[unit][writes]]) {
                Some(of_unit) => time += of_unit,
                None => return Ok(false),
            }
        }
        let times = layers as u64;
        if !self.machine.pass(self.machine.now() + time.times(times)) {
            return Err(self.overflow());
        }
        units.iter().for_each(|unit| self.spans.again(*unit, times));
        let last = units.last().map(|unit| self.run.layout.kinds.units[*unit].kind);
        self.run.due =
            last.filter(|kind| self.run.layout.kinds.kinds[*kind].writes()).zip(all.last().copied().flatten());
        Ok(true)
    }

    /// Simulates a unit of a layer of a row, or passes over it where it is like one before.
    fn unit(&mut self, row: usize, (layer, at): (usize, usize), writes: usize) -> Result<(), RunError> {
        let kinds = &self.run.layout.kinds;
        let (layer, unit) = (kinds.rows[row].layers[layer], kinds.rows[row].units[at]);
        let of = kinds.units[unit];
        if self.run.tokens_of(of.kind) == 0 {
            return Ok(());
        }
        if !self.jumps || !self.machine.is_idle() || self.run.due() != of.writes {
            self.stage(of.kind, layer, of.is_first)?;
            self.run.report();
            return Ok(());
        }
        let key = self.keys[self.key_of[unit][writes]];
        if let Some(time) = self.spans.known(unit, &key) {
            self.spans.again(unit, 1);
            self.run.due = self.run.writer(of.kind, layer);
            return if self.machine.pass(self.machine.now() + time) { Ok(()) } else { Err(self.overflow()) };
        }
        self.run.report();
        self.spans.begin(&self.machine, &self.run.waits);
        self.stage(of.kind, layer, of.is_first)?;
        let Self { run, machine, spans, .. } = self;
        if machine.is_idle() {
            let Run { waits, transfers, probe, .. } = run;
            spans.end((unit, key), machine, waits, transfers, |transfer| probe.transfers(transfer));
        } else {
            run.report();
        }
        Ok(())
    }

    /// Simulates a stage: issues what the stage before it has to write, then its reads, and runs
    /// until they and its compute are done.
    fn stage(&mut self, number: usize, layer: Option<LayerId>, is_first: bool) -> Result<(), RunError> {
        let Self { machine, run, .. } = self;
        let overflow = RunError::ClockOverflow { step: Step::new(usize::try_from(self.steps).unwrap_or(0)) };
        run.write(machine);
        let asked = machine.now();
        machine.settle();
        while run.lacks_layer(layer) {
            if machine.next_instant(run).is_none() {
                return Err(overflow);
            }
        }
        let began = machine.now();
        run.waits.moves += began - asked;
        let fixed = run.fixed(number, is_first);
        if fixed > SimTime::ZERO {
            run.computing = true;
            if !machine.set_timer(LAUNCHED, began + fixed) {
                return Err(overflow);
            }
            while run.computing {
                if machine.next_instant(run).is_none() {
                    return Err(overflow);
                }
            }
            run.waits.fixed += fixed;
        }
        let launched = machine.now();
        run.arrived = None;
        run.read(machine, number, layer);
        if let Some(time) = run.compute(number) {
            run.computing = time > SimTime::ZERO;
            if run.computing && !machine.set_timer(COMPUTED, launched + time) {
                return Err(overflow);
            }
        }
        machine.settle();
        loop {
            if run.outstanding == 0 {
                if run.take_turn(machine) {
                    machine.settle();
                } else if !run.computing {
                    break;
                }
            }
            if machine.next_instant(run).is_none() {
                return Err(overflow);
            }
        }
        run.end_stage(machine.now(), launched);
        run.due = run.writer(number, layer);
        Ok(())
    }

    /// Accounts for the step that has just ended.
    fn end_step(&mut self, began: SimTime) -> Result<(), RunError> {
        let Self { machine, run, totals, peak, .. } = self;
        run.add_up(totals);
        for ((_, peak), used) in peak.iter_mut().zip(totals.used.values()) {
            *peak = (*peak).max(*used);
        }
        let ended = machine.now();
        let record = ServingRecord {
            number: Step::new(usize::try_from(self.steps).unwrap_or(0)),
            began,
            ended,
            step: run.decides.step(),
            weights: &totals.weights,
            kv: &totals.kv,
            written: &totals.written,
            used: &totals.used,
        };
        let goes_on = run.probe.step(&record);
        self.steps += 1;
        run.decides.completed(ended);
        run.begin_moves(machine);
        if goes_on.is_break() { Err(RunError::Interrupted) } else { Ok(()) }
    }
}

impl<D: Decides, P: ServingProbe> Run<'_, D, P> {
    /// Begins the moves that were asked for at this instant.
    fn begin_moves(&mut self, machine: &mut Machine<Purpose>) {
        let mut asked = std::mem::take(&mut self.asked);
        self.decides.take_moves(&mut asked);
        for kv in asked.drain(..) {
            if !self.moves.begin(machine, kv, Purpose::Move) {
                // There is nothing to carry.
                self.end_move(machine.now(), &kv, machine.now());
            }
        }
        self.asked = asked;
    }

    /// A move is complete.
    fn end_move(&mut self, now: SimTime, kv: &KvMove, issued: SimTime) {
        self.moved += 1;
        self.probe.moved(&MoveRecord { moved: *kv, bytes: self.moves.bytes(kv), issued, completed: now });
        self.decides.moved(now, kv.id);
    }

    /// Whether moves that the present step begins after are not complete.
    fn lacks_moves(&self) -> bool {
        self.decides.step().after.iter().any(|id| self.moves.is_going(*id))
    }

    /// Whether a part for `layer` of a load that goes layer by layer has not arrived.
    #[inline]
    fn lacks_layer(&self, layer: Option<LayerId>) -> bool {
        let by_layer = &self.decides.step().by_layer;
        if by_layer.is_empty() {
            return false;
        }
        let place = layer.and_then(|layer| self.layout.kinds.kv_places[layer]);
        place.is_some_and(|place| by_layer.iter().any(|id| self.moves.lacks(*id, place)))
    }

    /// Takes over what the step computes.
    fn begin_step(&mut self) {
        self.shape.set(self.decides.step(), &self.layout.kinds.windows, self.page_size);
        for (number, kind) in self.layout.kinds.kinds.iter().enumerate() {
            let tokens = tokens_of(kind, &self.shape);
            if self.weights[number].0 != tokens && tokens > 0 {
                self.weights[number] = (tokens, self.reads.of(number, kind, tokens, self.runtime));
            }
        }
    }

    fn kinds(&self) -> &Kinds {
        &self.layout.kinds
    }

    /// Of how many tokens a stage of that kind is; those that come out of the step pass the head.
    #[inline]
    fn tokens_of(&self, number: usize) -> u32 {
        tokens_of(&self.kinds().kinds[number], &self.shape)
    }

    /// The time at the start of a stage in which it neither reads nor computes.
    fn fixed(&self, number: usize, is_first: bool) -> SimTime {
        let kind = &self.kinds().kinds[number];
        let weights = &self.weights[number].1;
        let reads = weights.total > Bytes::ZERO || kind.kv.is_some() || kind.state > Bytes::ZERO;
        self.runtime.fixed(kind.label, reads, self.shape.parts, is_first)
    }

    /// What a stage of that kind reads of KV and state from the first tier and from external
    /// memory.
    fn kv_bytes(&self, kind: &StageKind) -> [Bytes; 2] {
        let of_kv = |kv: &KvKind| {
            let read = self.shape.windows[kv.window].read;
            [kv.token_bytes.times(read.hbm), kv.token_bytes.times(read.external)]
        };
        let [hbm, external] = kind.kv.as_ref().map_or([Bytes::ZERO; 2], of_kv);
        [hbm + kind.state.times(self.shape.parts), external]
    }

    /// Issues the reads of a stage.
    fn read(&mut self, machine: &mut Machine<Purpose>, number: usize, layer: Option<LayerId>) {
        let runtime = self.runtime;
        let at_once = runtime.reads_all_at_once();
        let weights = Arc::clone(&self.weights[number].1);
        self.present = layer.map(|layer| self.kinds().sources[layer]);
        for (tier, &bytes) in weights.crossing.iter().filter(|(_, bytes)| **bytes > Bytes::ZERO) {
            let (class, reach) = (TransferClass::WeightRead, weights.reach[tier]);
            let read = Deferred { class, tier, bytes, granule: bytes, reach };
            if at_once || !runtime.is_serial(tier) {
                self.issue(machine, read);
            } else {
                self.deferred.push(read);
            }
        }
        let kind = &self.kinds().kinds[number];
        if kind.kv.is_none() && kind.state == Bytes::ZERO {
            return;
        }
        let [hbm, external] = self.kv_bytes(kind);
        let runs = self.runs(kind);
        let external =
            self.layout.external.filter(|_| external > Bytes::ZERO).map(|tier| (tier, external, runs.external));
        let page_bytes = self.page_bytes(kind);
        for (tier, needed, runs) in std::iter::once((TierId::HBM, hbm, runs.hbm)).chain(external) {
            if needed == Bytes::ZERO {
                continue;
            }
            let granule = if self.system.tiers()[tier.index()].granule_matters {
                crate::simulation::paging::rounded(Bytes::new(needed.get() / runs.max(1)))
            } else {
                page_bytes
            };
            let bytes = runtime.crossing_kv(tier, self.shape.largest as usize, needed);
            let (class, reach) = (TransferClass::KvRead, runtime.kv_reach(tier, needed));
            let read = Deferred { class, tier, bytes, granule, reach };
            if at_once || !runtime.is_serial(tier) {
                self.issue(machine, read);
            } else {
                self.deferred.push(read);
            }
        }
        // Weights of a tier come before its KV, as they were deferred.
        self.deferred.sort_by_key(|read| read.tier);
    }

    /// In how many runs the KV and the state of a stage lie.
    fn runs(&self, kind: &StageKind) -> Tokens {
        let of_state = if kind.state > Bytes::ZERO { self.shape.parts } else { 0 };
        let of_kv = kind.kv.as_ref().map_or(Tokens::default(), |kv| {
            let WindowShape { runs, .. } = self.shape.windows[kv.window];
            let groups = kv.groups.len() as u64;
            Tokens { hbm: runs.hbm * groups, external: runs.external * groups }
        });
        Tokens { hbm: of_kv.hbm + of_state, external: of_kv.external }
    }

    /// The size of a page in a stage, where the granule of a read makes no difference.
    fn page_bytes(&self, kind: &StageKind) -> Bytes {
        let group = kind.kv.as_ref().and_then(|kv| kv.groups.last().copied()).unwrap_or(Bytes::ZERO);
        group.times(self.page_size.tokens() as u64).max(kind.state)
    }

    /// Issues a read of the present stage; one of KV waits for the writes of the same layer.
    fn issue(&mut self, machine: &mut Machine<Purpose>, read: Deferred) {
        let Deferred { class, tier, bytes, granule, reach } = read;
        let is_kv = class == TransferClass::KvRead;
        let request = Request {
            class,
            path: Path::Even(self.system.even_reads(tier)),
            bytes,
            granule,
            pattern: if is_kv { Pattern::Random } else { Pattern::Streams },
            urgency: Urgency::Due,
            reach,
            tag: Purpose::Read { tier },
        };
        self.outstanding += 1;
        if is_kv && self.present.is_some_and(|layer| self.writing[layer][tier] > 0) {
            let transfer = machine.issue_held(request);
            self.held.push((tier, transfer));
        } else {
            machine.issue(request);
        }
    }

    /// All that the present stage has issued has arrived: issues the reads whose turn comes next.
    /// Returns whether there are any.
    #[inline]
    fn take_turn(&mut self, machine: &mut Machine<Purpose>) -> bool {
        let Some(tier) = self.deferred.first().map(|read| read.tier) else { return false };
        while let Some(read) = self.deferred.first().copied().filter(|read| read.tier == tier) {
            self.deferred.remove(0);
            self.issue(machine, read);
        }
        true
    }

    /// How long a stage computes, where that has a limit.
    fn compute(&self, number: usize) -> Option<SimTime> {
        let roofline = self.roofline?;
        let kind = &self.kinds().kinds[number];
        let tokens = self.tokens_of(number) as usize;
        let mut attended = kind.state.times(self.shape.parts);
        let mut kv_on_chip = 0.0;
        if let Some(kv) = &kind.kv {
            let window = &self.shape.windows[kv.window];
            attended += kv.token_bytes.times(window.attended);
            kv_on_chip = window.on_chip * kv.token_bytes.as_f64();
        }
        let flop = StageFlop { fixed: kind.flop * tokens as f64, per_kv_byte: kind.flop_per_kv_byte, kv_on_chip };
        Some(roofline.time_for(tokens, self.weights[number].1.total, attended, flop))
    }

    /// The reads and the compute of a stage, which began at `launched`, are done.
    fn end_stage(&mut self, now: SimTime, launched: SimTime) {
        let waited = match self.arrived {
            Some((at, tier)) if at == now => &mut self.waits.tiers[tier],
            _ => &mut self.waits.compute,
        };
        *waited += now - launched;
    }

    /// What a stage of that kind has to write when it has ended.
    #[inline]
    fn writer(&self, number: usize, layer: Option<LayerId>) -> Option<(usize, LayerId)> {
        layer.filter(|_| self.kinds().kinds[number].writes()).map(|layer| (number, layer))
    }

    /// The kind of the stage that has something to write.
    #[inline]
    fn due(&self) -> Option<usize> {
        self.due.map(|(kind, _)| kind)
    }

    /// Issues the writes of the stage before, if it has any.
    fn write(&mut self, machine: &mut Machine<Purpose>) {
        let Some((number, layer)) = self.due.take() else { return };
        let kind = &self.layout.kinds.kinds[number];
        let layer = self.layout.kinds.sources[layer];
        if let Some(kv) = kind.kv.as_ref().filter(|kv| kv.appends) {
            let window = self.layout.kinds.windows[kv.window];
            for part in &self.decides.step().parts {
                let tokens = written(part, window);
                let sides = [(Some(TierId::HBM), tokens.hbm), (self.layout.external, tokens.external)];
                for (tier, tokens) in sides.into_iter().filter(|(_, tokens)| *tokens > 0) {
                    let Some(tier) = tier else { continue };
                    for group in &kv.groups {
                        let bytes = group.times(tokens);
                        // A token is written by itself, a part of a prompt page by page.
                        let page = group.times(self.page_size.tokens() as u64);
                        let granule = if part.tokens == 1 { bytes } else { page.min(bytes) };
                        let write = (TransferClass::KvWrite, Pattern::Random, bytes, granule);
                        issue_write(machine, self.system, (layer, tier), write);
                        self.writing[layer][tier] += 1;
                    }
                }
            }
        }
        if kind.state > Bytes::ZERO {
            for _ in 0..self.shape.parts {
                let write = (TransferClass::KvWrite, Pattern::Streams, kind.state, kind.state);
                issue_write(machine, self.system, (layer, TierId::HBM), write);
                self.writing[layer][TierId::HBM] += 1;
            }
        }
    }

    /// What the present step read, wrote and held.
    fn add_up(&self, totals: &mut StepTotals) {
        let StepTotals { weights, kv, written, used } = totals;
        [&mut *weights, &mut *kv, &mut *written].into_iter().for_each(|bytes| bytes.fill(Bytes::ZERO));
        let external = self.layout.external;
        for (number, kind) in self.kinds().kinds.iter().enumerate() {
            if self.tokens_of(number) == 0 {
                continue;
            }
            let count = self.kinds().counts[number];
            for (tier, bytes) in self.weights[number].1.needed.iter() {
                weights[tier] += bytes.times(count);
            }
            let [hbm, behind] = self.kv_bytes(kind);
            let mut wrote = [kind.state.times(self.shape.parts), Bytes::ZERO];
            if let Some(of) = kind.kv.as_ref().filter(|of| of.appends) {
                let tokens = self.shape.windows[of.window].written;
                wrote[0] += of.token_bytes.times(tokens.hbm);
                wrote[1] += of.token_bytes.times(tokens.external);
            }
            kv[TierId::HBM] += hbm.times(count);
            written[TierId::HBM] += wrote[0].times(count);
            if let Some(tier) = external {
                kv[tier] += behind.times(count);
                written[tier] += wrote[1].times(count);
            }
        }
        let step = self.decides.step();
        used.copy_from(&self.layout.weights);
        used[TierId::HBM] +=
            self.layout.page_bytes.times(step.pages_hbm) + self.layout.kinds.state.times(self.shape.parts);
        if let Some(tier) = external {
            used[tier] += self.layout.page_bytes.times(step.pages_external);
        }
        debug_assert!(step.pages_hbm <= self.layout.room.hbm, "more pages than the first tier has room for");
        debug_assert!(step.pages_external <= self.layout.room.external, "more pages than external memory has room for");
    }

    /// Reports the transfers that were completed.
    fn report(&mut self) {
        self.transfers.drain(..).for_each(|transfer| self.probe.transfers(&transfer));
    }

    /// A read of the present stage has arrived.
    #[inline]
    fn note_arrival(&mut self, now: SimTime, tier: TierId) {
        self.outstanding -= 1;
        self.arrived = Some(match self.arrived {
            Some((at, other)) if at == now => (now, other.min(tier)),
            _ => (now, tier),
        });
    }

    /// A write of KV of `layer` is complete: a read that waited for it may go.
    fn end_write(&mut self, machine: &mut Machine<Purpose>, layer: LayerId, tier: TierId) {
        let left = &mut self.writing[layer][tier];
        *left -= 1;
        if *left == 0 && self.present == Some(layer) {
            while let Some(place) = self.held.iter().position(|(of, _)| *of == tier) {
                machine.admit(self.held.swap_remove(place).1);
            }
        }
    }
}

impl<D: Decides, P: ServingProbe> Owner<Purpose> for Run<'_, D, P> {
    fn completed(&mut self, machine: &mut Machine<Purpose>, transfer: Completed<Purpose>) {
        let tier = match transfer.tag {
            Purpose::Read { tier } => {
                self.note_arrival(machine.now(), tier);
                tier
            }
            Purpose::Write { layer, tier } => {
                self.end_write(machine, layer, tier);
                tier
            }
            Purpose::Move(slot) => {
                let tier = self.moves.destination(slot);
                if let Some(Moving { kv, issued, .. }) = self.moves.arrive(machine, slot, Purpose::Move) {
                    self.end_move(machine.now(), &kv, issued);
                }
                tier
            }
        };
        let Completed { class, bytes, unloaded, .. } = transfer;
        let record = TransferRecord { class, tier, bytes, latency: transfer.latency(), unloaded, count: 1 };
        let is_same = |other: &&mut TransferRecord| TransferRecord { count: 1, ..**other } == record;
        match self.transfers.iter_mut().find(is_same) {
            Some(same) => same.count += 1,
            None => self.transfers.push(record),
        }
    }

    fn expired(&mut self, _machine: &mut Machine<Purpose>, _timer: Timer) {
        self.computing = false;
    }
}

/// Which key a unit has, where all that is written is single tokens and where parts of prompts
/// are: 0 for the one that lasts, 1 for that of the step.
fn key_of(kinds: &Kinds, unit: Unit) -> [usize; 2] {
    let reads_kv = kinds.kinds[unit.kind].kv.is_some();
    let writes_kv = unit.writes.is_some_and(|writes| kinds.kinds[writes].kv.is_some());
    [usize::from(reads_kv), usize::from(reads_kv || writes_kv)]
}

/// Of how many tokens a stage of `kind` is.
#[inline]
fn tokens_of(kind: &StageKind, shape: &StepShape) -> u32 {
    if kind.label == StageLabel::Head { shape.outputs } else { shape.tokens }
}

fn issue_write(
    machine: &mut Machine<Purpose>,
    system: &MemorySystem,
    (layer, tier): (LayerId, TierId),
    (class, pattern, bytes, granule): (TransferClass, Pattern, Bytes, Bytes),
) {
    machine.issue(Request {
        class,
        path: Path::Even(system.even_writes(tier)),
        bytes,
        granule,
        pattern,
        urgency: Urgency::Due,
        reach: Reach::FULL,
        tag: Purpose::Write { layer, tier },
    });
}

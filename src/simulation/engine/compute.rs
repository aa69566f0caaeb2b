//! The parts of a stage that tiers compute themselves.
//!
//! A part goes through these states: activations go in over the tier's link; its cores begin
//! (`per_stage`); they read the part over the tier's own lanes and compute meanwhile; activations
//! come back. Whatever takes no time is left out. Parts that run in parallel begin with the chip's
//! reads; a serial one when the chip and all parts before it are done.

use super::Run;
use super::completions::{Leg, Purpose};
use super::writes::HeldRead;
use crate::memory::{Machine, Path, Pattern, Reach, Request, RouteId, TierId, Timer, TransferClass, Urgency};
use crate::simulation::probe::Probe;
use crate::units::{Bytes, SimTime, StageId};
use crate::workload::{Merge, Stage, StageFlop, TierCompute, Workload};

/// The parts of the present stage that tiers compute; none where no tier does.
#[derive(Default)]
pub(super) struct TierParts {
    parts: Vec<Part>,
    /// The KV that the present stage reads on tiers that compute it.
    kv: Vec<LocalKv>,
    /// Whether a part would end past the end of the clock.
    is_past_clock: bool,
}

/// KV and state that a tier reads itself.
#[derive(Clone, Copy)]
struct LocalKv {
    tier: TierId,
    bytes: Bytes,
    granule: Bytes,
}

/// What a tier computes of the present stage.
#[derive(Clone, Copy)]
struct Part {
    tier: TierId,
    merge: Merge,
    state: State,
    /// What goes in, and comes back.
    activations: Bytes,
    per_stage: SimTime,
    weights: Bytes,
    kv: Option<LocalKv>,
    reach: Reach,
    /// How long it computes.
    compute: SimTime,
}

/// How far a part is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Sending,
    Launching,
    Running { reads: u8, computes: bool },
    Returning,
    Done,
}

/// What the parts of a stage wait for when the chip's part is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing: all are done.
    Over,
    /// One has begun just now.
    Begun,
    /// One goes on.
    Going,
}

/// What the chip computes of a stage.
#[derive(Clone, Copy)]
pub(super) struct OfChip {
    pub weights: Bytes,
    /// KV that its tokens attend to.
    pub attended: Bytes,
    pub flop: StageFlop,
}

/// The first of the timers of tiers that compute.
const FIRST_TIMER: u16 = 32;

impl TierParts {
    /// The present stage reads so much KV on `tier`, which computes it.
    pub fn note_kv(&mut self, tier: TierId, bytes: Bytes, granule: Bytes) {
        self.kv.push(LocalKv { tier, bytes, granule });
    }

    /// Whether the present stage has any.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether a tier computes, or is about to, and reads nothing.
    pub fn is_computing(&self) -> bool {
        let computes = |part: &Part| matches!(part.state, State::Launching | State::Running { reads: 0, .. });
        self.parts.iter().any(computes)
    }
}

impl Part {
    fn timer(&self) -> Timer {
        Timer(FIRST_TIMER + self.tier.index() as u16)
    }
}

/// `part / whole`; 0 of nothing.
fn share(part: Bytes, whole: Bytes) -> f64 {
    if whole == Bytes::ZERO { 0.0 } else { part.as_f64() / whole.as_f64() }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// All of a stage, whose tokens attend to `attended` bytes of KV: where no tier computes.
    pub(super) fn all_of(&self, id: StageId, stage: &Stage, attended: Bytes) -> OfChip {
        OfChip { weights: self.reads.weights(id).values().copied().sum(), attended, flop: stage.flop }
    }

    /// Begins the parts of a stage that tiers compute, if any does; its tokens attend to `attended`
    /// bytes of KV. Returns what is left to the chip then. FLOP go with the bytes: the weights'
    /// with those of the weights read, and attention's with those of the KV.
    #[inline]
    pub(super) fn begin_parts(
        &mut self,
        machine: &mut Machine<Purpose>,
        id: StageId,
        stage: &Stage,
        attended: Bytes,
    ) -> Option<OfChip> {
        let computes = !self.scenario.runtime().computes().is_empty();
        computes.then(|| self.begin_parts_beside(machine, id, stage, attended))
    }

    fn begin_parts_beside(
        &mut self,
        machine: &mut Machine<Purpose>,
        id: StageId,
        stage: &Stage,
        attended: Bytes,
    ) -> OfChip {
        let weights: Bytes = self.reads.weights(id).values().copied().sum();
        let scenario = self.scenario;
        let computes = scenario.runtime().computes();
        let kv: Bytes = self.parts.kv.iter().map(|kv| kv.bytes).sum();
        let all_kv = if kv == Bytes::ZERO { kv } else { self.reads.kv.values().map(|kv| kv.bytes).sum() };
        let mut of_chip = (1.0, 1.0);
        self.parts.parts.clear();
        for of in computes.iter() {
            let part = self.part(id, stage, of, (weights, all_kv), attended, &mut of_chip);
            self.parts.parts.extend(part);
        }
        self.parts.kv.clear();
        for index in 0..self.parts.parts.len() {
            if self.parts.parts[index].merge == Merge::Parallel {
                self.begin_part(machine, id, index);
            }
        }
        let left = |bytes: Bytes, share: f64| Bytes::new((bytes.as_f64() * share.max(0.0)).round() as u64);
        let (of_weights, of_kv) = of_chip;
        OfChip {
            weights: left(weights, of_weights),
            attended: left(attended, of_kv),
            flop: StageFlop { fixed: stage.flop.fixed * of_weights.max(0.0), ..stage.flop },
        }
    }

    /// What the tier of `of` computes of a stage that reads `weights` and `kv` in all, if anything;
    /// its shares are taken from those of the chip.
    fn part(
        &self,
        id: StageId,
        stage: &Stage,
        of: &TierCompute,
        (all_weights, all_kv): (Bytes, Bytes),
        attended: Bytes,
        of_chip: &mut (f64, f64),
    ) -> Option<Part> {
        let weights = self.reads.local(id, of.tier);
        let kv = self.parts.kv.iter().find(|kv| kv.tier == of.tier).copied();
        if weights == Bytes::ZERO && kv.is_none() {
            return None;
        }
        let shares = (share(weights, all_weights), kv.map_or(0.0, |kv| share(kv.bytes, all_kv)));
        of_chip.0 -= shares.0;
        of_chip.1 -= shares.1;
        let compute = self.scenario.tier_roofline(of.tier).map_or(SimTime::ZERO, |roofline| {
            let attended = Bytes::new((attended.as_f64() * shares.1).round() as u64);
            let flop = StageFlop { fixed: stage.flop.fixed * shares.0, kv_on_chip: 0.0, ..stage.flop };
            roofline.time_for(stage.tokens, weights, attended, flop)
        });
        Some(Part {
            tier: of.tier,
            merge: of.merge,
            state: State::Waiting,
            activations: self.scenario.activations(of).times(stage.tokens as u64),
            per_stage: of.per_stage,
            weights,
            kv,
            reach: of.reach,
            compute,
        })
    }

    /// The chip's part of the stage is done: begins the next part that waits for that, if none goes
    /// on.
    pub(super) fn next_part(&mut self, machine: &mut Machine<Purpose>, id: StageId) -> Progress {
        let parts = &self.parts.parts;
        if parts.iter().any(|part| !matches!(part.state, State::Waiting | State::Done)) {
            return Progress::Going;
        }
        match parts.iter().position(|part| part.state == State::Waiting) {
            Some(index) => {
                self.begin_part(machine, id, index);
                Progress::Begun
            }
            None => {
                self.parts.parts.clear();
                Progress::Over
            }
        }
    }

    /// Whether a part would have ended past the end of the clock.
    pub(super) fn is_past_clock(&self) -> bool {
        self.parts.is_past_clock
    }

    fn begin_part(&mut self, machine: &mut Machine<Purpose>, id: StageId, index: usize) {
        let Part { tier, activations, .. } = self.parts.parts[index];
        if activations == Bytes::ZERO {
            return self.launch(machine, id, index);
        }
        self.parts.parts[index].state = State::Sending;
        let routes = self.system.even_writes(tier);
        machine.issue(activation(routes, activations, Purpose::Part { stage: id, tier, leg: Leg::In }));
    }

    /// The activations are there.
    fn launch(&mut self, machine: &mut Machine<Purpose>, id: StageId, index: usize) {
        let Part { per_stage, .. } = self.parts.parts[index];
        if per_stage == SimTime::ZERO {
            return self.run_part(machine, id, index);
        }
        self.parts.parts[index].state = State::Launching;
        self.set_part_timer(machine, index, per_stage);
    }

    /// Its cores begin to read and to compute.
    fn run_part(&mut self, machine: &mut Machine<Purpose>, stage: StageId, index: usize) {
        let Part { tier, weights, kv, reach, compute, .. } = self.parts.parts[index];
        let tag = Purpose::Part { stage, tier, leg: Leg::Read };
        let request = Request {
            class: TransferClass::WeightRead,
            path: Path::Even(self.system.local_reads(tier)),
            bytes: weights,
            granule: weights,
            pattern: Pattern::Streams,
            urgency: Urgency::Due,
            reach,
            tag,
        };
        let mut reads = 0;
        if weights > Bytes::ZERO {
            machine.issue(request);
            reads += 1;
        }
        if let Some(LocalKv { bytes, granule, .. }) = kv {
            let (class, pattern) = (TransferClass::KvRead, Pattern::Random);
            let request = Request { class, bytes, granule, pattern, ..request };
            match self.writes.awaited_by(tier).filter(|writes| *writes > 0) {
                None => drop(machine.issue(request)),
                Some(writes) => {
                    let transfer = machine.issue_held(request);
                    self.writes.hold(tier, HeldRead { transfer: Some(transfer), writes });
                }
            }
            reads += 1;
        }
        let computes = compute > SimTime::ZERO;
        self.parts.parts[index].state = State::Running { reads, computes };
        if computes {
            self.set_part_timer(machine, index, compute);
        }
    }

    /// Its reads have arrived and its compute is done.
    fn return_part(&mut self, machine: &mut Machine<Purpose>, stage: StageId, index: usize) {
        let part = &mut self.parts.parts[index];
        let (tier, activations) = (part.tier, part.activations);
        if activations == Bytes::ZERO {
            part.state = State::Done;
            return;
        }
        part.state = State::Returning;
        let routes = self.system.even_reads(tier);
        machine.issue(activation(routes, activations, Purpose::Part { stage, tier, leg: Leg::Out }));
    }

    fn set_part_timer(&mut self, machine: &mut Machine<Purpose>, index: usize, time: SimTime) {
        let timer = self.parts.parts[index].timer();
        let is_set = machine.set_timer(timer, machine.now() + time);
        self.parts.is_past_clock |= !is_set;
    }

    /// A transfer of the part on `tier` has arrived.
    pub(super) fn end_leg(&mut self, machine: &mut Machine<Purpose>, stage: StageId, tier: TierId, leg: Leg) {
        let Some(index) = self.parts.parts.iter().position(|part| part.tier == tier) else { return };
        let part = &mut self.parts.parts[index];
        match (leg, &mut part.state) {
            (Leg::In, _) => self.launch(machine, stage, index),
            (Leg::Out, state) => *state = State::Done,
            (Leg::Read, State::Running { reads, computes }) => {
                *reads -= 1;
                if *reads == 0 && !*computes {
                    self.return_part(machine, stage, index);
                }
            }
            (Leg::Read, _) => {}
        }
    }

    /// A timer of a tier that computes has expired.
    pub(super) fn part_expired(&mut self, machine: &mut Machine<Purpose>, timer: Timer) {
        let Some(stage) = self.present else { return };
        let Some(index) = self.parts.parts.iter().position(|part| part.timer() == timer) else { return };
        match &mut self.parts.parts[index].state {
            State::Launching => self.run_part(machine, stage, index),
            State::Running { reads, computes } => {
                *computes = false;
                if *reads == 0 {
                    self.return_part(machine, stage, index);
                }
            }
            _ => {}
        }
    }

    /// Notes KV of the present stage on `tier` where that computes it; returns whether it does.
    pub(super) fn note_local_kv(&mut self, tier: TierId, granule: Bytes) -> bool {
        let is_local = self.scenario.runtime().computes().of(tier).is_some_and(TierCompute::computes_kv);
        if is_local {
            let kv = self.reads.kv[tier];
            self.parts.note_kv(tier, kv.bytes, granule);
            if kv.writes > 0 {
                self.writes.hold(tier, HeldRead { transfer: None, writes: kv.writes });
            }
        }
        is_local
    }
}

/// Activations on their way.
fn activation(routes: &[RouteId], bytes: Bytes, tag: Purpose) -> Request<'_, Purpose> {
    Request {
        class: TransferClass::Activation,
        path: Path::Even(routes),
        bytes,
        granule: bytes,
        pattern: Pattern::Streams,
        urgency: Urgency::Due,
        reach: Reach::FULL,
        tag,
    }
}

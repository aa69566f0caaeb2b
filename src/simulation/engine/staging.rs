//! Copies of staged tiers that go on ahead of the stages that read them, or chunk by chunk.
//!
//! Each tier that is copied has a [`Pipe`]: its buffer on the first tier, and copies that go one
//! after another, in the order of the stages, as those of a copy engine do. A copy begins when
//! there is room for it in the buffer and its stage is at most `ahead` stages after the present
//! one. Its bytes occupy the buffer from then until the stage has read them. What a stage needs
//! beyond the buffer goes in rounds of what fits.
//!
//! * Without `chunk`, a stage reads when all of its copies have arrived, or all that fit.
//! * With `chunk`, it reads each chunk as soon as it has arrived, and meanwhile what it reads in
//!   place.
//!
//! # What a copy knows
//! The weights of a stage are known before its step begins, so the last stages of a step copy those
//! of the first stages of the next one, which is taken to read what the present one does. KV is
//! copied in its own step: the pages that the stage reads and that lie on the tier when its first
//! copy begins. When the stage begins, what it needs beyond what was copied (pages that have come
//! to the tier since) is copied then, if need be in room beside the buffer; what was copied beyond
//! what it needs (pages that have left) is not read. Counted in bytes: a page that came is taken to
//! be one that left.
//!
//! A copy of KV or state waits for the writes that the read would wait for. Copies ahead of their
//! stage are as urgent as reads: a copy engine takes its share of HBM while kernels read it.
//! Measured on an H100 and an H200, copies ahead go on at the full rate of the link
//! (`models/validation/gpu/README.md`).

use super::Run;
use super::completions::Purpose;
use super::turns::{Deferred, Turn};
use super::writes::HeldRead;
use crate::memory::{Machine, MemorySystem, Path, Pattern, Reach, Request, RouteId, TierId, TransferClass, Urgency};
use crate::simulation::probe::Probe;
use crate::units::{Bytes, StageId};
use crate::workload::{Amount, Runtime, Stage, TierCompute, Workload};
use std::sync::Arc;

/// The pipes of a run; none where no copy goes on ahead or chunk by chunk.
#[derive(Default)]
pub(super) struct Staging {
    pipes: Vec<Pipe>,
    /// Stages are numbered through all steps. The first of the present step, and how many it has.
    base: u64,
    stages: u64,
    /// Whether a step follows.
    goes_on: bool,
    /// The stage that reads, or that has read last.
    present: u64,
    /// Whether stages read in place only when their copies have arrived.
    waits: bool,
}

/// The copies of one tier.
struct Pipe {
    tier: TierId,
    routes: Vec<RouteId>,
    buffer: Bytes,
    ahead: u64,
    /// Whether it copies KV, or the tier computes with that itself.
    copies_kv: bool,
    /// The most of one copy.
    most: Bytes,
    /// Whether a stage reads only when all of its copies have arrived.
    waits: bool,
    /// What is in the buffer, or on its way there, and not read.
    held: Bytes,
    /// What of that the present stage reads or will read.
    own: Bytes,
    /// The copies that are not being read, those of the same stage in their order.
    copies: Vec<Copy>,
    /// Whether one of them has not arrived.
    is_copying: bool,
    /// What is still to be copied for the present stage, and what was copied in vain.
    due: ByClass,
    surplus: ByClass,
    /// Whether the present stage waits for copies.
    awaited: bool,
    /// How the present stage reads the buffer.
    reaches: [Reach; 2],
    /// The granule of its KV.
    granule: Bytes,
    /// The first stage of which not all was copied ahead, and what is left of that, once known.
    next: u64,
    left: Option<Left>,
    /// The KV that the present stage needs, and its granule and reach.
    kv: KvNeed,
}

/// Bytes of weights, and of KV and state.
type ByClass = [Bytes; 2];

const CLASSES: [TransferClass; 2] = [TransferClass::WeightRead, TransferClass::KvRead];
const WEIGHTS: usize = 0;
const KV: usize = 1;

/// What is left to copy for a stage to come.
#[derive(Clone, Copy)]
struct Left {
    bytes: ByClass,
    granule: Bytes,
    /// Whether it reads KV that is known only when its step begins.
    unknown: bool,
}

/// A copy in the buffer, or on its way there.
struct Copy {
    stage: u64,
    class: usize,
    bytes: Bytes,
    has_arrived: bool,
}

/// The KV and state that a stage needs of a tier.
#[derive(Clone, Copy)]
struct KvNeed {
    bytes: Bytes,
    granule: Bytes,
    reach: Reach,
}

const NO_KV: KvNeed = KvNeed { bytes: Bytes::ZERO, granule: Bytes::ZERO, reach: Reach::FULL };
/// The number of the first stage of a run, before which none is present.
const FIRST: u64 = 1;
/// The number of a stage that will not come.
const NEVER: u64 = u64::MAX;

impl Staging {
    pub fn new(runtime: &Runtime, system: &MemorySystem) -> Self {
        let pipe = |of: &crate::workload::Pipeline| Pipe {
            tier: of.tier,
            routes: system.even_copies(of.tier, TierId::HBM),
            buffer: of.buffer,
            ahead: of.ahead.into(),
            copies_kv: !runtime.computes().of(of.tier).is_some_and(TierCompute::computes_kv),
            most: of.most(),
            waits: of.chunk.is_none(),
            held: Bytes::ZERO,
            own: Bytes::ZERO,
            copies: Vec::new(),
            is_copying: false,
            due: [Bytes::ZERO; 2],
            surplus: [Bytes::ZERO; 2],
            awaited: false,
            reaches: [Reach::FULL; 2],
            granule: Bytes::ZERO,
            next: FIRST,
            left: None,
            kv: NO_KV,
        };
        let pipes = runtime.pipelines().iter().map(pipe).collect();
        Self { pipes, base: FIRST, waits: runtime.waits_for_copies(), ..Self::default() }
    }

    /// Whether the KV of `tier` is copied over a pipe.
    #[inline]
    pub fn copies_kv(&self, tier: TierId) -> bool {
        self.pipes.iter().any(|pipe| pipe.tier == tier && pipe.copies_kv)
    }

    /// Whether any tier is.
    #[inline]
    pub fn is_used(&self) -> bool {
        !self.pipes.is_empty()
    }

    /// Whether the present stage waits for copies from `tier`.
    pub fn is_awaited(&self, tier: TierId) -> bool {
        self.pipes.iter().any(|pipe| pipe.tier == tier && pipe.awaited)
    }

    /// A step of so many stages begins; `goes_on` if another follows.
    pub fn begin_step(&mut self, stages: u64, goes_on: bool) {
        self.base += self.stages;
        for pipe in &mut self.pipes {
            pipe.left = None;
            if stages != self.stages {
                pipe.forget(self.base);
            }
        }
        (self.stages, self.goes_on) = (stages, goes_on);
    }

    /// The present stage needs that KV of `tier`.
    pub fn need_kv(&mut self, tier: TierId, bytes: Bytes, granule: Bytes, reach: Reach) {
        if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.tier == tier) {
            pipe.kv = KvNeed { bytes, granule, reach };
        }
    }
}

impl Pipe {
    /// What was copied of stages from number `base` on is not read: its step has other stages.
    fn forget(&mut self, base: u64) {
        for copy in self.copies.iter_mut().filter(|copy| copy.stage >= base) {
            copy.stage = NEVER;
        }
        self.drop_unwanted();
        self.next = base;
    }

    /// Gives up the copies that have arrived and that no stage reads.
    fn drop_unwanted(&mut self) {
        let held = &mut self.held;
        self.copies.retain(|copy| {
            let is_wanted = copy.stage != NEVER || !copy.has_arrived;
            *held -= if is_wanted { Bytes::ZERO } else { copy.bytes };
            is_wanted
        });
    }

    /// What of a class was copied for `stage` and is not read.
    fn copied(&self, stage: u64, class: usize) -> Bytes {
        self.copies.iter().filter(|copy| (copy.stage, copy.class) == (stage, class)).map(|copy| copy.bytes).sum()
    }

    /// `stage` begins, and needs so much.
    fn begin(&mut self, stage: u64, needed: ByClass) {
        self.own = Bytes::ZERO;
        for (class, needed) in needed.into_iter().enumerate() {
            let copied = self.copied(stage, class);
            self.own += copied;
            self.due[class] = needed.saturating_sub(copied);
            self.surplus[class] = copied.saturating_sub(needed);
        }
        if self.next <= stage {
            (self.next, self.left) = (stage + 1, None);
        }
        self.awaited = !self.has_all(stage);
    }

    /// Whether all that `stage` needs has arrived.
    fn has_all(&self, stage: u64) -> bool {
        self.due == [Bytes::ZERO; 2] && !self.copies.iter().any(|copy| copy.stage == stage && !copy.has_arrived)
    }

    /// The next copy for the present stage that has room: of which class, and of how many bytes.
    fn next_due(&self) -> Option<(usize, Bytes)> {
        let class = self.due.iter().position(|due| *due > Bytes::ZERO)?;
        let bytes = self.due[class].min(self.most);
        // What is held for later stages is not read before the present one ends.
        let fits = self.held + bytes <= self.buffer || self.own == Bytes::ZERO;
        fits.then_some((class, bytes))
    }

    /// Takes what `stage` may read now from the copies: of each class, the bytes that it reads and
    /// the room that they take.
    fn take_arrived(&mut self, stage: u64) -> [(Bytes, Bytes); 2] {
        let mut taken = [(Bytes::ZERO, Bytes::ZERO); 2];
        self.copies.retain(|copy| {
            let is_taken = copy.stage == stage && copy.has_arrived;
            if is_taken {
                taken[copy.class].1 += copy.bytes;
            }
            !is_taken
        });
        for ((read, room), surplus) in taken.iter_mut().zip(&mut self.surplus) {
            let unread = (*room).min(*surplus);
            *surplus -= unread;
            *read = *room - unread;
        }
        taken
    }

    /// Room in the buffer that the present stage had is free.
    fn free(&mut self, room: Bytes) {
        self.held -= room;
        self.own -= room;
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// The present stage begins to read: takes from the buffers what was copied for it, and has the
    /// rest copied.
    pub(super) fn begin_copied(&mut self, machine: &mut Machine<Purpose>, id: StageId) {
        let stage = self.staging.base + id.index() as u64;
        self.staging.present = stage;
        for at in 0..self.staging.pipes.len() {
            let tier = self.staging.pipes[at].tier;
            let (weights, reach) = (self.reads.of_chip(id, tier), self.reads.weights_reach(id, tier));
            let pipe = &mut self.staging.pipes[at];
            let kv = std::mem::replace(&mut pipe.kv, NO_KV);
            (pipe.reaches, pipe.granule) = ([reach, kv.reach], kv.granule);
            pipe.begin(stage, [weights, kv.bytes]);
            if pipe.awaited {
                self.reads.issued(id);
            }
            self.go_on_copying(machine, id, at);
            self.read_arrived(machine, id, at);
        }
    }

    /// A copy from `tier` has arrived.
    pub(super) fn end_copy(&mut self, machine: &mut Machine<Purpose>, tier: TierId) {
        let Some(at) = self.staging.pipes.iter().position(|pipe| pipe.tier == tier) else { return };
        let pipe = &mut self.staging.pipes[at];
        pipe.is_copying = false;
        pipe.copies.iter_mut().for_each(|copy| copy.has_arrived = true);
        pipe.drop_unwanted();
        self.refill(machine, at);
    }

    /// The present stage has read so much room of the buffer of `tier`.
    pub(super) fn end_buffered(&mut self, machine: &mut Machine<Purpose>, tier: TierId, room: Bytes) {
        let Some(at) = self.staging.pipes.iter().position(|pipe| pipe.tier == tier) else { return };
        self.staging.pipes[at].free(room);
        self.refill(machine, at);
    }

    /// A step begins: its KV is known.
    pub(super) fn copy_ahead(&mut self, machine: &mut Machine<Purpose>) {
        for at in 0..self.staging.pipes.len() {
            self.go_on_copying(machine, StageId::default(), at);
        }
    }

    /// Goes on with the copies of a pipe, and lets the present stage read what has arrived.
    fn refill(&mut self, machine: &mut Machine<Purpose>, at: usize) {
        // Between two steps, the present stage is of the one before.
        let present = self.staging.present.checked_sub(self.staging.base);
        let id = StageId::new(present.unwrap_or(0) as usize);
        self.go_on_copying(machine, id, at);
        self.read_arrived(machine, id, at);
    }

    /// Begins the next copy of a pipe, unless one goes on or there is no room.
    fn go_on_copying(&mut self, machine: &mut Machine<Purpose>, id: StageId, at: usize) {
        let present = self.staging.present;
        let pipe = &mut self.staging.pipes[at];
        if pipe.is_copying {
            return;
        }
        if pipe.due != [Bytes::ZERO; 2] {
            if let Some((class, bytes)) = pipe.next_due() {
                pipe.due[class] -= bytes;
                pipe.own += bytes;
                let granule = pipe.granule;
                self.copy(machine, at, (id, present), (class, bytes, granule));
            }
            return;
        }
        let Some(stages) = self.reads.stages().cloned() else { return };
        let count = stages.len() as u64;
        loop {
            let Staging { base, goes_on, ref pipes, .. } = self.staging;
            let pipe = &pipes[at];
            let next = pipe.next;
            // A stage is copied after the same stage of the step before has been read.
            let ahead = pipe.ahead.min(count - 1);
            if next > present + ahead || (next >= base + count && !goes_on) {
                return;
            }
            let id = StageId::new(((next - base) % count) as usize);
            let Left { bytes: left, granule, unknown } = match pipe.left {
                Some(left) => left,
                None => self.left_of(machine, at, (id, next), &stages),
            };
            let pipe = &mut self.staging.pipes[at];
            let Some(class) = left.iter().position(|left| *left > Bytes::ZERO) else {
                pipe.left = None;
                if unknown {
                    return;
                }
                pipe.next += 1;
                continue;
            };
            let bytes = left[class].min(pipe.most);
            let mut rest = Left { bytes: left, granule, unknown };
            if pipe.held + bytes > pipe.buffer {
                // Where it lies may change until it is copied.
                pipe.left = None;
                return;
            }
            rest.bytes[class] -= bytes;
            pipe.left = Some(rest);
            self.copy(machine, at, (id, next), (class, bytes, granule));
            return;
        }
    }

    /// What is left to copy of a stage to come.
    fn left_of(
        &mut self,
        machine: &Machine<Purpose>,
        at: usize,
        (id, number): (StageId, u64),
        stages: &Arc<[Stage]>,
    ) -> Left {
        let (tier, stage) = (self.staging.pipes[at].tier, &stages[id.index()]);
        let weights = self.reads.of_chip(id, tier);
        let of_next_step = number >= self.staging.base + self.staging.stages;
        let copies_kv = self.staging.pipes[at].copies_kv;
        let reads_kv = || copies_kv && stage.reads.iter().any(|read| !matches!(read.amount, Amount::Evenly(_)));
        let (kv, granule) =
            if of_next_step || !copies_kv { (Bytes::ZERO, Bytes::ZERO) } else { self.kv_to_copy(machine, stage, tier) };
        let pipe = &self.staging.pipes[at];
        let left = |class, needed: Bytes| needed.saturating_sub(pipe.copied(number, class));
        Left { bytes: [left(WEIGHTS, weights), left(KV, kv)], granule, unknown: of_next_step && reads_kv() }
    }

    /// The KV and state that `stage` reads and that lies on `tier` now, and its granule.
    fn kv_to_copy(&mut self, machine: &Machine<Purpose>, stage: &Stage, tier: TierId) -> (Bytes, Bytes) {
        let (window, size) = (self.workload.window(), self.page_size);
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        let (mut bytes, mut runs, mut page_bytes) = (Bytes::ZERO, 0, Bytes::ZERO);
        for read in &stage.reads {
            match read.amount {
                Amount::Evenly(_) | Amount::Routed { .. } => {}
                Amount::Unskipped { .. } => {
                    let skipped = window.skipped(0, read.region).expect("the window shows the present step");
                    let pages = residency.kv(read.region);
                    let count = pages.read_on(tier, skipped, pages.live());
                    if count == 0 {
                        continue;
                    }
                    let all = size.pages(pages.tokens);
                    let missing = (all * size.tokens() - pages.tokens) as u64;
                    let last = all.saturating_sub(1);
                    let partial = missing > 0 && pages.at[tier].contains(last) && !skipped.pages.contains(last);
                    bytes += pages.page_bytes.times(count as u64);
                    bytes -= if partial { pages.token_bytes.times(missing) } else { Bytes::ZERO };
                    page_bytes = pages.page_bytes;
                    runs += self.paging.runs(self.system, tier, pages, skipped);
                }
                Amount::Whole => {
                    let state = residency.divided(read.region)[tier];
                    bytes += state;
                    page_bytes = page_bytes.max(state);
                    runs += usize::from(state > Bytes::ZERO);
                }
            }
        }
        let granule = self.paging.granule_of(self.system, tier, page_bytes, (bytes, runs));
        (bytes, granule)
    }

    /// How many writes a copy of the KV and state that `stage` reads of `tier` waits for.
    fn await_copied(&mut self, machine: &Machine<Purpose>, stage: &Stage, tier: TierId) -> usize {
        let window = self.workload.window();
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        let mut writes = 0;
        for read in &stage.reads {
            writes += match read.amount {
                Amount::Evenly(_) | Amount::Routed { .. } => 0,
                Amount::Unskipped { .. } => {
                    let skipped = window.skipped(0, read.region).expect("the window shows the present step");
                    let at = &residency.kv(read.region).at[tier];
                    self.writes.await_those_of(read.region, tier, |page| {
                        at.contains(page.index()) && !skipped.pages.contains(page.index())
                    })
                }
                Amount::Whole => self.states.await_those_of(read.region, tier),
            };
        }
        writes
    }

    /// Begins a copy for a stage, of so many bytes of a class with that granule.
    fn copy(
        &mut self,
        machine: &mut Machine<Purpose>,
        at: usize,
        (id, stage): (StageId, u64),
        (class, bytes, granule): (usize, Bytes, Bytes),
    ) {
        let tier = self.staging.pipes[at].tier;
        let stages = self.reads.stages().cloned();
        let writes = match stages {
            Some(stages) if class == KV => self.await_copied(machine, &stages[id.index()], tier),
            _ => 0,
        };
        let pipe = &mut self.staging.pipes[at];
        pipe.held += bytes;
        pipe.copies.push(Copy { stage, class, bytes, has_arrived: false });
        let request = Request {
            class: TransferClass::Stage,
            path: Path::Even(&pipe.routes),
            bytes,
            granule: if class == KV { granule } else { bytes },
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: Purpose::Chunk { tier },
        };
        let transfer = if writes == 0 { machine.issue(request) } else { machine.issue_held(request) };
        pipe.is_copying = true;
        if writes > 0 {
            self.writes.hold(tier, HeldRead { transfer: Some(transfer), writes });
        }
    }

    /// Lets the present stage read what has arrived of its copies, if it may.
    fn read_arrived(&mut self, machine: &mut Machine<Purpose>, id: StageId, at: usize) {
        let stage = self.staging.present;
        let pipe = &mut self.staging.pipes[at];
        let has_all = pipe.has_all(stage);
        if pipe.awaited && has_all {
            pipe.awaited = false;
            self.reads.arrived(id);
        }
        // It waits for the next round, for which there is no room before it has read this one.
        let is_full = !has_all && !pipe.is_copying;
        if pipe.waits && !has_all && !is_full {
            return;
        }
        let (tier, waits, reaches) = (pipe.tier, self.staging.waits && !is_full, pipe.reaches);
        for (class, (bytes, room)) in pipe.take_arrived(stage).into_iter().enumerate() {
            if room == Bytes::ZERO {
                continue;
            }
            if bytes == Bytes::ZERO {
                self.staging.pipes[at].free(room);
                continue;
            }
            let read = Deferred {
                class: CLASSES[class],
                tier: TierId::HBM,
                copied_from: Some(tier),
                bytes,
                // A buffer is contiguous.
                granule: bytes,
                reach: reaches[class],
                room,
            };
            if waits {
                self.turns.defer(Turn::Copied, read);
            } else {
                self.issue_deferred(machine, id, read);
            }
        }
    }
}

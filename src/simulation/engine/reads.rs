//! What a stage reads: its weights, perhaps early, its state, and the KV that is not skipped.

use super::Run;
use super::completions::Purpose;
use super::experts::ExpertReads;
use super::turns::{Deferred, Turn};
use super::writes::HeldRead;
use crate::memory::{Machine, Path, Pattern, PerTier, Reach, Request, TierId, TransferClass, TransferId, Urgency};
use crate::simulation::probe::{Ends, Probe};
use crate::simulation::residency::Residency;
use crate::strategy::Late;
use crate::units::{Bytes, RegionId, StageId, Table};
use crate::workload::{Amount, Contents, Format, Read, Regions, Runtime, Stage, StepPlan, Workload};
use std::sync::Arc;

/// The reads of the present step, by stage.
pub(super) struct StepReads {
    /// The stages that the tables below are of.
    stages: Option<Arc<[Stage]>>,
    /// What each stage reads of its weights from each tier; experts that are units are among them
    /// from the start of their stage on.
    pub weights: Table<StageId, PerTier<Bytes>>,
    /// What tiers compute themselves of that; empty where none does.
    pub local: Table<StageId, PerTier<Bytes>>,
    /// The reach of these reads; empty where all reach the full bandwidth.
    pub reaches: Table<StageId, PerTier<Reach>>,
    /// What of these reads crosses each tier's link; empty where that is what is needed.
    crossing: Table<StageId, PerTier<Bytes>>,
    /// What each stage reads of its weights and its state from each tier.
    constant: Table<StageId, PerTier<Bytes>>,
    /// Reads that have been issued and are not complete.
    outstanding: Table<StageId, u32>,
    /// Weight reads that were issued early and are not complete.
    early: Table<StageId, Vec<TransferId>>,
    /// The first stage whose weight reads of this step are not issued.
    next: StageId,
    /// By tier, the KV read that the present stage is about to issue.
    pub kv: PerTier<KvRead>,
    /// The experts among what stages read of their weights.
    pub experts: ExpertReads,
}

/// The KV and the state that a stage reads from one tier, over all its regions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KvRead {
    pub bytes: Bytes,
    /// In how many contiguous runs these bytes lie.
    pub runs: usize,
    /// The size of a page where the granule makes no difference.
    pub page_bytes: Bytes,
    /// Writes that it must wait for.
    pub writes: usize,
}

impl StepReads {
    pub fn new(tiers: usize) -> Self {
        Self {
            stages: None,
            weights: Table::new(),
            local: Table::new(),
            reaches: Table::new(),
            crossing: Table::new(),
            constant: Table::new(),
            outstanding: Table::new(),
            early: Table::new(),
            next: StageId::default(),
            kv: PerTier::filled(tiers, KvRead::default()),
            experts: ExpertReads::none(tiers),
        }
    }

    /// Whether the stages of `plan` are others than those of the step before.
    pub fn is_new(&self, plan: &StepPlan) -> bool {
        self.stages.as_ref().is_none_or(|stages| !Arc::ptr_eq(stages, &plan.stages))
    }

    /// Nothing of the step is issued yet. O(1) if its stages are those of the step before.
    pub fn begin_step(&mut self, plan: &StepPlan, residency: &Residency, regions: &Regions, runtime: &Runtime) {
        self.next = StageId::default();
        if self.is_new(plan) {
            let tiers = self.kv.len();
            self.weights = plan.stages.iter().map(|stage| weight_reads(stage, residency, tiers)).collect();
            if !runtime.computes().is_empty() {
                let local = |stage| local_reads(stage, residency, regions, runtime, tiers);
                self.local = plan.stages.iter().map(local).collect();
            }
            if runtime.tiers_with_reaches().next().is_some() {
                let reaches = |stage| weight_reaches(stage, residency, regions, runtime, tiers);
                self.reaches = plan.stages.iter().map(reaches).collect();
            }
            if runtime.amplifies() {
                let crossing = |(index, stage): (usize, &Stage)| {
                    let read = |tier| self.of_chip(StageId::new(index), tier);
                    PerTier::from_fn(tiers, |tier| runtime.crossing_weights(tier, stage.tokens, read(tier)))
                };
                self.crossing = plan.stages.iter().enumerate().map(crossing).collect();
            }
            let has_reaches = !self.reaches.is_empty();
            let formats =
                |stage: &Stage| has_reaches.then(|| weight_formats(stage, residency, regions, runtime, tiers));
            let local = |stage: StageId, region| {
                let computes = runtime.computes().by_tier(tiers, &regions.region(region).contents);
                Some((self.local.get(stage)?.clone(), computes))
            };
            self.experts = ExpertReads::new(&plan.stages, &self.weights, formats, local, tiers);
            self.constant = plan.stages.iter().map(|stage| constant_reads(stage, residency, tiers)).collect();
            self.outstanding = Table::filled(plan.stages.len(), 0);
            self.early = Table::filled(plan.stages.len(), Vec::with_capacity(tiers));
            self.stages = Some(Arc::clone(&plan.stages));
        } else {
            self.experts.begin_step(&mut self.weights, &mut self.local);
            if runtime.amplifies() {
                for (index, stage) in plan.stages.iter().enumerate() {
                    self.find_crossing(StageId::new(index), stage.tokens, runtime);
                }
            }
        }
    }

    /// What `stage` reads of its weights from each tier.
    pub fn weights(&self, stage: StageId) -> &PerTier<Bytes> {
        &self.weights[stage]
    }

    /// Whether the chip reads all weights, as many bytes as it needs, and no experts that are
    /// units.
    #[inline]
    fn are_plain(&self) -> bool {
        self.local.is_empty() && self.crossing.is_empty() && !self.experts.are_units()
    }

    /// What `tier` computes itself of the weights of `stage`.
    pub fn local(&self, stage: StageId, tier: TierId) -> Bytes {
        self.local.get(stage).map_or(Bytes::ZERO, |local| local[tier])
    }

    /// What the chip reads of the weights of `stage` from `tier`.
    pub fn of_chip(&self, stage: StageId, tier: TierId) -> Bytes {
        self.weights[stage][tier] - self.local(stage, tier)
    }

    /// What crosses the link of `tier` when `stage` reads its weights there in place.
    fn crossing(&self, stage: StageId, tier: TierId) -> Bytes {
        self.crossing.get(stage).map_or(self.of_chip(stage, tier), |crossing| crossing[tier])
    }

    /// The share of the bandwidth of `tier` that `stage` reaches when it reads its weights.
    pub fn weights_reach(&self, stage: StageId, tier: TierId) -> Reach {
        self.reaches.get(stage).map_or(Reach::FULL, |reaches| reaches[tier])
    }

    /// Finds what crosses each tier's link of what `stage`, of so many tokens, reads of its
    /// weights.
    pub fn find_crossing(&mut self, stage: StageId, tokens: usize, runtime: &Runtime) {
        for tier in self.kv.ids() {
            self.crossing[stage][tier] = runtime.crossing_weights(tier, tokens, self.of_chip(stage, tier));
        }
    }

    /// What `stage` reads of its weights and its state from each tier.
    pub fn constant(&self, stage: StageId) -> &PerTier<Bytes> {
        &self.constant[stage]
    }

    /// How many reads of `stage` have been issued and are not complete.
    #[inline]
    pub fn outstanding(&self, stage: StageId) -> u32 {
        self.outstanding[stage]
    }

    /// The stages of the present step.
    pub fn stages(&self) -> Option<&Arc<[Stage]>> {
        self.stages.as_ref()
    }

    /// The copies that `stage` waited for, as for a read, have arrived.
    pub fn arrived(&mut self, stage: StageId) {
        self.outstanding[stage] -= 1;
    }

    /// A read of `stage` has been issued.
    pub fn issued(&mut self, stage: StageId) {
        self.outstanding[stage] += 1;
    }

    /// A read of `stage` is complete.
    #[inline]
    pub fn complete(&mut self, stage: StageId, transfer: TransferId) {
        self.outstanding[stage] -= 1;
        self.early[stage].retain(|early| *early != transfer);
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Issues the reads of a stage, and the early weight reads of those after it. Returns the bytes
    /// of KV that its tokens attend to.
    pub(super) fn read(
        &mut self,
        machine: &mut Machine<Purpose>,
        plan: &StepPlan,
        id: StageId,
        stage: &Stage,
    ) -> Bytes {
        let has_experts = self.reads.experts.are_units() && self.gather_experts(machine, id, stage.tokens);
        if self.reads.next > id {
            while let Some(transfer) = self.reads.early[id].pop() {
                machine.raise_urgency(transfer);
            }
            if has_experts {
                self.read_experts(machine, id, stage.tokens);
            }
        } else if !self.scenario.runtime().waits_for_copies() {
            self.read_weights(machine, id, Urgency::Due);
        } else {
            // They wait for the copies of the stage.
            self.reads.next = id.next();
            self.defer_in_place(id);
        }
        if !self.scenario.runtime().reads_all_at_once() {
            self.defer_weights(machine, id);
        }
        let read = &mut self.totals.read[stage.label];
        for (tier, bytes) in self.reads.weights[id].iter() {
            read[tier] += *bytes;
        }
        let kv = self.read_kv(machine, id, stage);
        if self.staging.is_used() {
            self.begin_copied(machine, id);
        }
        let last = (id.index() + self.scenario.weight_prefetch()).min(plan.stages.len() - 1);
        while self.reads.next.index() <= last {
            self.read_weights(machine, self.reads.next, Urgency::Early);
        }
        kv
    }

    /// Defers the weights of the present stage that are read in place when its copies have arrived.
    fn defer_in_place(&mut self, id: StageId) {
        let runtime = self.scenario.runtime();
        for tier in self.system.tier_ids().filter(|tier| !runtime.is_serial(*tier) && !runtime.is_staged(*tier)) {
            let (bytes, reach) = (self.reads.crossing(id, tier), self.reads.weights_reach(id, tier));
            if bytes > Bytes::ZERO {
                let granule = self.reads.experts.granule(id, self.present, bytes);
                self.turns.defer(Turn::Copied, Deferred { granule, ..Deferred::weights(tier, bytes, reach, None) });
            }
        }
    }

    /// Copies or defers the weights of the present stage that are not read in place at once.
    fn defer_weights(&mut self, machine: &mut Machine<Purpose>, id: StageId) {
        let runtime = self.scenario.runtime();
        // Those that are copied over a pipe: see `begin_copied`.
        let pipes = self.staging.is_used();
        for tier in runtime.staged_tiers().filter(|_| !pipes) {
            let (bytes, reach) = (self.reads.of_chip(id, tier), self.reads.weights_reach(id, tier));
            if bytes > Bytes::ZERO {
                let granule = self.reads.experts.granule(id, self.present, bytes);
                let read = Deferred { granule, ..Deferred::weights(TierId::HBM, bytes, reach, Some(tier)) };
                self.stage_read(machine, id, read, 0);
            }
        }
        for tier in runtime.serial_tiers() {
            let (bytes, reach) = (self.reads.crossing(id, tier), self.reads.weights_reach(id, tier));
            if bytes > Bytes::ZERO {
                let granule = self.reads.experts.granule(id, self.present, bytes);
                let read = Deferred { granule, ..Deferred::weights(tier, bytes, reach, None) };
                self.turns.defer(Turn::After(tier), read);
            }
        }
    }

    fn read_weights(&mut self, machine: &mut Machine<Purpose>, stage: StageId, urgency: Urgency) {
        debug_assert_eq!(stage, self.reads.next);
        self.reads.next = stage.next();
        let runtime = self.scenario.runtime();
        let at_once = runtime.reads_all_at_once();
        let is_plain = self.reads.are_plain();
        for tier in self.system.tier_ids() {
            let bytes = if is_plain { self.reads.weights[stage][tier] } else { self.reads.of_chip(stage, tier) };
            let is_in_turn = !at_once && (runtime.is_serial(tier) || runtime.is_staged(tier));
            if bytes == Bytes::ZERO || is_in_turn {
                continue;
            }
            let (bytes, granule) = if is_plain {
                (bytes, bytes)
            } else {
                let bytes = self.reads.crossing.get(stage).map_or(bytes, |crossing| crossing[tier]);
                (bytes, self.reads.experts.granule(stage, self.present, bytes))
            };
            let transfer = machine.issue(Request {
                class: TransferClass::WeightRead,
                path: Path::Even(self.system.even_reads(tier)),
                bytes,
                granule,
                pattern: Pattern::Streams,
                urgency,
                reach: self.reads.weights_reach(stage, tier),
                tag: Purpose::Read { stage, tier },
            });
            self.reads.outstanding[stage] += 1;
            if urgency == Urgency::Early {
                self.reads.early[stage].push(transfer);
            }
        }
    }

    /// Issues the reads of a stage's KV and state, one transfer per tier over all its regions.
    /// Returns how much its tokens attend to: what is read, once for each token that attends to it.
    fn read_kv(&mut self, machine: &mut Machine<Purpose>, id: StageId, stage: &Stage) -> Bytes {
        let is_kv = |read: &&Read| matches!(read.amount, Amount::Unskipped { .. } | Amount::Whole);
        let mut reads = stage.reads.iter().filter(is_kv).peekable();
        if reads.peek().is_none() {
            return Bytes::ZERO;
        }
        self.measured.begin(id, machine.now(), &self.reads.weights[id]);
        self.reads.kv.fill(KvRead::default());
        self.paging.begin_read();
        let mut attended = Bytes::ZERO;
        for of in reads {
            attended += match of.amount {
                Amount::Unskipped { queries } => self.gather_kv(machine, of.region).times(queries as u64),
                _ => self.gather_state(machine, of.region),
            };
        }
        let runtime = self.scenario.runtime();
        for tier in self.system.tier_ids() {
            let kv = self.reads.kv[tier];
            if kv.bytes == Bytes::ZERO {
                continue;
            }
            self.totals.read[stage.label][tier] += kv.bytes;
            self.measured.read[tier] += kv.bytes;
            let needed = kv.bytes;
            let granule = self.paging.granule_of(self.system, tier, kv.page_bytes, (needed, kv.runs));
            if !runtime.computes().is_empty() && self.note_local_kv(tier, granule) {
                continue;
            }
            if runtime.amplifies() {
                self.reads.kv[tier].bytes = runtime.crossing_kv(tier, queries(stage), needed);
            }
            let kv = self.reads.kv[tier];
            let reach = runtime.kv_reach(runtime.read_from(tier), needed);
            if !runtime.reads_all_at_once() && self.defer_kv(machine, id, tier, (granule, reach)) {
                continue;
            }
            let parts = self.paging.parts(self.system, tier);
            let request = Request {
                class: TransferClass::KvRead,
                path: parts.map_or(Path::Even(self.system.even_reads(tier)), Path::Parts),
                bytes: kv.bytes,
                granule,
                pattern: Pattern::Random,
                urgency: Urgency::Due,
                reach,
                tag: Purpose::Read { stage: id, tier },
            };
            self.reads.outstanding[id] += 1;
            if kv.writes == 0 {
                machine.issue(request);
            } else {
                let transfer = machine.issue_held(request);
                self.writes.hold(tier, HeldRead { transfer: Some(transfer), writes: kv.writes });
            }
        }
        attended
    }

    /// Copies or defers the KV and state of the present stage on `tier` if they are not read in
    /// place at once. Returns whether that is so.
    fn defer_kv(
        &mut self,
        machine: &mut Machine<Purpose>,
        id: StageId,
        tier: TierId,
        (granule, reach): (Bytes, Reach),
    ) -> bool {
        let runtime = self.scenario.runtime();
        let KvRead { bytes, writes, .. } = self.reads.kv[tier];
        let read = Deferred {
            class: TransferClass::KvRead,
            tier,
            copied_from: None,
            bytes,
            granule,
            reach,
            room: Bytes::ZERO,
        };
        if self.staging.copies_kv(tier) {
            self.staging.need_kv(tier, bytes, granule, reach);
            return true;
        }
        if runtime.is_staged(tier) {
            let of_buffer = Deferred { tier: TierId::HBM, copied_from: Some(tier), ..read };
            self.stage_read(machine, id, of_buffer, writes);
            return true;
        }
        let turn = match (runtime.is_serial(tier), runtime.waits_for_copies()) {
            (true, _) => Turn::After(tier),
            (false, true) => Turn::Copied,
            (false, false) => return false,
        };
        self.turns.defer(turn, read);
        if writes > 0 {
            self.writes.hold(tier, HeldRead { transfer: None, writes });
        }
        true
    }

    /// What happens to moves and prefetches of a region of pages when the present step reads it.
    /// Returns how many of the pages read are late: at the source of a move that is not complete.
    #[inline]
    pub(super) fn begin_paged_read(&mut self, machine: &mut Machine<Purpose>, region: RegionId) -> u64 {
        let now = machine.now();
        let skipped = self.workload.window().skipped(0, region).expect("the window shows the present step");
        let residency = self.moves.residency_at(now, machine.fabric());
        let late = residency.kv(region).late_pages(skipped);
        if let Some(prefetching) = &mut self.prefetching {
            prefetching.read(region, residency.kv(region), skipped, &mut self.totals.prefetched);
        }
        match self.decisions.late {
            Late::Finish => self.moves.reads_issued(now, region),
            Late::Drop => {
                let probe = &mut *self.probe;
                self.moves.drop_late(machine, region, |late, source, to| {
                    probe.dropped(&late, Ends { source, destination: Some(to) });
                });
            }
        }
        late
    }

    /// Adds what the present step reads of `region` to the reads that are about to be issued.
    /// Returns its bytes.
    fn gather_kv(&mut self, machine: &mut Machine<Purpose>, region: RegionId) -> Bytes {
        let now = machine.now();
        self.totals.late_tokens += self.begin_paged_read(machine, region) * self.page_size.tokens() as u64;
        let window = self.workload.window();
        let skipped = window.skipped(0, region).expect("the window shows the present step");
        let pages = self.moves.residency_at(now, machine.fabric()).kv(region);
        let all = self.page_size.pages(pages.tokens);
        let active = all - skipped.count;
        // Of the last page, what was not computed yet is not read.
        let last_page = all.saturating_sub(1);
        let missing = (all * self.page_size.tokens() - pages.tokens) as u64;
        let last_is_read = missing > 0 && !skipped.pages.contains(last_page);
        let read_tokens = (active * self.page_size.tokens()) as u64 - if last_is_read { missing } else { 0 };
        self.totals.read_kv_tokens += read_tokens;
        let needed = (pages.tokens - window.skipped_tokens(region)) as u64;
        self.totals.read_beyond += pages.token_bytes.times(read_tokens - needed);
        let live = pages.live();
        if let Some(index) = self.scenario.index() {
            let bytes = index.of(region).times(live.len() as u64);
            let kv = &mut self.reads.kv[TierId::HBM];
            kv.bytes += bytes;
            kv.page_bytes = kv.page_bytes.max(bytes);
            kv.runs += 1;
            self.measured.index += bytes;
            self.paging.gather_evenly(TierId::HBM, bytes);
        }
        let mut rest = active;
        for tier in self.system.tier_ids() {
            // The tiers partition the context, so the last one has what the others have not.
            let is_last = tier == pages.at.last();
            let count = if is_last { rest } else { pages.read_on(tier, skipped, live.clone()) };
            rest -= count;
            if count == 0 {
                continue;
            }
            let partial = last_is_read && pages.at[tier].contains(last_page);
            let missing = if partial { pages.token_bytes.times(missing) } else { Bytes::ZERO };
            let kv = &mut self.reads.kv[tier];
            let bytes = pages.page_bytes.times(count as u64) - missing;
            self.totals.kv_hits.add(tier, count, bytes);
            kv.bytes += bytes;
            kv.page_bytes = pages.page_bytes;
            kv.runs += self.paging.runs(self.system, tier, pages, skipped);
            // The copies of a pipe wait for them.
            if !self.staging.copies_kv(tier) {
                kv.writes += self.writes.await_those_of(region, tier, |page| {
                    pages.at[tier].contains(page.index()) && !skipped.pages.contains(page.index())
                });
            }
            self.paging.gather(self.system, (tier, region), pages, skipped.pages, missing);
        }
        pages.token_bytes.times(read_tokens)
    }
}

/// How many tokens share a read of a stage's KV: those of the largest part of a prompt.
fn queries(stage: &Stage) -> usize {
    let of_read = |read: &crate::workload::Read| match read.amount {
        Amount::Unskipped { queries } => queries,
        _ => 1,
    };
    stage.reads.iter().map(of_read).max().unwrap_or(1)
}

/// What a stage reads of its weights from each tier: of each piece, evenly over what is stored.
fn weight_reads(stage: &Stage, residency: &Residency, tiers: usize) -> PerTier<Bytes> {
    let mut reads = PerTier::filled(tiers, Bytes::ZERO);
    for read in &stage.reads {
        if let Amount::Evenly(bytes) = read.amount {
            spread(bytes, residency.divided(read.region), &mut reads);
        }
    }
    reads
}

/// What tiers compute themselves of the weights of a stage: of each piece that a tier computes,
/// what is read there.
fn local_reads(
    stage: &Stage,
    residency: &Residency,
    regions: &Regions,
    runtime: &Runtime,
    tiers: usize,
) -> PerTier<Bytes> {
    let mut local = PerTier::filled(tiers, Bytes::ZERO);
    for read in &stage.reads {
        if let Amount::Evenly(bytes) = read.amount {
            let is_computed = runtime.computes().by_tier(tiers, &regions.region(read.region).contents);
            let mut reads = PerTier::filled(tiers, Bytes::ZERO);
            spread(bytes, residency.divided(read.region), &mut reads);
            reads.iter().filter(|(tier, _)| is_computed[*tier]).for_each(|(tier, bytes)| local[tier] += *bytes);
        }
    }
    local
}

/// The reach of what a stage reads of its weights from each tier.
fn weight_reaches(
    stage: &Stage,
    residency: &Residency,
    regions: &Regions,
    runtime: &Runtime,
    tiers: usize,
) -> PerTier<Reach> {
    let formats = weight_formats(stage, residency, regions, runtime, tiers);
    PerTier::from_fn(tiers, |tier| runtime.weights_reach(runtime.read_from(tier), &formats[tier]))
}

/// The formats of what a stage reads of its weights from each tier, experts that are units aside.
fn weight_formats(
    stage: &Stage,
    residency: &Residency,
    regions: &Regions,
    runtime: &Runtime,
    tiers: usize,
) -> PerTier<Vec<(Option<Format>, Bytes)>> {
    let mut pieces: Vec<(Option<Format>, PerTier<Bytes>)> = Vec::new();
    for read in &stage.reads {
        if let (Amount::Evenly(bytes), Contents::Weights { weights, .. }) =
            (read.amount, &regions.region(read.region).contents)
        {
            let mut reads = PerTier::filled(tiers, Bytes::ZERO);
            spread(bytes, residency.divided(read.region), &mut reads);
            let contents = &regions.region(read.region).contents;
            let is_computed = |tier| runtime.computes().of(tier).is_some_and(|of| of.computes(contents));
            for (_, bytes) in reads.iter_mut().filter(|(tier, _)| is_computed(*tier)) {
                *bytes = Bytes::ZERO;
            }
            pieces.push((weights.format, reads));
        }
    }
    PerTier::from_fn(tiers, |tier| pieces.iter().map(|(format, reads)| (*format, reads[tier])).collect())
}

/// What a stage reads of its weights and its state from each tier: of state, all that is stored.
fn constant_reads(stage: &Stage, residency: &Residency, tiers: usize) -> PerTier<Bytes> {
    let mut reads = weight_reads(stage, residency, tiers);
    for read in stage.reads.iter().filter(|read| read.amount == Amount::Whole) {
        residency.divided(read.region).iter().for_each(|(tier, bytes)| reads[tier] += *bytes);
    }
    reads
}

/// Adds a read of `bytes`, spread evenly over the `stored` bytes, to `reads`. The share of the
/// first tiers together is rounded to the nearest byte (halves up), so the parts add up to the
/// whole.
pub(in crate::simulation) fn spread(bytes: Bytes, stored: &PerTier<Bytes>, reads: &mut PerTier<Bytes>) {
    let whole: u128 = stored.values().map(|bytes| u128::from(bytes.get())).sum();
    let (mut below, mut read_below) = (Bytes::ZERO, Bytes::ZERO);
    for (tier, stored) in stored.iter() {
        below += *stored;
        let read = if whole == 0 { Bytes::ZERO } else { bytes.share(u128::from(below.get()), whole) };
        reads[tier] += read - read_below;
        read_below = read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_spread_evenly_over_what_is_stored() {
        let split = |bytes: u64, stored: [u64; 3]| -> Vec<u64> {
            let mut reads = PerTier::filled(3, Bytes::ZERO);
            spread(Bytes::new(bytes), &stored.map(Bytes::new).into_iter().collect(), &mut reads);
            reads.values().map(|bytes| bytes.get()).collect()
        };
        assert_eq!(split(100, [1, 1, 2]), [25, 25, 50]);
        assert_eq!(split(10, [1, 1, 1]), [3, 4, 3]);
        assert_eq!(split(1, [1, 0, 1]), [1, 0, 0]);
        assert_eq!(split(7, [0, 0, 9]), [0, 0, 7]);
        assert_eq!(split(0, [0, 0, 0]), [0, 0, 0]);
    }
}

//! The experts that a stage reads, where experts are units: those that the tokens of the step are
//! routed to, each from the tier where it lies.
//!
//! Which these are is known when the stage begins, so experts are not read early, and not copied
//! into a buffer before. From then on they are a part of what the stage reads of its weights: one
//! read for each tier, or one of their own where the other weights were read early.

use super::Run;
use super::completions::Purpose;
use super::turns::{Deferred, Turn};
use crate::memory::{Machine, Path, Pattern, PerTier, Request, TierId, TransferClass, Urgency};
use crate::simulation::probe::Probe;
use crate::units::{Bytes, RegionId, StageId, Table};
use crate::workload::{Amount, Format, Stage, Workload};

/// What stages read besides experts, of those stages that read some.
pub(super) struct ExpertReads {
    of_stages: Table<StageId, Option<OfStage>>,
    /// By tier, what the present stage reads of its experts.
    bytes: PerTier<Bytes>,
    /// The size of an expert.
    expert_bytes: Bytes,
}

struct OfStage {
    region: RegionId,
    /// What it reads of its other weights from each tier; and the formats of that, where reaches
    /// depend on them.
    others: PerTier<Bytes>,
    formats: Option<Formats>,
    /// Where tiers compute: what each computes of the others itself, and whether it computes
    /// experts.
    local: Option<(PerTier<Bytes>, PerTier<bool>)>,
}

/// By tier, bytes of each format.
type Formats = PerTier<Vec<(Option<Format>, Bytes)>>;

impl ExpertReads {
    /// Of stages that read none.
    pub fn none(tiers: usize) -> Self {
        Self { of_stages: Table::new(), bytes: PerTier::filled(tiers, Bytes::ZERO), expert_bytes: Bytes::ZERO }
    }

    /// Of stages that read the `others` of their weights from each tier besides.
    pub fn new(
        stages: &[Stage],
        others: &Table<StageId, PerTier<Bytes>>,
        formats: impl Fn(&Stage) -> Option<Formats>,
        local: impl Fn(StageId, RegionId) -> Option<(PerTier<Bytes>, PerTier<bool>)>,
        tiers: usize,
    ) -> Self {
        let of_stage = |(stage, (id, others)): (&Stage, (StageId, &PerTier<Bytes>))| {
            let read = stage.reads.iter().find(|read| matches!(read.amount, Amount::Routed { .. }))?;
            let (region, local) = (read.region, local(id, read.region));
            Some(OfStage { region, others: others.clone(), formats: formats(stage), local })
        };
        let of_stages: Table<StageId, Option<OfStage>> = stages.iter().zip(others.entries()).map(of_stage).collect();
        let none = Self::none(tiers);
        if of_stages.iter().all(Option::is_none) { none } else { Self { of_stages, ..none } }
    }

    /// Whether any stage reads experts that are units.
    #[inline]
    pub fn are_units(&self) -> bool {
        !self.of_stages.is_empty()
    }

    /// Forgets which experts the last step read: `weights` is what stages read without any, and
    /// `local` what tiers compute themselves of that.
    pub fn begin_step(&self, weights: &mut Table<StageId, PerTier<Bytes>>, local: &mut Table<StageId, PerTier<Bytes>>) {
        for (stage, of) in self.of_stages.entries() {
            let Some(of) = of else { continue };
            weights[stage].copy_from(&of.others);
            if let Some((others, _)) = &of.local {
                local[stage].copy_from(others);
            }
        }
    }

    /// Whether `tier` computes the experts of `stage` itself.
    fn is_local(&self, stage: StageId, tier: TierId) -> bool {
        match self.of_stages.get(stage) {
            Some(Some(OfStage { local: Some((_, computes)), .. })) => computes[tier],
            _ => false,
        }
    }

    /// The granule of a read of so many bytes of the weights of `stage`, experts included: an
    /// expert is contiguous.
    pub fn granule(&self, stage: StageId, present: Option<StageId>, bytes: Bytes) -> Bytes {
        match self.of_stages.get(stage) {
            Some(Some(_)) if present == Some(stage) => bytes.min(self.expert_bytes.max(Bytes::new(1))),
            _ => bytes,
        }
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Adds the experts that the present stage, of so many tokens, reads to its weights. Returns
    /// whether it reads any.
    pub(super) fn gather_experts(&mut self, machine: &mut Machine<Purpose>, id: StageId, tokens: usize) -> bool {
        let Some(Some(OfStage { region, .. })) = self.reads.experts.of_stages.get(id) else { return false };
        let (now, region) = (machine.now(), *region);
        let late = self.begin_paged_read(machine, region);
        let skipped = self.workload.window().skipped(0, region).expect("the window shows the present step");
        let pages = self.moves.residency_at(now, machine.fabric()).kv(region);
        let reads = &mut self.reads.experts;
        reads.expert_bytes = pages.page_bytes;
        let routed = &mut self.totals.experts;
        routed.late += late;
        for (tier, bytes) in reads.bytes.iter_mut() {
            let count = pages.read_on(tier, skipped, pages.live()) as u64;
            *bytes = pages.page_bytes.times(count);
            self.reads.weights[id][tier] += *bytes;
            routed.read[tier] += count;
            routed.bytes[tier] += *bytes;
        }
        if let Some(Some(OfStage { local: Some((_, computes)), .. })) = reads.of_stages.get(id) {
            for (tier, _) in computes.iter().filter(|(_, computes)| **computes) {
                self.reads.local[id][tier] += reads.bytes[tier];
            }
        }
        self.find_reaches(id, region);
        let runtime = self.scenario.runtime();
        if runtime.amplifies() {
            self.reads.find_crossing(id, tokens, runtime);
        }
        self.measured_experts.begin(id, now, &self.reads.weights[id]);
        true
    }

    /// The reach of what the present stage reads of its weights, where that depends on formats and
    /// sizes.
    fn find_reaches(&mut self, id: StageId, region: RegionId) {
        let Some(Some(of)) = self.reads.experts.of_stages.get(id) else { return };
        let (Some(formats), Some(experts)) = (&of.formats, self.workload.regions().experts(region)) else { return };
        let runtime = self.scenario.runtime();
        for (tier, others) in formats.iter() {
            let mut pieces = others.clone();
            if !self.reads.experts.is_local(id, tier) {
                pieces.extend(experts.formats(self.reads.experts.bytes[tier]));
            }
            self.reads.reaches[id][tier] = runtime.weights_reach(runtime.read_from(tier), &pieces);
        }
    }

    /// Issues the reads of the experts of the present stage, whose other weights were read early.
    pub(super) fn read_experts(&mut self, machine: &mut Machine<Purpose>, id: StageId, tokens: usize) {
        let runtime = self.scenario.runtime();
        let waits = runtime.staged_tiers().next().is_some();
        for tier in self.system.tier_ids().filter(|tier| !runtime.is_serial(*tier) && !runtime.is_staged(*tier)) {
            let bytes = self.reads.experts.bytes[tier];
            if bytes == Bytes::ZERO || self.reads.experts.is_local(id, tier) {
                continue;
            }
            let bytes = if runtime.amplifies() { runtime.crossing_weights(tier, tokens, bytes) } else { bytes };
            let reach = self.reads.weights_reach(id, tier);
            if waits {
                let granule = self.reads.experts.granule(id, self.present, bytes);
                self.turns.defer(Turn::Copied, Deferred { granule, ..Deferred::weights(tier, bytes, reach, None) });
            } else {
                self.reads.issued(id);
                machine.issue(Request {
                    class: TransferClass::WeightRead,
                    path: Path::Even(self.system.even_reads(tier)),
                    bytes,
                    granule: self.reads.experts.expert_bytes,
                    pattern: Pattern::Streams,
                    urgency: Urgency::Due,
                    reach,
                    tag: Purpose::Read { stage: id, tier },
                });
            }
        }
    }
}

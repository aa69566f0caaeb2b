//! Probes: how a run is observed.
//!
//! The engine measures nothing itself. It calls a [`Probe`] with what happens, at the simulated
//! time at which it happens; a probe keeps what it wants. Probes combine: a pair of probes, or a
//! probe that may be there, is a probe.

use super::waits::Waits;
use crate::memory::{Cancelled, Completed, PerTier, TierId, TransferClass};
use crate::units::{Bytes, LayerId, SimTime, Step};
use crate::workload::{PerLabel, StageLabel, StepBatch};
use std::ops::{AddAssign, ControlFlow};

/// What one step came to.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord<'a> {
    /// Which step.
    pub step: Step,
    /// The tokens before it, of its longest sequence.
    pub context: usize,
    /// The sequences that it decoded, and the parts of prompts that it computed.
    pub batch: &'a StepBatch,
    /// The tokens read, summed over KV regions.
    pub read_kv_tokens: u64,
    /// The over-read: KV of skipped tokens that was read because other tokens of their pages were
    /// not skipped.
    pub read_beyond: Bytes,
    /// From its start to the end of its last stage.
    pub latency: SimTime,
    /// When it ended.
    pub ended: SimTime,
    /// The least that any placement could have taken.
    pub bound: SimTime,
    /// Bytes read, weights and KV, by the stages of each label from each tier.
    pub read: &'a PerLabel<PerTier<Bytes>>,
    /// Bytes in use on each tier at its end, reservations included.
    pub used: &'a PerTier<Bytes>,
    /// Bytes of the migrations towards faster tiers that were issued in it.
    pub migrated_in: Bytes,
    /// Bytes of the migrations towards slower tiers that were issued in it.
    pub migrated_out: Bytes,
    /// Tokens that it read at the source of a move that was not complete, summed over KV regions.
    pub late_tokens: u64,
    /// The pages of KV that it read from the first tier, and from others.
    pub kv_hits: Hits,
    /// What was prefetched within it.
    pub prefetched: Prefetched,
    /// The experts that it read, where experts are units.
    pub experts: Option<&'a RoutedRead>,
}

/// Pages that were read from the first tier, and from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// How many were read from the first tier.
    pub hits: u64,
    /// How many were read from another.
    pub misses: u64,
    /// The bytes of the hits.
    pub hit_bytes: Bytes,
    /// The bytes of the misses: what was fetched on demand.
    pub missed_bytes: Bytes,
}

impl Hits {
    /// So many pages were read from `tier`.
    #[inline]
    pub(super) fn add(&mut self, tier: TierId, pages: usize, bytes: Bytes) {
        let (count, sum) = match tier {
            TierId::HBM => (&mut self.hits, &mut self.hit_bytes),
            _ => (&mut self.misses, &mut self.missed_bytes),
        };
        *count += pages as u64;
        *sum += bytes;
    }
}

impl AddAssign for Hits {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.hit_bytes += other.hit_bytes;
        self.missed_bytes += other.missed_bytes;
    }
}

/// The bytes of the pages that were prefetched within steps, by what came of them. All that is
/// issued in a step is useful, late or wrong when its layer has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefetched {
    /// All of them.
    pub issued: Bytes,
    /// Had arrived when they were read.
    pub useful: Bytes,
    /// Were read where they had been, as they had not arrived.
    pub late: Bytes,
    /// Were not read.
    pub wrong: Bytes,
}

impl AddAssign for Prefetched {
    fn add_assign(&mut self, other: Self) {
        self.issued += other.issued;
        self.useful += other.useful;
        self.late += other.late;
        self.wrong += other.wrong;
    }
}

/// The experts that a step read, over all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedRead {
    /// How many, by the tier where they lay.
    pub read: PerTier<u64>,
    /// Their bytes.
    pub bytes: PerTier<Bytes>,
    /// How many it read at the source of a move that was not complete.
    pub late: u64,
}

impl RoutedRead {
    /// None, of so many tiers.
    #[must_use]
    pub fn none(tiers: usize) -> Self {
        Self { read: PerTier::filled(tiers, 0), bytes: PerTier::filled(tiers, Bytes::ZERO), late: 0 }
    }

    /// Those that lay on the first tier, and the others.
    #[must_use]
    pub fn hits(&self) -> Hits {
        let mut hits = Hits::default();
        for (tier, &count) in self.read.iter() {
            hits.add(tier, count as usize, self.bytes[tier]);
        }
        hits
    }
}

impl StepRecord<'_> {
    /// Bytes read from `tier`, weights and KV, by all stages.
    #[must_use]
    pub fn read_from(&self, tier: TierId) -> Bytes {
        self.read.iter().map(|(_, read)| read[tier]).sum()
    }
}

/// Between which tiers a transfer went; the chip is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where it read.
    pub source: Option<TierId>,
    /// Where it wrote.
    pub destination: Option<TierId>,
}

impl Ends {
    /// The tier for which it counts: where it read from, or wrote or moved to.
    #[must_use]
    pub fn tier(self) -> TierId {
        self.destination.or(self.source).unwrap_or(TierId::HBM)
    }
}

/// Watches a run. Every method has an empty default.
pub trait Probe {
    /// A step begins at `now`.
    fn begin_step(&mut self, step: Step, now: SimTime) {
        let _ = (step, now);
    }

    /// A transfer has completed.
    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, ends: Ends) {
        let _ = (transfer, ends);
    }

    /// A migration was late and has been dropped.
    fn dropped<Tag>(&mut self, transfer: &Cancelled<Tag>, ends: Ends) {
        let _ = (transfer, ends);
    }

    /// Whether it wants to know what lanes carry at this moment of the run.
    fn watches_lanes(&self) -> bool {
        false
    }

    /// From `now` until the next call, each lane carries so many bytes a second.
    fn lane_rates(&mut self, now: SimTime, rates: &[f64]) {
        let _ = (now, rates);
    }

    /// Whether it wants to know what the present stage waits for at this moment of the run.
    fn watches_waits(&self) -> bool {
        false
    }

    /// From `now` until the next call, the present stage waits for this.
    fn waits(&mut self, now: SimTime, waits: &Waits<'_>) {
        let _ = (now, waits);
    }

    /// A migration of `class` has completed, so long after the reads that it was meant for were
    /// issued; 0 if in time.
    fn lateness(&mut self, class: TransferClass, late: SimTime) {
        let _ = (class, late);
    }

    /// The fixed time of the present stage, in which it neither read nor computed, is over.
    fn fixed(&mut self, time: SimTime) {
        let _ = time;
    }

    /// A stage has ended, `time` after it began. What arrived last is what it waited for: the reads
    /// of `awaited` (of those that arrived at the same instant, the fastest tier's), or its compute
    /// where that is `None`.
    fn stage(&mut self, label: StageLabel, awaited: Option<TierId>, time: SimTime) {
        let _ = (label, awaited, time);
    }

    /// A layer has begun and ended at these times.
    fn layer(&mut self, layer: LayerId, began: SimTime, ended: SimTime) {
        let _ = (layer, began, ended);
    }

    /// A stage that belongs to no layer (the embedding, the head) has begun and ended at these
    /// times.
    fn outside_layers(&mut self, label: StageLabel, began: SimTime, ended: SimTime) {
        let _ = (label, began, ended);
    }

    /// A step has ended. `Break` interrupts the run.
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }
}

/// Watches nothing.
impl Probe for () {}

/// Watches if it is there.
impl<A: Probe> Probe for Option<A> {
    fn begin_step(&mut self, step: Step, now: SimTime) {
        self.iter_mut().for_each(|probe| probe.begin_step(step, now));
    }

    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, ends: Ends) {
        self.iter_mut().for_each(|probe| probe.transfer(transfer, ends));
    }

    fn dropped<Tag>(&mut self, transfer: &Cancelled<Tag>, ends: Ends) {
        self.iter_mut().for_each(|probe| probe.dropped(transfer, ends));
    }

    fn watches_lanes(&self) -> bool {
        self.iter().any(Probe::watches_lanes)
    }

    fn lane_rates(&mut self, now: SimTime, rates: &[f64]) {
        self.iter_mut().for_each(|probe| probe.lane_rates(now, rates));
    }

    fn watches_waits(&self) -> bool {
        self.iter().any(Probe::watches_waits)
    }

    fn waits(&mut self, now: SimTime, waits: &Waits<'_>) {
        self.iter_mut().for_each(|probe| probe.waits(now, waits));
    }

    fn lateness(&mut self, class: TransferClass, late: SimTime) {
        self.iter_mut().for_each(|probe| probe.lateness(class, late));
    }

    fn fixed(&mut self, time: SimTime) {
        self.iter_mut().for_each(|probe| probe.fixed(time));
    }

    fn stage(&mut self, label: StageLabel, awaited: Option<TierId>, time: SimTime) {
        self.iter_mut().for_each(|probe| probe.stage(label, awaited, time));
    }

    fn layer(&mut self, layer: LayerId, began: SimTime, ended: SimTime) {
        self.iter_mut().for_each(|probe| probe.layer(layer, began, ended));
    }

    fn outside_layers(&mut self, label: StageLabel, began: SimTime, ended: SimTime) {
        self.iter_mut().for_each(|probe| probe.outside_layers(label, began, ended));
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.iter_mut().try_for_each(|probe| probe.step(step))
    }
}

/// Both watch, the first first; either may interrupt.
impl<A: Probe, B: Probe> Probe for (A, B) {
    fn begin_step(&mut self, step: Step, now: SimTime) {
        self.0.begin_step(step, now);
        self.1.begin_step(step, now);
    }

    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, ends: Ends) {
        self.0.transfer(transfer, ends);
        self.1.transfer(transfer, ends);
    }

    fn dropped<Tag>(&mut self, transfer: &Cancelled<Tag>, ends: Ends) {
        self.0.dropped(transfer, ends);
        self.1.dropped(transfer, ends);
    }

    fn watches_lanes(&self) -> bool {
        self.0.watches_lanes() || self.1.watches_lanes()
    }

    fn lane_rates(&mut self, now: SimTime, rates: &[f64]) {
        self.0.lane_rates(now, rates);
        self.1.lane_rates(now, rates);
    }

    fn watches_waits(&self) -> bool {
        self.0.watches_waits() || self.1.watches_waits()
    }

    fn waits(&mut self, now: SimTime, waits: &Waits<'_>) {
        self.0.waits(now, waits);
        self.1.waits(now, waits);
    }

    fn lateness(&mut self, class: TransferClass, late: SimTime) {
        self.0.lateness(class, late);
        self.1.lateness(class, late);
    }

    fn fixed(&mut self, time: SimTime) {
        self.0.fixed(time);
        self.1.fixed(time);
    }

    fn stage(&mut self, label: StageLabel, awaited: Option<TierId>, time: SimTime) {
        self.0.stage(label, awaited, time);
        self.1.stage(label, awaited, time);
    }

    fn layer(&mut self, layer: LayerId, began: SimTime, ended: SimTime) {
        self.0.layer(layer, began, ended);
        self.1.layer(layer, began, ended);
    }

    fn outside_layers(&mut self, label: StageLabel, began: SimTime, ended: SimTime) {
        self.0.outside_layers(label, began, ended);
        self.1.outside_layers(label, began, ended);
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        match self.0.step(step) {
            ControlFlow::Continue(()) => self.1.step(step),
            stop => stop,
        }
    }
}

//! What came of the present step and of the stage that read KV last.

use crate::memory::{PerTier, TierId};
use crate::simulation::probe::{Hits, Prefetched, RoutedRead};
use crate::units::{Bytes, SimTime, StageId};
use crate::workload::PerLabel;

/// What happened in the step so far.
pub(super) struct StepTotals {
    /// Tokens read, summed over KV regions.
    pub read_kv_tokens: u64,
    /// KV read of skipped tokens, as others of their pages were not skipped.
    pub read_beyond: Bytes,
    /// Bytes read, weights and KV, by the stages of each label from each tier.
    pub read: PerLabel<PerTier<Bytes>>,
    /// Bytes of the moves that were issued, by direction.
    pub migrated_in: Bytes,
    pub migrated_out: Bytes,
    /// Tokens read at the source of a move that was not complete.
    pub late_tokens: u64,
    /// Pages of KV read from HBM and from elsewhere.
    pub kv_hits: Hits,
    /// What was prefetched in it.
    pub prefetched: Prefetched,
    /// The experts that were read, where they are units.
    pub experts: RoutedRead,
}

impl StepTotals {
    pub fn new(tiers: usize) -> Self {
        Self {
            read_kv_tokens: 0,
            read_beyond: Bytes::ZERO,
            read: PerLabel::from_fn(|_| PerTier::filled(tiers, Bytes::ZERO)),
            migrated_in: Bytes::ZERO,
            migrated_out: Bytes::ZERO,
            late_tokens: 0,
            kv_hits: Hits::default(),
            prefetched: Prefetched::default(),
            experts: RoutedRead::none(tiers),
        }
    }

    pub fn reset(&mut self) {
        self.read_kv_tokens = 0;
        self.read_beyond = Bytes::ZERO;
        self.read.values_mut().for_each(|read| read.fill(Bytes::ZERO));
        self.migrated_in = Bytes::ZERO;
        self.migrated_out = Bytes::ZERO;
        self.late_tokens = 0;
        self.kv_hits = Hits::default();
        self.prefetched = Prefetched::default();
        self.experts.read.fill(0);
        self.experts.bytes.fill(Bytes::ZERO);
        self.experts.late = 0;
    }
}

/// What the last stage with KV reads read from each tier, and how long it waited for that: what a
/// strategy can measure.
pub(super) struct Measured {
    pub stage: StageId,
    issued: SimTime,
    pub read: PerTier<Bytes>,
    /// Of these, what it read of an index.
    pub index: Bytes,
    pub waited: PerTier<SimTime>,
}

impl Measured {
    pub fn new(tiers: usize) -> Self {
        Self {
            stage: StageId::default(),
            issued: SimTime::ZERO,
            read: PerTier::filled(tiers, Bytes::ZERO),
            index: Bytes::ZERO,
            waited: PerTier::filled(tiers, SimTime::ZERO),
        }
    }

    /// `stage` issues its KV reads at `now`, beside those of its `weights`.
    pub fn begin(&mut self, stage: StageId, now: SimTime, weights: &PerTier<Bytes>) {
        (self.stage, self.issued) = (stage, now);
        self.read.copy_from(weights);
        self.index = Bytes::ZERO;
        self.waited.fill(SimTime::ZERO);
    }

    /// A read of `stage` from `tier` has arrived at `now`.
    pub fn arrived(&mut self, stage: StageId, tier: TierId, now: SimTime) {
        if stage == self.stage {
            self.waited[tier] = now.saturating_sub(self.issued);
        }
    }
}

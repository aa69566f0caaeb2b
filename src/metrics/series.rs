//! The values of every step of a run, in memory.
//!
//! A [`Series`] has one record of fixed size for each step and one for each step and tier, so a run
//! of n steps on t tiers takes O(n t) memory, and recording a step within the reserved capacity
//! does not allocate. Everything that is plotted or written step by step is computed from it:
//! `steps.csv`, `steps.parquet`, and the curves of memory in use, alpha and latency.

use crate::simulation::StepRecord;
use crate::units::{Bytes, SimTime};
use std::ops::Deref;

/// The values of every step of a run that are kept in memory and in `steps.csv`.
///
/// The columns of that file are in [`super::STEP_COLUMNS`]; reading a folder back fills a series
/// through the same table, so a series that was read back equals the one that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    tiers: usize,
    steps: Vec<StepValues>,
    /// By step, then tier.
    by_tier: Vec<TierBytes>,
}

/// The values of one step that do not belong to a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepValues {
    /// Tokens in the KV cache before the step, of the longest sequence.
    pub context: usize,
    /// The sequences that have begun and not ended, those that wait for their prompts included.
    pub sequences: usize,
    /// The sequences that decode a token each.
    pub decoding: usize,
    /// The tokens of prompts that are computed.
    pub prompt_tokens: usize,
    /// Tokens whose KV was read: the sum over layers.
    pub read_kv_tokens: u64,
    /// From the step's start to its end.
    pub latency: SimTime,
    /// The lower bound on its time over all placements.
    pub bound: SimTime,
    /// Migration towards faster tiers, as it was issued.
    pub migrated_in: Bytes,
    /// Migration towards slower tiers, as it was issued.
    pub migrated_out: Bytes,
    /// Tokens read at the source of a move that was not complete.
    pub late_tokens: u64,
    /// Pages of KV read from the first tier.
    pub hit_pages: u64,
    /// Pages of KV read from other tiers.
    pub missed_pages: u64,
}

/// The bytes of one step on one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierBytes {
    /// Weights and KV read from the tier.
    pub read: Bytes,
    /// Bytes in use at the end of the step.
    pub used: Bytes,
}

/// One step of a [`Series`]; its [values](StepValues) can be read as if they were its own fields.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The step's number, from 0.
    pub step: usize,
    /// The values that do not belong to a tier.
    pub values: StepValues,
    /// The values of each tier, the fastest first.
    pub by_tier: &'a [TierBytes],
}

impl Deref for Step<'_> {
    type Target = StepValues;

    fn deref(&self) -> &StepValues {
        &self.values
    }
}

impl Step<'_> {
    /// Tier 0's share of the bytes read; not a number where nothing was read.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        let all: Bytes = self.by_tier.iter().map(|tier| tier.read).sum();
        self.by_tier[0].read.as_f64() / all.as_f64()
    }
}

impl From<&StepRecord<'_>> for StepValues {
    fn from(step: &StepRecord<'_>) -> Self {
        Self {
            context: step.context,
            sequences: step.batch.sequences,
            decoding: step.batch.decoding.len(),
            prompt_tokens: step.batch.prompt_tokens(),
            read_kv_tokens: step.read_kv_tokens,
            latency: step.latency,
            bound: step.bound,
            migrated_in: step.migrated_in,
            migrated_out: step.migrated_out,
            late_tokens: step.late_tokens,
            hit_pages: step.kv_hits.hits,
            missed_pages: step.kv_hits.misses,
        }
    }
}

impl Series {
    /// An empty series for `tiers` tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self::with_capacity(tiers, 0)
    }

    /// An empty series with capacity for `steps` steps: recording that many does not allocate.
    #[must_use]
    pub fn with_capacity(tiers: usize, steps: usize) -> Self {
        Self { tiers, steps: Vec::with_capacity(steps), by_tier: Vec::with_capacity(steps * tiers) }
    }

    /// Appends a step of a run; its hits where the migration is a cache.
    pub(super) fn push(&mut self, step: &StepRecord<'_>, cached: bool) {
        debug_assert_eq!((step.step.index(), step.used.len()), (self.steps.len(), self.tiers));
        let values = StepValues::from(step);
        let (hit_pages, missed_pages) = if cached { (values.hit_pages, values.missed_pages) } else { (0, 0) };
        self.steps.push(StepValues { hit_pages, missed_pages, ..values });
        self.by_tier.extend(step.used.iter().map(|(tier, used)| TierBytes { read: step.read_from(tier), used: *used }));
    }

    /// Appends a step that was read back. Its number must be the present length, and it must have
    /// as many tiers as the series.
    pub fn append(&mut self, step: &Step<'_>) {
        debug_assert_eq!((step.step, step.by_tier.len()), (self.steps.len(), self.tiers));
        self.steps.push(step.values);
        self.by_tier.extend_from_slice(step.by_tier);
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// All steps, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step<'_>> {
        self.steps.iter().enumerate().map(|(step, values)| Step {
            step,
            values: *values,
            by_tier: &self.by_tier[step * self.tiers..(step + 1) * self.tiers],
        })
    }
}

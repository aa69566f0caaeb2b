use crate::simulation::StepRecord;
use crate::units::{Bytes, SimTime};

/// What is kept of every step.
#[derive(Clone, Debug)]
pub struct Series {
    tiers: usize,
    rows: Vec<Row>,
    /// For each step and tier: bytes read, bytes in use.
    by_tier: Vec<(Bytes, Bytes)>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    context: usize,
    read_kv_tokens: u64,
    read_beyond: Bytes,
    latency: SimTime,
    bound: SimTime,
    migrated_in: Bytes,
    migrated_out: Bytes,
    late_tokens: u64,
}

/// One step of a [`Series`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Step<'a> {
    pub step: usize,
    pub context: usize,
    pub read_kv_tokens: u64,
    pub read_beyond: Bytes,
    pub latency: SimTime,
    pub bound: SimTime,
    pub migrated_in: Bytes,
    pub migrated_out: Bytes,
    pub late_tokens: u64,
    /// For each tier: bytes read, bytes in use at the end.
    pub by_tier: &'a [(Bytes, Bytes)],
}

impl Step<'_> {
    /// Tier 0's share of the bytes read.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        let all: Bytes = self.by_tier.iter().map(|(read, _)| *read).sum();
        self.by_tier[0].0.as_f64() / all.as_f64()
    }
}

impl Series {
    /// No steps yet, of so many tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self::with_capacity(tiers, 0)
    }

    /// The same with room for so many steps.
    #[must_use]
    pub fn with_capacity(tiers: usize, steps: usize) -> Self {
        Self { tiers, rows: Vec::with_capacity(steps), by_tier: Vec::with_capacity(steps * tiers) }
    }

    pub(super) fn push(&mut self, step: &StepRecord<'_>) {
        debug_assert_eq!(step.step, self.rows.len());
        self.rows.push(Row {
            context: step.context,
            read_kv_tokens: step.read_kv_tokens,
            read_beyond: step.read_beyond,
            latency: step.latency,
            bound: step.bound,
            migrated_in: step.migrated_in,
            migrated_out: step.migrated_out,
            late_tokens: step.late_tokens,
        });
        for tier in 0..self.tiers {
            self.by_tier.push((step.attention_read[tier] + step.mlp_read[tier], step.used[tier]));
        }
    }

    /// Adds a step that was read back. Its number is its place; its tiers must be as many as the series'.
    pub fn append(&mut self, step: &Step<'_>) {
        debug_assert_eq!((step.step, step.by_tier.len()), (self.rows.len(), self.tiers));
        self.rows.push(Row {
            context: step.context,
            read_kv_tokens: step.read_kv_tokens,
            read_beyond: step.read_beyond,
            latency: step.latency,
            bound: step.bound,
            migrated_in: step.migrated_in,
            migrated_out: step.migrated_out,
            late_tokens: step.late_tokens,
        });
        self.by_tier.extend_from_slice(step.by_tier);
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All steps, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step<'_>> {
        self.rows.iter().enumerate().map(|(step, row)| Step {
            step,
            context: row.context,
            read_kv_tokens: row.read_kv_tokens,
            read_beyond: row.read_beyond,
            latency: row.latency,
            bound: row.bound,
            migrated_in: row.migrated_in,
            migrated_out: row.migrated_out,
            late_tokens: row.late_tokens,
            by_tier: &self.by_tier[step * self.tiers..(step + 1) * self.tiers],
        })
    }
}

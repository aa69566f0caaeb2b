//! What stages read of their weights, by the number of tokens that they compute.

use super::kinds::StageKind;
use crate::memory::{PerTier, Reach};
use crate::simulation::engine::spread;
use crate::units::Bytes;
use crate::workload::{Format, Growth, Runtime};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What a stage of some kind reads of its weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WeightReads {
    /// What it needs from each tier.
    pub needed: PerTier<Bytes>,
    /// What of that crosses each tier's link, and what beside it.
    pub crossing: PerTier<Bytes>,
    pub reach: PerTier<Reach>,
    /// What it needs in all.
    pub total: Bytes,
}

impl WeightReads {
    fn new(kind: &StageKind, tokens: u32, runtime: &Runtime, tiers: usize) -> Self {
        let mut needed = PerTier::filled(tiers, Bytes::ZERO);
        let mut pieces: Vec<(Option<Format>, PerTier<Bytes>)> = Vec::with_capacity(kind.pieces.len());
        for piece in &kind.pieces {
            let mut reads = PerTier::filled(tiers, Bytes::ZERO);
            spread(piece.weights.read_at(tokens), &piece.on, &mut reads);
            reads.iter().for_each(|(tier, bytes)| needed[tier] += *bytes);
            pieces.push((piece.weights.format, reads));
        }
        let reach = PerTier::from_fn(tiers, |tier| {
            let of_tier: Vec<_> = pieces.iter().map(|(format, reads)| (*format, reads[tier])).collect();
            runtime.weights_reach(tier, &of_tier)
        });
        let crossing = PerTier::from_fn(tiers, |tier| runtime.crossing_weights(tier, tokens as usize, needed[tier]));
        Self { total: needed.values().copied().sum(), needed, crossing, reach }
    }
}

/// The weight reads of all kinds, found when they are first asked for.
pub(super) struct KnownReads {
    /// By kind, whether they are the same for any number of tokens.
    constant: Vec<bool>,
    tiers: usize,
    known: FxHashMap<(usize, u32), Arc<WeightReads>>,
}

impl KnownReads {
    pub fn new(kinds: &[StageKind], runtime: &Runtime, tiers: usize) -> Self {
        let is_fixed = |kind: &StageKind| kind.pieces.iter().all(|piece| matches!(piece.weights.growth, Growth::Fixed));
        let constant = kinds.iter().map(|kind| is_fixed(kind) && !runtime.amplifies()).collect();
        Self { constant, tiers, known: FxHashMap::default() }
    }

    /// What a stage of kind number `number` reads for `tokens` tokens.
    pub fn of(&mut self, number: usize, kind: &StageKind, tokens: u32, runtime: &Runtime) -> Arc<WeightReads> {
        let tokens_of_key = if self.constant[number] { 0 } else { tokens };
        let tiers = self.tiers;
        let found = self.known.entry((number, tokens_of_key));
        Arc::clone(found.or_insert_with(|| Arc::new(WeightReads::new(kind, tokens, runtime, tiers))))
    }
}

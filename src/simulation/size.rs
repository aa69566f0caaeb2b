//! Whether a scenario's sizes can be counted and laid out, before anything is computed with them.

use super::config::ScenarioConfig;
use super::refused::{InGroup, MAX_RESIDENCIES, ScenarioError};
use crate::memory::{MemorySystem, ResidencyKind, Tier};
use crate::units::Bytes;
use crate::workload::{LanguageModel, MAX_TOKENS, PrefillConfig, Sequence, Sequences};

/// Whether the tokens of each sequence, and those of all together, are few enough to be counted and
/// laid out.
pub(super) fn check_tokens(
    model: &LanguageModel,
    tiers: usize,
    config: &ScenarioConfig,
    sequences: &Sequences,
) -> Result<(), ScenarioError> {
    let all = |of: &Sequence| (of.prefill + of.decode) as u64;
    if let Some(long) = sequences.all().iter().find(|of| all(of) > MAX_TOKENS) {
        let group = (!config.sequences.is_empty()).then_some(long.group);
        return Err(ScenarioError::TooManyTokens { group: InGroup(group), tokens: all(long) });
    }
    let (layers, page) = (model.kv_regions(), u64::from(config.page_tokens));
    let each = (layers * tiers) as u64;
    if sequences.count() == 1 {
        let tokens = sequences.all().iter().map(all).sum::<u64>();
        if tokens * each > MAX_RESIDENCIES {
            return Err(ScenarioError::TooManyResidencies { tokens, layers, tiers });
        }
    }
    let pages_of = |of: &Sequence| all(of).div_ceil(page);
    let pages: u64 = sequences.all().iter().map(pages_of).sum();
    if pages.saturating_mul(each) > MAX_RESIDENCIES {
        let count = sequences.count();
        let remedy = if config.sequences.is_empty() {
            let a_sequence = sequences.all().iter().map(pages_of).max().unwrap_or(1).saturating_mul(each).max(1);
            format!("write at most batch: {}, or larger pages (page_tokens)", (MAX_RESIDENCIES / a_sequence).max(1))
        } else {
            "write fewer or shorter sequences, or larger pages (page_tokens)".to_owned()
        };
        let field = if config.sequences.is_empty() { "batch" } else { "sequences" };
        return Err(ScenarioError::TooManyPages { field, count, pages, page, layers, tiers, remedy });
    }
    Ok(())
}

/// Whether the totals of a run of so many steps fit a `u64`.
pub(super) fn check_size(
    model: &LanguageModel,
    config: &ScenarioConfig,
    sequences: &Sequences,
    steps: usize,
) -> Result<(), ScenarioError> {
    let layers = model.layers();
    let all = |of: &Sequence| (of.prefill + of.decode) as u64;
    let page_tokens = u128::from(config.page_tokens);
    let kv_bytes = model.kv_bytes().iter().copied().max().unwrap_or_default();
    if page_tokens * u128::from(kv_bytes.get()) > u128::from(Bytes::MAX_INPUT.get()) {
        return Err(ScenarioError::PageTooLarge { page_tokens: config.page_tokens, kv_bytes });
    }
    let weights: u128 = model.weights().map(|weights| u128::from(weights.read.get())).sum();
    // KV lies, moves and is read in whole pages. As much again for what migration may carry, and
    // each layer that reads the KV of another reads it once more.
    let reads = if model.kv().entries().any(|(layer, kv)| kv.source != layer) { layers as u128 } else { 1 };
    let sizes = KvSizes::new(model, config.page_tokens);
    let kv: u128 = sequences.all().iter().map(|of| sizes.of(all(of))).sum();
    let a_step = weights + 2 * reads * kv;
    let bytes = (steps as u128).saturating_mul(a_step);
    if bytes > u128::from(u64::MAX) / 2 {
        let steps = steps as u64;
        return Err(match sequences.prefill() {
            PrefillConfig::Given => ScenarioError::TooManyBytes { steps, bytes },
            PrefillConfig::Timed { chunk_tokens, .. } => ScenarioError::TooManyChunks { chunk_tokens, steps, bytes },
        });
    }
    Ok(())
}

/// What all tiers hold together; under inclusive residency the last one, which has a copy of all.
pub(super) fn capacity(memory: &MemorySystem) -> u128 {
    let of = |tier: &Tier| u128::from(tier.capacity.get());
    match memory.residency() {
        ResidencyKind::Exclusive => memory.tiers().iter().map(of).sum(),
        ResidencyKind::Inclusive => of(&memory.tiers()[memory.last_tier().index()]),
    }
}

/// Whether the weights and the prefill KV of a single sequence fit on the tiers.
pub(super) fn check_room(
    model: &LanguageModel,
    memory: &MemorySystem,
    sequences: &Sequences,
    page_tokens: u32,
) -> Result<(), ScenarioError> {
    let narrow = |bytes: u128| Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX));
    let weights = model.stored_weights();
    let prefill: u64 = sequences.all().iter().map(|of| of.prefill as u64).sum();
    let kv = stored_kv(model, prefill, page_tokens);
    let capacity = capacity(memory);
    let needed = u128::from(weights.get()) + kv;
    if needed > capacity {
        return Err(ScenarioError::DoesNotFit {
            weights,
            prefill,
            kv: narrow(kv),
            missing: narrow(needed - capacity),
            capacity: narrow(capacity),
        });
    }
    Ok(())
}

/// What the KV of so many tokens and the state of one sequence occupy: KV in whole pages, those
/// that its layer's attention window overlaps.
pub(super) fn stored_kv(model: &LanguageModel, tokens: u64, page_tokens: u32) -> u128 {
    KvSizes::new(model, page_tokens).of(tokens)
}

/// What the KV and the state of a sequence occupy, by its tokens. Layers that are alike are one
/// entry, so that many sequences are counted quickly.
pub(super) struct KvSizes {
    page_tokens: u64,
    /// A window, the bytes of a token and how many layers have these.
    layers: Vec<(Option<u32>, Bytes, u64)>,
    /// Of all layers, whatever the tokens.
    state: u128,
}

impl KvSizes {
    pub fn new(model: &LanguageModel, page_tokens: u32) -> Self {
        let mut sizes = Self { page_tokens: page_tokens.into(), layers: Vec::new(), state: 0 };
        for (layer, kv) in model.kv().entries() {
            sizes.state += u128::from(kv.state.get());
            // A layer that reads the KV of another has none of its own.
            if kv.source != layer {
                continue;
            }
            let alike = |of: &&mut (Option<u32>, Bytes, u64)| (of.0, of.1) == (kv.window, kv.token_bytes);
            match sizes.layers.iter_mut().find(alike) {
                Some((_, _, count)) => *count += 1,
                None => sizes.layers.push((kv.window, kv.token_bytes, 1)),
            }
        }
        sizes
    }

    /// Those of a sequence of so many tokens.
    pub fn of(&self, tokens: u64) -> u128 {
        let of_layers = |(window, token_bytes, count): &(Option<u32>, Bytes, u64)| {
            let gone = window.map_or(0, |window| tokens.saturating_sub(window.into()));
            let pages = tokens.div_ceil(self.page_tokens) - gone / self.page_tokens;
            u128::from(pages * self.page_tokens) * u128::from(token_bytes.get()) * u128::from(*count)
        };
        self.state + self.layers.iter().map(of_layers).sum::<u128>()
    }
}

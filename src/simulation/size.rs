//! Whether a scenario's sizes can be counted and laid out, before anything is computed with them.

use super::config::ScenarioConfig;
use super::refused::{MAX_RESIDENCIES, ScenarioError};
use crate::memory::{MemorySystem, ResidencyKind};
use crate::units::{Bytes, LayerId};
use crate::workload::{LanguageModel, LayerKv, Sequence, Sequences};

/// Whether the run fits this machine's memory and its totals fit a `u64`.
pub(super) fn check_size(
    model: &LanguageModel,
    tiers: usize,
    config: &ScenarioConfig,
    sequences: &Sequences,
) -> Result<(), ScenarioError> {
    let layers = model.layers();
    let all = |of: &Sequence| (of.prefill + of.decode) as u64;
    let tokens: u64 = sequences.all().iter().map(all).sum();
    let page = u64::from(config.page_tokens);
    if sequences.all().iter().map(|of| all(of).div_ceil(page)).sum::<u64>().saturating_mul((layers * tiers) as u64)
        > MAX_RESIDENCIES
        || (sequences.count() == 1 && tokens * (layers * tiers) as u64 > MAX_RESIDENCIES)
    {
        return Err(ScenarioError::TooManyResidencies { tokens, layers, tiers });
    }
    let page_tokens = u128::from(config.page_tokens);
    let kv_bytes = model.kv_bytes().iter().copied().max().unwrap_or_default();
    if page_tokens * u128::from(kv_bytes.get()) > u128::from(Bytes::MAX_INPUT.get()) {
        return Err(ScenarioError::PageTooLarge { page_tokens: config.page_tokens, kv_bytes });
    }
    let weights: u128 = model.weights().map(|weights| u128::from(weights.read.get())).sum();
    // KV lies, moves and is read in whole pages. As much again for what migration may carry, and
    // each layer that reads the KV of another reads it once more.
    let reads = if model.kv().entries().any(|(layer, kv)| kv.source != layer) { layers as u128 } else { 1 };
    let kv: u128 = sequences.all().iter().map(|of| stored_kv(model, all(of), config.page_tokens)).sum();
    let a_step = weights + 2 * reads * kv;
    // Chunks of prompts are steps as well, at most as many as prompts have tokens; a sequence begins
    // at the latest when those before it have ended.
    let steps = if sequences.prefill().is_given() {
        sequences.all().iter().map(|of| (of.start + of.decode) as u64).max().unwrap_or(0)
    } else {
        tokens
    };
    let bytes = u128::from(steps) * a_step;
    if bytes > u128::from(u64::MAX) / 2 {
        return Err(ScenarioError::TooManyBytes { steps, bytes });
    }
    Ok(())
}

/// Whether the weights and the prefill KV fit on the tiers.
pub(super) fn check_room(
    model: &LanguageModel,
    memory: &MemorySystem,
    sequences: &Sequences,
    page_tokens: u32,
) -> Result<(), ScenarioError> {
    let wide = |bytes: Bytes| u128::from(bytes.get());
    let narrow = |bytes: u128| Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX));
    let weights = model.stored_weights();
    // Those that are there at the start, at the least.
    let at_start = || sequences.all().iter().filter(|of| of.start == 0);
    let kv: u128 = at_start().map(|of| stored_kv(model, of.prefill as u64, page_tokens)).sum();
    let capacity: u128 = match memory.residency() {
        ResidencyKind::Exclusive => memory.tiers().iter().map(|tier| wide(tier.capacity)).sum(),
        // The last tier must hold a copy of all.
        ResidencyKind::Inclusive => wide(memory.tiers()[memory.last_tier().index()].capacity),
    };
    let needed = wide(weights) + kv;
    if needed > capacity {
        return Err(ScenarioError::DoesNotFit {
            weights,
            prefill: at_start().map(|of| of.prefill as u64).sum(),
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
    let page_tokens = u64::from(page_tokens);
    let of_layer = |(layer, kv): (LayerId, &LayerKv)| {
        let gone = kv.window.map_or(0, |window| tokens.saturating_sub(window.into()));
        let pages = tokens.div_ceil(page_tokens) - gone / page_tokens;
        // A layer that reads the KV of another has none of its own.
        let token_bytes = if kv.source == layer { kv.token_bytes } else { Bytes::ZERO };
        u128::from(pages * page_tokens) * u128::from(token_bytes.get()) + u128::from(kv.state.get())
    };
    model.kv().entries().map(of_layer).sum()
}

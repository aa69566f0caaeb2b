//! Whether a scenario's sizes can be counted and laid out, before anything is computed with them.

use super::config::ScenarioConfig;
use super::refused::{MAX_RESIDENCIES, ScenarioError};
use crate::memory::{MemorySystem, ResidencyKind};
use crate::units::Bytes;
use crate::workload::LanguageModel;

/// Whether the run fits this machine's memory and its totals fit a `u64`.
pub(super) fn check_size(model: &LanguageModel, tiers: usize, config: &ScenarioConfig) -> Result<(), ScenarioError> {
    let layers = model.layers();
    let tokens = u64::from(config.prefill_tokens) + u64::from(config.decode_tokens);
    if tokens * (layers * tiers) as u64 > MAX_RESIDENCIES {
        return Err(ScenarioError::TooManyResidencies { tokens, layers, tiers });
    }
    let page_tokens = u128::from(config.page_tokens);
    let kv_bytes = model.kv_bytes().iter().copied().max().unwrap_or_default();
    if page_tokens * u128::from(kv_bytes.get()) > u128::from(Bytes::MAX_INPUT.get()) {
        return Err(ScenarioError::PageTooLarge { page_tokens: config.page_tokens, kv_bytes });
    }
    let weights: u128 = model.weights().map(|weights| u128::from(weights.read.get())).sum();
    // KV lies, moves and is read in whole pages. As much again for what migration may carry.
    let stored = u128::from(tokens).next_multiple_of(page_tokens);
    let a_step = weights + 2 * stored * u128::from(model.token_bytes().get());
    let bytes = u128::from(config.decode_tokens) * a_step;
    if bytes > u128::from(u64::MAX) / 2 {
        return Err(ScenarioError::TooManyBytes { steps: config.decode_tokens, bytes });
    }
    Ok(())
}

/// Whether the weights and the prefill KV fit on the tiers.
pub(super) fn check_room(
    model: &LanguageModel,
    memory: &MemorySystem,
    prefill: u32,
    page_tokens: u32,
) -> Result<(), ScenarioError> {
    let wide = |bytes: Bytes| u128::from(bytes.get());
    let narrow = |bytes: u128| Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX));
    let weights = model.stored_weights();
    let stored = u128::from(prefill.div_ceil(page_tokens)) * u128::from(page_tokens);
    let kv = stored * model.kv_bytes().iter().map(|bytes| wide(*bytes)).sum::<u128>();
    let capacity: u128 = match memory.residency() {
        ResidencyKind::Exclusive => memory.tiers().iter().map(|tier| wide(tier.capacity)).sum(),
        // The last tier must hold a copy of all.
        ResidencyKind::Inclusive => wide(memory.tiers()[memory.last_tier().index()].capacity),
    };
    let needed = wide(weights) + kv;
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

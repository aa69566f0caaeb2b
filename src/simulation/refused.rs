//! Why a scenario is refused, and the sizes beyond which it is.

use crate::config::{ConfigError, NameError};
use crate::memory::MemoryError;
use crate::strategy::ChargedError;
use crate::units::Bytes;
use crate::workload::{ComputeError, MAX_TOKENS, ModelError, RuntimeError, SequencesError, TraceError};
use thiserror::Error;

/// The most tokens of a page.
pub(super) const MAX_PAGE_TOKENS: u32 = 65_536;
/// The most tokens times layers times tiers: each takes up to five bits, so this much takes 2.7 GB.
pub(super) const MAX_RESIDENCIES: u64 = 1 << 32;

/// Why a scenario cannot be run.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ScenarioError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("name: {0}")]
    Name(NameError),
    #[error("model: {0}")]
    Model(#[from] ModelError),
    #[error("memory: {0}")]
    Memory(#[from] MemoryError),
    #[error("runtime: {0}")]
    Runtime(#[from] RuntimeError),
    #[error("{0}")]
    Trace(#[from] TraceError),
    #[error("{0}")]
    Compute(#[from] ComputeError),
    #[error(transparent)]
    Charged(#[from] ChargedError),
    #[error(transparent)]
    Sequences(#[from] SequencesError),
    #[error("decode_tokens: 0 steps: there is nothing to simulate; write at least 1")]
    NoSteps,
    #[error(
        "warmup_steps: {warmup} steps are left out, but the run has {decode} (decode_tokens), so that nothing is left to measure: write \
         at most {}",
        .decode - 1
    )]
    Warmup { warmup: u32, decode: u32 },
    #[error("page_tokens: {0}, but a page holds from 1 to {max} tokens", max = MAX_PAGE_TOKENS)]
    PageTokens(u32),
    #[error("prefill_tokens + decode_tokens: {0} tokens are more than the {max} that can be simulated", max = MAX_TOKENS)]
    TooManyTokens(u64),
    #[error(
        "prefill_tokens + decode_tokens: {tokens} tokens in {layers} layers on {tiers} tiers are, multiplied, more than the {max} \
         that can be simulated",
        max = MAX_RESIDENCIES
    )]
    TooManyResidencies { tokens: u64, layers: usize, tiers: usize },
    #[error(
        "page_tokens: a page of {page_tokens} tokens of {kv_bytes} (layers[].kv_bytes) is more than {max}, the largest size that is \
         counted: take fewer tokens a page",
        max = Bytes::MAX_INPUT
    )]
    PageTooLarge { page_tokens: u32, kv_bytes: Bytes },
    #[error("decode_tokens: {steps} steps may read up to {bytes} B, more than can be counted: decode fewer tokens")]
    TooManyBytes { steps: u64, bytes: u128 },
    #[error(
        "prefill_tokens: the weights ({}) and the KV of {prefill} tokens ({}) are {} more than the tiers hold ({}; under inclusive residency, the last one): enlarge a tier or lower prefill_tokens",
        weights.rounded(),
        kv.rounded(),
        missing.rounded(),
        capacity.rounded()
    )]
    DoesNotFit { weights: Bytes, prefill: u64, kv: Bytes, missing: Bytes, capacity: Bytes },
}

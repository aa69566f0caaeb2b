//! Why a scenario is refused, and the sizes beyond which it is.

use crate::config::{ConfigError, NameError};
use crate::memory::MemoryError;
use crate::strategy::{ChargedError, LayoutError, MigrationKind, PrefetchKind};
use crate::units::{Bytes, GroupId, Step};
use crate::workload::{
    ComputeError, ExpertsError, IndexError, KvGroupsError, MAX_TOKENS, ModelError, RequestsError, RuntimeError,
    SequencesError, TraceError,
};
use std::fmt;
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
    #[error(transparent)]
    KvGroups(#[from] KvGroupsError),
    #[error("memory: {0}")]
    Memory(#[from] MemoryError),
    #[error("runtime: {0}")]
    Runtime(#[from] RuntimeError),
    #[error("{0}")]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Experts(#[from] ExpertsError),
    #[error("{0}")]
    Compute(#[from] ComputeError),
    #[error(transparent)]
    Charged(#[from] ChargedError),
    #[error(transparent)]
    Layout(Box<LayoutError>),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Sequences(#[from] SequencesError),
    #[error(transparent)]
    Requests(#[from] RequestsError),
    #[error("{field}: the scenario serves requests, and {remedy}")]
    WithRequests { field: &'static str, remedy: &'static str },
    #[error(
        "memory: the weights ({}) are {} more than the tiers hold ({}; under inclusive residency, the last one): enlarge a tier",
        weights.rounded(),
        missing.rounded(),
        capacity.rounded()
    )]
    NoRoomForWeights { weights: Bytes, missing: Bytes, capacity: Bytes },
    #[error("decode_tokens: 0 steps: there is nothing to simulate; write at least 1")]
    NoSteps,
    #[error(
        "warmup_steps: {warmup} steps are left out, but the run has {decode} (with one sequence: decode_tokens), so that nothing is left to measure: write \
         at most {}",
        .decode - 1
    )]
    Warmup { warmup: u32, decode: u32 },
    #[error(
        "strategy.prefetch: {prefetch} brings pages into HBM that is free, and a cache that leaves it free decides what stays; \
         the migration {migration} has no budget: write strategy.migration: \"Lru(budget: 4096)\", with the tokens that each \
         layer may keep"
    )]
    Prefetch { prefetch: PrefetchKind, migration: MigrationKind },
    #[error(
        "strategy.prefetch: precision: 0 of what is prefetched is read, so that there is no end to what is prefetched: write \
         more than 0, or nothing for as much as hit_rate"
    )]
    PrefetchPrecision,
    #[error("page_tokens: {0}, but a page holds from 1 to {max} tokens", max = MAX_PAGE_TOKENS)]
    PageTokens(u32),
    #[error(
        "{group}prefill_tokens + decode_tokens: {tokens} tokens of a sequence are more than the {max} that can be simulated",
        max = MAX_TOKENS
    )]
    TooManyTokens { group: InGroup, tokens: u64 },
    #[error(
        "prefill_tokens + decode_tokens: {tokens} tokens in {layers} layers on {tiers} tiers are, multiplied, more than the {max} \
         that can be simulated",
        max = MAX_RESIDENCIES
    )]
    TooManyResidencies { tokens: u64, layers: usize, tiers: usize },
    #[error(
        "{field}: {count} sequences have {pages} pages of {page} tokens (page_tokens) in each of {layers} layers on {tiers} tiers, \
         which are, multiplied, more than the {max} that can be simulated: {remedy}",
        max = MAX_RESIDENCIES
    )]
    TooManyPages {
        field: &'static str,
        count: usize,
        pages: u64,
        page: u64,
        layers: usize,
        tiers: usize,
        remedy: String,
    },
    #[error(
        "page_tokens: a page of {page_tokens} tokens of {kv_bytes} (layers[].kv_bytes) is more than {max}, the largest size that is \
         counted: take fewer tokens a page",
        max = Bytes::MAX_INPUT
    )]
    PageTooLarge { page_tokens: u32, kv_bytes: Bytes },
    #[error("decode_tokens: {steps} steps may read up to {bytes} B, more than can be counted: decode fewer tokens")]
    TooManyBytes { steps: u64, bytes: u128 },
    #[error(
        "prefill.chunk_tokens: {chunk_tokens} tokens of prompts a step make {steps} steps, which may read up to {bytes} B, more than can \
         be counted: write larger chunks or fewer tokens"
    )]
    TooManyChunks { chunk_tokens: u32, steps: u64, bytes: u128 },
    #[error(
        "prefill_tokens: the weights ({}) and the KV of {prefill} tokens ({}) are {} more than the tiers hold ({}; under inclusive residency, the last one): enlarge a tier or lower prefill_tokens",
        weights.rounded(),
        kv.rounded(),
        missing.rounded(),
        capacity.rounded()
    )]
    DoesNotFit { weights: Bytes, prefill: u64, kv: Bytes, missing: Bytes, capacity: Bytes },
    #[error(
        "{field}: the weights ({}) and the KV of {sequences} sequence{} at once ({}, in step {}) are {} more than the tiers hold ({}; \
         under inclusive residency, the last one): {remedy}",
        weights.rounded(),
        if *sequences == 1 { "" } else { "s" },
        kv.rounded(),
        step.index(),
        missing.rounded(),
        capacity.rounded()
    )]
    NoRoomAtOnce {
        field: &'static str,
        sequences: usize,
        kv: Bytes,
        step: Step,
        weights: Bytes,
        missing: Bytes,
        capacity: Bytes,
        remedy: String,
    },
    #[error("sequences[{}].trace: {}", group.index(), of_group(source))]
    GroupTrace { group: GroupId, source: TraceError },
}

impl From<LayoutError> for ScenarioError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(Box::new(error))
    }
}

impl ScenarioError {
    /// The same of weights alone, where there is no prompt that could be shorter.
    pub(super) fn of_weights(self) -> Self {
        match self {
            Self::DoesNotFit { weights, missing, capacity, .. } => {
                Self::NoRoomForWeights { weights, missing, capacity }
            }
            other => other,
        }
    }

    /// Whether weights and KV are more than the machine holds; all else is right then.
    #[must_use]
    pub fn is_of_room(&self) -> bool {
        match self {
            Self::DoesNotFit { .. } | Self::NoRoomAtOnce { .. } | Self::NoRoomForWeights { .. } => true,
            Self::Layout(error) => error.is_of_room(),
            _ => false,
        }
    }
}

/// The group that a field belongs to, before its name; nothing where there is but a batch.
#[derive(Clone, Copy, Debug)]
pub struct InGroup(pub(super) Option<GroupId>);

impl fmt::Display for InGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |group| write!(f, "sequences[{}].", group.index()))
    }
}

/// What is wrong with the trace of a group. The flags that help a scenario of equal sequences do
/// not help one group of several.
fn of_group(error: &TraceError) -> String {
    match error {
        TraceError::TooShort { path, recorded, wanted } => format!(
            "'{path}' has {recorded} steps, too few for the {wanted} tokens that the group decodes: lower its decode_tokens to {recorded} \
             or less, or say what follows the last step with extend: Repeat or Statistics"
        ),
        TraceError::Prefill { path, prefill, wanted, .. } => format!(
            "'{path}' starts with {prefill} tokens before step 0 (with first_step and prefill_offset), but the group's prompts have \
             {wanted}: write prefill_tokens: {prefill} in the group, or change its trace's first_step or prefill_offset"
        ),
        error => error.to_string(),
    }
}

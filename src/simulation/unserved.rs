//! What of a scenario cannot be served, or not yet.

use crate::units::{Bytes, SimTime, Step};
use thiserror::Error;

/// Why the requests of a scenario cannot be served. A message names the field and what to write
/// instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ServingError {
    #[error("runtime.reads.{tier}: Staged: requests are served with all tiers read in place; write Direct or Serial")]
    Staged { tier: String },
    #[error("runtime.computes: requests are served with the chip computing all; choose a runtime without it")]
    Computes,
    #[error("weight_prefetch: {0}: requests are served without early reads; write 0")]
    Prefetch(u32),
    #[error("index: requests are served with all KV read; leave it out")]
    Index,
    #[error("routing: requests are served with experts read as expected shares; leave it out")]
    Routing,
    #[error("memory.residency: Inclusive: requests are served with each byte on one tier; write Exclusive")]
    Inclusive,
    #[error("requests.kv.tier: '{name}': no such tier behind the first; there are {known}")]
    Tier { name: String, known: String },
    #[error(
        "requests.limits: no page of KV ({page}) fits on '{tier}': {usable} of it may be used, and weights take {weights}; \
         write a larger limits.memory or limits.kv_tokens, or enlarge the tier"
    )]
    NoKv { tier: String, usable: Bytes, weights: Bytes, page: Bytes },
    #[error(
        "requests.block_tokens: {block}: a prefix block takes whole pages of {page} tokens; write a multiple of {page}, or smaller \
         page_tokens"
    )]
    Blocks { block: u32, page: u32 },
    #[error(
        "requests.limits.sequences: {sequences} requests at once keep {state} of recurrent state each, but the weights leave \
         {free} on '{tier}'; write at most {most}"
    )]
    State { sequences: u32, state: Bytes, free: Bytes, tier: String, most: u64 },
    #[error(
        "step {step}, at {time}: the scheduler waits for a move, but none is in flight: this is an error of tiersim"
    )]
    Stuck { step: Step, time: SimTime },
}

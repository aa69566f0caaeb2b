//! The part `requests` of a summary.

use super::{Distribution, Named};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The figures of a run that serves requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RequestsSummary {
    /// How many requests arrived.
    pub arrived: u64,
    /// How many got all their tokens.
    pub finished: u64,
    /// How many were rejected as they can never fit.
    pub rejected: u64,
    /// How often requests were preempted.
    pub preemptions: u64,
    /// TTFT: from arrival to the first token, over finished requests.
    pub ttft_ns: Option<Distribution>,
    /// TPOT: the mean time between the tokens of a request, over finished requests of at least two
    /// output tokens.
    pub tpot_ns: Option<Distribution>,
    /// From arrival to the last token, over finished requests.
    pub e2e_ns: Option<Distribution>,
    /// From arrival to the start of the first step, over finished requests.
    pub queueing_ns: Option<Distribution>,
    /// Finished requests a second of simulated time, from the first arrival to the last token.
    pub requests_per_s: Option<f64>,
    /// Tokens of prompts that were computed a second.
    pub prompt_tokens_per_s: Option<f64>,
    /// How many tokens came out.
    pub output_tokens: u64,
    /// Output tokens a second.
    pub output_tokens_per_s: Option<f64>,
    /// Finished requests that met the goals; absent without goals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<GoodputSummary>,
    /// The tokens of prompts that were found in a cache, by tier, and those that were computed.
    pub prompt_tokens: HitTokens,
    /// Tokens that were computed again after preemptions.
    pub recomputed_tokens: u64,
    /// Moves of KV, by what they are for: Load, Store, SwapOut, SwapIn.
    pub moves: Named<MoveSummary>,
    /// The mean number of running requests over the time of steps, and the most.
    pub batch_mean: f64,
    /// The most running requests.
    pub batch_max: u64,
    /// Time without any request, in nanoseconds.
    pub idle_ns: f64,
    /// Time in which steps waited for moves, in nanoseconds.
    pub moves_ns: f64,
}

/// Requests that met the goals.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GoodputSummary {
    /// The goals, as typed.
    pub goals: String,
    /// How many met them.
    pub requests: u64,
    /// The same over all that arrived.
    pub share: f64,
    /// The same a second.
    pub requests_per_s: f64,
}

/// Tokens of prompts, by where their KV came from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct HitTokens {
    /// By tier, found there when a request was first admitted.
    pub hits: Named<u64>,
    /// Computed.
    pub computed: u64,
    /// The share that was found.
    pub hit_rate: Option<f64>,
}

/// Moves of one kind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MoveSummary {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From when they were asked for to their last byte.
    pub latency_ns: Option<Distribution>,
}

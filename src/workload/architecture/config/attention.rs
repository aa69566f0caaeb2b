//! Attention, and what layers have in the place of it, as a person writes them.

use super::defaults::is_default;
use crate::config::{count, count_from_1};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// How a layer mixes tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum AttentionConfig {
    /// Not at all.
    #[default]
    None,
    /// Attention to all tokens: MHA, GQA, MQA.
    Full(HeadsConfig),
    /// Attention to the last `window` tokens; KV before them is freed.
    Sliding(SlidingConfig),
    /// Multi-head latent attention (MLA): the KV of a token is one compressed vector.
    Latent(LatentConfig),
    /// Linear attention by the gated delta rule (Qwen3-Next): a state in the place of KV.
    GatedDelta(GatedDeltaConfig),
    /// A state space layer (Mamba-2): a state in the place of KV.
    Mamba2(Mamba2Config),
    /// Any other recurrent layer, by its numbers of weights and bytes of state.
    Recurrent(RecurrentConfig),
}

/// The heads of an attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Heads", deny_unknown_fields)]
pub struct HeadsConfig {
    /// Query heads.
    #[serde(deserialize_with = "count_from_1")]
    pub heads: u32,
    /// Heads of keys and values, which divide the query heads into groups.
    #[serde(deserialize_with = "count_from_1")]
    pub kv_heads: u32,
    /// Elements of a query head and of a key head.
    #[serde(deserialize_with = "count_from_1")]
    pub head_size: u32,
    /// Elements of a value head; `head_size` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_size: Option<u32>,
    /// Whether the projections of queries, keys and values have biases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// Whether the output projection has a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output_bias: bool,
    /// Whether queries and keys are normed, with a vector of `head_size` weights each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub qk_norm: bool,
    /// Whether the output is gated: the query projection is twice as wide.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate: bool,
    /// Whether values are computed from the keys' projection: there is no projection of values.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys_are_values: bool,
    /// Whether each query head has a learned sink (gpt-oss): one weight a head.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sinks: bool,
    /// Whether queries, keys and values are one matrix, which llama.cpp's file types store in
    /// another format than three (Phi).
    #[serde(default, skip_serializing_if = "is_default")]
    pub fused: bool,
    /// Whether the layer has no keys and values of its own, but reads the KV of the nearest earlier
    /// layer of the same kind that has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shares_kv: bool,
}

/// Attention to the last tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Sliding", deny_unknown_fields)]
pub struct SlidingConfig {
    /// How many tokens it reads, the last ones.
    #[serde(deserialize_with = "count_from_1")]
    pub window: u32,
    /// Its heads.
    pub of: HeadsConfig,
}

/// Multi-head latent attention, as DeepSeek-V2 introduced it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Latent", deny_unknown_fields)]
pub struct LatentConfig {
    /// Heads.
    #[serde(deserialize_with = "count_from_1")]
    pub heads: u32,
    /// Elements of the compressed keys and values (`kv_lora_rank`).
    #[serde(deserialize_with = "count_from_1")]
    pub rank: u32,
    /// Elements of the part of a key that carries the position, shared by all heads
    /// (`qk_rope_head_dim`).
    #[serde(deserialize_with = "count")]
    pub rope: u32,
    /// Elements of a head's key without a position (`qk_nope_head_dim`).
    #[serde(deserialize_with = "count_from_1")]
    pub nope: u32,
    /// Elements of a head's value (`v_head_dim`).
    #[serde(deserialize_with = "count_from_1")]
    pub value: u32,
    /// Elements of the compressed queries (`q_lora_rank`); they are not compressed where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_rank: Option<u32>,
    /// The indexer that selects which tokens are read (DeepSeek-V3.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexer: Option<IndexerConfig>,
}

/// An indexer: it rates all tokens by a small key each, and attention reads the best.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Indexer", deny_unknown_fields)]
pub struct IndexerConfig {
    /// Its heads.
    #[serde(deserialize_with = "count_from_1")]
    pub heads: u32,
    /// Elements of its key of a token.
    #[serde(deserialize_with = "count_from_1")]
    pub size: u32,
    /// How many tokens attention reads then.
    #[serde(deserialize_with = "count_from_1")]
    pub top_k: u32,
}

/// Linear attention by the gated delta rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "GatedDelta", deny_unknown_fields)]
pub struct GatedDeltaConfig {
    /// Heads of queries and keys.
    #[serde(deserialize_with = "count_from_1")]
    pub key_heads: u32,
    /// Heads of values, each with a state.
    #[serde(deserialize_with = "count_from_1")]
    pub value_heads: u32,
    /// Elements of a key head.
    #[serde(deserialize_with = "count_from_1")]
    pub key_size: u32,
    /// Elements of a value head.
    #[serde(deserialize_with = "count_from_1")]
    pub value_size: u32,
    /// Taps of the convolution before it.
    #[serde(deserialize_with = "count_from_1")]
    pub convolution: u32,
}

/// A Mamba-2 layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Mamba2", deny_unknown_fields)]
pub struct Mamba2Config {
    /// Heads.
    #[serde(deserialize_with = "count_from_1")]
    pub heads: u32,
    /// Elements of a head.
    #[serde(deserialize_with = "count_from_1")]
    pub head_size: u32,
    /// Elements of state for each element of a head.
    #[serde(deserialize_with = "count_from_1")]
    pub state: u32,
    /// Groups of heads that share their B and C.
    #[serde(deserialize_with = "count_from_1")]
    pub groups: u32,
    /// Taps of the convolution before it.
    #[serde(deserialize_with = "count_from_1")]
    pub convolution: u32,
    /// Whether the convolution has a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub convolution_bias: bool,
    /// Whether the projections have biases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
}

/// A recurrent layer by its sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Recurrent", deny_unknown_fields)]
pub struct RecurrentConfig {
    /// Weights, all read in each step.
    #[serde(deserialize_with = "count")]
    pub parameters: u64,
    /// State of a sequence, read and written in each step.
    pub state: Bytes,
}

//! A model's architecture as a person writes it: shapes and formats, of which bytes and FLOP
//! follow.
//!
//! An architecture is a list of blocks, each a number of times the same layers in the same order; a
//! layer is an attention and a feed-forward part. The formulas are in the room's documentation.

use crate::config::{count, count_from_1};
use crate::units::Bytes;
use crate::workload::format::Format;
use serde::{Deserialize, Serialize};

/// The shapes of a language model, in a model file: `architecture: (hidden: 8192, ...)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Architecture", deny_unknown_fields)]
pub struct ArchitectureConfig {
    /// The size of the hidden state.
    #[serde(deserialize_with = "count_from_1")]
    pub hidden: u32,
    /// The tokens that the embedding has a row for, and the head.
    #[serde(deserialize_with = "count_from_1")]
    pub vocabulary: u32,
    /// Whether embedding and head are one matrix.
    #[serde(default)]
    pub tied: bool,
    /// Rows of learned position embeddings, as OPT has; 0 where positions are computed.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "count")]
    pub positions: u32,
    /// Vectors of `hidden` weights for the norms of a layer: 2 with one RMS norm before each part,
    /// 4 with two or with biases.
    #[serde(default = "two", skip_serializing_if = "is_two", deserialize_with = "count")]
    pub norms: u32,
    /// How the parts are stored.
    #[serde(default)]
    pub formats: FormatsConfig,
    /// Its layers, the first ones first.
    pub blocks: Vec<BlockConfig>,
    /// Weights outside of the layers besides embedding, head and final norm, which each step reads
    /// with the head.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "count")]
    pub extra_parameters: u64,
    /// Further tables of which a step reads one row per token, as it does of the embedding: Gemma's
    /// embeddings per layer. Stored as `formats.embedding` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableConfig>,
}

/// A table of which a step reads one row per token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Table", deny_unknown_fields)]
pub struct TableConfig {
    /// Rows.
    #[serde(deserialize_with = "count_from_1")]
    pub rows: u32,
    /// Elements of a row.
    #[serde(deserialize_with = "count_from_1")]
    pub width: u32,
}

/// How the parts of a model are stored. A part that is not named is stored as `weights` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Formats", deny_unknown_fields, default)]
pub struct FormatsConfig {
    /// All weights that no other field names; bf16 where not given. Of llama.cpp's file types and
    /// GGUF formats, which part is stored how follows from llama.cpp's own rules.
    pub weights: Format,
    /// The matrices of attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<Format>,
    /// The matrices of dense feed-forward parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlp: Option<Format>,
    /// The matrices of routed experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experts: Option<Format>,
    /// The matrices of shared experts; as `experts` where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<Format>,
    /// The embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Format>,
    /// The head, and the embedding where both are one matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Format>,
    /// Keys and values; bf16 where not given.
    pub kv: Format,
    /// The state of recurrent layers; fp32 where not given.
    pub state: Format,
}

impl Default for FormatsConfig {
    fn default() -> Self {
        Self {
            weights: Format::Bf16,
            attention: None,
            mlp: None,
            experts: None,
            shared: None,
            embedding: None,
            head: None,
            kv: Format::Bf16,
            state: Format::Fp32,
        }
    }
}

/// A number of times the same layers in the same order: `(count: 10, layers: [five with a window,
/// one without])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Block", deny_unknown_fields)]
pub struct BlockConfig {
    /// How many times.
    #[serde(deserialize_with = "count_from_1")]
    pub count: u32,
    /// The layers.
    pub layers: Vec<LayerConfig>,
}

/// One layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Layer", deny_unknown_fields)]
pub struct LayerConfig {
    /// Its attention, or what it has in the place of one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention: AttentionConfig,
    /// Its feed-forward part.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mlp: MlpConfig,
    /// Weights besides those of the shapes, read in each step with its attention (with its
    /// feed-forward part where it has no attention).
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "count")]
    pub extra_parameters: u64,
    /// Parts that this layer stores otherwise than the architecture's formats say: quantized models
    /// often keep their first and last layers in 16 bits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub formats: LayerFormatsConfig,
}

/// How a layer stores parts that it stores otherwise than other layers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "LayerFormats", deny_unknown_fields, default)]
pub struct LayerFormatsConfig {
    /// The matrices of attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<Format>,
    /// The matrices of a dense feed-forward part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlp: Option<Format>,
    /// The matrices of routed experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experts: Option<Format>,
    /// The matrices of shared experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<Format>,
}

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

/// The feed-forward part of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum MlpConfig {
    /// The layer has none.
    #[default]
    None,
    /// One that every token passes.
    Dense(DenseConfig),
    /// A mixture of experts, of which each token passes some.
    Experts(ExpertsConfig),
}

/// A dense feed-forward part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Dense", deny_unknown_fields)]
pub struct DenseConfig {
    /// Elements between its matrices.
    #[serde(deserialize_with = "count_from_1")]
    pub intermediate: u32,
    /// Whether it has a gate: three matrices (gate, up and down), otherwise two.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub gated: bool,
    /// Whether its matrices have biases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
}

impl Default for DenseConfig {
    fn default() -> Self {
        Self { intermediate: 0, gated: true, bias: false }
    }
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Experts", deny_unknown_fields)]
pub struct ExpertsConfig {
    /// How many experts are stored.
    #[serde(deserialize_with = "count_from_1")]
    pub count: u32,
    /// How many of them a token is routed to.
    #[serde(deserialize_with = "count_from_1")]
    pub active: u32,
    /// Elements between the matrices of an expert.
    #[serde(deserialize_with = "count_from_1")]
    pub intermediate: u32,
    /// Whether an expert has a gate: three matrices, otherwise two.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub gated: bool,
    /// Elements of the experts' inputs and outputs where these are not the hidden state but a
    /// projection of it, down before the experts and up after them: two more matrices of `hidden`
    /// by `latent`, which every token passes (Nemotron 3). The shared experts are as wide as the
    /// hidden state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent: Option<u32>,
    /// Whether the matrices of experts and router have biases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// How many experts every token passes besides.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "count")]
    pub shared: u32,
    /// Elements between the matrices of a shared expert; `intermediate` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_intermediate: Option<u32>,
    /// Whether the shared experts are gated by one more row of the router.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared_gate: bool,
    /// Which experts the tokens of a batch are routed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub routing: RoutingConfig,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self {
            count: 0,
            active: 0,
            intermediate: 0,
            gated: true,
            latent: None,
            bias: false,
            shared: 0,
            shared_intermediate: None,
            shared_gate: false,
            routing: RoutingConfig::Uniform,
        }
    }
}

/// How often tokens are routed to which expert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum RoutingConfig {
    /// To each equally often.
    #[default]
    Uniform,
    /// To the i-th most popular with a weight of i to the power of minus this exponent.
    Zipf(f64),
}

fn two() -> u32 {
    2
}

fn is_two(norms: &u32) -> bool {
    *norms == 2
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{parse, parse_json};
    use ron::extensions::Extensions;

    /// One of each kind of part.
    const TEXT: &str = "(
        hidden: 64, vocabulary: \"1k\", tied: true, positions: 8, norms: 4,
        formats: (weights: \"Q4_K_M\", embedding: \"f16\", kv: \"fp8\"),
        blocks: [(count: 2, layers: [
            (attention: Full(heads: 4, kv_heads: 2, head_size: 16), mlp: Dense(intermediate: 128)),
            (attention: Sliding(window: 512, of: (heads: 4, kv_heads: 2, head_size: 16, shares_kv: true)), mlp: None),
            (attention: Latent(heads: 4, rank: 8, rope: 4, nope: 8, value: 8, query_rank: 16,
                indexer: (heads: 2, size: 8, top_k: 16)), mlp: Experts(count: 8, active: 2, intermediate: 16)),
            (attention: GatedDelta(key_heads: 2, value_heads: 4, key_size: 8, value_size: 8, convolution: 4)),
            (attention: Mamba2(heads: 4, head_size: 8, state: 16, groups: 1, convolution: 4), extra_parameters: 3,
                formats: (attention: \"fp8\")),
            (attention: Recurrent(parameters: 1000, state: \"4 KiB\"),
                mlp: Experts(count: 8, active: 2, intermediate: 16, routing: Zipf(1.1), latent: 8)),
        ])],
        tables: [(rows: 64, width: 16)])";

    #[test]
    fn every_part_is_read_from_ron_and_json() {
        let config: ArchitectureConfig = parse(TEXT, "test").unwrap();
        let layers = &config.blocks[0].layers;
        assert_eq!((config.vocabulary, layers.len(), config.formats.weights), (1024, 6, Format::Q4KM));
        let MlpConfig::Experts(experts) = &layers[5].mlp else { panic!("{:?}", layers[5]) };
        assert_eq!(experts.routing, RoutingConfig::Zipf(1.1));
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(parse_json::<ArchitectureConfig>(&json, "test").unwrap(), config);
        let written = ron::ser::PrettyConfig::new()
            .extensions(Extensions::IMPLICIT_SOME | Extensions::UNWRAP_NEWTYPES | Extensions::UNWRAP_VARIANT_NEWTYPES);
        let ron = ron::ser::to_string_pretty(&config, written).unwrap();
        assert_eq!(parse::<ArchitectureConfig>(&ron, "test").unwrap(), config, "{ron}");
    }
}

//! A model's architecture as a person writes it: shapes and formats, of which bytes and FLOP
//! follow.
//!
//! An architecture is a list of blocks, each a number of times the same layers in the same order; a
//! layer is an attention and a feed-forward part. The formulas are in the room's documentation.

mod attention;
mod defaults;
mod mlp;

pub use attention::{
    AttentionConfig, GatedDeltaConfig, HeadsConfig, IndexerConfig, LatentConfig, Mamba2Config, RecurrentConfig,
    SlidingConfig,
};
pub use mlp::{DenseConfig, ExpertsConfig, MlpConfig, RoutingConfig};

use crate::config::{count, count_from_1};
use crate::workload::format::Format;
use defaults::{is_default, is_two, two};
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

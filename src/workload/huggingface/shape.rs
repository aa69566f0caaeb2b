//! A decoder as most families have it: attention and a feed-forward part in each layer.
//!
//! A [`Shape`] has what the modelling code of a family fixes and its configuration does not say:
//! which projections have biases, whether the feed-forward part has a gate, how many norms a layer
//! has. The rest is read from the configuration, by all names that the families use. A family whose
//! layers are of another kind reads a shape first and then replaces what differs.

use super::fields::{Fields, Says};
use super::mixers::{Mixer, Windows, mixers};
use super::mlp::{ExpertsShape, MlpShape, mlps};
use super::names::{HEAD_SIZE, HEADS, HIDDEN, KV_HEADS, LAYERS, VOCABULARY};
use super::refusal::{BY_HAND, Refusal};
use crate::workload::{ArchitectureConfig, AttentionConfig, HeadsConfig, LanguageModel, LayerConfig, SlidingConfig};

/// A model on its way to an architecture: its layers one by one, before equal ones become blocks.
pub(super) struct Draft {
    /// All but its blocks.
    pub architecture: ArchitectureConfig,
    pub layers: Vec<LayerConfig>,
}

/// How queries and keys are normed.
#[derive(Clone, Copy)]
pub(super) enum QkNorm {
    /// Not at all, or without weights.
    No,
    /// By one vector of a head's size for all heads.
    PerHead(Says),
    /// By a vector as wide as all heads together.
    Width(Says),
}

/// What the code of a family fixes.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Biases of the projections of queries, keys and values.
    pub bias: Says,
    pub output_bias: Says,
    pub mlp_bias: Says,
    /// Whether the feed-forward part has a gate: three matrices, otherwise two.
    pub gated: bool,
    pub qk_norm: QkNorm,
    /// Vectors of the hidden size per layer; a layer norm with a bias has two.
    pub norms: u32,
    /// Whether the final norm has a bias.
    pub final_bias: bool,
    /// Whether the head has a bias.
    pub head_bias: Says,
    pub windows: Windows,
    /// Whether embedding and head are one matrix where the file does not say.
    pub tied: bool,
    /// The size of a head where the file does not say; the hidden size over the heads where 0.
    pub head_size: u32,
    /// Whether each head has a sink.
    pub sinks: bool,
    /// How its experts are, where it may have some.
    pub experts: Option<ExpertsShape>,
    /// Whether `intermediate_size` counts two matrices' rows together.
    pub intermediate_halved: bool,
}

/// Llama's shape, of which the others are variations.
pub(super) const LLAMA: Shape = Shape {
    bias: Says::Field("attention_bias", false),
    output_bias: Says::Field("attention_bias", false),
    mlp_bias: Says::Field("mlp_bias", false),
    gated: true,
    qk_norm: QkNorm::No,
    norms: 2,
    final_bias: false,
    head_bias: Says::No,
    windows: Windows::Never,
    tied: false,
    head_size: 0,
    sinks: false,
    experts: None,
    intermediate_halved: false,
};

impl Shape {
    /// Reads a model of this shape.
    pub fn read(&self, fields: &Fields<'_>) -> Result<Draft, Refusal> {
        let layers = layer_count(fields)?;
        let mixers = mixers(fields, layers, self.windows)?;
        let attention = self.attention(fields)?;
        let attention = mixers.iter().enumerate().map(|(layer, mixer)| match mixer {
            Mixer::Full => Ok(AttentionConfig::Full(attention.clone())),
            Mixer::Window(window) => {
                Ok(AttentionConfig::Sliding(SlidingConfig { window: *window, of: attention.clone() }))
            }
            Mixer::Named(name) => Err(not_understood(fields, layer, name)),
        });
        self.with(fields, attention.collect::<Result<_, _>>()?)
    }

    /// A model of this shape with these attentions, one for each layer.
    pub fn with(&self, fields: &Fields<'_>, attention: Vec<AttentionConfig>) -> Result<Draft, Refusal> {
        let mlps = mlps(fields, attention.len() as u32, self.mlp())?;
        let layers = attention.into_iter().zip(mlps).map(|(attention, mlp)| {
            let extra_parameters = self.qk_norm_width(fields, &attention)?;
            Ok(LayerConfig { attention, mlp, extra_parameters, ..LayerConfig::default() })
        });
        self.around(fields, layers.collect::<Result<_, _>>()?)
    }

    /// A model of this shape with these layers: what is around them is read from the file.
    pub fn around(&self, fields: &Fields<'_>, layers: Vec<LayerConfig>) -> Result<Draft, Refusal> {
        let hidden = fields.count(HIDDEN)?;
        let mut architecture = ArchitectureConfig {
            hidden,
            vocabulary: fields.count(VOCABULARY)?,
            tied: fields.flag("tie_word_embeddings")?.unwrap_or(self.tied),
            norms: self.norms,
            ..ArchitectureConfig::default()
        };
        architecture.extra_parameters = u64::from(self.final_bias) * u64::from(hidden);
        architecture.extra_parameters += u64::from(self.head_bias.of(fields)?) * u64::from(architecture.vocabulary);
        Ok(Draft { architecture, layers })
    }

    /// Its feed-forward parts.
    pub fn mlp(&self) -> MlpShape {
        let Self { gated, mlp_bias, intermediate_halved, experts, .. } = *self;
        MlpShape { gated, bias: mlp_bias, halved: intermediate_halved, experts }
    }

    /// The heads of its attention.
    pub fn attention(&self, fields: &Fields<'_>) -> Result<HeadsConfig, Refusal> {
        let hidden = fields.count(HIDDEN)?;
        let heads = fields.count(HEADS)?;
        let kv_heads = kv_heads(fields, KV_HEADS, heads)?;
        let head_size = match fields.at_least_1(HEAD_SIZE)? {
            Some(size) => size,
            None if self.head_size > 0 => self.head_size,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let problem = format!("contradicts hidden_size: {hidden}, which it does not divide: give head_dim too");
                return Err(Refusal::value(fields.path(HEADS[0]), heads, problem));
            }
        };
        let per_head = matches!(self.qk_norm, QkNorm::PerHead(says) if says.of(fields)?);
        Ok(HeadsConfig {
            heads,
            kv_heads,
            head_size,
            bias: self.bias.of(fields)?,
            output_bias: self.output_bias.of(fields)?,
            qk_norm: per_head,
            sinks: self.sinks,
            ..HeadsConfig::default()
        })
    }

    /// Weights of norms over all heads of queries and keys together.
    fn qk_norm_width(&self, fields: &Fields<'_>, attention: &AttentionConfig) -> Result<u64, Refusal> {
        let (AttentionConfig::Full(heads) | AttentionConfig::Sliding(SlidingConfig { of: heads, .. })) = attention
        else {
            return Ok(0);
        };
        let QkNorm::Width(says) = self.qk_norm else { return Ok(0) };
        let width = u64::from(heads.heads + heads.kv_heads) * u64::from(heads.head_size);
        Ok(if says.of(fields)? { width } else { 0 })
    }
}

/// A number of weights or bytes, computed without overflow from what a file says: too many stay too
/// many.
pub(super) fn clamped(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The heads of keys and values: as many as of queries where the file does not say.
pub(super) fn kv_heads(fields: &Fields<'_>, names: &[&str], heads: u32) -> Result<u32, Refusal> {
    let Some(kv_heads) = fields.at_least_1(names)? else {
        fields
            .notes()
            .assumed(format!("keys and values have {heads} heads, as many as queries: no field says otherwise"));
        return Ok(heads);
    };
    if !heads.is_multiple_of(kv_heads) {
        let name = names.iter().find(|name| fields.get(name).is_some()).unwrap_or(&names[0]);
        let problem =
            format!("contradicts num_attention_heads: {heads}, which it does not divide into groups: correct either");
        return Err(Refusal::value(fields.path(name), kv_heads, problem));
    }
    Ok(kv_heads)
}

/// How many layers there are, within what can be simulated.
pub(super) fn layer_count(fields: &Fields<'_>) -> Result<u32, Refusal> {
    let layers = fields.count(LAYERS)?;
    if u64::from(layers) <= LanguageModel::MAX_LAYERS {
        return Ok(layers);
    }
    let name = LAYERS.iter().find(|name| fields.get(name).is_some()).unwrap_or(&LAYERS[0]);
    let problem = format!("layers are too many: at most {} can be simulated", LanguageModel::MAX_LAYERS);
    Err(Refusal::value(fields.path(name), layers, problem))
}

/// The refusal of a kind of layer.
pub(super) fn not_understood(fields: &Fields<'_>, layer: usize, name: &str) -> Refusal {
    let problem = format!("is a kind of layer that is not understood (layer {layer}): {BY_HAND}");
    Refusal::value(fields.path("layer_types"), format!("'{name}'"), problem)
}

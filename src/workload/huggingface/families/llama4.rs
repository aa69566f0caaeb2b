//! Llama 4: attention in chunks in three layers of four; experts with one shared expert.

use super::shapes::LLAMA;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mixers::{Mixer, Windows, chunk, mixers};
use crate::workload::huggingface::mlp::{ExpertsShape, sparse_layers};
use crate::workload::huggingface::names::{ACTIVE, EXPERTS, INTERMEDIATE};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, layer_count, not_understood};
use crate::workload::{AttentionConfig, DenseConfig, ExpertsConfig, MlpConfig, SlidingConfig};

const SHAPE: Shape = Shape { experts: Some(ExpertsShape { bias: false, shared_gate: false }), ..LLAMA };

/// `intermediate_size` is that of an expert, `intermediate_size_mlp` that of a dense layer. Queries
/// and keys are normed without weights.
pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let fields = &fields.assuming(&[("num_experts_per_tok", 1)]);
    fields.seen(&["use_qk_norm", "for_llm_class"]);
    let layers = layer_count(fields)?;
    let heads = SHAPE.attention(fields)?;
    let kinds = kinds(fields, layers)?;
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(heads.clone())),
        Mixer::Window(window) => Ok(AttentionConfig::Sliding(SlidingConfig { window: *window, of: heads.clone() })),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
    });
    let attention = attention.collect::<Result<Vec<_>, _>>()?;
    let mut draft = SHAPE.with(fields, attention)?;
    let (count, active) = (fields.count(EXPERTS)?, fields.count(ACTIVE)?);
    let intermediate = fields.count(INTERMEDIATE)?;
    let sparse = sparse_layers(fields, layers)?;
    for (layer, sparse) in draft.layers.iter_mut().zip(sparse) {
        layer.mlp = if sparse {
            MlpConfig::Experts(ExpertsConfig { count, active, intermediate, shared: 1, ..ExpertsConfig::default() })
        } else {
            let intermediate = fields.count(&["intermediate_size_mlp"])?;
            MlpConfig::Dense(DenseConfig { intermediate, ..DenseConfig::default() })
        };
    }
    fields.seen(&["intermediate_size_mlp"]);
    Ok(draft)
}

/// Which layers attend in chunks: those with rotary positions, three of four where the file does
/// not list them.
fn kinds(fields: &Fields<'_>, layers: u32) -> Result<Vec<Mixer>, Refusal> {
    if fields.get("layer_types").is_some() {
        return mixers(fields, layers, Windows::Never);
    }
    let chunk = match fields.get("attention_chunk_size") {
        Some(_) => chunk(fields)?,
        None => Mixer::Full,
    };
    let rotary = fields.numbers("no_rope_layers")?.filter(|list| !list.is_empty());
    if let Some(rotary) = &rotary {
        fields.check_length("no_rope_layers", rotary.len(), layers)?;
    }
    let every = fields.at_least_1(&["no_rope_layer_interval"])?.unwrap_or(4);
    let in_chunks = |layer: u32| match &rotary {
        Some(rotary) => rotary[layer as usize] > 0,
        None => !(layer + 1).is_multiple_of(every),
    };
    Ok((0..layers).map(|layer| if in_chunks(layer) { chunk.clone() } else { Mixer::Full }).collect())
}

//! Qwen3-Next and Qwen3.5: three layers of linear attention by the gated delta rule, then one of
//! full attention with a gated output.

use super::shapes::QWEN3_MOE;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::mlp::ExpertsShape;
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, layer_count, not_understood};
use crate::workload::{AttentionConfig, GatedDeltaConfig, HeadsConfig};

const SHAPE: Shape = Shape { experts: Some(ExpertsShape { bias: false, shared_gate: true }), ..QWEN3_MOE };

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    let heads = HeadsConfig { gate: fields.flag("attn_output_gate")?.unwrap_or(true), ..SHAPE.attention(fields)? };
    let linear = GatedDeltaConfig {
        key_heads: fields.count(&["linear_num_key_heads"])?,
        value_heads: fields.count(&["linear_num_value_heads"])?,
        key_size: fields.count(&["linear_key_head_dim"])?,
        value_size: fields.count(&["linear_value_head_dim"])?,
        convolution: fields.count(&["linear_conv_kernel_dim"])?,
    };
    if !linear.value_heads.is_multiple_of(linear.key_heads) {
        let problem = format!("contradicts linear_num_key_heads: {}, which does not divide it", linear.key_heads);
        return Err(Refusal::value(fields.path("linear_num_value_heads"), linear.value_heads, problem));
    }
    let kinds = if fields.get("layer_types").is_some() {
        fields.seen(&["full_attention_interval"]);
        mixers(fields, layers, Windows::Never)?
    } else {
        let every = fields.count_or(&["full_attention_interval"], 4)?;
        let kind = |layer: u32| {
            if (layer + 1).is_multiple_of(every) { Mixer::Full } else { Mixer::Named("linear_attention".into()) }
        };
        (0..layers).map(kind).collect()
    };
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(heads.clone())),
        Mixer::Named(name) if name == "linear_attention" => Ok(AttentionConfig::GatedDelta(linear.clone())),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
        Mixer::Window(_) => Err(not_understood(fields, layer, "sliding_attention")),
    });
    SHAPE.with(fields, attention.collect::<Result<_, _>>()?)
}

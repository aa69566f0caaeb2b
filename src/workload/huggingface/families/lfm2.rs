//! LFM2: short gated convolutions, and attention in some layers.

use super::shapes::{LLAMA, QWEN3};
use crate::units::Bytes;
use crate::workload::huggingface::fields::{Fields, Says};
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::mlp::ExpertsShape;
use crate::workload::huggingface::names::HIDDEN;
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, clamped, layer_count, not_understood};
use crate::workload::{AttentionConfig, DenseConfig, LayerConfig, MlpConfig, RecurrentConfig};

const SHAPE: Shape = Shape {
    bias: Says::No,
    output_bias: Says::No,
    qk_norm: QWEN3.qk_norm,
    tied: true,
    experts: Some(ExpertsShape { bias: false, shared_gate: false }),
    ..LLAMA
};

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&[
        "conv_dim",
        "conv_dim_out",
        "conv_use_xavier_init",
        "block_dim",
        "block_use_swiglu",
        "use_expert_bias",
    ]);
    fields.seen(&[
        "block_use_xavier_init",
        "block_mlp_init_scale",
        "block_out_init_scale",
        "block_norm_eps",
        "use_pos_enc",
    ]);
    let layers = layer_count(fields)?;
    let hidden = u128::from(fields.count(HIDDEN)?);
    let taps = u128::from(fields.count_or(&["conv_L_cache"], 3)?);
    let bias = if fields.flag("conv_bias")?.unwrap_or(false) { 5 * hidden } else { 0 };
    // In: three times the hidden size; a tap of each channel; out.
    let parameters = clamped(4 * hidden * hidden + hidden * taps + bias);
    let convolution = RecurrentConfig { parameters, state: Bytes::new(clamped(hidden * taps * 2)) };
    fields.notes().assumed("the state of the short convolutions is kept in bf16");
    let kinds = match fields.numbers("full_attn_idxs")? {
        Some(full) if fields.get("layer_types").is_none() => {
            let kind = |layer| if full.contains(&layer) { Mixer::Full } else { Mixer::Named("conv".to_owned()) };
            (0..layers).map(kind).collect()
        }
        _ if fields.get("layer_types").is_none() => {
            return Err(Refusal::missing(fields.path("layer_types"), "it says which layers have attention: add it"));
        }
        _ => mixers(fields, layers, Windows::Never)?,
    };
    let heads = SHAPE.attention(fields)?;
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(heads.clone())),
        Mixer::Named(name) if name == "conv" => Ok(AttentionConfig::Recurrent(convolution.clone())),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
        Mixer::Window(_) => Err(not_understood(fields, layer, "sliding_attention")),
    });
    let attention = attention.collect::<Result<Vec<_>, _>>()?;
    let Some(intermediate) = adjusted(fields)? else { return SHAPE.with(fields, attention) };
    let mlp = MlpConfig::Dense(DenseConfig { intermediate, ..DenseConfig::default() });
    fields.seen(&["intermediate_size"]);
    let layer = |attention| LayerConfig { attention, mlp: mlp.clone(), ..LayerConfig::default() };
    SHAPE.around(fields, attention.into_iter().map(layer).collect())
}

/// The dense size that the code makes of `block_ff_dim`: two thirds, rounded up to a multiple.
fn adjusted(fields: &Fields<'_>) -> Result<Option<u32>, Refusal> {
    let Some(size) = fields.at_least_1(&["block_ff_dim"])? else { return Ok(None) };
    let adjusts = fields.flag("block_auto_adjust_ff_dim")?.unwrap_or(true);
    let multiple = fields.at_least_1(&["block_multiple_of"])?.unwrap_or(256);
    let factor = fields.get("block_ffn_dim_multiplier").and_then(serde_json::Value::as_f64).unwrap_or(1.0);
    if !adjusts {
        return Ok(Some(size));
    }
    if !(0.01..=100.0).contains(&factor) {
        let field = fields.path("block_ffn_dim_multiplier");
        return Err(Refusal::value(field, factor, "is no factor from 0.01 to 100: correct it"));
    }
    let thirds = (f64::from(2 * size / 3) * factor) as u32;
    Ok(Some(thirds.div_ceil(multiple).saturating_mul(multiple)))
}

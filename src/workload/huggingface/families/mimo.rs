//! MiMo-V2 and Step-3.5: layers with a window have other heads than those without.

use super::shapes::{DEEPSEEK, LLAMA, QWEN3};
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::mlp::ExpertsShape;
use crate::workload::huggingface::names::{HEAD_SIZE, HEADS, HIDDEN, KV_HEADS, WINDOW};
use crate::workload::huggingface::refusal::{BY_HAND, Refusal};
use crate::workload::huggingface::shape::{Draft, Shape, layer_count, not_understood};
use crate::workload::{AttentionConfig, HeadsConfig, MlpConfig, SlidingConfig};

/// `hybrid_layer_pattern` has a 1 for a layer with a window, whose sizes begin with `swa_`.
pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["attention_chunk_size"]);
    let layers = layer_count(fields)?;
    let Some(pattern) = fields.per_layer(&["hybrid_layer_pattern"], layers)? else {
        return Err(Refusal::missing(
            fields.path("hybrid_layer_pattern"),
            "it says which layers have a window: add it",
        ));
    };
    let plain = DEEPSEEK.attention(fields)?;
    let sinks = |name| Ok::<_, Refusal>(fields.flag(name)?.unwrap_or(false));
    let full = HeadsConfig {
        value_size: fields.at_least_1(&["v_head_dim"])?,
        sinks: sinks("add_full_attention_sink_bias")?,
        ..plain.clone()
    };
    let sliding = HeadsConfig {
        heads: fields.at_least_1(&["swa_num_attention_heads"])?.unwrap_or(full.heads),
        kv_heads: fields.at_least_1(&["swa_num_key_value_heads"])?.unwrap_or(full.kv_heads),
        head_size: fields.at_least_1(&["swa_head_dim"])?.unwrap_or(full.head_size),
        value_size: fields.at_least_1(&["swa_v_head_dim"])?.or(full.value_size),
        sinks: sinks("add_swa_attention_sink_bias")?,
        ..plain
    };
    let window = fields.count(WINDOW)?;
    let attention = pattern.iter().map(|slides| match slides {
        0 => AttentionConfig::Full(full.clone()),
        _ => AttentionConfig::Sliding(SlidingConfig { window, of: sliding.clone() }),
    });
    DEEPSEEK.with(fields, attention.collect())
}

/// Step-3.5: `attention_other_setting` has the heads of the layers with a window, and each head's
/// output has a gate of its own.
pub(super) fn step(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    const SHAPE: Shape = Shape { qk_norm: QWEN3.qk_norm, ..LLAMA };
    fields.seen(&["moe_every_n_layer", "moe_layer_offset", "use_moe", "att_impl_type", "share_expert_dims", "sink"]);
    let layers = layer_count(fields)?;
    let full = SHAPE.attention(fields)?;
    let sliding = match fields.object("attention_other_setting")? {
        Some(other) => HeadsConfig {
            heads: other.count(HEADS)?,
            kv_heads: other.count(KV_HEADS)?,
            head_size: other.at_least_1(HEAD_SIZE)?.unwrap_or(full.head_size),
            ..full.clone()
        },
        None => {
            let note = "layers with a window have the heads of those without: attention_other_setting is not given";
            fields.notes().assumed(note);
            full.clone()
        }
    };
    let kinds = kinds(fields, layers)?;
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(full.clone())),
        Mixer::Window(window) => Ok(AttentionConfig::Sliding(SlidingConfig { window: *window, of: sliding.clone() })),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
    });
    let attention = attention.collect::<Result<Vec<_>, _>>()?;
    let shape = Shape { experts: Some(ExpertsShape::default()), ..SHAPE };
    let mut draft = shape.with(fields, attention.clone())?;
    if let Some(text) = fields.word("moe_layers_enum")? {
        let dense = SHAPE.with(fields, attention)?;
        let mut sparse = Vec::new();
        for number in text.split(',') {
            let Ok(layer) = number.trim().parse::<usize>() else {
                let problem = "is no layer: list the layers with experts, separated by commas";
                return Err(Refusal::value(fields.path("moe_layers_enum"), format!("'{number}'"), problem));
            };
            sparse.push(layer);
        }
        for (index, (layer, dense)) in draft.layers.iter_mut().zip(dense.layers).enumerate() {
            if !sparse.contains(&index) {
                layer.mlp = dense.mlp;
            }
        }
    }
    if draft.layers.iter().all(|layer| !matches!(layer.mlp, MlpConfig::Experts(_))) {
        let problem = format!("a Step model has experts: {BY_HAND}");
        return Err(Refusal::missing(fields.path("moe_num_experts"), problem));
    }
    if fields.flag("use_head_wise_attn_gate")?.unwrap_or(false) {
        let hidden = u64::from(fields.count(HIDDEN)?);
        for layer in &mut draft.layers {
            if let AttentionConfig::Full(heads) | AttentionConfig::Sliding(SlidingConfig { of: heads, .. }) =
                &layer.attention
            {
                layer.extra_parameters += hidden * u64::from(heads.heads);
            }
        }
    }
    Ok(draft)
}

/// The list of layer types goes on for the layers that predict further tokens: those are left out.
fn kinds(fields: &Fields<'_>, layers: u32) -> Result<Vec<Mixer>, Refusal> {
    let Some(types) = fields.words("layer_types")?.filter(|types| types.len() > layers as usize) else {
        return mixers(fields, layers, Windows::Never);
    };
    let predictors = types.len() - layers as usize;
    if fields.optional(&["num_nextn_predict_layers"])? != Some(predictors as u32) {
        fields.check_length("layer_types", types.len(), layers)?;
    }
    let window = fields.count(WINDOW)?;
    let kind = |(layer, kind): (usize, &&str)| match *kind {
        "full_attention" => Ok(Mixer::Full),
        "sliding_attention" => Ok(Mixer::Window(window)),
        other => Err(not_understood(fields, layer, other)),
    };
    types.iter().take(layers as usize).enumerate().map(kind).collect()
}

//! Gemma 3, 3n and 4.
//!
//! Five layers of six have a sliding window. Gemma 3n and the small Gemma 4 keep an embedding for
//! each layer, of which a step reads one row per token, and their last layers read the KV of
//! earlier ones.

use super::shapes::{GEMMA2, GEMMA3};
use crate::workload::huggingface::fields::{Fields, Says};
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::mlp::{ExpertsShape, mlps};
use crate::workload::huggingface::names::{EXPERTS, INTERMEDIATE};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, QkNorm, Shape, clamped, kv_heads, layer_count, not_understood};
use crate::workload::{AttentionConfig, HeadsConfig, MlpConfig, SlidingConfig, TableConfig};

/// The published configurations of Gemma 3 leave out what is as in the smallest model with vision.
pub(super) fn gemma3(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    GEMMA3.read(&fields.assuming(&[("num_attention_heads", 8), ("num_key_value_heads", 4), ("vocab_size", 262_208)]))
}

/// With AltUp (four hidden states, of which one is computed on), LAuReL (a low-rank bypass), and an
/// input of its own for each layer.
pub(super) fn gemma3n(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["activation_sparsity_pattern", "use_altup", "num_kv_shared_layers"]);
    let mut draft = Shape { windows: Windows::Every(5), ..GEMMA3 }.read(fields)?;
    share_kv(fields, &mut draft)?;
    let hidden = u128::from(draft.architecture.hidden);
    let inputs = u128::from(fields.count_or(&["altup_num_inputs"], 4)?);
    let laurel = u128::from(fields.count_or(&["laurel_rank"], 64)?);
    per_layer_inputs(fields, &mut draft)?;
    for layer in &mut draft.layers {
        // AltUp's predictor, corrector, router with its norm, and scale; LAuReL's two matrices and
        // its norm.
        let altup = inputs * inputs * inputs + inputs * inputs + hidden * inputs + 2 * hidden;
        add(&mut layer.extra_parameters, altup + 2 * hidden * laurel + hidden);
    }
    add(&mut draft.architecture.extra_parameters, 2 * (inputs - 1) * hidden * hidden);
    Ok(draft)
}

/// Full attention has heads of another size, and computes values from keys in the large models.
pub(super) fn gemma4(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["moe_intermediate_size", "expert_intermediate_size", "top_k_experts", "num_experts"]);
    let shape = Shape { qk_norm: QkNorm::PerHead(Says::Yes), windows: Windows::Every(6), ..GEMMA2 };
    let layers = layer_count(fields)?;
    let sliding = shape.attention(fields)?;
    let same = fields.flag("attention_k_eq_v")?.unwrap_or(false);
    let full_kv = match fields.at_least_1(&["num_global_key_value_heads"])? {
        Some(_) if same => kv_heads(fields, &["num_global_key_value_heads"], sliding.heads)?,
        _ => sliding.kv_heads,
    };
    let full_size = fields.at_least_1(&["global_head_dim"])?.unwrap_or(sliding.head_size);
    let full = HeadsConfig { kv_heads: full_kv, head_size: full_size, keys_are_values: same, ..sliding.clone() };
    let kinds = mixers(fields, layers, shape.windows)?;
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(full.clone())),
        Mixer::Window(window) => Ok(AttentionConfig::Sliding(SlidingConfig { window: *window, of: sliding.clone() })),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
    });
    let mut draft = shape.with(fields, attention.collect::<Result<_, _>>()?)?;
    let shared_from = share_kv(fields, &mut draft)?;
    if fields.flag("use_double_wide_mlp")?.unwrap_or(false) {
        for layer in &mut draft.layers[shared_from..] {
            if let MlpConfig::Dense(dense) = &mut layer.mlp {
                dense.intermediate = dense.intermediate.saturating_mul(2);
            }
        }
    }
    per_layer_inputs(fields, &mut draft)?;
    if fields.flag("enable_moe_block")?.unwrap_or(false) {
        add_experts(fields, &mut draft)?;
    }
    Ok(draft)
}

/// Experts beside the dense part of each layer: every token passes the dense part too, as it would
/// a shared expert.
fn add_experts(fields: &Fields<'_>, draft: &mut Draft) -> Result<(), Refusal> {
    let shape = Shape { experts: Some(ExpertsShape::default()), ..GEMMA2 };
    let layers = draft.layers.len() as u32;
    let (hidden, dense) = (u128::from(draft.architecture.hidden), fields.count(INTERMEDIATE)?);
    fields.count(EXPERTS)?;
    for (layer, mlp) in draft.layers.iter_mut().zip(mlps(fields, layers, shape.mlp())?) {
        let MlpConfig::Experts(mut experts) = mlp else { continue };
        (experts.shared, experts.shared_intermediate) = (1, Some(dense));
        // Three more norms, and the router's scales of its input and of each expert.
        add(&mut layer.extra_parameters, 4 * hidden + u128::from(experts.count));
        layer.mlp = MlpConfig::Experts(experts);
    }
    Ok(())
}

/// The last `num_kv_shared_layers` read the KV of earlier layers. Returns the first of them.
fn share_kv(fields: &Fields<'_>, draft: &mut Draft) -> Result<usize, Refusal> {
    let shared = fields.optional(&["num_kv_shared_layers"])?.unwrap_or(0) as usize;
    let Some(from) = draft.layers.len().checked_sub(shared).filter(|from| *from > 0) else {
        let problem = format!("contradicts the {} layers: the first ones need KV of their own", draft.layers.len());
        return Err(Refusal::value(fields.path("num_kv_shared_layers"), shared, problem));
    };
    for layer in &mut draft.layers[from..] {
        if let AttentionConfig::Full(heads) | AttentionConfig::Sliding(SlidingConfig { of: heads, .. }) =
            &mut layer.attention
        {
            heads.shares_kv = true;
        }
    }
    Ok(from)
}

/// An input of its own for each layer: a table of a row per token, a projection of the embedding,
/// and in each layer a gate, a projection and a norm.
fn per_layer_inputs(fields: &Fields<'_>, draft: &mut Draft) -> Result<(), Refusal> {
    let Some(width) = fields.optional(&["hidden_size_per_layer_input"])?.filter(|width| *width > 0) else {
        fields.seen(&["vocab_size_per_layer_input"]);
        return Ok(());
    };
    let rows = fields.count_or(&["vocab_size_per_layer_input"], 262_144)?;
    let (hidden, layers) = (u128::from(draft.architecture.hidden), draft.layers.len() as u32);
    let all = width
        .checked_mul(layers)
        .ok_or_else(|| Refusal::value(fields.path("hidden_size_per_layer_input"), width, "is too large: correct it"))?;
    draft.architecture.tables.push(TableConfig { rows, width: all });
    add(&mut draft.architecture.extra_parameters, hidden * u128::from(all) + u128::from(width));
    for layer in &mut draft.layers {
        add(&mut layer.extra_parameters, 2 * hidden * u128::from(width) + hidden);
    }
    Ok(())
}

/// Adds weights, without overflow.
fn add(count: &mut u64, more: u128) {
    *count = clamped(u128::from(*count) + more);
}

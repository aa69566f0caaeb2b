//! Families that are Llama's shape but for a detail that depends on the configuration.

use super::shapes::LLAMA;
use crate::workload::huggingface::fields::{Fields, Says};
use crate::workload::huggingface::mixers::Windows;
use crate::workload::huggingface::mlp::ExpertsShape;
use crate::workload::huggingface::names::INTERMEDIATE;
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, QkNorm, Shape};
use crate::workload::{AttentionConfig, MlpConfig, SlidingConfig};

/// StableLM 2: layer norms with biases; one per layer where both parts run in parallel.
pub(super) fn stablelm(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let parallel = fields.flag("use_parallel_residual")?.unwrap_or(false);
    Shape {
        bias: Says::Field("use_qkv_bias", false),
        output_bias: Says::No,
        mlp_bias: Says::No,
        norms: if parallel { 2 } else { 4 },
        final_bias: true,
        qk_norm: QkNorm::Width(Says::Field("qk_layernorm", false)),
        ..LLAMA
    }
    .read(fields)
}

/// Hunyuan: normed queries and keys; layers may share the KV of the layer before.
pub(super) fn hunyuan(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["use_mixed_mlp_moe", "moe_layer_num_skipped", "moe_random_routing_dropped_token", "moe_drop_tokens"]);
    fields.seen(&["cla_share_factor", "num_media_embeds", "org_vocab_size", "group_limited_greedy", "capacity_factor"]);
    let shape = Shape {
        qk_norm: QkNorm::PerHead(Says::Field("use_qk_norm", true)),
        experts: Some(ExpertsShape::default()),
        ..LLAMA
    };
    if fields.optional(&["moe_layer_num_skipped"])?.unwrap_or(0) > 0 {
        let field = fields.path("moe_layer_num_skipped");
        return Err(Refusal::value(field, "above 0", "is not understood: write the model by hand"));
    }
    let mut draft = shape.read(fields)?;
    if fields.flag("use_cla")?.unwrap_or(false) {
        let factor = fields.count(&["cla_share_factor"])? as usize;
        for (index, layer) in draft.layers.iter_mut().enumerate() {
            if let AttentionConfig::Full(heads) = &mut layer.attention {
                heads.shares_kv = !index.is_multiple_of(factor);
            }
        }
    }
    // Every token passes the dense part of this size, as many times as there are shared experts.
    Ok(draft)
}

/// Arctic: experts beside a dense part as wide as the hidden size.
pub(super) fn arctic(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["moe_eval_capacity_factor", "moe_min_capacity", "moe_token_dropping", "moe_train_capacity_factor"]);
    fields.seen(&["enable_expert_tensor_parallelism", "quantization"]);
    let beside = fields.flag("parallel_attn_mlp_res")?.unwrap_or(false);
    let mut draft = Shape { experts: Some(ExpertsShape::default()), ..LLAMA }.read(fields)?;
    let hidden = draft.architecture.hidden;
    for layer in &mut draft.layers {
        if let (MlpConfig::Experts(experts), true) = (&mut layer.mlp, beside) {
            (experts.shared, experts.shared_intermediate) = (1, Some(hidden));
            layer.extra_parameters += u64::from(hidden);
        }
    }
    Ok(draft)
}

/// Grok 1 and 2: four norms per layer; Grok 2 has a dense part beside its experts.
pub(super) fn grok(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let shape = Shape { norms: 4, experts: Some(ExpertsShape::default()), ..LLAMA };
    let mut draft = shape.read(fields)?;
    if fields.flag("residual_moe")?.unwrap_or(false) {
        let dense = fields.count(INTERMEDIATE)?;
        for layer in &mut draft.layers {
            if let MlpConfig::Experts(experts) = &mut layer.mlp {
                (experts.shared, experts.shared_intermediate) = (1, Some(dense));
            }
        }
    }
    Ok(draft)
}

/// Trinity: a gate as wide as attention's output, four norms per layer, three layers of four with a
/// window.
pub(super) fn afmoe(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["global_attn_every_n_layers", "load_balance_coeff", "num_expert_groups", "num_limited_groups"]);
    let every = fields.at_least_1(&["global_attn_every_n_layers"])?.unwrap_or(4);
    let shape = Shape {
        qk_norm: QkNorm::PerHead(Says::Yes),
        norms: 4,
        windows: Windows::Every(every),
        experts: Some(ExpertsShape::default()),
        ..LLAMA
    };
    let mut draft = shape.read(fields)?;
    for layer in &mut draft.layers {
        if let AttentionConfig::Full(heads) | AttentionConfig::Sliding(SlidingConfig { of: heads, .. }) =
            &mut layer.attention
        {
            heads.gate = true;
        }
    }
    Ok(draft)
}

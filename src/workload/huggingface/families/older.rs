//! Families with layers that are all alike and whose configurations leave sizes to their code: OPT,
//! GPT-2, StarCoder, GPT-J, BLOOM, Falcon, MPT, DBRX, ChatGLM.

use super::shapes::LLAMA;
use crate::workload::huggingface::fields::{Fields, Says};
use crate::workload::huggingface::names::{HEAD_SIZE, HEADS, HIDDEN, INTERMEDIATE, KV_HEADS};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, kv_heads, layer_count};
use crate::workload::{AttentionConfig, DenseConfig, ExpertsConfig, HeadsConfig, LayerConfig, MlpConfig};

/// Layer norms with biases, embedding and head in one matrix.
const SHAPE: Shape = Shape { norms: 4, final_bias: true, tied: true, ..LLAMA };

/// Query heads, heads of keys and values, and biases of all four projections.
fn heads(fields: &Fields<'_>, kv_heads: Option<u32>, bias: bool) -> Result<HeadsConfig, Refusal> {
    let (hidden, heads) = (fields.count(HIDDEN)?, fields.count(HEADS)?);
    let head_size = match fields.at_least_1(HEAD_SIZE)? {
        Some(size) => size,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let problem = format!("contradicts {}: {hidden}, which it does not divide: correct either", HIDDEN[0]);
            return Err(Refusal::value(fields.path(HEADS[0]), heads, problem));
        }
    };
    let kv_heads = kv_heads.unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        let problem = format!("contradicts the {heads} query heads, which it does not divide: correct either");
        return Err(Refusal::value(fields.path(KV_HEADS[0]), kv_heads, problem));
    }
    Ok(HeadsConfig { heads, kv_heads, head_size, bias, output_bias: bias, ..HeadsConfig::default() })
}

/// All layers alike, with a dense part of two matrices.
fn alike(fields: &Fields<'_>, shape: Shape, heads: HeadsConfig, dense: (u32, bool)) -> Result<Draft, Refusal> {
    let mlp = MlpConfig::Dense(DenseConfig { intermediate: dense.0, gated: false, bias: dense.1 });
    let layer = LayerConfig { attention: AttentionConfig::Full(heads), mlp, ..LayerConfig::default() };
    shape.around(fields, vec![layer; layer_count(fields)? as usize])
}

/// The feed-forward size, four times the hidden size where the file does not say.
fn inner(fields: &Fields<'_>) -> Result<u32, Refusal> {
    match fields.at_least_1(INTERMEDIATE)? {
        Some(inner) => Ok(inner),
        None => fields.count_or(INTERMEDIATE, fields.count(HIDDEN)?.saturating_mul(4)),
    }
}

/// OPT has learned positions, two rows more than tokens.
pub(super) fn opt(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["do_layer_norm_before", "_remove_final_layer_norm", "layer_norm_elementwise_affine", "prefix"]);
    let bias = fields.flag("enable_bias")?.unwrap_or(true);
    let (hidden, projected) = (fields.count(HIDDEN)?, fields.at_least_1(&["word_embed_proj_dim"])?);
    if let Some(projected) = projected.filter(|projected| *projected != hidden) {
        let problem = format!("is not hidden_size: {hidden}: embeddings of another size cannot be expressed");
        return Err(Refusal::value(fields.path("word_embed_proj_dim"), projected, problem));
    }
    let mut draft = alike(fields, SHAPE, heads(fields, None, bias)?, (fields.count(INTERMEDIATE)?, bias))?;
    draft.architecture.positions = fields.count(&["max_position_embeddings"])?.saturating_add(2);
    Ok(draft)
}

pub(super) fn gpt2(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let mut draft = alike(fields, SHAPE, heads(fields, None, true)?, (inner(fields)?, true))?;
    draft.architecture.positions = fields.count(&["n_positions", "max_position_embeddings"])?;
    Ok(draft)
}

/// StarCoder: one head of keys and values.
pub(super) fn bigcode(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["attention_softmax_in_fp32", "inference_runner", "max_batch_size", "pre_allocate_kv_cache"]);
    fields.seen(&["max_sequence_length", "runner_max_sequence_length", "validate_runner_input"]);
    let kv_heads = fields.flag("multi_query")?.unwrap_or(true).then_some(1);
    let mut draft = alike(fields, SHAPE, heads(fields, kv_heads, true)?, (inner(fields)?, true))?;
    draft.architecture.positions = fields.count(&["n_positions", "max_position_embeddings"])?;
    Ok(draft)
}

/// GPT-J: one layer norm before attention and feed-forward part, which run in parallel.
pub(super) fn gptj(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let shape = Shape { norms: 2, head_bias: Says::Yes, tied: false, ..SHAPE };
    alike(fields, shape, heads(fields, None, false)?, (inner(fields)?, true))
}

/// BLOOM norms the embedding too.
pub(super) fn bloom(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["apply_residual_connection_post_layernorm", "slow_but_exact", "masked_softmax_fusion"]);
    fields.seen(&["bias_dropout_fusion", "skip_bias_add", "skip_bias_add_qkv", "unk_token_id", "offset_alibi"]);
    let mut draft = alike(fields, SHAPE, heads(fields, None, true)?, (inner(fields)?, true))?;
    draft.architecture.extra_parameters += 2 * u64::from(draft.architecture.hidden);
    Ok(draft)
}

/// Falcon: one head of keys and values, or as many as given in the newer models.
pub(super) fn falcon(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["apply_residual_connection_post_layernorm", "alibi", "multi_query", "num_kv_heads", "n_head_kv"]);
    let new = fields.flag("new_decoder_architecture")?.unwrap_or(false);
    let parallel = fields.flag("parallel_attn")?.unwrap_or(true);
    let bias = fields.flag("bias")?.unwrap_or(false);
    let kv = match (new, fields.flag("multi_query")?.unwrap_or(true)) {
        (true, _) => Some(kv_heads(fields, KV_HEADS, fields.count(HEADS)?)?),
        (false, true) => Some(1),
        (false, false) => None,
    };
    let two_norms = match fields.at_least_1(&["num_ln_in_parallel_attn"])? {
        Some(norms) => norms > 1,
        None => new || !parallel,
    };
    let shape = Shape { norms: if two_norms { 4 } else { 2 }, ..SHAPE };
    alike(fields, shape, heads(fields, kv, bias)?, (inner(fields)?, bias))
}

/// MPT: layer norms without biases unless `no_bias` is false; `attn_config` has the heads.
pub(super) fn mpt(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&[
        "init_config",
        "embedding_fraction",
        "tokenizer_name",
        "logit_scale",
        "learned_pos_emb",
        "max_seq_len",
    ]);
    fields.seen(&["fc_type", "use_pad_tok_in_ffn"]);
    let bias = !fields.flag("no_bias")?.unwrap_or(true);
    let attention = fields.object("attn_config")?;
    let kv = attention.as_ref().map(|attention| attention.at_least_1(&["kv_n_heads"])).transpose()?.flatten();
    let alibi = attention.as_ref().map(|attention| attention.flag("alibi")).transpose()?.flatten().unwrap_or(false);
    let multi_query = attention.as_ref().map(|attention| attention.word("attn_type")).transpose()?.flatten()
        == Some("multiquery_attention");
    let hidden = fields.count(HIDDEN)?;
    let ratio = fields.count_or(&["expansion_ratio"], 4)?;
    let shape = Shape { norms: if bias { 4 } else { 2 }, final_bias: bias, ..SHAPE };
    let heads = heads(fields, if multi_query { Some(1) } else { kv }, bias)?;
    let mut draft = alike(fields, shape, heads, (hidden.saturating_mul(ratio), bias))?;
    if !alibi && fields.flag("learned_pos_emb")?.unwrap_or(true) {
        draft.architecture.positions = fields.count(&["max_seq_len"])?;
    }
    Ok(draft)
}

/// DBRX: `attn_config` has the KV heads, `ffn_config` the experts.
pub(super) fn dbrx(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let part = |name: &str| {
        fields.object(name)?.ok_or_else(|| Refusal::missing(fields.path(name), "it has the sizes: add it"))
    };
    let (attention, ffn) = (part("attn_config")?, part("ffn_config")?);
    let heads = heads(fields, attention.at_least_1(&["kv_n_heads"])?, false)?;
    let (count, active) = (ffn.count(&["moe_num_experts"])?, ffn.count(&["moe_top_k"])?);
    if active > count {
        let problem = format!("contradicts moe_num_experts: {count}: correct either");
        return Err(Refusal::value(ffn.path("moe_top_k"), active, problem));
    }
    let intermediate = ffn.count(&["ffn_hidden_size"])?;
    let mlp = MlpConfig::Experts(ExpertsConfig { count, active, intermediate, ..ExpertsConfig::default() });
    let layer = LayerConfig { attention: AttentionConfig::Full(heads), mlp, ..LayerConfig::default() };
    LLAMA.around(fields, vec![layer; layer_count(fields)? as usize])
}

/// ChatGLM 2 to GLM-4 as first published: `multi_query_group_num` KV heads.
pub(super) fn chatglm(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["apply_query_key_layer_scaling", "apply_residual_connection_post_layernorm", "bias_dropout_fusion"]);
    fields.seen(&["interleaved_qkv", "original_rope", "pre_seq_len", "prefix_projection", "quantization_bit"]);
    fields.seen(&["multi_query_group_num", "post_layer_norm", "rmsnorm", "_name"]);
    let kv = match fields.flag("multi_query_attention")?.unwrap_or(false) {
        true => Some(fields.count(&["multi_query_group_num"])?),
        false => None,
    };
    let bias = fields.flag("add_bias_linear")?.unwrap_or(false);
    let qkv_bias = bias || fields.flag("add_qkv_bias")?.unwrap_or(false);
    let heads = HeadsConfig { bias: qkv_bias, ..heads(fields, kv, bias)? };
    let mlp = DenseConfig { intermediate: fields.count(INTERMEDIATE)?, gated: true, bias };
    let layer =
        LayerConfig { attention: AttentionConfig::Full(heads), mlp: MlpConfig::Dense(mlp), ..LayerConfig::default() };
    LLAMA.around(fields, vec![layer; layer_count(fields)? as usize])
}

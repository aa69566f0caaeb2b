//! Multi-head latent attention with experts: DeepSeek V2 and V3, Kimi K2, GLM 5, MiniCPM3.
//!
//! The KV of a token is a compressed vector of `kv_lora_rank` and a key of `qk_rope_head_dim` that
//! all heads share. DeepSeek V3.2 and GLM 5 add an indexer (`index_n_heads`, `index_head_dim`,
//! `index_topk`), which selects the tokens that attention reads.

use super::shapes::DEEPSEEK;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::names::{HEADS, HIDDEN};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, layer_count};
use crate::workload::{AttentionConfig, IndexerConfig, LatentConfig};

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    // DeepSeek-VL2's smallest decoder has plain attention.
    if fields.flag("use_mla")? == Some(false) {
        return DEEPSEEK.read(fields);
    }
    let layers = layer_count(fields)?;
    let latent = latent(fields, fields.count(&["v_head_dim"])?)?;
    let mut draft = DEEPSEEK.with(fields, vec![AttentionConfig::Latent(latent.clone()); layers as usize])?;
    if fields.flag("attention_bias")?.unwrap_or(false) {
        // Of the projections into the compressed vectors, and of the output.
        let parts = [latent.query_rank.unwrap_or(0), latent.rank, latent.rope, draft.architecture.hidden];
        let bias: u64 = parts.into_iter().map(u64::from).sum();
        draft.layers.iter_mut().for_each(|layer| layer.extra_parameters += bias);
    }
    Ok(draft)
}

/// MiniCPM3: dense; a head's value has the hidden size over the heads.
pub(super) fn minicpm3(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    let (hidden, heads) = (fields.count(HIDDEN)?, fields.count(HEADS)?);
    let value = fields.count_or(&["v_head_dim"], (hidden / heads).max(1))?;
    let latent = latent(fields, value)?;
    fields.notes().assumed("KV is kept compressed, as serving engines do; transformers keeps whole keys and values");
    super::shapes::MINICPM.with(fields, vec![AttentionConfig::Latent(latent); layers as usize])
}

/// The latent attention of a layer, with values of this size.
pub(super) fn latent(fields: &Fields<'_>, value: u32) -> Result<LatentConfig, Refusal> {
    fields.seen(&["num_key_value_heads", "head_dim", "use_mla", "mla_use_nope"]);
    let (rope, nope) = (fields.optional(&["qk_rope_head_dim"])?.unwrap_or(0), fields.count(&["qk_nope_head_dim"])?);
    if let Some(both) = fields.optional(&["qk_head_dim"])?.filter(|both| *both != rope + nope) {
        let problem = format!("contradicts qk_nope_head_dim + qk_rope_head_dim: {}: correct one of them", rope + nope);
        return Err(Refusal::value(fields.path("qk_head_dim"), both, problem));
    }
    Ok(LatentConfig {
        heads: fields.count(HEADS)?,
        rank: fields.count(&["kv_lora_rank"])?,
        rope,
        nope,
        value,
        query_rank: fields.at_least_1(&["q_lora_rank"])?,
        indexer: indexer(fields)?,
    })
}

/// The indexer, where the file has one of its fields.
fn indexer(fields: &Fields<'_>) -> Result<Option<IndexerConfig>, Refusal> {
    let names = ["index_n_heads", "index_head_dim", "index_topk"];
    if names.iter().all(|name| fields.get(name).is_none()) {
        return Ok(None);
    }
    let [heads, size, top_k] = names.map(|name| fields.count(&[name]));
    Ok(Some(IndexerConfig { heads: heads?, size: size?, top_k: top_k? }))
}

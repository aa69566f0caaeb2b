//! Llama-Nemotron: blocks found by neural architecture search, each with sizes of its own.

use super::shapes::LLAMA;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::names::{HEAD_SIZE, HEADS, HIDDEN};
use crate::workload::huggingface::notes::Notes;
use crate::workload::huggingface::refusal::{BY_HAND, Refusal};
use crate::workload::huggingface::shape::{Draft, layer_count};
use crate::workload::{AttentionConfig, DenseConfig, HeadsConfig, LayerConfig, MlpConfig};
use serde_json::Value;

/// `block_configs` says of each block how many query heads share a KV head, how large the
/// feed-forward part is as a multiple of the hidden size, and whether either is left out.
pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    let Some(blocks) = fields.list("block_configs")? else {
        return Err(Refusal::missing(
            fields.path("block_configs"),
            format!("it has the sizes of each block: {BY_HAND}"),
        ));
    };
    fields.check_length("block_configs", blocks.len(), layers)?;
    let hidden = fields.count(HIDDEN)?;
    fields.seen(&["num_key_value_heads", "intermediate_size"]);
    let heads = fields.count(HEADS)?;
    let size = fields.at_least_1(HEAD_SIZE)?.unwrap_or((hidden / heads).max(1));
    let bias = fields.flag("attention_bias")?.unwrap_or(false);
    let heads = HeadsConfig { heads, head_size: size, bias, output_bias: bias, ..HeadsConfig::default() };
    let mut read = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let name = format!("block_configs[{index}]");
        let part = |part: &str| match block.get(part) {
            Some(Value::Object(object)) => Ok(object),
            _ => Err(Refusal::missing(fields.path(&format!("{name}.{part}")), "each block has one: correct it")),
        };
        // Its notes are the same for every block.
        let notes = Notes::default();
        let (attention, mlp) = (part("attention")?, part("ffn")?);
        let attention = Fields::new(attention, &fields.path(&format!("{name}.attention")), &notes);
        let mlp = Fields::new(mlp, &fields.path(&format!("{name}.ffn")), &notes);
        read.push(LayerConfig {
            attention: attention_of(&attention, &heads)?,
            mlp: mlp_of(&mlp, hidden)?,
            ..LayerConfig::default()
        });
    }
    LLAMA.around(fields, read)
}

fn attention_of(fields: &Fields<'_>, heads: &HeadsConfig) -> Result<AttentionConfig, Refusal> {
    linear_is_refused(fields)?;
    if fields.flag("no_op")?.unwrap_or(false) {
        return Ok(AttentionConfig::None);
    }
    let group = fields.count(&["n_heads_in_group"])?;
    if !heads.heads.is_multiple_of(group) {
        let problem = format!("contradicts num_attention_heads: {}, which it does not divide", heads.heads);
        return Err(Refusal::value(fields.path("n_heads_in_group"), group, problem));
    }
    Ok(AttentionConfig::Full(HeadsConfig { kv_heads: heads.heads / group, ..heads.clone() }))
}

/// Two thirds of `ffn_mult` times the hidden size doubled, rounded up to a multiple of 256.
fn mlp_of(fields: &Fields<'_>, hidden: u32) -> Result<MlpConfig, Refusal> {
    linear_is_refused(fields)?;
    if fields.flag("no_op")?.unwrap_or(false) {
        return Ok(MlpConfig::None);
    }
    let multiple =
        fields.get("ffn_mult").and_then(Value::as_f64).filter(|multiple| (0.001..=1000.0).contains(multiple));
    let Some(multiple) = multiple else {
        return Err(Refusal::missing(
            fields.path("ffn_mult"),
            "a factor from 0.001 to 1000 of the hidden size: correct it",
        ));
    };
    let size = (2.0 * multiple * f64::from(hidden) / 3.0) as u32;
    let intermediate = size.div_ceil(256).saturating_mul(256);
    Ok(MlpConfig::Dense(DenseConfig { intermediate, ..DenseConfig::default() }))
}

fn linear_is_refused(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.flag("replace_with_linear")? {
        Some(true) => {
            Err(Refusal::value(fields.path("replace_with_linear"), "true", format!("cannot be expressed: {BY_HAND}")))
        }
        _ => Ok(()),
    }
}

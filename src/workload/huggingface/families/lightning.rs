//! MiniMax-Text-01 and M1: seven layers of lightning attention, then one of softmax attention.

use super::shapes::MIXTRAL;
use crate::units::Bytes;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, clamped, layer_count, not_understood};
use crate::workload::{AttentionConfig, RecurrentConfig};

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    for name in [
        "layernorm_full_attention_alpha",
        "layernorm_full_attention_beta",
        "layernorm_linear_attention_alpha",
        "layernorm_linear_attention_beta",
        "layernorm_mlp_alpha",
        "layernorm_mlp_beta",
        "postnorm",
        "block_size",
        "full_attn_alpha_factor",
        "full_attn_beta_factor",
        "linear_attn_alpha_factor",
        "linear_attn_beta_factor",
        "mlp_alpha_factor",
        "mlp_beta_factor",
        "shared_moe_mode",
    ] {
        fields.seen(&[name]);
    }
    let layers = layer_count(fields)?;
    let heads = MIXTRAL.attention(fields)?;
    let hidden = u128::from(fields.count(crate::workload::huggingface::names::HIDDEN)?);
    let (count, size) = (u128::from(heads.heads), u128::from(heads.head_size));
    let linear = RecurrentConfig {
        // Queries, keys, values, output gate and output; a norm.
        parameters: clamped(5 * hidden * count * size + count * size),
        state: Bytes::new(clamped(count * size * size * 4)),
    };
    fields.notes().assumed("the state of lightning attention is kept in fp32: a matrix a head");
    let kinds = match fields.numbers("attn_type_list")? {
        Some(list) => {
            fields.check_length("attn_type_list", list.len(), layers)?;
            let kind = |full: &u32| if *full > 0 { Mixer::Full } else { Mixer::Named("linear_attention".to_owned()) };
            list.iter().map(kind).collect()
        }
        None if fields.get("layer_types").is_some() => mixers(fields, layers, Windows::Never)?,
        None => {
            return Err(Refusal::missing(fields.path("attn_type_list"), "it says which layers have which attention"));
        }
    };
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(heads.clone())),
        Mixer::Named(name) if name == "linear_attention" => Ok(AttentionConfig::Recurrent(linear.clone())),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
        Mixer::Window(_) => Err(not_understood(fields, layer, "sliding_attention")),
    });
    MIXTRAL.with(fields, attention.collect::<Result<_, _>>()?)
}

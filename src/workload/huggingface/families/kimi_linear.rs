//! Kimi Linear: three layers of Kimi delta attention, then one of latent attention.

use super::deepseek::latent;
use super::shapes::DEEPSEEK;
use crate::units::Bytes;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::names::HIDDEN;
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, clamped, layer_count};
use crate::workload::{AttentionConfig, RecurrentConfig};

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    let hidden = u128::from(fields.count(HIDDEN)?);
    let Some(linear) = fields.object("linear_attn_config")? else {
        return Err(Refusal::missing(fields.path("linear_attn_config"), "it says which layers have which attention"));
    };
    let (heads, size) = (u128::from(linear.count(&["num_heads"])?), u128::from(linear.count(&["head_dim"])?));
    let taps = u128::from(linear.count(&["short_conv_kernel_size"])?);
    let width = heads * size;
    let delta = RecurrentConfig {
        // Queries, keys, values, output; their convolutions; the low-rank forget gate and output
        // gate; beta; the decay's scale and bias; the norm of a head.
        parameters: clamped(
            4 * hidden * width
                + 3 * width * taps
                + 2 * (hidden * size + size * width)
                + hidden * heads
                + heads
                + width
                + size,
        ),
        // A matrix a head in fp32, and what the convolutions still need in bf16.
        state: Bytes::new(clamped(heads * size * size * 4 + 3 * width * (taps - 1) * 2)),
    };
    fields.notes().assumed("the state of Kimi delta attention is kept in fp32, its convolutions' in bf16");
    let full = linear.numbers("full_attn_layers")?.unwrap_or_default();
    let kda = linear.numbers("kda_layers")?.unwrap_or_default();
    let latent = latent(fields, fields.count(&["v_head_dim"])?)?;
    let attention = (1..=layers).map(|layer| match (full.contains(&layer), kda.contains(&layer)) {
        (true, false) => Ok(AttentionConfig::Latent(latent.clone())),
        (false, true) => Ok(AttentionConfig::Recurrent(delta.clone())),
        _ => {
            let problem = "must be in one of full_attn_layers and kda_layers, which count from 1: correct them";
            Err(Refusal::value(fields.path("linear_attn_config"), format!("layer {layer}"), problem))
        }
    });
    DEEPSEEK.with(fields, attention.collect::<Result<_, _>>()?)
}

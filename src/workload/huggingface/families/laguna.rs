//! Laguna: query heads by layer, a gate on attention's output, experts from the second layer on.

use super::shapes::QWEN3_MOE;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::names::{HEADS, HIDDEN};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, clamped, layer_count, not_understood};
use crate::workload::{AttentionConfig, DenseConfig, HeadsConfig, MlpConfig, SlidingConfig};

const SHAPE: Shape = Shape { windows: Windows::Never, ..QWEN3_MOE };

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    let heads = SHAPE.attention(fields)?;
    let each = fields.per_layer(&["num_attention_heads_per_layer"], layers)?;
    let each = each.unwrap_or_else(|| vec![heads.heads; layers as usize]);
    let kinds = mixers(fields, layers, SHAPE.windows)?;
    let attention = kinds.iter().enumerate().map(|(layer, kind)| {
        let count = each[layer];
        if count == 0 || !count.is_multiple_of(heads.kv_heads) {
            let field = fields.path(&format!("num_attention_heads_per_layer[{layer}]"));
            let problem = format!("contradicts the {} KV heads, which must divide it: correct either", heads.kv_heads);
            return Err(Refusal::value(field, count, problem));
        }
        let of = HeadsConfig { heads: count, ..heads.clone() };
        match kind {
            Mixer::Full => Ok(AttentionConfig::Full(of)),
            Mixer::Window(window) => Ok(AttentionConfig::Sliding(SlidingConfig { window: *window, of })),
            Mixer::Named(name) => Err(not_understood(fields, layer, name)),
        }
    });
    let mut draft = SHAPE.with(fields, attention.collect::<Result<_, _>>()?)?;
    if fields.get("mlp_layer_types").is_none() {
        fields.notes().assumed("the first layer is dense, the others have experts: mlp_layer_types is not given");
        let intermediate = fields.count(crate::workload::huggingface::names::INTERMEDIATE)?;
        draft.layers[0].mlp = MlpConfig::Dense(DenseConfig { intermediate, ..DenseConfig::default() });
    }
    let gate = gate(fields, heads.head_size)?;
    let hidden = u128::from(fields.count(HIDDEN)?);
    for (layer, heads) in draft.layers.iter_mut().zip(each) {
        layer.extra_parameters = clamped(hidden * u128::from(heads) * gate);
    }
    fields.seen(HEADS);
    Ok(draft)
}

/// How many gates a head has: one, one for each element, or none.
fn gate(fields: &Fields<'_>, head_size: u32) -> Result<u128, Refusal> {
    use serde_json::Value;
    match fields.get("gating") {
        None | Some(Value::Bool(true)) => Ok(1),
        Some(Value::String(kind)) if kind == "per-head" => Ok(1),
        Some(Value::String(kind)) if kind == "per-element" => Ok(u128::from(head_size)),
        Some(Value::Bool(false)) => Ok(0),
        Some(other) => {
            let problem = "is no gate that is understood: true, false, per-head or per-element";
            Err(Refusal::value(fields.path("gating"), other, problem))
        }
    }
}

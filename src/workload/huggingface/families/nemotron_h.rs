//! Nemotron-H and Nemotron 3: each layer is one part, a Mamba-2, an attention or a feed-forward
//! one.

use super::shapes::LLAMA;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mlp::{ExpertsShape, dense, mlps};
use crate::workload::huggingface::names::EXPERTS;
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, layer_count};
use crate::workload::{AttentionConfig, LayerConfig, Mamba2Config, MlpConfig};

const SHAPE: Shape = Shape { norms: 1, gated: false, ..LLAMA };

pub(super) fn read(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&[
        "attention_head_dim",
        "time_step_rank",
        "expand",
        "use_bias",
        "intermediate_size",
        "moe_shared_expert_overlap",
    ]);
    let layers = layer_count(fields)?;
    let parts = parts(fields, layers)?;
    let has = |part: Part| parts.contains(&part);
    let full =
        if has(Part::Attention) { AttentionConfig::Full(SHAPE.attention(fields)?) } else { AttentionConfig::None };
    let mamba = if has(Part::Mamba) { AttentionConfig::Mamba2(mamba(fields)?) } else { AttentionConfig::None };
    let dense = if has(Part::Dense) { dense(fields, layers, 0, SHAPE.mlp())? } else { MlpConfig::None };
    let experts = if has(Part::Experts) { experts(fields, layers)? } else { MlpConfig::None };
    let layers = parts.iter().map(|part| match part {
        Part::Mamba => LayerConfig { attention: mamba.clone(), ..LayerConfig::default() },
        Part::Attention => LayerConfig { attention: full.clone(), ..LayerConfig::default() },
        Part::Dense => LayerConfig { mlp: dense.clone(), ..LayerConfig::default() },
        Part::Experts => LayerConfig { mlp: experts.clone(), ..LayerConfig::default() },
    });
    SHAPE.around(fields, layers.collect())
}

/// The experts of a layer; they may work on a projection of the hidden state.
fn experts(fields: &Fields<'_>, layers: u32) -> Result<MlpConfig, Refusal> {
    let shape = Shape { experts: Some(ExpertsShape::default()), ..SHAPE };
    fields.count(EXPERTS)?;
    let mut mlp = mlps(fields, layers, shape.mlp())?.swap_remove(0);
    if let MlpConfig::Experts(experts) = &mut mlp {
        experts.latent = fields.at_least_1(&["moe_latent_size"])?;
    }
    Ok(mlp)
}

/// What a layer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Mamba,
    Attention,
    Dense,
    Experts,
}

/// The parts, from a pattern of letters or a list of words.
fn parts(fields: &Fields<'_>, layers: u32) -> Result<Vec<Part>, Refusal> {
    if let Some(pattern) = fields.word("hybrid_override_pattern")? {
        fields.seen(&["layers_block_type"]);
        fields.check_length("hybrid_override_pattern", pattern.chars().count(), layers)?;
        return pattern
            .chars()
            .map(|letter| match letter {
                'M' => Ok(Part::Mamba),
                '*' => Ok(Part::Attention),
                '-' => Ok(Part::Dense),
                'E' => Ok(Part::Experts),
                other => {
                    let problem = "is no layer: M is Mamba-2, * attention, - a feed-forward part, E experts";
                    Err(Refusal::value(fields.path("hybrid_override_pattern"), format!("'{other}'"), problem))
                }
            })
            .collect();
    }
    let Some(words) = fields.words("layers_block_type")? else {
        return Err(Refusal::missing(fields.path("hybrid_override_pattern"), "it says what each layer is: add it"));
    };
    fields.check_length("layers_block_type", words.len(), layers)?;
    words
        .into_iter()
        .map(|word| match word {
            "mamba" => Ok(Part::Mamba),
            "attention" => Ok(Part::Attention),
            "mlp" => Ok(Part::Dense),
            "moe" => Ok(Part::Experts),
            other => {
                let problem = "is none of mamba, attention, mlp, moe";
                Err(Refusal::value(fields.path("layers_block_type"), format!("'{other}'"), problem))
            }
        })
        .collect()
}

fn mamba(fields: &Fields<'_>) -> Result<Mamba2Config, Refusal> {
    Ok(Mamba2Config {
        heads: fields.count(&["mamba_num_heads"])?,
        head_size: fields.count(&["mamba_head_dim"])?,
        state: fields.count(&["ssm_state_size"])?,
        groups: fields.count(&["n_groups", "mamba_n_groups"])?,
        convolution: fields.count(&["conv_kernel", "mamba_d_conv"])?,
        convolution_bias: fields.flag("use_conv_bias")?.unwrap_or(true),
        bias: fields.flag("mamba_proj_bias")?.unwrap_or(false),
    })
}

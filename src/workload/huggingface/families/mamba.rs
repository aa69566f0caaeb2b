//! Families with Mamba layers: Granite 4, Bamba, Jamba, and pure Mamba models.

use super::shapes::{GRANITE_MOE, LLAMA};
use crate::units::Bytes;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::mixers::{Mixer, Windows, mixers};
use crate::workload::huggingface::mlp::ExpertsShape;
use crate::workload::huggingface::names::{EXPERTS, HIDDEN};
use crate::workload::huggingface::refusal::Refusal;
use crate::workload::huggingface::shape::{Draft, Shape, clamped, layer_count, not_understood};
use crate::workload::{
    AttentionConfig, DenseConfig, ExpertsConfig, LayerConfig, Mamba2Config, MlpConfig, RecurrentConfig, SlidingConfig,
};

/// Granite 4: Mamba-2 and attention layers, each with experts beside a dense part, or that alone.
pub(super) fn granite(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    if fields.get("layer_types").is_none() {
        return Err(Refusal::missing(fields.path("layer_types"), "it says which layers are mamba and which attention"));
    }
    let attention = hybrid(fields, &mixers(fields, layers, Windows::Never)?, GRANITE_MOE)?;
    if fields.optional(EXPERTS)?.unwrap_or(0) > 0 {
        return GRANITE_MOE.with(fields, attention);
    }
    let intermediate = fields.count(&["shared_intermediate_size"])?;
    fields.seen(&["intermediate_size", "num_experts_per_tok"]);
    let mlp = MlpConfig::Dense(DenseConfig { intermediate, ..DenseConfig::default() });
    let layer = |attention| LayerConfig { attention, mlp: mlp.clone(), ..LayerConfig::default() };
    GRANITE_MOE.around(fields, attention.into_iter().map(layer).collect())
}

/// `attn_layer_indices` lists the layers with attention; the others are Mamba-2.
pub(super) fn bamba(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    let layers = layer_count(fields)?;
    let Some(full) = fields.numbers("attn_layer_indices")? else {
        return Err(Refusal::missing(fields.path("attn_layer_indices"), "it lists the layers with attention: add it"));
    };
    let kind = |layer| if full.contains(&layer) { Mixer::Full } else { Mixer::Named("mamba".to_owned()) };
    let attention = hybrid(fields, &(0..layers).map(kind).collect::<Vec<_>>(), LLAMA)?;
    LLAMA.with(fields, attention)
}

/// Every `attn_layer_period`-th layer has attention, the others are Mamba; every
/// `expert_layer_period`-th has experts.
pub(super) fn jamba(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["mamba_dt_rank", "use_mamba_kernels"]);
    let shape = Shape { experts: Some(ExpertsShape::default()), ..LLAMA };
    let layers = layer_count(fields)?;
    let (period, offset) = (fields.count_or(&["attn_layer_period"], 8)?, fields.optional(&["attn_layer_offset"])?);
    let offset = offset.unwrap_or(4) % period;
    let heads = shape.attention(fields)?;
    let hidden = u128::from(fields.count(HIDDEN)?);
    let state = u128::from(fields.count_or(&["mamba_d_state"], 16)?);
    let rank = match fields.get("mamba_dt_rank").filter(|rank| rank.is_number()) {
        Some(_) => u128::from(fields.count(&["mamba_dt_rank"])?),
        None => hidden.div_ceil(16),
    };
    let sizes = Mamba {
        hidden,
        inner: hidden * u128::from(fields.count_or(&["mamba_expand"], 2)?),
        state,
        rank,
        taps: u128::from(fields.count_or(&["mamba_d_conv"], 4)?),
        convolution_bias: fields.flag("mamba_conv_bias")?.unwrap_or(true),
        bias: fields.flag("mamba_proj_bias")?.unwrap_or(false),
        // Of the step, of B and of C.
        norms: rank + 2 * state,
    };
    let mamba = sizes.layer(fields);
    let attention = (0..layers).map(|layer| match layer % period == offset {
        true => AttentionConfig::Full(heads.clone()),
        false => mamba.clone(),
    });
    let mut draft = shape.with(fields, attention.collect())?;
    // One expert is a dense part.
    for layer in &mut draft.layers {
        if let MlpConfig::Experts(ExpertsConfig { count: 1, intermediate, .. }) = layer.mlp {
            layer.mlp = MlpConfig::Dense(DenseConfig { intermediate, ..DenseConfig::default() });
        }
    }
    Ok(draft)
}

/// Mamba layers alone, without KV.
pub(super) fn mamba(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["d_inner", "ssm_cfg", "fused_add_norm", "pad_vocab_size_multiple", "use_mambapy", "mixer_rms_eps"]);
    fields.seen(&["time_step_scale", "time_step_init_scheme", "expand"]);
    let layers = layer_count(fields)?;
    let hidden = u128::from(fields.count(HIDDEN)?);
    let inner = match fields.at_least_1(&["intermediate_size"])? {
        Some(inner) => u128::from(inner),
        None => hidden * u128::from(fields.count_or(&["expand"], 2)?),
    };
    let rank = match fields.get("time_step_rank").filter(|rank| rank.is_number()) {
        Some(_) => u128::from(fields.count(&["time_step_rank"])?),
        None => hidden.div_ceil(16),
    };
    let sizes = Mamba {
        hidden,
        inner,
        state: u128::from(fields.count_or(&["state_size"], 16)?),
        rank,
        taps: u128::from(fields.count_or(&["conv_kernel"], 4)?),
        convolution_bias: fields.flag("use_conv_bias")?.unwrap_or(true),
        bias: fields.flag("use_bias")?.unwrap_or(false),
        norms: 0,
    };
    let layer = LayerConfig { attention: sizes.layer(fields), ..LayerConfig::default() };
    Shape { norms: 1, tied: true, ..LLAMA }.around(fields, vec![layer; layers as usize])
}

/// Mamba-2 layers alone.
pub(super) fn mamba2(fields: &Fields<'_>) -> Result<Draft, Refusal> {
    fields.seen(&["time_step_rank", "expand", "rms_norm", "residual_in_fp32"]);
    let layers = layer_count(fields)?;
    let attention = AttentionConfig::Mamba2(Mamba2Config {
        heads: fields.count(&["num_heads"])?,
        head_size: fields.count(&["head_dim"])?,
        state: fields.count(&["state_size"])?,
        groups: fields.count(&["n_groups"])?,
        convolution: fields.count_or(&["conv_kernel"], 4)?,
        convolution_bias: fields.flag("use_conv_bias")?.unwrap_or(true),
        bias: fields.flag("use_bias")?.unwrap_or(false),
    });
    let layer = LayerConfig { attention, ..LayerConfig::default() };
    Shape { norms: 1, ..LLAMA }.around(fields, vec![layer; layers as usize])
}

/// Layers of attention, and Mamba-2 ones where they are called `mamba`.
fn hybrid(fields: &Fields<'_>, kinds: &[Mixer], shape: Shape) -> Result<Vec<AttentionConfig>, Refusal> {
    let heads = shape.attention(fields)?;
    let mamba = mamba2_beside(fields)?;
    let attention = kinds.iter().enumerate().map(|(layer, kind)| match kind {
        Mixer::Full => Ok(AttentionConfig::Full(heads.clone())),
        Mixer::Window(window) => Ok(AttentionConfig::Sliding(SlidingConfig { window: *window, of: heads.clone() })),
        Mixer::Named(name) if name == "mamba" => Ok(AttentionConfig::Mamba2(mamba.clone())),
        Mixer::Named(name) => Err(not_understood(fields, layer, name)),
    });
    attention.collect()
}

/// The Mamba-2 layers beside attention; a head's size may be `auto`.
fn mamba2_beside(fields: &Fields<'_>) -> Result<Mamba2Config, Refusal> {
    let heads = fields.count(&["mamba_n_heads"])?;
    let inner = u128::from(fields.count(HIDDEN)?) * u128::from(fields.count_or(&["mamba_expand"], 2)?);
    let head_size = match fields.get("mamba_d_head") {
        Some(value) if value.as_str() != Some("auto") => fields.count(&["mamba_d_head"])?,
        _ => u32::try_from(inner / u128::from(heads)).unwrap_or(u32::MAX),
    };
    if u128::from(heads) * u128::from(head_size) != inner {
        let problem =
            format!("contradicts mamba_expand times hidden_size: {inner}, over {heads} heads: correct one of them");
        return Err(Refusal::value(fields.path("mamba_d_head"), head_size, problem));
    }
    Ok(Mamba2Config {
        heads,
        head_size,
        state: fields.count(&["mamba_d_state"])?,
        groups: fields.count(&["mamba_n_groups"])?,
        convolution: fields.count_or(&["mamba_d_conv"], 4)?,
        convolution_bias: fields.flag("mamba_conv_bias")?.unwrap_or(true),
        bias: fields.flag("mamba_proj_bias")?.unwrap_or(false),
    })
}

/// The sizes of a Mamba layer, the first version.
struct Mamba {
    hidden: u128,
    inner: u128,
    state: u128,
    rank: u128,
    taps: u128,
    convolution_bias: bool,
    bias: bool,
    norms: u128,
}

impl Mamba {
    fn layer(&self, fields: &Fields<'_>) -> AttentionConfig {
        fields.notes().assumed("the state of Mamba layers is kept in fp32, their convolutions' in bf16");
        let Self { hidden, inner, state, rank, taps, .. } = *self;
        let mut parameters = hidden * 2 * inner + inner * taps + inner * (rank + 2 * state) + rank * inner + inner;
        parameters += inner * state + inner + inner * hidden + self.norms;
        parameters += u128::from(self.convolution_bias) * inner + u128::from(self.bias) * (2 * inner + hidden);
        let state = Bytes::new(clamped(inner * state * 4 + inner * taps * 2));
        AttentionConfig::Recurrent(RecurrentConfig { parameters: clamped(parameters), state })
    }
}

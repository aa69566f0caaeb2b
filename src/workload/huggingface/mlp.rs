//! The feed-forward parts: dense ones, and mixtures of experts in all layers or in some.

use super::fields::{Fields, Says};
use super::names::{ACTIVE, EXPERT_SIZE, EXPERTS, INTERMEDIATE, SHARED, SHARED_SIZE};
use super::refusal::Refusal;
use crate::workload::{DenseConfig, ExpertsConfig, MlpConfig};

/// What the code of a family fixes of its experts.
#[derive(Clone, Copy, Default)]
pub(super) struct ExpertsShape {
    /// Whether experts and router have biases.
    pub bias: bool,
    /// Whether the shared experts have a gate of their own.
    pub shared_gate: bool,
}

/// What the code of a family fixes of its feed-forward parts.
#[derive(Clone, Copy)]
pub(super) struct MlpShape {
    /// Whether there is a gate: three matrices, otherwise two.
    pub gated: bool,
    pub bias: Says,
    /// Whether `intermediate_size` counts the rows of gate and up-projection together.
    pub halved: bool,
    /// How its experts are, where it may have some.
    pub experts: Option<ExpertsShape>,
}

/// The feed-forward part of each of the layers.
pub(super) fn mlps(fields: &Fields<'_>, layers: u32, shape: MlpShape) -> Result<Vec<MlpConfig>, Refusal> {
    let Some(experts) = shape.experts.map(|experts| mixtures(fields, layers, shape, experts)).transpose()?.flatten()
    else {
        return (0..layers).map(|layer| dense(fields, layers, layer, shape)).collect();
    };
    // The size of a dense part, which some files have although no layer has one.
    fields.seen(INTERMEDIATE);
    let sparse = sparse_layers(fields, layers)?;
    let parts = experts.into_iter().zip(sparse).zip(0..);
    parts
        .map(
            |((mixture, sparse), layer)| {
                if sparse { Ok(MlpConfig::Experts(mixture)) } else { dense(fields, layers, layer, shape) }
            },
        )
        .collect()
}

/// A dense part; some families have one size for each layer.
pub(super) fn dense(fields: &Fields<'_>, layers: u32, layer: u32, shape: MlpShape) -> Result<MlpConfig, Refusal> {
    let intermediate = match fields.per_layer(INTERMEDIATE, layers)? {
        Some(sizes) if sizes[layer as usize] > 0 => sizes[layer as usize],
        _ => fields.count(INTERMEDIATE)?,
    };
    let intermediate = if shape.halved { intermediate / 2 } else { intermediate };
    Ok(MlpConfig::Dense(DenseConfig { intermediate, gated: shape.gated, bias: shape.bias.of(fields)? }))
}

/// The mixture that each layer has if it has one; none where the file has no experts.
fn mixtures(
    fields: &Fields<'_>,
    layers: u32,
    shape: MlpShape,
    experts: ExpertsShape,
) -> Result<Option<Vec<ExpertsConfig>>, Refusal> {
    let Some(counts) = fields.per_layer(EXPERTS, layers)?.filter(|counts| counts.iter().any(|count| *count > 0)) else {
        return Ok(None);
    };
    let Some(active) = fields.per_layer(ACTIVE, layers)? else {
        fields.count(ACTIVE)?;
        return Ok(None);
    };
    let sizes = match fields.per_layer(EXPERT_SIZE, layers)? {
        Some(sizes) => sizes,
        None => match fields.per_layer(INTERMEDIATE, layers)? {
            Some(sizes) => sizes,
            None => vec![fields.count(EXPERT_SIZE)?; layers as usize],
        },
    };
    let shared_sizes = fields.per_layer(SHARED_SIZE, layers)?.unwrap_or_else(|| vec![0; layers as usize]);
    let shared = fields.per_layer(SHARED, layers)?;
    let mixture = |layer: usize| {
        let (count, active, intermediate) = (counts[layer], active[layer], sizes[layer]);
        if active == 0 || active > count {
            let name = ACTIVE.iter().find(|name| fields.get(name).is_some()).unwrap_or(&ACTIVE[0]);
            let problem =
                format!("contradicts the {count} experts of layer {layer}: it goes from 1 to that: correct either");
            return Err(Refusal::value(fields.path(name), active, problem));
        }
        if intermediate == 0 {
            fields.count(EXPERT_SIZE)?;
        }
        let shared_size = Some(shared_sizes[layer]).filter(|size| *size > 0);
        let shared = shared.as_ref().map_or(u32::from(shared_size.is_some()), |shared| shared[layer]);
        Ok(ExpertsConfig {
            count,
            active,
            intermediate,
            gated: shape.gated,
            bias: experts.bias,
            shared,
            shared_intermediate: shared_size.filter(|size| shared > 0 && *size != intermediate),
            shared_gate: experts.shared_gate && shared > 0,
            ..ExpertsConfig::default()
        })
    };
    (0..layers as usize).map(mixture).collect::<Result<_, _>>().map(Some)
}

/// Which layers have experts: all, unless a field that families use for this says otherwise.
pub(super) fn sparse_layers(fields: &Fields<'_>, layers: u32) -> Result<Vec<bool>, Refusal> {
    let mut sparse = vec![true; layers as usize];
    let mut keep = |is_sparse: &dyn Fn(u32) -> bool| {
        for (layer, sparse) in (0..layers).zip(&mut sparse) {
            *sparse = *sparse && is_sparse(layer);
        }
    };
    if let Some(types) = fields.words("mlp_layer_types")? {
        fields.check_length("mlp_layer_types", types.len(), layers)?;
        if let Some(other) = types.iter().find(|kind| !["dense", "sparse"].contains(kind)) {
            let problem = "is neither 'dense' nor 'sparse': correct it";
            return Err(Refusal::value(fields.path("mlp_layer_types"), format!("'{other}'"), problem));
        }
        keep(&|layer| types[layer as usize] == "sparse");
    }
    // DeepSeek, GLM, Kimi, Ling: the first layers are dense. LFM2 calls them num_dense_layers.
    if let Some(first) =
        fields.optional(&["first_k_dense_replace", "num_dense_layers", "first_last_k_dense_replace"])?
    {
        keep(&|layer| layer >= first);
    }
    // DeepSeek has every n-th, counted from 0; MiMo a list of 0 and 1.
    match fields.get("moe_layer_freq") {
        Some(serde_json::Value::Array(list)) => {
            fields.check_length("moe_layer_freq", list.len(), layers)?;
            let list = fields.numbers("moe_layer_freq")?.unwrap_or_default();
            keep(&|layer| list[layer as usize] > 0);
        }
        _ => {
            if let Some(every) = fields.at_least_1(&["moe_layer_freq"])? {
                keep(&|layer| layer.is_multiple_of(every));
            }
        }
    }
    // Qwen and Llama 4 have every n-th, counted from 1; Llama 4 may list them.
    let listed = fields.numbers("moe_layers")?;
    match listed.filter(|listed| !listed.is_empty()) {
        Some(listed) => keep(&|layer| listed.contains(&layer)),
        None => {
            for name in ["decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_frequency"] {
                if let Some(every) = fields.optional(&[name])? {
                    keep(&|layer| every > 0 && (layer + 1).is_multiple_of(every));
                }
            }
        }
    }
    if let Some(dense) = fields.numbers("mlp_only_layers")? {
        keep(&|layer| !dense.contains(&layer));
    }
    // Ernie: from one layer to another, every n-th counted from 1; -1 is the last.
    fields.seen(&["moe_layer_end_index"]);
    if let Some(start) = fields.optional(&["moe_layer_start_index"])? {
        let last_is_given = fields.get("moe_layer_end_index").is_some_and(|end| end.as_i64() != Some(-1));
        let end = if last_is_given { fields.optional(&["moe_layer_end_index"])?.unwrap_or(layers) } else { layers };
        let every = fields.at_least_1(&["moe_layer_interval"])?.unwrap_or(1);
        keep(&|layer| (start..=end).contains(&layer) && (layer + 1).is_multiple_of(every));
    }
    // Jamba: every n-th from an offset on.
    if let Some(period) = fields.at_least_1(&["expert_layer_period"])? {
        let offset = fields.count_or(&["expert_layer_offset"], 1)?;
        keep(&|layer| layer % period == offset % period);
    }
    if let Some(list) = fields.list("is_moe_layer")? {
        fields.check_length("is_moe_layer", list.len(), layers)?;
        let of = |layer: u32| list[layer as usize].as_bool() == Some(true) || list[layer as usize].as_u64() > Some(0);
        keep(&of);
    }
    Ok(sparse)
}

//! Whether an architecture makes sense: what its sizes divide, what contradicts what.

use super::config::{
    ArchitectureConfig, AttentionConfig, ExpertsConfig, FormatsConfig, GatedDeltaConfig, HeadsConfig, LatentConfig,
    LayerConfig, Mamba2Config, MlpConfig, RoutingConfig,
};
use super::error::ArchitectureError;
use crate::workload::template::MAX_LAYERS;
use crate::workload::union::{Popularity, Routing};

/// Checks all but the sums of bytes, and returns the number of layers. O(layers as written).
pub(super) fn check(config: &ArchitectureConfig) -> Result<usize, ArchitectureError> {
    positive("", &[("hidden", config.hidden), ("vocabulary", config.vocabulary)])?;
    for (index, table) in config.tables.iter().enumerate() {
        positive(&format!("tables[{index}]"), &[("rows", table.rows), ("width", table.width)])?;
    }
    formats(&config.formats, config.tied)?;
    if config.blocks.is_empty() {
        return Err(ArchitectureError::None { at: "blocks".to_owned() });
    }
    let mut layers = 0u64;
    for (index, block) in config.blocks.iter().enumerate() {
        let at = format!("blocks[{index}]");
        positive(&at, &[("count", block.count)])?;
        if block.layers.is_empty() {
            return Err(ArchitectureError::None { at: format!("{at}.layers") });
        }
        layers = layers.saturating_add(u64::from(block.count).saturating_mul(block.layers.len() as u64));
        for (index, of) in block.layers.iter().enumerate() {
            layer(&format!("{at}.layers[{index}]"), of)?;
        }
    }
    match usize::try_from(layers) {
        Ok(count) if layers <= MAX_LAYERS => Ok(count),
        _ => Err(ArchitectureError::TooManyLayers(layers)),
    }
}

/// Whether none of these fields of `at` is 0.
fn positive(at: &str, fields: &[(&str, u32)]) -> Result<(), ArchitectureError> {
    match fields.iter().find(|(_, value)| *value == 0) {
        None => Ok(()),
        Some((field, _)) if at.is_empty() => Err(ArchitectureError::Zero { at: (*field).to_owned() }),
        Some((field, _)) => Err(ArchitectureError::Zero { at: format!("{at}.{field}") }),
    }
}

/// Whether `value` divides `whole`; neither is 0.
fn divides(at: &str, (field, value): (&str, u32), (of, whole): (&'static str, u32)) -> Result<(), ArchitectureError> {
    if whole.is_multiple_of(value) {
        return Ok(());
    }
    Err(ArchitectureError::NoDivisor { at: format!("{at}.{field}"), value, of, whole })
}

fn contradiction<T>(at: String, reason: &'static str) -> Result<T, ArchitectureError> {
    Err(ArchitectureError::Contradiction { at, reason })
}

fn formats(formats: &FormatsConfig, tied: bool) -> Result<(), ArchitectureError> {
    let single = [("kv", formats.kv, "\"bf16\" or \"fp8\""), ("state", formats.state, "\"fp32\" or \"bf16\"")];
    if let Some((field, format, example)) = single.into_iter().find(|(_, format, _)| format.is_mix()) {
        return Err(ArchitectureError::Mix { field, format, example });
    }
    match (formats.embedding, formats.head) {
        (Some(embedding), Some(head)) if tied && embedding != head => Err(ArchitectureError::Tied { embedding, head }),
        _ => Ok(()),
    }
}

fn layer(at: &str, config: &LayerConfig) -> Result<(), ArchitectureError> {
    if config.attention == AttentionConfig::None && config.mlp == MlpConfig::None {
        return Err(ArchitectureError::EmptyLayer { at: at.to_owned() });
    }
    attention(&format!("{at}.attention"), &config.attention)?;
    match &config.mlp {
        MlpConfig::None => Ok(()),
        MlpConfig::Dense(dense) => positive(&format!("{at}.mlp"), &[("intermediate", dense.intermediate)]),
        MlpConfig::Experts(experts) => of_experts(&format!("{at}.mlp"), experts),
    }
}

fn attention(at: &str, config: &AttentionConfig) -> Result<(), ArchitectureError> {
    match config {
        AttentionConfig::None | AttentionConfig::Recurrent(_) => Ok(()),
        AttentionConfig::Full(of) => heads(at, of),
        AttentionConfig::Sliding(sliding) => {
            positive(at, &[("window", sliding.window)])?;
            heads(&format!("{at}.of"), &sliding.of)
        }
        AttentionConfig::Latent(of) => latent(at, of),
        AttentionConfig::GatedDelta(of) => {
            let GatedDeltaConfig { key_heads, value_heads, key_size, value_size, convolution } = *of;
            positive(at, &[("key_heads", key_heads), ("value_heads", value_heads), ("key_size", key_size)])?;
            positive(at, &[("value_size", value_size), ("convolution", convolution)])?;
            divides(at, ("key_heads", key_heads), ("value_heads", value_heads))
        }
        AttentionConfig::Mamba2(of) => {
            let Mamba2Config { heads, head_size, state, groups, convolution, .. } = *of;
            positive(at, &[("heads", heads), ("head_size", head_size), ("state", state), ("groups", groups)])?;
            positive(at, &[("convolution", convolution)])?;
            divides(at, ("groups", groups), ("heads", heads))
        }
    }
}

fn heads(at: &str, config: &HeadsConfig) -> Result<(), ArchitectureError> {
    let HeadsConfig { heads, kv_heads, head_size, value_size, .. } = *config;
    positive(at, &[("heads", heads), ("kv_heads", kv_heads), ("head_size", head_size)])?;
    positive(at, &[("value_size", value_size.unwrap_or(1))])?;
    divides(at, ("kv_heads", kv_heads), ("heads", heads))?;
    if config.keys_are_values && value_size.is_some_and(|size| size != head_size) {
        return contradiction(
            format!("{at}.value_size"),
            "it differs from `head_size`, but `keys_are_values` says that a key is the value: leave one of them out",
        );
    }
    Ok(())
}

fn latent(at: &str, config: &LatentConfig) -> Result<(), ArchitectureError> {
    let LatentConfig { heads, rank, nope, value, query_rank, .. } = *config;
    positive(at, &[("heads", heads), ("rank", rank), ("nope", nope), ("value", value)])?;
    positive(at, &[("query_rank", query_rank.unwrap_or(1))])?;
    match &config.indexer {
        None => Ok(()),
        Some(of) => positive(&format!("{at}.indexer"), &[("heads", of.heads), ("size", of.size), ("top_k", of.top_k)]),
    }
}

fn of_experts(at: &str, config: &ExpertsConfig) -> Result<(), ArchitectureError> {
    let ExpertsConfig { count, active, intermediate, shared, shared_intermediate, latent, .. } = *config;
    positive(at, &[("count", count), ("active", active), ("intermediate", intermediate)])?;
    positive(at, &[("shared_intermediate", shared_intermediate.unwrap_or(1)), ("latent", latent.unwrap_or(1))])?;
    if count > Routing::MAX_EXPERTS {
        return Err(ArchitectureError::TooManyExperts { at: at.to_owned(), count });
    }
    if active > count {
        return Err(ArchitectureError::TooManyActive { at: at.to_owned(), active, count });
    }
    if shared == 0 && shared_intermediate.is_some() {
        let reason = "there are no shared experts: write how many as `shared`, or leave it out";
        return contradiction(format!("{at}.shared_intermediate"), reason);
    }
    if shared == 0 && config.shared_gate {
        let reason = "there are no shared experts to gate: write how many as `shared`, or leave it out";
        return contradiction(format!("{at}.shared_gate"), reason);
    }
    routing(at, config).map(|_| ())
}

/// The routing of experts that are checked otherwise.
pub(super) fn routing(at: &str, config: &ExpertsConfig) -> Result<Routing, ArchitectureError> {
    let (popularity, exponent) = match config.routing {
        RoutingConfig::Uniform => (Popularity::Uniform, 0.0),
        RoutingConfig::Zipf(exponent) => (Popularity::Zipf(exponent), exponent),
    };
    Routing::new(config.count, config.active, popularity)
        .ok_or_else(|| ArchitectureError::Exponent { at: at.to_owned(), exponent })
}

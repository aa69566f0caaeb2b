//! The parts of a model by the names that their modules have in checkpoints, to find which of them
//! a quantization converts.

use crate::workload::{AttentionConfig, LayerConfig, MlpConfig};

/// A part of a layer that has a format of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Attention,
    Mlp,
    Experts,
    Shared,
}

impl Part {
    pub const ALL: [Self; 4] = [Self::Attention, Self::Mlp, Self::Experts, Self::Shared];

    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Experts => "experts",
            Self::Shared => "shared experts",
        }
    }
}

/// Names of the modules of `part` in a layer, each with all that it may be called; none where the
/// layer has no such part.
pub(super) fn modules(part: Part, index: usize, layer: &LayerConfig) -> Vec<Vec<String>> {
    let (folders, modules): (&[&str], &[&str]) = match (part, &layer.attention, &layer.mlp) {
        (Part::Attention, AttentionConfig::None, _) => return Vec::new(),
        (Part::Attention, AttentionConfig::Full(_) | AttentionConfig::Sliding(_), _) => {
            (&["self_attn", "attention", "mixer"], &["q_proj", "k_proj", "v_proj", "o_proj"])
        }
        (Part::Attention, AttentionConfig::Latent(_), _) => {
            (&["self_attn"], &["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"])
        }
        (Part::Attention, AttentionConfig::GatedDelta(_), _) => (&["linear_attn"], &["in_proj_qkvz", "out_proj"]),
        (Part::Attention, AttentionConfig::Mamba2(_), _) => (&["mixer", "mamba"], &["in_proj", "out_proj"]),
        (Part::Attention, AttentionConfig::Recurrent(_), _) => {
            (&["self_attn", "mamba", "mixer", "conv"], &["in_proj", "out_proj"])
        }
        (Part::Mlp, _, MlpConfig::Dense(_)) => {
            (&["mlp", "mixer", "feed_forward"], &["gate_proj", "up_proj", "down_proj"])
        }
        (Part::Experts, _, MlpConfig::Experts(_)) => {
            const FOLDERS: &[&str] =
                &["mlp.experts.0", "block_sparse_moe.experts.0", "mixer.experts.0", "feed_forward.experts.0"];
            (FOLDERS, &["gate_proj", "up_proj", "down_proj"])
        }
        (Part::Shared, _, MlpConfig::Experts(experts)) if experts.shared > 0 => {
            const FOLDERS: &[&str] =
                &["mlp.shared_experts", "mlp.shared_expert", "mixer.shared_experts", "feed_forward.shared_expert"];
            (FOLDERS, &["gate_proj", "up_proj", "down_proj"])
        }
        _ => return Vec::new(),
    };
    modules.iter().map(|module| called(index, folders, module)).collect()
}

/// What a module of a layer may be called.
fn called(index: usize, folders: &[&str], module: &str) -> Vec<String> {
    const LAYERS: [&str; 5] = [
        "model.layers",
        "model.language_model.layers",
        "language_model.model.layers",
        "backbone.layers",
        "language_model.layers",
    ];
    let other = match module {
        "gate_proj" => Some("w1"),
        "up_proj" => Some("w3"),
        "down_proj" => Some("w2"),
        _ => None,
    };
    let names = std::iter::once(module).chain(other);
    let in_folders = |name: &str| folders.iter().map(|folder| format!("{folder}.{name}")).collect::<Vec<_>>();
    let inner: Vec<String> = names.flat_map(in_folders).collect();
    LAYERS.iter().flat_map(|layers| inner.iter().map(move |inner| format!("{layers}.{index}.{inner}"))).collect()
}

/// What the head may be called.
pub(super) const HEAD: &[&str] = &["lm_head", "language_model.lm_head", "model.lm_head"];
/// What the embedding may be called.
pub(super) const EMBEDDING: &[&str] = &[
    "model.embed_tokens",
    "model.language_model.embed_tokens",
    "language_model.model.embed_tokens",
    "backbone.embeddings",
];

//! What attention stores, keeps of each token and computes, kind by kind.

use super::config::{AttentionConfig, GatedDeltaConfig, HeadsConfig, LatentConfig, Mamba2Config, RecurrentConfig};
use super::tensor::{Part, Role, Tensor};
use crate::units::Bytes;

/// Attention as the rest of the room sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attention {
    pub tensors: Vec<Tensor>,
    /// Elements of keys and values that a token leaves.
    pub kv_elements: u64,
    /// How many KV heads it has, and the elements of their keys; `None` where a token leaves
    /// something else than keys and values.
    pub kv_heads: Option<(u32, u64)>,
    /// Bytes of a token's KV besides, whatever the format of the KV: index keys.
    pub index_bytes: u64,
    /// How many tokens it reads, where not all.
    pub window: Option<u32>,
    /// Whether it reads the KV of an earlier layer.
    pub shares_kv: bool,
    /// Elements of recurrent state.
    pub state_elements: u64,
    /// Recurrent state in bytes, where it is given so.
    pub state_bytes: Bytes,
    /// FLOP of a token for its weights besides those of the tensors: on the state.
    pub state_flop: f64,
    /// FLOP for each token whose KV it reads.
    pub flop_per_token: f64,
}

impl Attention {
    /// Whether it reads KV, its own or that of another layer.
    pub fn attends(&self) -> bool {
        self.kv_elements > 0 || self.shares_kv
    }

    pub fn new(config: &AttentionConfig, hidden: u32) -> Self {
        let hidden = u128::from(hidden);
        match config {
            AttentionConfig::None => Self::default(),
            AttentionConfig::Full(heads) => of_heads(heads, hidden, None),
            AttentionConfig::Sliding(sliding) => of_heads(&sliding.of, hidden, Some(sliding.window)),
            AttentionConfig::Latent(latent) => of_latent(latent, hidden),
            AttentionConfig::GatedDelta(delta) => of_gated_delta(delta, hidden),
            AttentionConfig::Mamba2(mamba) => of_mamba(mamba, hidden),
            AttentionConfig::Recurrent(RecurrentConfig { parameters, state }) => Self {
                tensors: vec![matrix(Role::Extra, 1, u128::from(*parameters))],
                state_bytes: *state,
                ..Self::default()
            },
        }
    }
}

fn matrix(role: Role, rows: u128, columns: u128) -> Tensor {
    Tensor::matrix(role, Part::Attention, rows, columns)
}

fn vector(weights: u128) -> Tensor {
    Tensor::vector(Part::Attention, weights)
}

/// `count` heads of `size` elements.
fn wide(count: u32, size: u32) -> u128 {
    u128::from(count) * u128::from(size)
}

/// A number of elements, which the check of the configuration has limited.
fn elements(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn of_heads(config: &HeadsConfig, hidden: u128, window: Option<u32>) -> Attention {
    let HeadsConfig { heads, kv_heads, head_size, shares_kv, keys_are_values, .. } = *config;
    let value_size = config.value_size.unwrap_or(head_size);
    let queries = wide(heads, head_size) * if config.gate { 2 } else { 1 };
    let keys = if shares_kv { 0 } else { wide(kv_heads, head_size) };
    let values = if shares_kv || keys_are_values { 0 } else { wide(kv_heads, value_size) };
    let mut tensors = Vec::new();
    if config.fused {
        tensors.push(matrix(Role::QueryKeyValue, queries + keys + values, hidden));
    } else {
        for (role, rows) in [(Role::Query, queries), (Role::Key, keys), (Role::Value, values)] {
            tensors.push(matrix(role, rows, hidden));
        }
    }
    tensors.push(matrix(Role::Output, hidden, wide(heads, value_size)));
    let vectors = [
        (config.bias, queries + keys + values),
        (config.output_bias, hidden),
        (config.qk_norm, u128::from(head_size) * if shares_kv { 1 } else { 2 }),
        (config.sinks, u128::from(heads)),
    ];
    tensors.extend(vectors.into_iter().filter(|(has, _)| *has).map(|(_, weights)| vector(weights)));
    // Sharing layers read KV of this shape, which an earlier layer keeps.
    let kv = if shares_kv { 0 } else { keys + values };
    Attention {
        tensors,
        kv_elements: elements(kv),
        kv_heads: Some((kv_heads, elements(keys))),
        window,
        shares_kv,
        // Scores of each query head against a key, and the weighted sum of values.
        flop_per_token: 2.0 * (wide(heads, head_size) + wide(heads, value_size)) as f64,
        ..Attention::default()
    }
}

fn of_latent(config: &LatentConfig, hidden: u128) -> Attention {
    let LatentConfig { heads, rank, rope, nope, value, .. } = *config;
    let mut tensors = Vec::new();
    let queries = wide(heads, nope) + wide(heads, rope);
    match config.query_rank.map(u128::from) {
        Some(query_rank) => tensors.extend([
            matrix(Role::Matrix, query_rank, hidden),
            vector(query_rank),
            matrix(Role::Matrix, queries, query_rank),
        ]),
        None => tensors.push(matrix(Role::Query, queries, hidden)),
    }
    let latent = u128::from(rank) + u128::from(rope);
    tensors.extend([
        matrix(Role::Matrix, latent, hidden),
        vector(rank.into()),
        // From the latent vector to keys, which is applied to the queries instead, and to values.
        matrix(Role::Matrix, wide(heads, rank), nope.into()),
        matrix(Role::Matrix, wide(heads, value), rank.into()),
        matrix(Role::Output, hidden, wide(heads, value)),
    ]);
    let mut attention = Attention {
        kv_elements: elements(latent),
        // Scores against the latent vector and the rotated part; the weighted sum of latent
        // vectors.
        flop_per_token: 2.0 * f64::from(heads) * (latent as f64 + f64::from(rank)),
        ..Attention::default()
    };
    if let Some(indexer) = &config.indexer {
        let from = config.query_rank.map_or(hidden, u128::from);
        tensors.extend([
            matrix(Role::Matrix, wide(indexer.heads, indexer.size), from),
            matrix(Role::Matrix, indexer.size.into(), hidden),
            matrix(Role::Matrix, indexer.heads.into(), hidden),
            vector(2 * u128::from(indexer.size)),
        ]);
        // A key in fp8 with an fp32 scale.
        attention.index_bytes = u64::from(indexer.size) + 4;
        attention.flop_per_token += 2.0 * wide(indexer.heads, indexer.size) as f64;
    }
    attention.tensors = tensors;
    attention
}

fn of_gated_delta(config: &GatedDeltaConfig, hidden: u128) -> Attention {
    let keys = wide(config.key_heads, config.key_size);
    let values = wide(config.value_heads, config.value_size);
    let heads = u128::from(config.value_heads);
    let taps = u128::from(config.convolution);
    let mixed = 2 * keys + values;
    let matrices = heads.saturating_mul(config.key_size.into()).saturating_mul(config.value_size.into());
    let state = matrices.saturating_add(mixed.saturating_mul(taps.saturating_sub(1)));
    Attention {
        tensors: vec![
            matrix(Role::QueryKeyValue, mixed, hidden),
            // The gate of the output.
            matrix(Role::Matrix, values, hidden),
            // Decay and step size of each head.
            matrix(Role::Matrix, 2 * heads, hidden),
            matrix(Role::Small, mixed, taps),
            vector(2 * heads),
            vector(config.value_size.into()),
            matrix(Role::Matrix, hidden, values),
        ],
        state_elements: elements(state),
        // An element decays (1), is read with the key (2), updated (2) and read with the query (2).
        state_flop: 7.0 * matrices as f64,
        ..Attention::default()
    }
}

fn of_mamba(config: &Mamba2Config, hidden: u128) -> Attention {
    let inner = wide(config.heads, config.head_size);
    let shared = 2 * wide(config.groups, config.state);
    let heads = u128::from(config.heads);
    let taps = u128::from(config.convolution);
    let mixed = inner + shared;
    let projected = 2 * inner + shared + heads;
    let matrices = inner.saturating_mul(config.state.into());
    let state = matrices.saturating_add(mixed.saturating_mul(taps.saturating_sub(1)));
    let mut tensors = vec![
        matrix(Role::Matrix, projected, hidden),
        matrix(Role::Small, mixed, taps),
        // A, D and the bias of the time step.
        vector(3 * heads),
        vector(inner),
        matrix(Role::Matrix, hidden, inner),
    ];
    if config.convolution_bias {
        tensors.push(vector(mixed));
    }
    if config.bias {
        tensors.push(vector(projected + hidden));
    }
    Attention {
        tensors,
        state_elements: elements(state),
        // An element decays (1), is updated (2) and read (2).
        state_flop: 5.0 * matrices as f64,
        ..Attention::default()
    }
}

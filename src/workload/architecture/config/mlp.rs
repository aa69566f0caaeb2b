//! Feed-forward parts as a person writes them.

use super::defaults::{is_default, is_true, yes};
use crate::config::{count, count_from_1};
use serde::{Deserialize, Serialize};

/// The feed-forward part of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum MlpConfig {
    /// The layer has none.
    #[default]
    None,
    /// One that every token passes.
    Dense(DenseConfig),
    /// A mixture of experts, of which each token passes some.
    Experts(ExpertsConfig),
}

/// A dense feed-forward part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Dense", deny_unknown_fields)]
pub struct DenseConfig {
    /// Elements between its matrices.
    #[serde(deserialize_with = "count_from_1")]
    pub intermediate: u32,
    /// Whether it has a gate: three matrices (gate, up and down), otherwise two.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub gated: bool,
    /// Whether its matrices have biases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
}

impl Default for DenseConfig {
    fn default() -> Self {
        Self { intermediate: 0, gated: true, bias: false }
    }
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Experts", deny_unknown_fields)]
pub struct ExpertsConfig {
    /// How many experts are stored.
    #[serde(deserialize_with = "count_from_1")]
    pub count: u32,
    /// How many of them a token is routed to.
    #[serde(deserialize_with = "count_from_1")]
    pub active: u32,
    /// Elements between the matrices of an expert.
    #[serde(deserialize_with = "count_from_1")]
    pub intermediate: u32,
    /// Whether an expert has a gate: three matrices, otherwise two.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub gated: bool,
    /// Elements of the experts' inputs and outputs where these are not the hidden state but a
    /// projection of it, down before the experts and up after them: two more matrices of `hidden`
    /// by `latent`, which every token passes (Nemotron 3). The shared experts are as wide as the
    /// hidden state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent: Option<u32>,
    /// Whether the matrices of experts and router have biases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// How many experts every token passes besides.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "count")]
    pub shared: u32,
    /// Elements between the matrices of a shared expert; `intermediate` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_intermediate: Option<u32>,
    /// Whether the shared experts are gated by one more row of the router.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared_gate: bool,
    /// Which experts the tokens of a batch are routed to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub routing: RoutingConfig,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self {
            count: 0,
            active: 0,
            intermediate: 0,
            gated: true,
            latent: None,
            bias: false,
            shared: 0,
            shared_intermediate: None,
            shared_gate: false,
            routing: RoutingConfig::Uniform,
        }
    }
}

/// How often tokens are routed to which expert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum RoutingConfig {
    /// To each equally often.
    #[default]
    Uniform,
    /// To the i-th most popular with a weight of i to the power of minus this exponent.
    Zipf(f64),
}

//! Generated requests: arrivals and lengths drawn from distributions.

use serde::{Deserialize, Serialize};

/// A generator of requests, as a person writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Generated", deny_unknown_fields)]
pub struct GeneratedConfig {
    /// The seed: the same one gives the same requests.
    #[serde(default)]
    pub seed: u64,
    /// How many requests arrive.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub count: u32,
    /// How many arrive a second on average.
    pub per_second: f64,
    /// The tokens of each prompt.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub prompt_tokens: u32,
    /// The tokens of each output.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub output_tokens: u32,
}

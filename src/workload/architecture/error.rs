//! What an architecture cannot be, with the field, its value and what to write instead.

use crate::units::Bytes;
use crate::workload::format::Format;
use crate::workload::template::MAX_LAYERS;
use crate::workload::union::Routing;
use thiserror::Error;

/// What an architecture cannot be. `at` is the path of a field, from `architecture` on.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum ArchitectureError {
    #[error("architecture.{at}: 0: write at least 1")]
    Zero { at: String },
    #[error("architecture.{at}: there are none: list at least one")]
    None { at: String },
    #[error("architecture.blocks: {0} layers in all, but at most {max} can be simulated", max = MAX_LAYERS)]
    TooManyLayers(u64),
    #[error("architecture.{at}: the layer has neither an attention nor an mlp: give it one of them, or leave it out")]
    EmptyLayer { at: String },
    #[error("architecture.{at}: {value} does not divide {of}, which is {whole}: write a divisor of it")]
    NoDivisor { at: String, value: u32, of: &'static str, whole: u32 },
    #[error("architecture.{at}.active: {active} of {count} experts: write at most as many as `count`")]
    TooManyActive { at: String, active: u32, count: u32 },
    #[error("architecture.{at}.count: {count} experts: write at most {max}", max = Routing::MAX_EXPERTS)]
    TooManyExperts { at: String, count: u32 },
    #[error("architecture.{at}.routing: an exponent of {exponent}: write a number from 0 to {max}", max = Routing::MAX_EXPONENT)]
    Exponent { at: String, exponent: f64 },
    #[error("architecture.{at}: {reason}")]
    Contradiction { at: String, reason: &'static str },
    #[error("architecture.{at}.shares_kv: no earlier layer of the same kind has KV of its own: leave it out")]
    NothingToShare { at: String },
    #[error(
        "architecture.formats.{field}: '{format}' is a mix, which stores different weights in different formats: write a single format, such as {example}"
    )]
    Mix { field: &'static str, format: Format, example: &'static str },
    #[error(
        "architecture.formats: `embedding` says {embedding} and `head` says {head}, but with `tied` both are one matrix: leave one out"
    )]
    Tied { embedding: Format, head: Format },
    #[error("architecture.{at}: more than {max} of weights: write smaller sizes", max = Bytes::MAX_INPUT)]
    TooLarge { at: String },
    #[error("architecture.{at}: the KV of a token and the state take more than {max}: write smaller sizes", max = Bytes::MAX_INPUT)]
    TooMuchKv { at: String },
}

//! Where the skip sets come from.

mod generator;
mod kvs;
mod window;

pub use generator::{Generator, GeneratorConfig};
pub use kvs::Recording;
pub use window::TraceWindow;

use super::TokenSet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use thiserror::Error;

/// Where a scenario's skip sets come from, as a person writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TraceConfig {
    /// Made up, by parameters.
    Generated(GeneratorConfig),
    /// Read from a recorded trace: a `.kvs` file, or the name of a shipped one.
    Recorded(PathBuf),
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self::Generated(GeneratorConfig::default())
    }
}

/// Why a trace cannot be used, or ended early.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum TraceError {
    #[error("cannot read the trace '{path}': {source}")]
    Read { path: String, source: std::io::Error },
    #[error("'{path}' is no .kvs trace: {found}. A trace starts with \"KVSKIP01\"; see traces/README.md")]
    NotKvs { path: String, found: String },
    #[error("'{path}' has {field} = {value} in its header: {limit}")]
    Header { path: String, field: &'static str, value: u64, limit: String },
    #[error(
        "'{path}' is {actual} bytes long, but its header ({steps} steps, {layers} layers, {prefill} tokens before step 0) means {expected}: it is {what}"
    )]
    Length { path: String, actual: u64, expected: u64, steps: u32, layers: u32, prefill: u32, what: &'static str },
    #[error(
        "'{path}' skips a token at or past the context of {context} in step {step}, layer {layer}: the file is damaged"
    )]
    StrayBit { path: String, step: usize, layer: usize, context: usize },
    #[error(
        "'{path}' was recorded with {recorded} layers, but the model '{model}' has {layers}: use a model with {recorded} layers"
    )]
    Layers { path: String, recorded: usize, model: String, layers: usize },
    #[error("'{path}' has {recorded} steps, too few for {wanted} decode tokens: use --decode {recorded} or less")]
    TooShort { path: String, recorded: usize, wanted: usize },
    #[error(
        "'{path}' starts with {recorded} tokens before step 0, but the scenario has a prefill of {wanted}: use --prefill {recorded}"
    )]
    Prefill { path: String, recorded: usize, wanted: usize },
    #[error("trace.old_bias is {old_bias}, but it must be at most {max}", max = GeneratorConfig::MAX_OLD_BIAS)]
    OldBias { old_bias: u32 },
    #[error(
        "trace: {skipped} of {context} tokens are to be skipped, but sinks ({sinks}) and recent ({recent}) leave only {eligible} that may be: lower one of them"
    )]
    TooManyKept { skipped: u64, context: u64, sinks: u32, recent: u32, eligible: u64 },
}

/// The tokens that one step does not read, in each layer.
#[derive(Clone, Debug)]
pub struct StepSkips {
    /// The skipped tokens, by layer, all below the step's context.
    pub sets: Vec<TokenSet>,
    /// How many they are, by layer.
    pub counts: Vec<usize>,
}

impl StepSkips {
    /// Nothing skipped, for `layers` layers of up to `range` tokens.
    #[must_use]
    pub fn none(layers: usize, range: usize) -> Self {
        Self { sets: vec![TokenSet::new(range); layers], counts: vec![0; layers] }
    }
}

/// A stream of skip sets, from step 0 on.
pub trait SkipSource {
    /// Writes the skip sets of the next step, whose context is `context` tokens, over `skips`.
    ///
    /// # Errors
    /// [`TraceError`] where the trace cannot be read or makes no sense.
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError>;
}

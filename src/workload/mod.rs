//! What is computed: the language model's bytes, and which tokens each step reads.
//!
//! * [`ModelConfig`] is what a person typed; [`LanguageModel`] is what the engine trusts.
//! * [`TraceConfig`] says where skip sets come from: a [`Generator`], a [`Lifelike`] one, or a [`Recording`] that a [`FittedTrace`]
//!   makes fit. [`TraceStatistics`] says what they are like; [`Fit`] looks for the generator that is most like a recording.
//! * A [`Workload`] returns [steps](StepPlan): lists of [stages](Stage) that read and append
//!   [regions](Region) of memory. [`Decode`] decodes one sequence.
//! * [`SkipSource`] streams, step by step, the tokens that attention skips in each layer; [`TraceWindow`] keeps the
//!   present step and as many of the next as a strategy may see. The whole trace is never in memory.
//! * [`TokenSet`] is a set of tokens of one layer, a bit a token.

/// The longest context that can be simulated.
pub const MAX_TOKENS: u64 = 1 << 24;

mod compute;
mod decode;
mod label;
mod model;
mod region;
mod step;
pub(crate) mod tokens;
mod trace;

pub use compute::{ComputeConfig, ComputeError, Roofline};
pub use decode::{Decode, stages};
pub use label::{PerLabel, StageLabel};
pub use model::{LanguageModel, LayersConfig, ModelConfig, ModelError, ModelStage, Weights, WeightsConfig};
pub use region::{Contents, Region, Regions};
pub use step::{Amount, Append, Free, Next, Read, Stage, StageReads, StepPlan, Workload};
pub use tokens::TokenSet;
pub use trace::{
    Ahead, Demand, Encoding, Extend, Fan, Fit, FittedTrace, Generator, GeneratorConfig, HeaderFields, JsonLinesWriter,
    KvsWriter, LAGS, LayerMap, Lifelike, LifelikeConfig, PAGE_TOKENS, ParquetWriter, Provenance, Recorded,
    RecordedConfig, Recording, RecordingFormat, Shape, SkipSource, Skipped, StepSkips, StepStatistics, StoredSkips,
    TraceConfig, TraceError, TraceHeader, TraceStatistics, TraceWindow, is_decoding,
};

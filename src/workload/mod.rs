//! What is computed: a model's regions and stages, and which tokens each step reads.
//!
//! * [`ModelConfig`] is what a person typed, in bytes or as an [architecture](ArchitectureConfig);
//!   [`LanguageModel`] is what the engine trusts.
//! * A [`Region`] is one thing that occupies memory: a piece of the weights, or the KV of one
//!   sequence in one layer. A [`Stage`] reads regions, computes and appends; a [step](StepPlan) is
//!   a list of stages. A [`Workload`] returns the next step: [`Batch`] decodes the
//!   sequences of a scenario.
//! * A *skip set* holds the tokens whose KV sparse attention does not read in one layer and step. A
//!   [`SkipSource`] streams them step by step; a [`TraceWindow`] keeps those of the present step
//!   and of as many of the next as a strategy may see. The whole trace is never in memory.
//! * [`TraceConfig`] selects the source: a [`Generator`], a [`Lifelike`] one, or a [`Recording`]
//!   that a [`FittedTrace`] adapts to the run. [`TraceStatistics`] describes skip sets; [`Fit`]
//!   looks for the generator whose sets are most like those of a recording.
//! * *Routing* says which experts a step's tokens use: [`Routing`] how many different ones, a
//!   [`RoutingSource`] which ones, step by step.
//! * [`TokenSet`] is a set of tokens or pages, one bit each.
//!
#![doc = include_str!("architecture/README.md")]

/// The longest context that can be simulated.
pub const MAX_TOKENS: u64 = 1 << 24;

mod architecture;
mod batch;
mod compute;
mod experts;
mod format;
pub mod huggingface;
mod index;
mod kv_groups;
mod label;
mod math;
mod model;
mod region;
mod requests;
mod routing;
mod runtime;
mod schedule;
mod sequences;
mod stages;
mod step;
mod template;
pub(crate) mod tokens;
mod trace;
mod union;
mod windows;

pub use architecture::{
    ArchitectureConfig, ArchitectureError, AttentionConfig, BlockConfig, DenseConfig, ExpertsConfig, FormatsConfig,
    GatedDeltaConfig, HeadsConfig, IndexerConfig, LatentConfig, LayerConfig, LayerFormatsConfig, Mamba2Config,
    MlpConfig, RecurrentConfig, RoutingConfig, SlidingConfig, TableConfig,
};
pub use batch::{Batch, RoutedExperts, SequenceSkips, charged_stages, lengths, presumed};
pub use compute::{ComputeConfig, ComputeError, Roofline, StageFlop};
pub use experts::{Experts, ExpertsError};
pub use format::{Format, FormatError};
pub use index::{IndexConfig, IndexError, KvIndex};
pub use kv_groups::{KvGroup, KvGroups, KvGroupsError, KvPart};
pub use label::{PerLabel, StageLabel};
pub use model::{LanguageModel, LayersConfig, ModelConfig, ModelError, WeightsConfig};
pub use region::{Contents, Lengths, Region, Regions};
pub use requests::{
    ArrivalsConfig, CacheConfig, Decision, ExternalKv, GeneratedConfig, GoalsConfig, KvConfig, KvMove, KvRoom,
    LengthConfig, LimitsConfig, LogFormat, MoveKind, MovePriority, Preemption, PrefixesConfig, QueueOrder, RateConfig,
    Rejection, Request, RequestRecord, Requests, RequestsConfig, RequestsError, RequestsWorkload, Scheduler,
    ServingStep, SourceConfig, StepPart, StoredBlocks, WhenMoved, WriteBack,
};
pub use routing::{
    EXPERT_ROOMS, ExpertPolicy, ExpertSteps, ExpertTraceConfig, RecordedRouting, RecordedRoutingConfig, RoutingExtend,
    RoutingGenerator, RoutingGeneratorConfig, RoutingSource, RoutingStatistics, RoutingTextError, RoutingWindow,
    routings, unread,
};
pub use runtime::{
    AmplificationConfig, BySize, ComputedPiece, InterferenceConfig, Merge, Pipeline, RanksConfig, ReachClass,
    ReachConfig, ReadsConfig, Runtime, RuntimeConfig, RuntimeError, TierCompute, TierComputeConfig, TierComputes,
};
#[cfg(test)]
pub(crate) use schedule::scheduled;
pub use schedule::{Chunk, Schedule, StepBatch};
pub use sequences::{
    CHUNK_TOKENS, LikeConfig, PrefillConfig, PrefillOrder, Sequence, Sequences, SequencesConfig, SequencesError,
};
pub(crate) use stages::{attended_more, last_readers};
pub use stages::{batch_stages, stages};
pub use step::{Amount, Append, Arrival, Free, KvRegionRead, Next, Read, Stage, StageReads, StepPlan, Workload};
pub use template::{Growth, KvParts, LayerKv, ModelStage, Weights};
pub use tokens::TokenSet;
pub use trace::{
    Ahead, CACHE_ROOMS, CacheMisses, Cut, Demand, Encoding, ExpertsFields, ExpertsShape, Extend, Fan, Fit, FittedTrace,
    Generator, GeneratorConfig, HeaderFields, JsonLinesWriter, KvsWriter, LAGS, LayerMap, LayerMisses, Lifelike,
    LifelikeConfig, LongRouting, OfGroups, PAGE_TOKENS, ParquetWriter, Policy, Provenance, Recorded, RecordedConfig,
    Recording, RecordingFormat, Shape, SkipSource, Skipped, StepSkips, StepStatistics, StoredSkips, TraceConfig,
    TraceError, TraceHeader, TraceKind, TraceStatistics, TraceWindow, is_decoding,
};
pub use union::{Popularity, Routing};
pub use windows::SkipWindows;

//! Where the skip sets come from: the tokens whose KV sparse attention does not read, for each step
//! and layer.
//!
//! Every source is a [`SkipSource`], which is read step by step, so that a trace is never in memory
//! as a whole:
//! * synthetic: a [`Generator`], by a share and a churn, or a [`Lifelike`] one, fitted to recorded
//!   attention;
//! * recorded: a [`Recording`] of any format (Parquet, `.kvs`, JSON Lines), made to fit a scenario
//!   by a [`FittedTrace`];
//! * shared by several runs: [`StoredSkips`] in memory, a [`Fan`] in lockstep; [`Ahead`] generates
//!   on a thread of its own.
//!
//! A run reads its source through a [`TraceWindow`].

mod ahead;
mod caches;
#[cfg(test)]
mod conformance;
mod cut;
mod fan;
mod fit;
mod fitting;
mod generator;
mod header;
mod jsonl;
mod kvs;
mod lifelike;
mod long;
mod of_groups;
mod paged;
mod parquet;
mod recorded;
mod recording;
mod source;
mod statistics;
mod stored;
mod window;

pub use ahead::Ahead;
pub use caches::{CACHE_ROOMS, CacheMisses, LayerMisses, Policy};
pub use cut::Cut;
pub use fan::Fan;
pub use fit::Fit;
pub use fitting::{Demand, FittedTrace};
pub use generator::{Generator, GeneratorConfig};
pub use header::{ExpertsFields, ExpertsShape, HeaderFields, Provenance, TraceHeader, TraceKind};
pub use jsonl::JsonLinesWriter;
pub use kvs::KvsWriter;
pub use lifelike::{Lifelike, LifelikeConfig};
pub use long::LongRouting;
pub use of_groups::OfGroups;
pub use parquet::{Encoding, ParquetWriter, is_decoding};
pub use recorded::{Extend, LayerMap, RecordedConfig};
pub use recording::{Recording, RecordingFormat};
#[cfg(test)]
pub(crate) use source::Made;
pub use source::Recorded;
pub use statistics::{LAGS, PAGE_TOKENS, StepStatistics, TraceStatistics};
pub use stored::StoredSkips;
pub use window::{Shape, Skipped, TraceWindow};

use super::TokenSet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a scenario's skip sets come from, as a person writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TraceConfig {
    /// Synthetic, by parameters.
    Generated(GeneratorConfig),
    /// Synthetic, with parameters that make it behave like recorded attention.
    Lifelike(LifelikeConfig),
    /// Read from a recorded trace: a file, or the name of a shipped one.
    Recorded(RecordedConfig),
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self::Generated(GeneratorConfig::default())
    }
}

impl TraceConfig {
    /// A stream of the synthetic skip sets for so many layers and steps; `None` for a recorded
    /// trace.
    ///
    /// # Errors
    /// [`TraceError`] if a parameter is not right.
    pub fn synthetic(
        &self,
        layers: usize,
        prefill: usize,
        decode: usize,
    ) -> Result<Option<Box<dyn SkipSource + Send>>, TraceError> {
        let range = prefill + decode;
        Ok(match self {
            Self::Generated(config) => {
                config.check(prefill, decode)?;
                Some(match config.of_pages() {
                    Some((of_pages, page)) => {
                        let of_pages = Generator::new(of_pages, layers, (range / page).max(1));
                        Box::new(paged::Paged::new(of_pages, page, layers, range))
                    }
                    None => Box::new(Generator::new(config.clone(), layers, range)),
                })
            }
            Self::Lifelike(config) => {
                config.check(prefill, decode)?;
                Some(Box::new(Lifelike::new(config, layers, range)))
            }
            Self::Recorded(_) => None,
        })
    }

    /// That of the sequence which is so many after the first of its group: a generator with a seed
    /// as many further on, so that the first has that of the group.
    #[must_use]
    pub fn of_sequence(&self, place: usize) -> Self {
        let mut trace = self.clone();
        match &mut trace {
            Self::Generated(config) => config.seed = config.seed.wrapping_add(place as u64),
            Self::Lifelike(config) => config.seed = config.seed.wrapping_add(place as u64),
            Self::Recorded(_) => {}
        }
        trace
    }

    /// Whether it is known that nothing is ever skipped.
    #[must_use]
    pub fn skips_nothing(&self) -> bool {
        match self {
            Self::Generated(config) => config.skip.as_f64() <= 0.0,
            Self::Lifelike(config) => config.skip.as_f64() <= 0.0 && config.read.is_none(),
            Self::Recorded(_) => false,
        }
    }
}

/// Why a trace cannot be used, or ended early.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum TraceError {
    #[error(
        "there is no trace named '{name}', and no file of that path: use one of {known}, or the path of a Parquet, .kvs or JSON Lines file"
    )]
    Unknown { name: String, known: String },
    #[error("cannot read the trace '{path}': {source}")]
    Read { path: String, source: std::io::Error },
    #[error(
        "'{path}' is no trace: {found}. A trace is a Parquet file, a .kvs file (it starts with \"KVSKIP01\") or JSON Lines (it starts \
         with '{{'); see traces/README.md"
    )]
    NotATrace { path: String, found: String },
    #[error("'{path}' has {field} = {value} in its header: {limit}")]
    Header { path: String, field: &'static str, value: String, limit: String },
    #[error("'{path}' holds {found}, but {wanted}")]
    Kind { path: String, found: &'static str, wanted: &'static str },
    #[error("the format {format} has no room for {what}: write Parquet or JSON Lines")]
    NoRoom { format: &'static str, what: &'static str },
    #[error("'{path}' says nothing about {field} in its header: {remedy}")]
    NoField { path: String, field: &'static str, remedy: &'static str },
    #[error(
        "'{path}' is {actual} bytes long, but its header ({steps} steps, {layers} layers, {prefill} tokens before step 0) means {expected}: it is {what}"
    )]
    Length { path: String, actual: u64, expected: u64, steps: usize, layers: usize, prefill: usize, what: &'static str },
    #[error(
        "'{path}' skips a token at or past the context of {context} in step {step}, layer {layer}: the file is damaged"
    )]
    StrayBit { path: String, step: usize, layer: usize, context: usize },
    #[error(
        "'{path}' cannot be read as Parquet; it is damaged, cut short, or written in a way that is not read: {message}"
    )]
    Parquet { path: String, message: String },
    #[error("'{path}' has no column '{column}': it must be {expected}")]
    NoColumn { path: String, column: &'static str, expected: &'static str },
    #[error("'{path}' has a column '{column}' of {found}: it must be {expected}")]
    Column { path: String, column: &'static str, found: String, expected: &'static str },
    #[error(
        "'{path}' has {actual} rows, but its header ({steps} steps, {layers} layers) means {expected}: it has a row for each layer of each step, and for each KV head or token of it where the header gives several"
    )]
    RowCount { path: String, actual: u64, expected: u64, steps: usize, layers: usize },
    #[error(
        "'{path}', row {row}: it is of step {step}, layer {layer}, where step {wanted_step}, layer {wanted_layer} must stand: {what}"
    )]
    RowOrder {
        path: String,
        row: u64,
        step: i64,
        layer: i64,
        wanted_step: usize,
        wanted_layer: usize,
        what: &'static str,
    },
    #[error("'{path}', row {row} (step {step}, layer {layer}): {what}")]
    Row { path: String, row: u64, step: usize, layer: usize, what: String },
    #[error("'{path}', row {row}: {what}")]
    Cell { path: String, row: u64, what: String },
    #[error("'{path}', line {line}: {message}")]
    Json { path: String, line: u64, message: String },
    #[error("'{path}' is no dump of routing: {message}")]
    Dump { path: String, message: String },
    #[error("interrupted")]
    Interrupted,
    #[error("cannot write the trace: {0}")]
    Write(#[from] std::io::Error),
    #[error("cannot write the trace: {0}")]
    WriteParquet(#[from] ::parquet::errors::ParquetError),
    #[error("the trace has {field} = {value}: {limit}")]
    TooLarge { field: &'static str, value: usize, limit: String },
    #[error(
        "'{path}' was recorded with {recorded} layers, but the model '{model}' has {layers}: use a model with {recorded} layers, or say which recorded layer stands for which with --layer-map Scale or Repeat"
    )]
    Layers { path: String, recorded: usize, model: String, layers: usize },
    #[error(
        "'{path}' has {recorded} steps, too few for {wanted} decode tokens: use --decode {recorded} or less, or say what follows the last step with --extend Repeat or Statistics"
    )]
    TooShort { path: String, recorded: usize, wanted: usize },
    #[error("'{path}' has {recorded} steps, but trace.first_step is {first_step}: use at most {}", recorded - 1)]
    FirstStep { path: String, first_step: usize, recorded: usize },
    #[error(
        "'{path}' starts with {recorded} tokens before step 0, so with first_step {first_step} and prefill_offset {offset} the prefill must be {prefill}, but the scenario's is {wanted}: {}",
        prefill_remedy(*prefill, *wanted)
    )]
    Prefill { path: String, recorded: usize, first_step: usize, offset: usize, prefill: usize, wanted: usize },
    #[error(
        "'{path}' has {steps} steps: to fit a generator to it, at least {least} are needed, and tokens that are skipped"
    )]
    TooShortToFit { path: String, steps: usize, least: usize },
    #[error("trace.{field} is {value}, but {limit}")]
    Parameter { field: &'static str, value: String, limit: String },
    #[error("routing.{field} is {value}, but {limit}")]
    Routing { field: &'static str, value: String, limit: String },
    #[error("routing: no layer of the model has experts that are routed to: leave it out, or use a model with experts")]
    NoExperts,
    #[error(
        "'{path}' has {recorded} steps, too few for {wanted}: use {recorded} decode tokens or less, or say that the recorded steps come again with extend: Repeat"
    )]
    RoutingTooShort { path: String, recorded: usize, wanted: usize },
    #[error(
        "'{path}' has {recorded} tokens in each step, too few for a step of {wanted} tokens: use fewer sequences and prompts that are given, or say that recorded tokens stand for several with extend: Repeat"
    )]
    RoutingTokens { path: String, recorded: usize, wanted: usize },
    #[error(
        "'{path}' was recorded with {recorded} layers, {routed} of which have experts, but the model has {layers}, {wanted} of which have: use the model that it was recorded with"
    )]
    RoutingLayers { path: String, recorded: usize, routed: usize, layers: usize, wanted: usize },
    #[error(
        "'{path}' routes a token to {active} of {experts} experts, but layer {layer} of the model routes it to {wanted_active} of {wanted}: use the model that it was recorded with"
    )]
    RoutingExperts { path: String, layer: usize, active: usize, experts: usize, wanted_active: usize, wanted: usize },
    #[error("'{path}' has {entries} experts of tokens, but at most {most} can be read: cut it")]
    RoutingTooLarge { path: String, entries: u64, most: u64 },
    #[error("trace.old_bias is {old_bias}, but it must be at most {max}", max = GeneratorConfig::MAX_OLD_BIAS)]
    OldBias { old_bias: u32 },
    #[error(
        "trace: {skipped} of {context} tokens are to be skipped, but sinks ({sinks}) and recent ({recent}) leave only {eligible} that may be: lower one of them"
    )]
    TooManyKept { skipped: u64, context: u64, sinks: u32, recent: u32, eligible: u64 },
}

fn prefill_remedy(prefill: usize, wanted: usize) -> String {
    let mut remedy = format!("use --prefill {prefill}");
    if wanted > prefill {
        let more = wanted - prefill;
        remedy += &format!(
            ", or add {more} to --prefill-offset (tokens before the recorded ones, never skipped) or to --first-step (recorded steps left out)"
        );
    }
    remedy
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

    /// Adds to what a step of that context skips the tokens that have left the attention window of
    /// their region, of which the last `windows[region]` tokens are seen. O(context / 64) words a
    /// region with a window, as its source has taken to write them.
    pub(crate) fn pass_by(&mut self, windows: &[usize], context: usize) {
        for (window, (set, count)) in windows.iter().zip(self.sets.iter_mut().zip(&mut self.counts)) {
            let gone = context.saturating_sub(*window);
            if gone > 0 {
                *count = gone + set.fill_below(gone, context);
            }
        }
    }
}

/// A stream of skip sets, from step 0 on.
///
/// Each step's context is one token longer than the one before. `skips` has a set for each layer of
/// the source, each with room for the longest context.
///
/// * On entry a set may hold any tokens below `context`, as the last step left them, but none at or
///   past it: a source need not look at what lies there. The counts may be anything.
/// * On return each set holds the step's skipped tokens, all below `context`, and its count is how
///   many they are. A source may have put another step's `skips` in the place of those that it was
///   given.
///
/// `conformance.rs` holds every source against this.
pub trait SkipSource {
    /// Writes the skip sets of the next step, whose context is `context` tokens, over `skips`.
    /// O(layers x context / 64) words for sets in memory; a recorded trace is decoded besides.
    ///
    /// # Errors
    /// [`TraceError`] where the trace cannot be read or makes no sense.
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError>;
}

impl<S: SkipSource + ?Sized> SkipSource for Box<S> {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        (**self).next_step(context, skips)
    }
}

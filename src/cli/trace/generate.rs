//! `tiersim trace generate`: the skip sets of a generator, written as a trace that other tools can
//! read.
//!
//! Layers, tokens and steps are checked first against the limits of the format, so that every file
//! can be read back, and the memory of the generator against the free memory.

use super::{Output, ParquetArgs, Watched, synthetic};
use crate::catalog;
use crate::cli::arguments;
use crate::cli::error::CliError;
use crate::runs::Cancel;
use crate::simulation::{memory_of_trace, usable_memory};
use crate::units::Ratio;
use crate::workload::{GeneratorConfig, HeaderFields, MAX_TOKENS, TraceConfig, TraceHeader};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// `tiersim trace generate`.
#[derive(Args)]
pub(in crate::cli) struct GenerateArgs {
    /// A generator, by name or path of a RON file; `Generated()` if not given
    #[arg(value_name = "GENERATOR", value_parser = arguments::generator(), hide_possible_values = true)]
    generator: Option<String>,
    /// The file to write, in the format of its ending: .parquet, .kvs or .jsonl
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// How many layers
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) layers: u32,
    /// Tokens before step 0
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = up_to_8m, allow_negative_numbers = true)]
    prefill: u32,
    /// Steps
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = from_1_up_to_8m, allow_negative_numbers = true)]
    pub(super) decode: u32,
    /// The share of tokens that are skipped: 0.4 or 40%
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true)]
    skip: Option<Ratio>,
    /// Same seed, same sets
    #[arg(long, value_name = "N", value_parser = arguments::seed, allow_negative_numbers = true)]
    pub(super) seed: Option<u64>,
    /// How many tokens at the start are never skipped
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    sinks: Option<u32>,
    /// The share of the skipped tokens that is exchanged from a step to the next, for a
    /// `Generated(...)`
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true)]
    churn: Option<Ratio>,
    /// How many of the newest tokens are never skipped, for a `Generated(...)`
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    recent: Option<u32>,
    /// Preference for skipping old tokens, for a `Generated(...)`
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    old_bias: Option<u32>,
    /// Aligned pages of so many tokens are skipped or read as a whole, for a `Generated(...)`
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    page_tokens: Option<std::num::NonZeroU32>,
    /// Write routing in the place of skip sets: how many experts a layer has
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true,
        conflicts_with_all = ["generator", "skip", "sinks", "churn", "recent", "old_bias", "page_tokens"])]
    pub(super) experts: Option<u32>,
    /// Of routing: how many experts a token is routed to [default: 1]
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true, requires = "experts")]
    pub(super) active: Option<u32>,
    /// Of routing: how many tokens a step has [default: 1]
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true, requires = "experts")]
    pub(super) tokens: Option<u32>,
    /// Of routing: how unequal the popularity of experts is, the exponent of Zipf [default: 0]
    #[arg(long, value_name = "EXPONENT", allow_negative_numbers = true, requires = "experts")]
    pub(super) exponent: Option<f64>,
    /// Of routing: the probability that a token keeps an expert of the step before [default: 0]
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true, requires = "experts")]
    pub(super) persistence: Option<Ratio>,
    /// Of routing: the probability that an expert follows from one of the layer before [default: 0]
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true, requires = "experts")]
    pub(super) correlation: Option<Ratio>,
    #[command(flatten)]
    pub(super) parquet: ParquetArgs,
}

/// The most tokens before step 0, and the most steps.
const MOST: u32 = 1 << 23;

fn up_to_8m(text: &str) -> Result<u32, String> {
    let count = arguments::count(text)?;
    if count <= MOST { Ok(count) } else { Err(format!("'{text}' is too much: it may be at most {MOST}")) }
}

fn from_1_up_to_8m(text: &str) -> Result<u32, String> {
    arguments::count_from_1(text).and_then(|_| up_to_8m(text))
}

pub(super) fn generate(args: &GenerateArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    const _: () = assert!(2 * MOST as u64 <= MAX_TOKENS, "any prefill and decode must be a trace together");
    let output = Output::new(&args.out, args.parquet)?;
    let generator = configure(args)?;
    let (layers, prefill, steps) = (args.layers as usize, args.prefill as usize, args.decode as usize);
    let skip = match &generator {
        TraceConfig::Generated(config) => config.skip,
        TraceConfig::Lifelike(config) => config.skip,
        TraceConfig::Recorded(_) => Ratio::default(),
    };
    // The header has the share only if it is a whole number of thousandths.
    let permille = skip.round_of(1000) as u32;
    let provenance = synthetic(&generator)?;
    let fields = HeaderFields {
        layers: layers as u64,
        prefill: prefill as u64,
        steps: steps as u64,
        skip_permille: (Ratio::from_permille(permille) == Some(skip)).then(|| permille.into()),
        kv_heads: 1,
        experts: None,
    };
    // Checked as when reading, so that the file can be read back.
    let header = TraceHeader::checked(&args.out.display().to_string(), fields, provenance)?;
    let (needed, limit) = (memory_of_trace(&generator, layers, prefill + steps), usable_memory());
    if needed > limit {
        return Err(CliError::Usage(format!(
            "{layers} layers of {} tokens take up to {} of memory, but {} may be used: write fewer --layers or tokens, or free memory",
            prefill + steps,
            needed.rounded(),
            limit.rounded()
        )));
    }
    let file = args.generator.as_deref().unwrap_or("the generator");
    let source = generator
        .synthetic(layers, prefill, steps)
        .map_err(|error| CliError::Usage(format!("{file}: {error}")))?
        .ok_or_else(|| CliError::Usage("a generator starts with Generated( or Lifelike(".to_owned()))?;
    output.write(&header, &mut Watched { source, cancel })?;
    note!(
        "{}: {steps} steps, {layers} layers, {prefill} tokens before step 0, as {}",
        args.out.display(),
        output.format
    );
    Ok(ExitCode::SUCCESS)
}

/// The generator with every flag applied.
fn configure(args: &GenerateArgs) -> Result<TraceConfig, CliError> {
    let mut generator = match &args.generator {
        Some(name) => catalog::generator(name)?.ok_or_else(|| {
            CliError::Usage(format!(
                "there is no generator named '{name}': use a shipped one (tiersim list) or the path of a RON file"
            ))
        })?,
        None => TraceConfig::Generated(GeneratorConfig::default()),
    };
    match &mut generator {
        TraceConfig::Generated(config) => {
            config.skip = args.skip.unwrap_or(config.skip);
            config.seed = args.seed.unwrap_or(config.seed);
            config.sinks = args.sinks.unwrap_or(config.sinks);
            config.churn = args.churn.unwrap_or(config.churn);
            config.recent = args.recent.unwrap_or(config.recent);
            config.old_bias = args.old_bias.unwrap_or(config.old_bias);
            config.page_tokens = args.page_tokens.or(config.page_tokens);
        }
        TraceConfig::Lifelike(config) => {
            if args.churn.is_some() || args.recent.is_some() || args.old_bias.is_some() || args.page_tokens.is_some() {
                return Err(CliError::Usage(
                    "--churn, --recent, --old-bias and --page-tokens are for a Generated(...): change the fields of the Lifelike(...) in its file".to_owned(),
                ));
            }
            config.skip = args.skip.unwrap_or(config.skip);
            config.seed = args.seed.unwrap_or(config.seed);
            config.sinks = args.sinks.unwrap_or(config.sinks);
        }
        TraceConfig::Recorded(_) => {}
    }
    Ok(generator)
}

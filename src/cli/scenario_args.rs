//! The arguments that define a scenario: those of `tiersim run`, which `strategies`, `explain`,
//! `solve` and the entries of `compare` take as well.
//!
//! A scenario is read once, flags and `--set` are made into assignments and applied to it once
//! ([`configure`]), and each strategy that is asked for makes a checked [`Scenario`] of it
//! ([`scenarios`]).

use super::error::CliError;
use super::flags::FieldFlags;
use super::{arguments, paths};
use crate::config::typed;
use crate::simulation::{Assignment, Fields, Scenario, ScenarioConfig};
use crate::strategy::Strategy;
use crate::units::Bytes;
use clap::Args;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// `tiersim run`.
#[derive(Args, Clone)]
pub(super) struct RunArgs {
    /// The scenario, by name or path
    #[arg(default_value = "study", value_parser = arguments::scenario(), hide_possible_values = true)]
    pub scenario: String,
    /// The strategy, several times to compare [default: the scenario's, or baseline and
    /// balanced-online]
    #[arg(long, value_name = "STRATEGY", value_parser = arguments::strategies(strategy_named), hide_possible_values = true)]
    pub strategy: Vec<Strategy>,
    #[command(flatten)]
    fields: FieldFlags,
    /// Any other field, by its path under `scenario` in summary.json:
    /// memory.external.capacity=2TiB; repeat the flag for several
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Run a grid: FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS (FROM..TOxPOINTS at equal
    /// ratios); several times for several axes
    #[arg(long, value_name = "AXIS")]
    pub vary: Vec<String>,
    /// The folder for the results; with several strategies, a folder each within it [default: a
    /// folder each in out/runs/SCENARIO, with what was changed:
    /// out/runs/gh200+h200-pcie,prefill=32768]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write timeline.json (for ui.perfetto.dev and chrome://tracing) and a picture of these steps:
    /// 100, or 100..105
    #[arg(long, value_name = "STEPS")]
    pub timeline: Option<Steps>,
    /// Print summary.json on stdout, an array where several strategies run, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    pub jobs: Option<u16>,
    /// The memory that all runs may take together [default: three quarters of the free memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_limit: Option<Bytes>,
    /// The scenario in the place of the one that is named, where a command makes one.
    #[arg(skip)]
    pub base: Option<Arc<ScenarioConfig>>,
    /// What flags of that command set in it.
    #[arg(skip)]
    pub more: Vec<Assignment>,
}

impl RunArgs {
    /// Whether a flag or `--set` gives the field of that path.
    pub fn sets(&self, path: &str) -> bool {
        let of_set = |text: &String| text.split_once('=').is_some_and(|(field, _)| field.trim() == path);
        self.fields.gives(path) || self.set.iter().any(of_set)
    }

    /// What flags and `--set` set in a scenario of which `written` is the file, but for parts of
    /// the strategy that have flags.
    pub fn assignments(&self, written: &ScenarioConfig) -> Result<Vec<Assignment>, CliError> {
        let mut assignments = [self.fields.assignments(written)?, self.more.clone()].concat();
        for text in &self.set {
            assignments.push(assignment(text)?);
        }
        Ok(assignments)
    }

    /// The flags for parts of the strategy, which hold whatever the strategy is.
    pub fn parts_of_strategy(&self) -> Vec<Assignment> {
        self.fields.parts_of_strategy()
    }

    /// The flags that set fields, as words of a command line.
    pub fn typed_fields(&self) -> Vec<String> {
        let set = self.set.iter().flat_map(|text| ["--set".to_owned(), format!("'{text}'")]);
        self.fields.typed().chain(set).collect()
    }

    /// The same but for the parts of the strategy.
    pub fn typed_fields_of_scenario(&self) -> Vec<String> {
        Self { fields: self.fields.of_scenario(), ..self.clone() }.typed_fields()
    }
}

/// A range of steps: `100`, or `100..105`, the end excluded.
#[derive(Clone, Debug)]
pub(super) struct Steps(pub Range<usize>);

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.trim()
                .parse::<usize>()
                .map_err(|_| format!("'{text}' is no step or range of steps: write 100, or 100..105"))
        };
        let range = match text.split_once("..") {
            None => number(text)?..number(text)?.saturating_add(1),
            Some((first, end)) => number(first)?..number(end)?,
        };
        if range.is_empty() {
            return Err(format!("'{text}' has no steps: the second number must be more than the first"));
        }
        Ok(Self(range))
    }
}

fn strategy_named(name: &str) -> Result<Strategy, crate::strategy::UnknownName> {
    name.parse()
}

/// The assignment that is typed after `--set`.
pub(super) fn assignment(text: &str) -> Result<Assignment, CliError> {
    let (path, value) = text.split_once('=').ok_or_else(|| {
        CliError::Usage(format!("--set {text}: write it as path=value, such as memory.hbm.capacity=8GiB"))
    })?;
    Ok(Assignment { path: path.to_owned(), value: typed(value), asked: format!("--set {text}") })
}

/// The scenario with every flag applied, but for the strategy. `--set` takes precedence over other
/// flags.
pub(super) fn configure(args: &RunArgs) -> Result<ScenarioConfig, CliError> {
    let written = args.base.as_deref().cloned().map_or_else(|| ScenarioConfig::load(&args.scenario), Ok)?;
    Ok(Fields::new(&written)?.apply(&args.assignments(&written)?)?)
}

/// Refuses a scenario that serves requests, for a command that has nothing to say of one.
pub(super) fn refuse_requests(config: &ScenarioConfig, command: &str, instead: &str) -> Result<(), CliError> {
    if config.requests.is_none() {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "'{}' serves requests over time, which {command} does not know: {instead}",
        config.name
    )))
}

/// Refuses goodput of requests that have no goals, unless an axis gives them.
pub(super) fn check_goals(config: &ScenarioConfig, figure: &str, varied: bool) -> Result<(), CliError> {
    let without = config.requests.as_ref().is_some_and(|requests| requests.goals.is_none());
    if !figure.starts_with("requests.goodput") || varied || (config.requests.is_some() && !without) {
        return Ok(());
    }
    let remedy = if without {
        "requests have no goals: write --set 'requests.goals=ttft<2s,tpot<50ms'"
    } else {
        "the scenario serves no requests: name one that does"
    };
    Err(CliError::Usage(format!("goodput counts requests that meet goals, but {remedy}")))
}

/// One scenario for each strategy asked for, or for the scenario's own.
pub(super) fn scenarios(args: &RunArgs, config: &ScenarioConfig) -> Result<Vec<Scenario>, CliError> {
    scenarios_of(args, config, strategies(args, config))
}

/// The strategies asked for, or the scenario's own.
fn strategies(args: &RunArgs, config: &ScenarioConfig) -> Vec<Strategy> {
    if args.strategy.is_empty() { vec![config.strategy] } else { args.strategy.clone() }
}

/// The same; without any flag about the strategy, preceded by the reference that the default
/// strategy is compared with.
///
/// A `summary.json` has its strategy, so that it repeats only that run.
pub(super) fn with_reference(args: &RunArgs, config: &ScenarioConfig) -> Vec<Strategy> {
    let mut strategies = strategies(args, config);
    let has_parts = !args.fields.parts_of_strategy().is_empty();
    let repeats = Path::new(&args.scenario).extension().is_some_and(|extension| extension == "json");
    // Where requests are served, nothing moves between steps: strategies differ in the layout of
    // weights alone.
    if config.requests.is_none()
        && args.strategy.is_empty()
        && !has_parts
        && !repeats
        && strategies == [Strategy::default()]
    {
        strategies.insert(0, Strategy::REFERENCE);
    }
    strategies
}

/// One scenario for each of these strategies, with the parts that flags ask for in place of its
/// own.
pub(super) fn scenarios_of(
    args: &RunArgs,
    config: &ScenarioConfig,
    strategies: Vec<Strategy>,
) -> Result<Vec<Scenario>, CliError> {
    let strategies = with_parts(args, config, strategies)?;
    let mut scenarios: Vec<Scenario> = Vec::new();
    let written = args.base.clone().or_else(|| paths::written(&args.scenario));
    for strategy in strategies {
        // The first scenario's resolved parts are reused: fitting a generator to a trace takes a
        // second.
        let mut config = scenarios.first().map_or(config, Scenario::resolved).clone();
        config.strategy = strategy;
        let scenario = Scenario::new(config).map_err(CliError::of_scenario(&args.scenario))?;
        scenarios.push(match &written {
            Some(written) => scenario.with_written(Arc::clone(written)),
            None => scenario,
        });
    }
    Ok(scenarios)
}

/// These strategies with the parts that flags ask for in place of their own. Refuses equal ones.
pub(super) fn with_parts(
    args: &RunArgs,
    config: &ScenarioConfig,
    mut strategies: Vec<Strategy>,
) -> Result<Vec<Strategy>, CliError> {
    let parts = args.fields.parts_of_strategy();
    for strategy in strategies.iter_mut().filter(|_| !parts.is_empty()) {
        let whole = ScenarioConfig { strategy: *strategy, ..config.clone() };
        *strategy = Fields::new(&whole)?.apply(&parts)?.strategy;
    }
    for (index, strategy) in strategies.iter().enumerate() {
        if strategies[..index].contains(strategy) {
            return Err(CliError::Usage(format!(
                "--strategy: '{strategy}' would run twice, and both would write to one folder: leave one out"
            )));
        }
    }
    Ok(strategies)
}

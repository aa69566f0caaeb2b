use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::sweep::{self, HowArgs};
use super::{arguments, overrides, paths, print, tables, terminal};
use crate::catalog::{self, open_trace};
use crate::config::Reference;
use crate::memory::{Arbitration, MemoryConfig, TierConfig};
use crate::metrics::Timeline;
use crate::report::pictures::Labelled;
use crate::report::{self, Artifact, Column, Table, html};
use crate::simulation::{Scenario, ScenarioConfig};
use crate::strategy::{Budget, InitializationKind, Late, MigrationKind, PlacementKind, Strategy};
use crate::study::{self, Cancel, Finished, Job, Resources};
use crate::sweep::{AxisConfig, Plan, Shard, SweepConfig};
use crate::units::{Bandwidth, Bytes, Ratio};
use crate::workload::{Extend, LayerMap, TraceConfig};
use clap::Args;
use std::io::IsTerminal;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

/// `tiersim run`.
#[derive(Args, Clone)]
pub(super) struct RunArgs {
    /// The scenario, by name or path
    #[arg(default_value = "study", value_parser = arguments::scenario(), hide_possible_values = true)]
    pub scenario: String,
    /// The language model, by name or path
    #[arg(long, value_name = "MODEL", value_parser = arguments::model(), hide_possible_values = true)]
    model: Option<String>,
    /// The memory system, by name or path
    #[arg(long, value_name = "MEMORY", value_parser = arguments::memory(), hide_possible_values = true)]
    memory: Option<String>,
    /// Tokens before step 0: 131072, 131_072 or 128k
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    prefill: Option<u32>,
    /// Steps
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    decode: Option<u32>,
    /// Leave the first steps out of histograms, means and tokens/s; the simulated time is of all
    /// steps
    #[arg(long, value_name = "STEPS", value_parser = arguments::count, allow_negative_numbers = true)]
    warmup: Option<u32>,
    /// How many tokens of a layer make a page: KV is placed, moved and read in whole pages
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true)]
    page_tokens: Option<u32>,
    /// The share of tokens that attention skips: 0.4 or 40%
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true)]
    skip: Option<Ratio>,
    /// The share of the skipped tokens that is exchanged from a step to the next
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true)]
    churn: Option<Ratio>,
    /// The seed of generated skip sets
    #[arg(long, value_name = "N", value_parser = arguments::seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// A recorded trace (Parquet, .kvs) or a generator (RON), by name or path; a trace's length and prefill hold unless given
    #[arg(long, value_name = "TRACE", value_parser = arguments::trace(), hide_possible_values = true)]
    trace: Option<PathBuf>,
    /// Which recorded layer stands for which layer of the model: Same, Scale (by depth) or Repeat
    #[arg(long, value_name = "MAP")]
    layer_map: Option<LayerMap>,
    /// What follows the last recorded step: No, Repeat (the steps again) or Statistics (a generator like it)
    #[arg(long, value_name = "HOW")]
    extend: Option<Extend>,
    /// Leave out so many recorded steps at the start; their tokens count as prefill
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    first_step: Option<u32>,
    /// So many tokens before the recorded ones, never skipped
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    prefill_offset: Option<u32>,
    /// The strategy, several times to compare [default: the scenario's, or baseline and
    /// balanced-online]
    #[arg(long, value_name = "STRATEGY", value_parser = arguments::strategies(strategy_named), hide_possible_values = true)]
    pub strategy: Vec<Strategy>,
    /// What lies where at the start, in place of the strategy's
    #[arg(long, value_name = "NAME")]
    initialization: Option<InitializationKind>,
    /// Where new KV goes, in place of the strategy's
    #[arg(long, value_name = "NAME")]
    placement: Option<PlacementKind>,
    /// What moves between steps, in place of the strategy's
    #[arg(long, value_name = "NAME")]
    migration: Option<MigrationKind>,
    /// The most that migration may carry in a step: 64MiB, or 25% of what the slowest tier could be read at
    #[arg(long, value_name = "BUDGET", allow_hyphen_values = true)]
    migration_budget: Option<Budget>,
    /// What becomes of moves that are not complete when the read that they were meant for is issued
    #[arg(long, value_parser = arguments::choice(&Late::ALL), ignore_case = true, value_name = "RULE")]
    migration_late: Option<Late>,
    /// How transfers share lanes
    #[arg(long, value_parser = arguments::choice(&Arbitration::ALL), ignore_case = true)]
    arbitration: Option<Arbitration>,
    /// The capacity of the first tier: 8GiB
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    hbm_capacity: Option<Bytes>,
    /// The bandwidth of the first tier: "4915 GB/s"
    #[arg(long, value_name = "BANDWIDTH", allow_hyphen_values = true)]
    hbm_bandwidth: Option<Bandwidth>,
    /// The bandwidth of the first tier that has a link, each direction: "900 GB/s"
    #[arg(long, value_name = "BANDWIDTH", allow_hyphen_values = true)]
    link_bandwidth: Option<Bandwidth>,
    /// Any other field, by its path under `scenario` in summary.json: memory.external.capacity=2TiB; several times for several
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Run a grid: FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS (FROM..TOxPOINTS at equal ratios); several times for several axes
    #[arg(long, value_name = "AXIS")]
    pub vary: Vec<String>,
    /// The folder for the results; with several strategies, a folder each within it [default: a
    /// folder each in out/runs/SCENARIO, with what was changed:
    /// out/runs/gh200+h200-pcie,prefill=32768]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write timeline.json (for ui.perfetto.dev and chrome://tracing) and a picture of these steps: 100, or 100..105
    #[arg(long, value_name = "STEPS")]
    pub timeline: Option<Steps>,
    /// Print summary.json on stdout, an array where several strategies run, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    pub jobs: Option<u16>,
    /// What the runs may take together [default: three quarters of the memory that is free]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_limit: Option<Bytes>,
}

/// A range of steps: `100`, or `100..105`, the end excluded.
#[derive(Clone, Debug)]
pub(super) struct Steps(Range<usize>);

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

pub(super) fn run(args: &RunArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let config = configure(args)?;
    if !args.vary.is_empty() {
        return vary(args, &scenarios(args, &config)?, cancel);
    }
    let scenarios = scenarios_of(args, &config, with_reference(args, &config))?;
    let main = scenarios.last().expect("a run has at least one strategy");
    let out = args.out.clone().unwrap_or_else(|| paths::default_folder("runs", &paths::identity(main)));
    // A folder that was asked for holds the run itself, if there is but one.
    let itself = scenarios.len() == 1 && args.out.is_some();
    let folders = if itself { vec![out.clone()] } else { paths::strategy_folders(&out, &scenarios) };
    let jobs: Vec<Job<'_>> = scenarios
        .iter()
        .zip(folders)
        .map(|(scenario, folder)| Job {
            scenario,
            folder,
            timeline: args.timeline.as_ref().map(|steps| steps.0.clone()),
        })
        .collect();
    let shortest = scenarios.iter().map(Scenario::decode).min().unwrap_or(0);
    if let Some(Steps(steps)) = args.timeline.as_ref().filter(|steps| steps.0.end > shortest) {
        return Err(CliError::Usage(format!(
            "--timeline {}..{}: the run has the steps 0..{shortest}",
            steps.start, steps.end
        )));
    }
    let most = scenarios.iter().map(Timeline::most_steps).min().unwrap_or(1);
    if let Some(Steps(steps)) = args.timeline.as_ref().filter(|steps| steps.0.len() > most) {
        return Err(CliError::Usage(format!(
            "--timeline {}..{}: {} steps would make a file of more than half a GB: take at most {most} of this model and memory system",
            steps.start,
            steps.end,
            steps.len()
        )));
    }
    // The folder around the others first: where it cannot be had, nothing is created in it.
    let _around = (jobs.len() > 1).then(|| report::claim(&out, &["report.html"])).transpose()?;
    let _claims = paths::prepare(&jobs)?;
    let pages = paths::pages_beside(&jobs);
    let bar = Bar::new(scenarios.iter().map(|scenario| scenario.decode() as u64).sum());
    let finished = study::simulate(&jobs, Resources::new(args.jobs, args.memory_limit), cancel, &bar);
    bar.finish();
    let finished = finished?;
    if finished.len() > 1 {
        report::write(&out, &side_by_side(&jobs, &finished)?)?;
    }
    paths::tell_removed(&pages);
    paths::refresh_index(&out);

    if args.json {
        print(&json(&finished)?)?;
    } else {
        let mut columns = vec![Column::text("strategy")];
        columns.extend(tables::result_columns());
        let mut table = Table::new(columns);
        for run in &finished {
            let mut row = vec![run.report.summary.label()];
            row.extend(tables::result_cells(&run.report, &finished[0].report));
            table.row(row);
        }
        let styled = std::io::stdout().is_terminal();
        print(&table.render(styled))?;
        let labels = labels(&finished);
        let runs = labelled(&labels, &finished);
        print(&format!("\n{}\n\n{}", report::layout_table(&runs).render(styled), html::sentence(&runs)))?;
        if std::io::stdout().is_terminal() && !terminal::is_quiet() {
            for run in &finished {
                print(&format!("\n{}\n{}", run.report.summary.label(), terminal::curves(&run.report).join("\n")))?;
            }
        }
    }
    for run in &finished {
        let bound = &run.report.summary.bound;
        if let (Some(charged), Some(ratio), false) = (bound.charged_ns, bound.achieved_over_charged, args.json) {
            let tighter = 100.0 * (charged / bound.simulated_ns - 1.0);
            print(&format!(
                "{}: {ratio:.4} times the bound that pays for what must move, which is {tighter:.2} % above the one that does not",
                run.report.summary.label()
            ))?;
        }
    }
    tell_assumptions(main);
    note!("results are in {}", out.display());
    let mut code = ExitCode::SUCCESS;
    for run in &finished {
        if let Some(error) = &run.outcome.error {
            tell!("incomplete: {}: {error}", run.report.summary.label());
            code = ExitCode::from(INCOMPLETE);
        }
    }
    Ok(code)
}

/// Notes on the machine that change how far the times can be trusted: tiers without an efficiency,
/// and limits that keep a tier below its bandwidth.
fn tell_assumptions(scenario: &Scenario) {
    let Reference::Inline(memory) = &scenario.resolved().memory else { return };
    let ideal: Vec<&str> =
        memory.tiers.iter().filter(|tier| tier.efficiency.is_none()).map(|tier| tier.name.as_str()).collect();
    if !ideal.is_empty() {
        note!("100 % of peak assumed, as no efficiency is given: {}", ideal.join(", "));
    }
    for warning in scenario.memory().notes(memory).iter().filter(|note| note.is_warning) {
        note!("{warning}");
    }
}

/// `run --vary`: a sweep. Its folder is named after what it is, so that the same one again goes on or is there already.
fn vary(args: &RunArgs, scenarios: &[Scenario], cancel: &Cancel) -> Result<ExitCode, CliError> {
    if args.timeline.is_some() || args.json {
        return Err(CliError::Usage(
            "--vary has a row for each run, not its files: leave out --timeline and --json".to_owned(),
        ));
    }
    let base = scenarios[0].resolved().clone();
    let mut axes: Vec<AxisConfig> = args.vary.iter().map(|axis| sweep::axis_of(axis)).collect::<Result<_, _>>()?;
    if scenarios.len() > 1 {
        let choice = |scenario: &Scenario| {
            let strategy = scenario.strategy();
            let value = serde_json::to_value(strategy).unwrap_or_default();
            (strategy.name(), [("strategy".to_owned(), value)].into())
        };
        let choices = scenarios.iter().map(choice).collect();
        axes.push(AxisConfig::Choices { name: "strategy".to_owned(), choices });
    }
    let config = SweepConfig::of(base.name.clone(), base, axes);
    let text = serde_json::to_string(&config).unwrap_or_default();
    let name = format!("{}-{:08x}", paths::identity(&scenarios[0]).folder(), crc32fast::hash(text.as_bytes()));
    let plan = Plan::new(config)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("out/sweeps").join(name));
    let how = HowArgs { resume: true, jobs: args.jobs, memory_limit: args.memory_limit, yes: false };
    sweep::carry_out(&plan, &out, Shard::ALL, &how, cancel)
}

/// The scenario with every flag applied, but for the strategy.
pub(super) fn configure(args: &RunArgs) -> Result<ScenarioConfig, CliError> {
    let mut config = ScenarioConfig::load(&args.scenario)?;
    if let Some(model) = &args.model {
        config.model = Reference::Name(model.clone());
    }
    if let Some(memory) = &args.memory {
        config.memory = Reference::Name(memory.clone());
    }
    if let Some(path) = &args.trace {
        match catalog::generator(&path.to_string_lossy())? {
            Some(generator) => config.trace = generator,
            None => config.trace = TraceConfig::Recorded(path.clone().into()),
        }
    }
    fit_trace(args, &mut config)?;
    if let Some(prefill) = args.prefill {
        config.prefill_tokens = prefill;
    }
    if let Some(decode) = args.decode {
        config.decode_tokens = decode;
    }
    config.page_tokens = args.page_tokens.unwrap_or(config.page_tokens);
    config.warmup_steps = args.warmup.unwrap_or(config.warmup_steps);
    configure_generator(args, &mut config)?;
    // Spelled out, so that flags and --set reach their fields.
    if let Reference::Name(name) = &config.model {
        config.model = Reference::Inline(catalog::model(name)?);
    }
    let mut memory = catalog::resolved(config.memory)?;
    configure_memory(args, &mut memory)?;
    config.memory = Reference::Inline(memory);
    overrides::apply(&config, &args.set)
}

/// Applies the flags for recorded traces. Where one is asked for, its length and its prefill hold.
fn fit_trace(args: &RunArgs, config: &mut ScenarioConfig) -> Result<(), CliError> {
    let given =
        args.layer_map.is_some() || args.extend.is_some() || args.first_step.is_some() || args.prefill_offset.is_some();
    let TraceConfig::Recorded(recorded) = &mut config.trace else {
        if given {
            return Err(CliError::Usage(
                "--layer-map, --extend, --first-step and --prefill-offset are for recorded traces, but the scenario's skip sets are \
                 made up: name one with --trace"
                    .to_owned(),
            ));
        }
        return Ok(());
    };
    recorded.layer_map = args.layer_map.unwrap_or(recorded.layer_map);
    recorded.extend = args.extend.clone().unwrap_or_else(|| recorded.extend.clone());
    recorded.first_step = args.first_step.unwrap_or(recorded.first_step);
    recorded.prefill_offset = args.prefill_offset.unwrap_or(recorded.prefill_offset);
    if args.trace.is_some() || given {
        let recording = open_trace(&recorded.file)?;
        let prefill = recording.prefill() as u64 + u64::from(recorded.first_step) + u64::from(recorded.prefill_offset);
        config.prefill_tokens = u32::try_from(prefill).unwrap_or(u32::MAX);
        if args.trace.is_some() {
            config.decode_tokens = (recording.steps() as u32).saturating_sub(recorded.first_step).max(1);
        }
    }
    Ok(())
}

/// Applies --skip, --churn and --seed, where they are given.
fn configure_generator(args: &RunArgs, config: &mut ScenarioConfig) -> Result<(), CliError> {
    if args.skip.is_none() && args.churn.is_none() && args.seed.is_none() {
        return Ok(());
    }
    match &mut config.trace {
        TraceConfig::Generated(generator) => {
            generator.skip = args.skip.unwrap_or(generator.skip);
            generator.churn = args.churn.unwrap_or(generator.churn);
            generator.seed = args.seed.unwrap_or(generator.seed);
            Ok(())
        }
        TraceConfig::Lifelike(generator) => {
            if args.churn.is_some() {
                return Err(CliError::Usage(
                    "--churn is for skip sets of a Generated(...); those of a Lifelike(...) have --set trace.exchange=0.3".to_owned(),
                ));
            }
            generator.skip = args.skip.unwrap_or(generator.skip);
            generator.seed = args.seed.unwrap_or(generator.seed);
            Ok(())
        }
        TraceConfig::Recorded(recorded) => Err(CliError::Usage(format!(
            "--skip, --churn and --seed are for generated skip sets, but the scenario's come from the trace '{}'",
            recorded.file.display()
        ))),
    }
}

fn configure_memory(args: &RunArgs, memory: &mut MemoryConfig) -> Result<(), CliError> {
    if let Some(arbitration) = args.arbitration {
        memory.arbitration = arbitration;
    }
    if let Some(hbm) = memory.tiers.first_mut() {
        hbm.capacity = args.hbm_capacity.unwrap_or(hbm.capacity);
        hbm.bandwidth = args.hbm_bandwidth.unwrap_or(hbm.bandwidth);
    }
    if let Some(bandwidth) = args.link_bandwidth {
        let link = memory.tiers.iter_mut().find_map(TierConfig::link_mut).ok_or_else(|| {
            CliError::Usage(format!("--link-bandwidth: no tier of the memory system '{}' has a link", memory.name))
        })?;
        link.read = bandwidth;
        link.write = bandwidth;
    }
    Ok(())
}

/// One scenario for each strategy asked for, or for the scenario's own.
pub(super) fn scenarios(args: &RunArgs, config: &ScenarioConfig) -> Result<Vec<Scenario>, CliError> {
    scenarios_of(args, config, strategies(args, config))
}

/// The strategies asked for, or the scenario's own.
fn strategies(args: &RunArgs, config: &ScenarioConfig) -> Vec<Strategy> {
    if args.strategy.is_empty() { vec![config.strategy] } else { args.strategy.clone() }
}

/// The same; where nothing was said about the strategy, after the reference that the default one is
/// held against.
///
/// A `summary.json` says what its strategy was, so that it repeats that run alone.
fn with_reference(args: &RunArgs, config: &ScenarioConfig) -> Vec<Strategy> {
    let mut strategies = strategies(args, config);
    let has_parts = args.initialization.is_some()
        || args.placement.is_some()
        || args.migration.is_some()
        || args.migration_budget.is_some()
        || args.migration_late.is_some();
    let repeats = Path::new(&args.scenario).extension().is_some_and(|extension| extension == "json");
    if args.strategy.is_empty() && !has_parts && !repeats && strategies == [Strategy::default()] {
        strategies.insert(0, Strategy::REFERENCE);
    }
    strategies
}

/// The same for these strategies.
pub(super) fn scenarios_of(
    args: &RunArgs,
    config: &ScenarioConfig,
    mut strategies: Vec<Strategy>,
) -> Result<Vec<Scenario>, CliError> {
    for strategy in &mut strategies {
        strategy.initialization = args.initialization.unwrap_or(strategy.initialization);
        strategy.placement = args.placement.unwrap_or(strategy.placement);
        strategy.migration = args.migration.unwrap_or(strategy.migration);
        strategy.budget = args.migration_budget.or(strategy.budget);
        strategy.late = args.migration_late.unwrap_or(strategy.late);
    }
    for (index, strategy) in strategies.iter().enumerate() {
        if strategies[..index].contains(strategy) {
            return Err(CliError::Usage(format!(
                "--strategy: '{strategy}' would run twice, and both would write to one folder: leave one out"
            )));
        }
    }
    let mut scenarios: Vec<Scenario> = Vec::new();
    let written = paths::written(&args.scenario);
    for strategy in strategies {
        // What the first has resolved need not be resolved again: fitting a generator to a trace takes a second.
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

fn labels(finished: &[Finished]) -> Vec<String> {
    finished.iter().map(|run| run.report.summary.label()).collect()
}

fn labelled<'a>(labels: &'a [String], finished: &'a [Finished]) -> Vec<Labelled<'a>> {
    labels.iter().zip(finished).map(|(label, run)| Labelled { label, run: &run.report }).collect()
}

/// `report.html` of all runs, beside their folders, with the list of what it shows; each has its
/// own within.
fn side_by_side(jobs: &[Job<'_>], finished: &[Finished]) -> Result<Vec<Artifact>, CliError> {
    let labels = labels(finished);
    let runs = labelled(&labels, finished);
    let page = html::comparison(&html::title(&runs), &html::question(&runs), &html::answer(&runs), &runs)?;
    Ok(vec![page, paths::shown(jobs, finished)?])
}

fn json(finished: &[Finished]) -> Result<String, CliError> {
    if let [run] = finished {
        return Ok(report::summary_json(&run.report.summary)?);
    }
    let summaries: Result<Vec<String>, _> =
        finished.iter().map(|run| report::summary_json(&run.report.summary)).collect();
    Ok(format!("[\n{}\n]", summaries?.join(",\n")))
}

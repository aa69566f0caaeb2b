//! `tiersim search`: the best values of several fields, by simulated annealing.
//!
//! Each point that is evaluated is a run. The table shows the best ones, `--out` keeps all of them,
//! and a sentence holds the best against the scenario as it is written and against its bound.

use super::axis::searched_axis_of;
use super::error::{CliError, INCOMPLETE};
use super::scenario_args::{RunArgs, configure, scenarios};
use super::{arguments, print, terminal};
use crate::files::{Durability, Existing, write_atomically};
use crate::metrics::figure_unit;
use crate::report::{Column, Table};
use crate::runs::{Cancel, Progress, Resources};
use crate::simulation::ScenarioConfig;
use crate::sweep::{Annealed, Annealing, DOES_NOT_FIT, Evaluated, anneal};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// `tiersim search`: the arguments of `tiersim run`, except those for grids.
#[derive(Args)]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("vary", |it| it.hide(true)))]
#[command(mut_arg("out", |it| it.help("Write all points that were evaluated to this CSV file").value_name("FILE")))]
#[command(mut_arg("jobs", |it| it.help("How many runs at a time; the points do not depend on it [default: one a core]")))]
#[command(mut_arg("json", |it| it.help("Print the result as JSON on stdout, and nothing else there")))]
pub(super) struct SearchArgs {
    #[command(flatten)]
    run: RunArgs,
    /// A field of numbers to search over: migration.steps=1..64, budget=1%..100%; FROM..TO/N,
    /// FROM..TOxN and lists as for --vary; repeat the flag for several
    #[arg(long, value_name = "FIELD=FROM..TO", required = true)]
    over: Vec<String>,
    /// The figure whose least is searched, or whose most if it is a rate: tpot, p99, tokens/s
    #[arg(long, value_name = "FIGURE", default_value = "tpot")]
    by: String,
    /// How many points are simulated at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=MOST_EVALUATIONS), allow_negative_numbers = true)]
    evaluations: u32,
    /// Same seed, same points
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = arguments::seed, allow_negative_numbers = true)]
    search_seed: u64,
}

/// The most points of a search: what is kept of each takes a kilobyte.
const MOST_EVALUATIONS: i64 = 100_000;
/// How many of the best points the table shows.
const SHOWN: usize = 8;

pub(super) fn run(args: &SearchArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    if args.run.strategy.len() > 1 || args.run.timeline.is_some() || !args.run.vary.is_empty() {
        return Err(CliError::Usage(
            "search takes one --strategy, and --over in the place of --vary: leave out --timeline and --vary"
                .to_owned(),
        ));
    }
    let over = args.over.iter().map(|text| searched_axis_of(text)).collect::<Result<_, _>>()?;
    let config = configure(&args.run)?;
    let base = scenarios(&args.run, &config)?.pop().map_or(config, |scenario| scenario.resolved().clone());
    let annealing =
        Annealing { base, over, by: args.by.clone(), evaluations: args.evaluations, seed: args.search_seed };
    let bar = if terminal::is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(args.evaluations.into()) };
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} of up to {len} runs")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let bar = Ended(bar);
    let annealed = anneal(&annealing, Resources::new(args.run.jobs, args.run.memory_limit), cancel, &bar);
    bar.0.finish_and_clear();
    let annealed = annealed?;
    if let Some(file) = &args.run.out {
        write(file, &csv(&annealed)?)?;
    }
    if args.run.json {
        print(&as_json(&annealing, &annealed)?)?;
    } else {
        print(&table(&annealed).render(std::io::stdout().is_terminal()))?;
        print(&format!("\n{}", sentences(&annealing.base, &annealed)?.join("\n")))?;
    }
    Ok(if annealed.best.is_none() { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
}

/// Counts the runs that have ended.
struct Ended(ProgressBar);

impl Progress for Ended {
    fn ended(&self) {
        self.0.inc(1);
    }
}

/// Writes a file that replaces one of that name; its folder is made where there is none.
fn write(file: &Path, text: &[u8]) -> Result<(), CliError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| write_atomically(file, text, Durability::Process, Existing::Replace));
    written.map_err(|source| {
        CliError::Usage(format!("cannot write '{}': {source}. Choose another file with --out", file.display()))
    })
}

/// A row for each point, in the order in which they were evaluated. Numbers are in bytes, bytes a
/// second, ns and shares.
fn csv(annealed: &Annealed) -> Result<Vec<u8>, CliError> {
    let failed = |error: csv::Error| CliError::Usage(format!("cannot make the CSV file: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["evaluation", "chain", "temperature", "accepted"];
    header.extend(annealed.axes.iter().map(|axis| axis.field.as_str()));
    header.extend([annealed.by.as_str(), "achieved_over_bound", "error"]);
    writer.write_record(&header).map_err(failed)?;
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    for (place, point) in annealed.points.iter().enumerate() {
        let step = point.step;
        let mut row =
            vec![place.to_string(), step.chain.to_string(), step.temperature.to_string(), step.accepted.to_string()];
        row.extend(point.values.iter().map(|value| number(value.number)));
        row.extend([number(point.figure), number(point.over_bound), point.error.clone().unwrap_or_default()]);
        writer.write_record(&row).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| failed(error.into_error().into()))
}

/// The points in their order, the best first; those without a figure last.
fn ranked(annealed: &Annealed) -> Vec<(usize, &Evaluated)> {
    let mut points: Vec<(usize, &Evaluated)> = annealed.points.iter().enumerate().collect();
    let key =
        |point: &Evaluated| point.figure.map_or(f64::INFINITY, |figure| if annealed.most { -figure } else { figure });
    points.sort_by(|a, b| key(a.1).total_cmp(&key(b.1)));
    points
}

/// The best points, and the start.
fn table(annealed: &Annealed) -> Table {
    let mut columns: Vec<Column> = annealed.axes.iter().map(|axis| Column::number(short(&axis.field))).collect();
    columns.extend([
        Column::number(&annealed.by),
        Column::number("over the start"),
        Column::number("over its bound"),
        Column::text(""),
    ]);
    let mut table = Table::new(columns);
    let kind = figure_unit(&annealed.by);
    let start = annealed.points[0].figure;
    for (rank, (place, point)) in ranked(annealed).into_iter().enumerate() {
        if rank >= SHOWN && place > 0 {
            continue;
        }
        let mut row: Vec<String> = values(annealed, point);
        let ratio = |of: Option<f64>| of.map_or("-".to_owned(), |ratio| format!("{ratio:.4}"));
        row.push(point.figure.map_or_else(|| why_not(point), |figure| kind.shown(figure)));
        row.push(ratio(point.figure.zip(start).map(|(figure, start)| figure / start)));
        row.push(ratio(point.over_bound));
        row.push(if place == 0 { "the start" } else { "" }.to_owned());
        table.row(row);
    }
    table
}

/// The field without the strategy that it is of.
fn short(field: &str) -> &str {
    field.strip_prefix("strategy.").unwrap_or(field)
}

/// The values of a point as a person reads them.
fn values(annealed: &Annealed, point: &Evaluated) -> Vec<String> {
    let shown = |(axis, value): (&crate::sweep::Searched, &crate::sweep::Quantity)| {
        value.number.map_or_else(|| value.label.clone(), |number| axis.unit.shown(number))
    };
    annealed.axes.iter().zip(&point.values).map(shown).collect()
}

/// Why a point has no figure, in short where it does not fit.
fn why_not(point: &Evaluated) -> String {
    let error = point.error.clone().unwrap_or_default();
    if error.starts_with(DOES_NOT_FIT) { DOES_NOT_FIT.to_owned() } else { error }
}

fn sentences(base: &ScenarioConfig, annealed: &Annealed) -> Result<Vec<String>, CliError> {
    let kind = figure_unit(&annealed.by);
    let named = |point: &Evaluated| {
        let pairs = annealed.axes.iter().zip(values(annealed, point));
        pairs.map(|(axis, value)| format!("{} {value}", short(&axis.field))).collect::<Vec<_>>().join(", ")
    };
    let ran = annealed.points.len();
    let of = match annealed.combinations {
        all if all == ran as u64 => format!("All {ran} points were run"),
        all => format!("{ran} of {all} points were run"),
    };
    let start = &annealed.points[0];
    let Some((place, best)) = annealed.best.map(|place| (place, &annealed.points[place])) else {
        return Ok(vec![format!("{of}; none of them has a {}: {}.", annealed.by, why_not(start))]);
    };
    let figure = best.figure.map(|figure| kind.shown(figure)).unwrap_or_default();
    let bound = best.over_bound.map_or(String::new(), |over| format!(" Its time is {over:.4} times its bound."));
    let against = match (place, annealed.gain(), start.figure) {
        (0, ..) => "it is the start, which no other point beats".to_owned(),
        (_, Some(gain), Some(start_figure)) => {
            format!("{gain:.3} times as good as the start ({}: {})", named(start), kind.shown(start_figure))
        }
        _ => format!("the start ({}) has none: {}", named(start), why_not(start)),
    };
    let strategy = annealed.config(base, best)?.strategy.label();
    Ok(vec![
        format!("{of}. The best {} is {figure}, with {}: {against}.{bound}", annealed.by, named(best)),
        format!("The strategy of that point is {strategy}."),
    ])
}

fn as_json(annealing: &Annealing, annealed: &Annealed) -> Result<String, CliError> {
    let point = |point: &Evaluated| {
        let pairs = annealed.axes.iter().zip(&point.values);
        let values: Map<String, Value> = pairs.map(|(axis, value)| (axis.field.clone(), value.value.clone())).collect();
        json!({
            "values": values, "figure": point.figure, "achieved_over_bound": point.over_bound, "error": point.error,
            "chain": point.step.chain, "temperature": point.step.temperature, "accepted": point.step.accepted,
        })
    };
    let best = annealed.best.map(|place| &annealed.points[place]);
    let strategy = best.map(|best| annealed.config(&annealing.base, best)).transpose()?.map(|config| config.strategy);
    let tree = json!({
        "figure": annealed.by,
        "best_is": if annealed.most { "most" } else { "least" },
        "seed": annealing.seed,
        "combinations": annealed.combinations,
        "axes": annealed.axes.iter().map(|axis| json!({
            "field": axis.field, "levels": axis.levels.iter().map(|level| &level.value).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "start": point(&annealed.points[0]),
        "best": best.map(point),
        "strategy": strategy.map(|strategy| strategy.name()),
        "knows": strategy.map(|strategy| strategy.knowledge().to_string()),
        "gain_over_start": annealed.gain(),
        "evaluated": annealed.points.iter().map(point).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&tree).map_err(|error| CliError::Usage(error.to_string()))
}

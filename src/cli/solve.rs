//! `tiersim solve`: where along one axis a condition begins to hold.
//!
//! Some values are run first, and then every stretch between whose ends the condition changes is
//! halved. A condition that changes twice between two of the first values is missed; a warning is
//! printed where the figure is not monotonic.

use super::error::{CliError, INCOMPLETE};
use super::scenario_args::{RunArgs, check_goals, configure, scenarios};
use super::{print, terminal};
use crate::config::typed;
use crate::metrics::figure_unit;
use crate::report::{Column, Table};
use crate::results::Condition;
use crate::runs::{Cancel, Progress, Resources};
use crate::sweep::{DOES_NOT_FIT, Probed, Search, Solution, solve};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::process::ExitCode;

/// `tiersim solve`: the arguments of `tiersim run`, except those for files.
#[derive(Args)]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("out", |it| it.hide(true)))]
#[command(mut_arg("vary", |it| it.help("The field to vary, with its ends: memory.hbm.capacity=1GiB..64GiB").value_name("FIELD=FROM..TO")))]
#[command(mut_arg("json", |it| it.help("Print the result as JSON on stdout, and nothing else there")))]
pub(super) struct SolveArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The condition: 'achieved_over_bound < 1.05', 'p99 < 9ms'; with two strategies, also the
    /// second against the first: 'tokens/s > 1.1x'
    #[arg(long, value_name = "CONDITION")]
    until: String,
    /// How many values are run before stretches are halved: a condition that changes twice between
    /// two of them is missed
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(2..=i64::from(crate::sweep::MOST_SAMPLES)))]
    samples: u32,
    /// The greatest distance between the two values between which the condition changes, as a share
    /// of the value
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    tolerance: crate::units::Ratio,
}

pub(super) fn run(args: &SolveArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let [vary] = &args.run.vary[..] else {
        return Err(CliError::Usage(
            "name the one field to vary, with its ends: --vary memory.hbm.capacity=1GiB..64GiB".to_owned(),
        ));
    };
    let ends = vary.split_once('=').and_then(|(field, range)| Some((field.trim(), range.split_once("..")?)));
    let Some((field, (from, to))) = ends else {
        return Err(CliError::Usage(format!(
            "--vary {vary}: write it as FIELD=FROM..TO, such as memory.hbm.capacity=1GiB..64GiB"
        )));
    };
    if args.run.strategy.len() > 2 || args.run.timeline.is_some() || args.run.out.is_some() {
        return Err(CliError::Usage(
            "solve takes one --strategy, or a second one that is held against the first, and writes no files: leave out --timeline and \
             --out"
                .to_owned(),
        ));
    }
    let until: Condition = args.until.parse().map_err(|error| CliError::Usage(format!("--until {error}")))?;
    let config = configure(&args.run)?;
    check_goals(&config, until.path(), field.starts_with("requests.goals"))?;
    // The last strategy is searched with, one before it is the reference.
    let mut scenarios = scenarios(&args.run, &config)?;
    let base = scenarios.pop().map_or(config, |scenario| scenario.resolved().clone());
    let reference = scenarios.pop().map(|scenario| scenario.strategy());
    let search = Search {
        base,
        reference,
        field: field.to_owned(),
        from: typed(from.trim()),
        to: typed(to.trim()),
        until: until.clone(),
        samples: args.samples,
        tolerance: args.tolerance.as_f64(),
    };
    let bar = if terminal::is_quiet() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} runs").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let bar = Ended(bar);
    let solution = solve(&search, Resources::new(args.run.jobs, args.run.memory_limit), cancel, &bar);
    bar.0.finish_and_clear();
    let solution = solution?;
    if args.run.json {
        print(&as_json(&search, &solution)?)?;
    } else {
        let kind = figure_unit(until.path());
        let mut table =
            Table::new(vec![Column::number(field), Column::number(until.path()), Column::text(&args.until)]);
        for probed in &solution.probed {
            let figure = probed.figure.map_or_else(|| why_not(probed), |figure| kind.shown(figure));
            let holds = if probed.holds { "yes" } else { "no" };
            table.row([solution.unit.shown(probed.value.number.unwrap_or(f64::NAN)), figure, holds.to_owned()]);
        }
        print(&table.render(std::io::stdout().is_terminal()))?;
        print(&format!("\n{}", sentences(&search, &solution).join("\n")))?;
    }
    let never = solution.crossings.is_empty() && solution.probed.iter().all(|probed| !probed.holds);
    Ok(if never { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
}

/// Counts the runs that have ended.
struct Ended(ProgressBar);

impl Progress for Ended {
    fn ended(&self) {
        self.0.inc(1);
    }
}

/// Why a value has no figure, in short where it does not fit.
fn why_not(probed: &Probed) -> String {
    let error = probed.error.clone().unwrap_or_default();
    if error.starts_with(DOES_NOT_FIT) { DOES_NOT_FIT.to_owned() } else { error }
}

fn sentences(search: &Search, solution: &Solution) -> Vec<String> {
    let Solution { unit, probed, crossings, against_trend } = solution;
    let kind = figure_unit(search.until.path());
    let at = |probed: &Probed| unit.shown(probed.value.number.unwrap_or(f64::NAN));
    let with = |probed: &Probed| {
        let figure = probed.figure.map(|figure| kind.shown(figure));
        figure.unwrap_or_else(|| why_not(probed))
    };
    let (field, until) = (&search.field, &search.until);
    // Where the strategy varies, each value names its own.
    let varies = field == "strategy" || field.starts_with("strategy.");
    let mut lines = Vec::new();
    if search.base.requests.is_some() {
        lines.extend(
            search
                .base
                .requests
                .as_ref()
                .filter(|_| !field.starts_with("requests"))
                .map(|requests| format!("Requests are served as {}.", requests.policy())),
        );
    } else if !varies {
        let against = search.reference.map_or_else(String::new, |of| format!(", held against {}", of.label()));
        lines.push(format!("The strategy is {}{against}.", search.base.strategy.label()));
    }
    if let (true, Some(first), Some(last)) = (crossings.is_empty(), probed.first(), probed.last()) {
        let word = if first.holds { "everywhere" } else { "nowhere" };
        lines.push(format!(
            "{until} holds {word} from {} to {}, judging by {} values: {} and {} at the ends.",
            at(first),
            at(last),
            probed.len(),
            with(first),
            with(last)
        ));
    }
    for crossing in crossings {
        let (below, above) = (&crossing.below, &crossing.above);
        let word = if above.holds { "begins" } else { "ceases" };
        lines.push(format!(
            "{until} {word} to hold between {field} {} ({}) and {} ({}).",
            at(below),
            with(below),
            at(above),
            with(above)
        ));
    }
    if crossings.len() > 1 {
        lines.push(format!("It changes {} times: there is no single breaking point.", crossings.len()));
    }
    match against_trend.first() {
        None => lines.push(format!("{} is monotonic over all {} values.", search.until.path(), probed.len())),
        Some((below, above)) => lines.push(format!(
            "{} is not monotonic: {} of {} pairs of neighbours go against its trend, such as from {} ({}) to {} ({}); the condition may change between the values that were run, which more --samples would show.",
            search.until.path(),
            against_trend.len(),
            probed.len() - 1,
            at(below),
            with(below),
            at(above),
            with(above)
        )),
    }
    lines
}

fn as_json(search: &Search, solution: &Solution) -> Result<String, CliError> {
    let point = |probed: &Probed| json!({"value": probed.value.value, "number": probed.value.number, "figure": probed.figure, "holds": probed.holds, "error": probed.error});
    let crossing =
        |crossing: &crate::sweep::Crossing| json!({"below": point(&crossing.below), "above": point(&crossing.above)});
    let tree = json!({
        "field": search.field,
        "strategy": search.base.strategy.name(),
        "knows": search.base.strategy.knowledge().to_string(),
        "until": search.until.to_string(),
        "figure": search.until.path(),
        "crossings": solution.crossings.iter().map(crossing).collect::<Vec<_>>(),
        "goes_one_way": solution.against_trend.is_empty(),
        "probed": solution.probed.iter().map(point).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&tree).map_err(|error| CliError::Usage(error.to_string()))
}

//! `tiersim sweep report` and `sweep best`: questions to the results of a sweep.
//!
//! Both read the dataset that a sweep wrote. `report` shows all of it: a table, the effect of each
//! axis, heat maps, lines and the Pareto front. `best` takes the points that meet conditions and
//! sorts them.

use super::error::{CliError, INCOMPLETE};
use super::{paths, print};
use crate::decision::report::winner_section;
use crate::decision::{Asking, By, Decision, from_results};
use crate::report::{self, Table};
use crate::sweep::report::{self as reports, Asked, Lead};
use crate::sweep::{Measure, Query, Results, ranked, sensitivities, subject};
use clap::Args;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim sweep report`.
#[derive(Args)]
pub(super) struct ReportArgs {
    /// The folder of a sweep, finished or not
    folder: PathBuf,
    /// The figure that the table is sorted by and the pictures show: p99, alpha,
    /// lanes.external.link.read.utilization ... [default: token_latency_ns.mean; of requests
    /// requests.e2e_ns.mean]
    #[arg(long, value_name = "FIGURE")]
    sort: Option<String>,
    /// How many rows the table has
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true)]
    top: usize,
    /// The axes of the pictures: to the right, and a line each [default: those that matter most]
    #[arg(long, value_name = "AXIS,AXIS", value_delimiter = ',', num_args = 1..=2)]
    axes: Vec<String>,
    /// The two measures of the Pareto front [default: the capacity that varies and the figure]
    #[arg(long, value_name = "MEASURE,MEASURE")]
    front: Option<String>,
    /// The folder for report.html and the pictures [default: report, in the sweep's folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// `tiersim sweep best`.
#[derive(Args)]
pub(super) struct BestArgs {
    /// The folder of a sweep, finished or not
    folder: PathBuf,
    /// A condition on a figure or an axis; repeat the flag for several, which must all hold
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// The axis or figure to minimize; repeat the flag to break ties
    #[arg(long, value_name = "MEASURE")]
    min: Vec<String>,
    /// The axis or figure to maximize
    #[arg(long, value_name = "MEASURE")]
    max: Vec<String>,
    /// How many to show, the best first
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    top: usize,
}

/// Rows of the table that a sweep ends with.
const ROWS: usize = 20;

pub(super) fn report(args: &ReportArgs) -> Result<ExitCode, CliError> {
    let mut asked = reports::needed();
    asked.extend(args.sort.as_deref());
    asked.extend(args.front.iter().flat_map(|pair| pair.split(',')));
    let results = Results::read(&args.folder, &asked)?;
    let axis = |name: &String| match results.measure(name)? {
        Measure::Axis(place) => Ok(place),
        Measure::Figure(path) => Err(CliError::Usage(format!("--axes {path}: it is a figure, not an axis"))),
    };
    let front = match args.front.as_deref() {
        None => None,
        Some(pair) => {
            let (first, second) = pair.split_once(',').ok_or_else(|| {
                CliError::Usage(format!("--front {pair}: name two measures, with a comma between them"))
            })?;
            Some((results.measure(first)?, results.measure(second)?))
        }
    };
    let asked = Asked {
        figure: args.sort.as_deref().map_or_else(|| reports::default_figure(&results), |sort| results.measure(sort))?,
        axes: args.axes.iter().map(axis).collect::<Result<_, _>>()?,
        front,
        top: args.top,
    };
    let out = args.out.clone().unwrap_or_else(|| args.folder.join("report"));
    show(&results, &asked, &out)?;
    let rows = reports::sorted(&results, &asked.figure).len();
    if rows > asked.top {
        note!("the first {} of {rows} points; --top shows more", asked.top);
    }
    Ok(ExitCode::SUCCESS)
}

/// The report at the end of a sweep.
///
/// Exits with 1 where a cell failed: a script that goes on with the results should know.
pub(super) fn after(folder: &Path) -> Result<ExitCode, CliError> {
    let results = Results::read(folder, &reports::needed())?;
    let Ok(figure) = reports::usual_figure(&results) else {
        let (levels, error) = results.first_failure.or(results.first_no_room).unwrap_or_default();
        return Err(CliError::Usage(format!(
            "no cell got to its end; the first ({}): {error}. All rows are in {}",
            results.plan.described(&levels),
            folder.display()
        )));
    };
    let asked = Asked { figure, axes: Vec::new(), front: None, top: ROWS };
    show(&results, &asked, &folder.join("report"))?;
    let rows = reports::sorted(&results, &asked.figure).len();
    if rows > asked.top {
        note!("the first {} of {rows} points; all: tiersim sweep report {} --top {rows}", asked.top, folder.display());
    }
    note!("every cell is a row of {}", folder.join("cells").display());
    if let Some((levels, error)) = results.first_failure.as_ref().filter(|_| results.failed > 0) {
        let (failed, cells) = (results.failed, results.cells.0);
        tell!("{failed} of {cells} cells failed; the first ({}): {error}", results.plan.described(levels));
        return Ok(ExitCode::from(INCOMPLETE));
    }
    Ok(ExitCode::SUCCESS)
}

/// The most points of a sweep that are read as a decision.
const MOST_DECIDED: usize = 20_000;

/// The decision that a sweep's results hold, if it varies a choice that is not a number: which
/// strategy or machine wins, over all other axes. A sample, or a sweep that varies circumstances
/// only, holds none.
fn decided(results: &Results, asked: &Asked) -> Option<Decision> {
    let Measure::Figure(path) = &asked.figure else { return None };
    let by = By::named(path).ok().filter(|_| results.points.len() <= MOST_DECIDED)?;
    // More memory or a faster link always wins: capacities and bandwidths are circumstances here.
    let numbers: Vec<String> =
        results.axes().filter(|(_, axis)| axis.is_numeric()).map(|(_, axis)| axis.name.clone()).collect();
    let asking = Asking::of(results, &[], &numbers, by).ok()?;
    from_results(results, &asking).ok()
}

fn show(results: &Results, asked: &Asked, out: &Path) -> Result<(), CliError> {
    let terminal = std::io::stdout().is_terminal();
    let decision = decided(results, asked);
    let lead = Lead {
        sentences: decision.iter().flat_map(|decision| decision.answer.clone()).collect(),
        sections: decision.iter().filter_map(winner_section).collect(),
    };
    print(&reports::cells_table(results, asked).render(terminal))?;
    let all = sensitivities(results, &asked.figure);
    if all.len() > 1 {
        let table: Table = reports::sensitivity_table(results, &all);
        print(&format!("\n{}", table.render(terminal)))?;
    }
    let sentences = [lead.sentences.clone(), reports::sentences(results, asked)].concat();
    print(&format!("\n{}", sentences.join("\n")))?;
    let files = reports::files(results, asked, &lead)?;
    report::replace(out, &files, &reports::KINDS)?;
    paths::refresh_index(out);
    note!("pictures and report.html are in {}", out.display());
    Ok(())
}

pub(super) fn best(args: &BestArgs) -> Result<ExitCode, CliError> {
    let mut asked = reports::needed();
    asked.extend(
        args.conditions.iter().map(|text| subject(text)).chain(args.min.iter().chain(&args.max).map(String::as_str)),
    );
    let results = Results::read(&args.folder, &asked)?;
    let queries: Vec<Query> =
        args.conditions.iter().map(|text| Query::read(&results, text)).collect::<Result<_, _>>()?;
    let mut measures: Vec<(Measure, bool)> = Vec::new();
    for (names, ascending) in [(&args.min, true), (&args.max, false)] {
        for name in names {
            measures.push((results.measure(name)?, ascending));
        }
    }
    // Ties in the measures that were asked for are broken by time.
    let time = reports::usual_figure(&results)?;
    if !measures.iter().any(|(measure, _)| *measure == time) {
        measures.push((time, true));
    }
    let points = ranked(&results, &queries, &measures);
    if points.is_empty() {
        tell!("none of {} points meets {}", results.points.len(), args.conditions.join(" and "));
        return Ok(ExitCode::from(INCOMPLETE));
    }
    let shown = reports::table(&results, &measures[0].0, points.iter().copied().take(args.top));
    print(&shown.render(std::io::stdout().is_terminal()))?;
    note!("{} of {} points meet the conditions", points.len(), results.points.len());
    Ok(ExitCode::SUCCESS)
}

//! `tiersim strategies`: every strategy on one scenario, the fastest first.
//!
//! The skip sets are the same for all of them, so they are generated or read once where they fit in
//! memory. The table has the knowledge that each strategy needs: an oracle's result is not one that
//! a real system could reach.

use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::scenario_args::{self, RunArgs};
use super::{paths, print, tables};
use crate::report::Labelled;
use crate::report::html::{self, Cloud, Document, Part, Section};
use crate::report::{self, Artifact, Column, Table, grids};
use crate::runs::{self, Cancel, Finished, Job, Resources, RunsError};
use crate::simulation::{RunError, Scenario, usable_memory};
use crate::strategy::Strategy;
use crate::units::{Bytes, Step};
use clap::Args;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// `tiersim strategies`.
#[derive(Args)]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("vary", |it| it.hide(true)))]
#[command(mut_arg("json", |it| it.help("Print the summaries as a JSON array on stdout, the fastest first, and nothing else there")))]
pub(super) struct StrategiesArgs {
    #[command(flatten)]
    run: RunArgs,
}

/// Skip sets of a scenario up to this size are generated once for all strategies.
const SHARED_SKIPS: Bytes = Bytes::new(2 << 30);

pub(super) fn run(args: &StrategiesArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let args = &args.run;
    if !args.vary.is_empty() || args.timeline.is_some() {
        return Err(CliError::Usage(
            "strategies sets strategies side by side on one scenario: leave out --vary and --timeline, which are for tiersim run"
                .to_owned(),
        ));
    }
    let config = scenario_args::configure(args)?;
    scenario_args::refuse_requests(
        &config,
        "`tiersim strategies`",
        "what moves is in requests.kv; compare choices of it with `tiersim run --vary requests.kv.cache=Hbm,External` or `tiersim decide`",
    )?;
    let mut scenarios = if args.strategy.is_empty() {
        scenario_args::scenarios_of(args, &config, Strategy::everything())?
    } else {
        scenario_args::scenarios(args, &config)?
    };
    // Under a layout by piece, strategies that differ in what it replaces are one.
    let mut names = std::collections::BTreeSet::new();
    scenarios.retain(|scenario| config.layout.is_none() || names.insert(scenario.strategy_name()));
    scenarios = with_shared_skips(scenarios, args.memory_limit)?;
    let out = args.out.clone().unwrap_or_else(|| paths::default_folder("strategies", &paths::identity(&scenarios[0])));
    let folders = paths::strategy_folders(&out, &scenarios);
    let jobs: Vec<Job<'_>> =
        scenarios.iter().zip(folders).map(|(scenario, folder)| Job { scenario, folder, timeline: None }).collect();
    let _around = report::claim(&out, &["table.md", "time_against_alpha.svg", "time_against_alpha.png"])?;
    let _claims = paths::prepare(&jobs)?;
    let pages = paths::pages_beside(&jobs);
    let bar = Bar::new(scenarios.iter().map(|scenario| scenario.progress_units()).sum());
    let finished = runs::simulate(&jobs, Resources::new(args.jobs, args.memory_limit), cancel, &bar);
    bar.finish();
    let finished = finished?;

    let order = ranked(&scenarios, &finished);
    let table = table(&order);
    let mut files = vec![Artifact::new("table.md", table.render(false) + "\n")];
    let points = points(&order);
    let labels: Vec<String> = order.iter().map(|(_, run)| run.report.summary.label()).collect();
    let runs: Vec<Labelled<'_>> =
        labels.iter().zip(&order).map(|(label, (_, run))| Labelled { label, run: &run.report }).collect();
    files.push(page(&table, &points, &runs)?);
    files.push(paths::shown(&jobs, &finished)?);
    files.extend(picture(points)?);
    report::write(&out, &files)?;
    paths::note_removed(&pages);
    paths::refresh_index(&out);
    if args.json {
        let summaries: Result<Vec<String>, _> =
            order.iter().map(|(_, run)| report::summary_json(&run.report.summary)).collect();
        print(&format!("[\n{}\n]", summaries?.join(",\n")))?;
    } else {
        print(&format!("{}\n\n{}", table.render(std::io::stdout().is_terminal()), html::sentence(&runs)))?;
    }
    note!("results are in {}", out.display());
    let mut code = ExitCode::SUCCESS;
    for (_, run) in order {
        if let Some(error) = &run.error {
            tell!("incomplete: {}: {error}", run.report.summary.label());
            code = ExitCode::from(INCOMPLETE);
        }
    }
    Ok(code)
}

/// The same scenarios with their common skip sets in memory, if these fit.
fn with_shared_skips(scenarios: Vec<Scenario>, limit: Option<Bytes>) -> Result<Vec<Scenario>, CliError> {
    let room = limit.unwrap_or_else(usable_memory);
    if scenarios[0].skips_bytes() > SHARED_SKIPS.min(Bytes::new(room.get() / 4)) {
        return Ok(scenarios);
    }
    let skips = scenarios[0]
        .store_skips()
        .map_err(|source| RunsError::from(RunError::Trace { step: Step::default(), source }))?;
    let skips = Arc::new(skips);
    Ok(scenarios.into_iter().map(|scenario| scenario.with_stored_skips(Arc::clone(&skips))).collect())
}

/// The runs with their scenarios, the fastest first; incomplete runs last, as their times are of
/// fewer tokens.
fn ranked<'a>(scenarios: &'a [Scenario], finished: &'a [Finished]) -> Vec<(&'a Scenario, &'a Finished)> {
    let mut order: Vec<(&Scenario, &Finished)> = scenarios.iter().zip(finished).collect();
    order.sort_by(|(_, a), (_, b)| {
        let key = |run: &Finished| (!run.report.summary.complete, run.report.summary.simulated_ns);
        let ((a_cut, a), (b_cut, b)) = (key(a), key(b));
        a_cut.cmp(&b_cut).then(a.total_cmp(&b))
    });
    order
}

/// The fastest first; the others are compared with it.
fn table(order: &[(&Scenario, &Finished)]) -> Table {
    let mut columns = vec![Column::text("strategy")];
    let results = tables::Results::of(order.iter().map(|(_, run)| &run.report.summary));
    columns.extend(results.columns());
    columns.extend(report::share_columns(order.first().map_or("HBM", |(_, run)| run.report.tiers[0].as_str())));
    columns.push(Column::text("knows"));
    let mut table = Table::new(columns);
    for (scenario, run) in order {
        let mut row = vec![run.report.summary.label()];
        row.extend(results.cells(&run.report, &order[0].1.report));
        row.extend(report::share_cells(&run.report.summary));
        row.push(scenario.knowledge().to_string());
        table.row(row);
    }
    table
}

/// `report.html`: the table and the points of the picture; each run has its own page in its folder.
fn page(table: &Table, points: &[(String, f64, f64)], runs: &[Labelled<'_>]) -> Result<Artifact, CliError> {
    let title = html::title(runs);
    let mut sections = vec![Section {
        title: "Strategies",
        note: "The fastest first; the others are compared with it. Each has a page of its own in its folder.",
        part: Part::Table(table),
    }];
    if !points.is_empty() {
        let (x_label, y_label) = (AXES.0.to_owned(), AXES.1.to_owned());
        let cloud = Cloud { x_label, y_label, points: points.to_vec(), front: Vec::new() };
        sections.push(Section {
            title: "Time against alpha",
            note: "A point for each strategy; point at one for its name. A high alpha does not always give a short time.",
            part: Part::Cloud(cloud),
        });
    }
    let (question, answer) = (html::question(runs), [html::sentence(runs)]);
    Ok(html::document(&Document { title: &title, question: &question, answer: &answer, sections: &sections })?)
}

/// The axes of the picture.
const AXES: (&str, &str) = ("alpha, mean", "simulated time (ms)");

/// A point for each strategy: its mean alpha and its time.
fn points(order: &[(&Scenario, &Finished)]) -> Vec<(String, f64, f64)> {
    let point = |run: &Finished| {
        let summary = &run.report.summary;
        let alpha = summary.alpha.mean.filter(|_| summary.complete)?;
        Some((summary.label(), alpha, summary.simulated_ns / 1e6))
    };
    order.iter().filter_map(|(_, run)| point(run)).collect()
}

/// The picture of time against alpha, a point for each strategy.
fn picture(points: Vec<(String, f64, f64)>) -> Result<Vec<Artifact>, CliError> {
    if points.is_empty() {
        return Ok(Vec::new());
    }
    let title = format!("Time against alpha: {} strategies", points.len());
    Ok(grids::named_points(("time_against_alpha", &title), AXES, points)?.into())
}

//! `tiersim run`: one scenario, with one strategy or several to compare; with `--vary`, a sweep of
//! it.

use super::axis::axis_of;
use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::scenario_args::{RunArgs, Steps, configure, scenarios, scenarios_of, with_reference};
use super::served::print_served;
use super::sweep_run::{HowArgs, carry_out};
use super::{paths, print, tables, terminal};
use crate::config::Reference;
use crate::metrics::Timeline;
use crate::report::Labelled;
use crate::report::{self, Artifact, Column, Table, html};
use crate::runs::{self, Cancel, Finished, Job, Resources};
use crate::simulation::{Scenario, ScenarioConfig};
use crate::sweep::{AxisConfig, Plan, Shard, SweepConfig};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(args: &RunArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let config = configure(args)?;
    if !args.vary.is_empty() {
        return vary(args, &config, &scenarios(args, &config)?, cancel);
    }
    let scenarios = scenarios_of(args, &config, with_reference(args, &config))?;
    let main = scenarios.last().expect("a run has at least one strategy");
    let out = args.out.clone().unwrap_or_else(|| paths::default_folder("runs", &paths::identity(main)));
    // A folder given with --out is that of the run itself, if there is only one run.
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
    if let Some(steps) = &args.timeline {
        check_timeline(steps, &scenarios)?;
    }
    // The outer folder first: if it cannot be claimed, nothing is created in it.
    let _around = (jobs.len() > 1).then(|| report::claim(&out, &["report.html"])).transpose()?;
    let _claims = paths::prepare(&jobs)?;
    let pages = paths::pages_beside(&jobs);
    let bar = Bar::new(scenarios.iter().map(|scenario| scenario.progress_units()).sum());
    let finished = runs::simulate(&jobs, Resources::new(args.jobs, args.memory_limit), cancel, &bar);
    bar.finish();
    let finished = finished?;
    if finished.len() > 1 {
        report::write(&out, &side_by_side(&jobs, &finished)?)?;
    }
    paths::note_removed(&pages);
    paths::refresh_index(&out);

    if args.json {
        print(&json(&finished)?)?;
    } else if !print_served(&finished)? {
        print_results(&finished)?;
    }
    note_assumptions(main);
    note!("results are in {}", out.display());
    let mut code = ExitCode::SUCCESS;
    for run in &finished {
        if let Some(error) = &run.error {
            tell!("incomplete: {}: {error}", run.report.summary.label());
            code = ExitCode::from(INCOMPLETE);
        }
    }
    Ok(code)
}

/// Refuses steps that the run does not have, or so many that the file would be unusable.
fn check_timeline(Steps(steps): &Steps, scenarios: &[Scenario]) -> Result<(), CliError> {
    let asked = format!("--timeline {}..{}", steps.start, steps.end);
    if scenarios.iter().any(|scenario| scenario.requests().is_some()) {
        return Err(CliError::Usage(format!(
            "{asked}: a run that serves requests has a timeline of its requests among its files: leave it out"
        )));
    }
    let shortest = scenarios.iter().map(Scenario::steps).min().unwrap_or(0);
    if steps.end > shortest {
        return Err(CliError::Usage(format!("{asked}: the run has the steps 0..{shortest}")));
    }
    let most = scenarios.iter().map(Timeline::most_steps).min().unwrap_or(1);
    if steps.len() > most {
        return Err(CliError::Usage(format!(
            "{asked}: {} steps would give a file of more than half a GB: take at most {most} steps with this model and memory system",
            steps.len()
        )));
    }
    Ok(())
}

/// Prints the tables and the sentences of the runs; on a terminal their curves as well.
fn print_results(finished: &[Finished]) -> Result<(), CliError> {
    let mut columns = vec![Column::text("strategy")];
    let results = tables::Results::of(finished.iter().map(|run| &run.report.summary));
    columns.extend(results.columns());
    let mut table = Table::new(columns);
    for run in finished {
        let mut row = vec![run.report.summary.label()];
        row.extend(results.cells(&run.report, &finished[0].report));
        table.row(row);
    }
    let styled = std::io::stdout().is_terminal();
    print(&table.render(styled))?;
    let labels = labels(finished);
    let runs = labelled(&labels, finished);
    if let Some(groups) = report::group_table(&runs) {
        print(&format!("\n{}", groups.render(styled)))?;
    }
    print(&format!("\n{}\n\n{}", report::layout_table(&runs).render(styled), html::sentence(&runs)))?;
    if styled && !terminal::is_quiet() {
        for run in finished {
            print(&format!("\n{}\n{}", run.report.summary.label(), terminal::curves(&run.report).join("\n")))?;
        }
    }
    for run in finished {
        let bound = &run.report.summary.bound;
        if let (Some(charged), Some(ratio)) = (bound.charged_ns, bound.achieved_over_charged) {
            let tighter = 100.0 * (charged / bound.simulated_ns - 1.0);
            print(&format!(
                "{}: {ratio:.4} times the bound that includes necessary migration, which is {tighter:.2} % above the bound without it",
                run.report.summary.label()
            ))?;
        }
    }
    Ok(())
}

/// The scenario whose runtime is `ideal` by definition.
const STUDY: &str = "study";

/// Prints notes on the machine and the runtime that affect the accuracy of times: tiers without an
/// efficiency, what the runtime costs, and limits that keep a tier below its bandwidth.
fn note_assumptions(scenario: &Scenario) {
    let Reference::Inline(memory) = &scenario.resolved().memory else { return };
    let ideal: Vec<&str> =
        memory.tiers.iter().filter(|tier| tier.efficiency.is_none()).map(|tier| tier.name.as_str()).collect();
    if !ideal.is_empty() {
        note!("100 % of peak assumed, as no efficiency is given: {}", ideal.join(", "));
    }
    if let Reference::Inline(runtime) = &scenario.resolved().runtime
        && !(runtime.is_ideal() && scenario.resolved().name == STUDY)
    {
        runtime.notes(scenario.memory().name()).iter().for_each(|line| note!("{line}"));
    }
    for warning in scenario.memory().notes(memory).iter().filter(|note| note.is_warning) {
        note!("{warning}");
    }
    let computes_prompts = !scenario.sequences().prefill().is_given() || scenario.requests().is_some();
    if scenario.roofline().is_none() && computes_prompts {
        note!(
            "compute takes no time, as neither `compute` nor the runtime says how fast the chip is: prompts take their memory reads \
             alone, so that TTFT is far too short; say --set 'compute={{\"rate\": \"400 TFLOP/s\"}}'"
        );
    } else if scenario.roofline().is_none() && scenario.sequences().count() > LARGE_BATCH {
        note!(
            "compute takes no time, as neither `compute` nor the runtime says how fast the chip is: large batches may be compute-bound"
        );
    }
}

/// How many sequences may make a step compute-bound: a chip has some hundred FLOP for each byte of
/// HBM, and each sequence takes one or two for each byte of weights.
const LARGE_BATCH: usize = 64;

/// `run --vary`: a sweep. Its folder is named after its contents, so that the same command resumes
/// or finds its results.
fn vary(
    args: &RunArgs,
    config: &ScenarioConfig,
    scenarios: &[Scenario],
    cancel: &Cancel,
) -> Result<ExitCode, CliError> {
    if args.timeline.is_some() || args.json {
        return Err(CliError::Usage(
            "--vary writes a row for each run instead of its files: leave out --timeline and --json".to_owned(),
        ));
    }
    let mut base = scenarios[0].resolved().clone();
    if args.vary.iter().any(|axis| axis.starts_with("memory=")) {
        // Each memory system has its own values of a runtime that is named.
        base.runtime = config.runtime.clone();
    }
    let mut axes: Vec<AxisConfig> = args.vary.iter().map(|axis| axis_of(axis)).collect::<Result<_, _>>()?;
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
    carry_out(&plan, &out, Shard::ALL, &how, cancel)
}

fn labels(finished: &[Finished]) -> Vec<String> {
    finished.iter().map(|run| run.report.summary.label()).collect()
}

fn labelled<'a>(labels: &'a [String], finished: &'a [Finished]) -> Vec<Labelled<'a>> {
    labels.iter().zip(finished).map(|(label, run)| Labelled { label, run: &run.report }).collect()
}

/// `report.html` of all runs, beside their folders, with the list of its runs; each run has its own
/// page in its folder.
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

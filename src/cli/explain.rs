//! `tiersim explain`: why a run takes longer than its bound.
//!
//! The scenario is run several times, each time idealized in one more respect, and the
//! differences between the runs are the parts of the loss ([`Ladder`]). An explanation goes into
//! the folder of the run that it explains, if that is the same run.

use super::error::{CliError, INCOMPLETE};
use super::paths;
use super::print;
use super::progress::Bar;
use super::scenario_args::{RunArgs, configure, scenarios};
use crate::explain::{Explanation, Ladder, ServingExplanation};
use crate::report;
use crate::runs::{self, Cancel, Resources, RunsError};
use crate::simulation::{RunError, Scenario, file_name};
use clap::Args;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// `tiersim explain`: what `tiersim run` takes, but for a timeline.
#[derive(Args)]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("vary", |it| it.hide(true)))]
#[command(mut_arg("scenario", |it| it.help("The scenario, by name or path; or the folder of an earlier run, into which the explanation goes")))]
#[command(mut_arg("out", |it| it.help(
    "The folder for the explanation; with several strategies, a folder each within it [default: the run's folder, or out/explain/SCENARIO/STRATEGY, with what was changed]"
)))]
#[command(mut_arg("json", |it| it.help("Print explain.json on stdout, an array where several strategies are explained, and nothing else there")))]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    run: RunArgs,
}

/// `summary.json`, in the folder of a run.
const SUMMARY: &str = "summary.json";

pub(super) fn run(args: &ExplainArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let mut args = args.run.clone();
    refuse(&args)?;
    let folder = run_folder(&mut args)?;
    let config = configure(&args)?;
    let scenarios = scenarios(&args, &config)?;
    let folders = folders_of(&args, &scenarios, folder.as_deref());
    let claims: Result<Vec<_>, _> = folders.iter().map(|folder| report::claim(folder, &report::EXPLANATION)).collect();
    let _claims = claims?;
    for (folder, scenario) in folders.iter().zip(&scenarios) {
        paths::note_replaced(folder, "explain.json", scenario);
    }
    if config.requests.is_some() {
        return of_requests(&args, &scenarios, &folders, cancel);
    }
    let explained = explain(&args, &scenarios, cancel)?;
    for (((explanation, ladder), folder), scenario) in explained.iter().zip(&folders).zip(&scenarios) {
        // Beside the run itself, the page links to the run's page.
        let beside = is_of(folder, scenario) && folder.join("report.html").is_file();
        let files = report::explanation_files(explanation, ladder, beside)?;
        // An interruption between computing and writing counts: nothing is written then.
        if cancel.load(Ordering::Relaxed) {
            return Err(RunsError::from(RunError::Interrupted).into());
        }
        report::write_explanation(folder, &files)?;
    }
    folders.iter().take(1).for_each(|folder| paths::refresh_index(folder));
    let explanations: Vec<&Explanation> = explained.iter().map(|(explanation, _)| explanation).collect();
    print_explanations(&explanations, args.json)?;
    for folder in &folders {
        note!("the explanation, its page and its pictures are in {}", folder.display());
    }
    let mut code = ExitCode::SUCCESS;
    for explanation in explanations {
        for (run, error) in &explanation.errors {
            tell!(
                "incomplete: {}, {run}: {error}. The explanation covers the {} steps that every run completed",
                explanation.label(),
                explanation.steps
            );
            code = ExitCode::from(INCOMPLETE);
        }
    }
    Ok(code)
}

/// Explains scenarios that serve requests.
fn of_requests(
    args: &RunArgs,
    scenarios: &[Scenario],
    folders: &[PathBuf],
    cancel: &Cancel,
) -> Result<ExitCode, CliError> {
    let bar = Bar::new(scenarios.iter().map(|scenario| scenario.progress_units() * LADDER_OF_REQUESTS).sum());
    let resources = Resources::new(args.jobs, args.memory_limit);
    let explained = scenarios.iter().map(|scenario| runs::climb_serving(scenario, resources, cancel, &bar));
    let explained: Vec<Result<ServingExplanation, RunsError>> = explained.collect();
    bar.finish();
    let explained = explained.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (explanation, folder) in explained.iter().zip(folders) {
        let files = report::serving_explanation_files(explanation)?;
        // An interruption between computing and writing counts: nothing is written then.
        if cancel.load(Ordering::Relaxed) {
            return Err(RunsError::from(RunError::Interrupted).into());
        }
        report::write_explanation(folder, &files)?;
    }
    folders.iter().take(1).for_each(|folder| paths::refresh_index(folder));
    if args.json {
        let texts = explained.iter().map(report::serving_explanation_json).collect::<Result<Vec<_>, _>>()?;
        print(&one_or_all(&texts))?;
    } else {
        let styled = std::io::stdout().is_terminal();
        let text = |it: &ServingExplanation| report::serving_explanation_text(it, styled);
        print(&explained.iter().map(text).collect::<Vec<_>>().join("\n\n"))?;
    }
    folders.iter().for_each(|folder| note!("the explanation and its picture are in {}", folder.display()));
    let mut code = ExitCode::SUCCESS;
    for explanation in &explained {
        for (run, error) in &explanation.errors {
            tell!(
                "incomplete: {}, {run}: {error}. The explanation covers the {} requests that every run finished",
                explanation.strategy,
                explanation.requests
            );
            code = ExitCode::from(INCOMPLETE);
        }
    }
    Ok(code)
}

/// About how many runs explain a scenario that serves requests.
const LADDER_OF_REQUESTS: u64 = 6;

/// Refuses the flags of `tiersim run` that an explanation does not have.
fn refuse(args: &RunArgs) -> Result<(), CliError> {
    if args.timeline.is_some() {
        return Err(CliError::Usage("--timeline is for `tiersim run`: an explanation has none".to_owned()));
    }
    if !args.vary.is_empty() {
        return Err(CliError::Usage(
            "--vary is for `tiersim run` and `solve`: explain one scenario at a time".to_owned(),
        ));
    }
    Ok(())
}

/// The folder of each scenario's explanation; `run` is the folder of the run that was named, if
/// any.
fn folders_of(args: &RunArgs, scenarios: &[Scenario], run: Option<&Path>) -> Vec<PathBuf> {
    let several = scenarios.len() > 1;
    let folder = |scenario: &Scenario| {
        let strategy = match scenario.requests() {
            Some(_) => file_name(&scenario.strategy_name()),
            None => file_name(&scenario.strategy().name()),
        };
        match (&args.out, run) {
            (Some(out), _) if several => out.join(strategy),
            (Some(out), _) => out.clone(),
            // Beside the run if flags changed nothing of it; a changed scenario is another run.
            (None, Some(folder)) if is_of(folder, scenario) => folder.to_owned(),
            (None, _) => paths::default_folder("explain", &paths::identity(scenario)).join(strategy),
        }
    };
    scenarios.iter().map(folder).collect()
}

/// Runs each scenario with its idealizations.
fn explain(args: &RunArgs, scenarios: &[Scenario], cancel: &Cancel) -> Result<Vec<(Explanation, Ladder)>, CliError> {
    let steps = |scenario: &Scenario| (Ladder::ideals(scenario).len() as u64 + 1) * scenario.steps() as u64;
    let bar = Bar::new(scenarios.iter().map(steps).sum());
    let resources = Resources::new(args.jobs, args.memory_limit);
    let explained = scenarios.iter().map(|scenario| -> Result<_, RunsError> {
        let ladder = runs::climb(scenario, resources, cancel, &bar)?;
        Ok((ladder.explanation(scenario)?, ladder))
    });
    let explained: Vec<Result<_, RunsError>> = explained.collect();
    bar.finish();
    Ok(explained.into_iter().collect::<Result<_, _>>()?)
}

/// Prints explanations as JSON, or as tables and sentences.
fn print_explanations(explanations: &[&Explanation], as_json: bool) -> Result<(), CliError> {
    if as_json {
        return print(&json(explanations)?);
    }
    let styled = std::io::stdout().is_terminal();
    let text = |explanation: &&Explanation| {
        let heading = if explanations.len() > 1 { format!("{}:\n\n", explanation.label()) } else { String::new() };
        heading + &report::explanation_text(explanation, styled)
    };
    print(&explanations.iter().map(text).collect::<Vec<_>>().join("\n\n"))
}

/// The folder of the run that was named, by itself or by its `summary.json`; it is named by the
/// latter then.
fn run_folder(args: &mut RunArgs) -> Result<Option<PathBuf>, CliError> {
    let path = Path::new(&args.scenario);
    let shipped = crate::catalog::SCENARIOS.iter().any(|file| file.name == args.scenario);
    if path.file_name().is_some_and(|name| name == SUMMARY) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(Some(folder.to_owned()));
    }
    if !path.is_dir() || (shipped && !path.join(SUMMARY).is_file()) {
        return Ok(None);
    }
    let (folder, summary) = (path.to_owned(), path.join(SUMMARY));
    if !summary.is_file() {
        return Err(CliError::Usage(format!(
            "'{}' is not the folder of a run: it has no {SUMMARY}. Name one that `tiersim run` wrote, or a scenario",
            folder.display()
        )));
    }
    args.scenario = summary.display().to_string();
    Ok(Some(folder))
}

/// Whether the run in `folder` is one of `scenario`.
fn is_of(folder: &Path, scenario: &Scenario) -> bool {
    let summary = crate::simulation::ScenarioConfig::load(&folder.join(SUMMARY).display().to_string());
    summary.is_ok_and(|config| config == *scenario.resolved())
}

fn json(explanations: &[&Explanation]) -> Result<String, CliError> {
    let texts: Result<Vec<String>, _> = explanations.iter().map(|it| report::explanation_json(it)).collect();
    Ok(one_or_all(&texts?))
}

/// One text of JSON, or an array of several.
fn one_or_all(texts: &[String]) -> String {
    match texts {
        [one] => one.clone(),
        several => format!("[\n{}\n]", several.join(",\n")),
    }
}

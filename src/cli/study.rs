//! `tiersim study`, and `tiersim` without a command: the runs that the project was made for.
//!
//! Sixteen runs are two strategies by four lengths by two shares of skipped tokens; six more have
//! the churn of recorded attention. Their table, figures and pictures go into one folder.

use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::{paths, print, tables};
use crate::report::{self, Artifact, Column, Table};
use crate::runs::{self, Cancel, Finished, Job, Resources, RunsError};
use crate::simulation::RunError;
use crate::study;
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

const OUT: &str = "out/study";
const MODEL: &str = "study";
/// The heading of the second table.
const AT_CHURN: &str = "At the churn of recorded attention:";

/// `tiersim study`.
#[derive(Args)]
pub(super) struct StudyArgs {
    /// The folder for all results
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// The language model, by name or path
    #[arg(long, value_name = "MODEL", default_value = MODEL)]
    model: String,
}

impl Default for StudyArgs {
    fn default() -> Self {
        Self { out: PathBuf::from(OUT), jobs: None, model: MODEL.to_owned() }
    }
}

pub(super) fn study(args: &StudyArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let settings = study::settings(&args.model).map_err(CliError::of_scenario("study"))?;
    let at_churn = study::churn_settings(&args.model).map_err(CliError::of_scenario("recorded"))?;
    let _claim = report::claim(&args.out, &["table.md", "report.html"])?;
    let mut jobs: Vec<Job<'_>> = settings
        .iter()
        .map(|setting| Job { scenario: &setting.scenario, folder: args.out.join(setting.folder()), timeline: None })
        .collect();
    jobs.extend(at_churn.iter().map(|setting| Job {
        scenario: &setting.scenario,
        folder: args.out.join(setting.folder()),
        timeline: None,
    }));
    let _claims = paths::prepare(&jobs)?;
    let bar = Bar::new(jobs.iter().map(|job| job.scenario.steps() as u64).sum());
    let finished = runs::simulate(&jobs, Resources::new(args.jobs, None), cancel, &bar);
    bar.finish();
    let mut finished = finished?;
    let shown = paths::shown(&jobs, &finished)?;
    let finished_at_churn = finished.split_off(settings.len());

    let table = study_table(&settings, &finished);
    let conclusions = study::conclusions(&settings, &finished).join("\n");
    let churn_table = churn_table(&at_churn, &finished_at_churn);
    let churn_conclusions = study::churn_conclusions(&at_churn, &finished_at_churn).join("\n");
    let mut files = study::pictures(&settings, &finished)?;
    files.extend(study::churn_pictures(&at_churn, &finished_at_churn)?);
    let answer = format!("{conclusions}\n{churn_conclusions}");
    files.push(study::page(&settings, &finished, &at_churn, &finished_at_churn, &answer)?);
    let text = |styled: bool| {
        let (table, churn_table) = (table.render(styled), churn_table.render(styled));
        format!("{table}\n\n{conclusions}\n\n{AT_CHURN}\n\n{churn_table}\n\n{churn_conclusions}")
    };
    files.push(shown);
    files.push(Artifact::new("table.md", text(false) + "\n"));
    if cancel.load(Ordering::Relaxed) {
        return Err(RunsError::from(RunError::Interrupted).into());
    }
    report::write(&args.out, &files)?;
    paths::refresh_index(&args.out);

    print(&text(std::io::stdout().is_terminal()))?;
    note!(
        "{} runs in {:.1} s; figures and pictures are in {}",
        jobs.len(),
        started.elapsed().as_secs_f64(),
        args.out.display()
    );
    let mut code = ExitCode::SUCCESS;
    let folders = settings.iter().map(study::Setting::folder).chain(at_churn.iter().map(study::ChurnSetting::folder));
    for (folder, run) in folders.zip(finished.iter().chain(&finished_at_churn)) {
        if let Some(error) = &run.error {
            tell!("incomplete: {folder}: {error}");
            code = ExitCode::from(INCOMPLETE);
        }
    }
    Ok(code)
}

/// The table of the study's runs: in each setting, the others are compared with the first strategy,
/// the baseline.
fn study_table(settings: &[study::Setting], finished: &[Finished]) -> Table {
    let mut columns = vec![Column::number("decode"), Column::number("skip"), Column::text("strategy")];
    let results = tables::Results::of(finished.iter().map(|run| &run.report.summary));
    columns.extend(results.columns());
    let mut table = Table::new(columns);
    for (index, (setting, run)) in settings.iter().zip(finished).enumerate() {
        let first = settings[..=index]
            .iter()
            .position(|other| other.context == setting.context && other.skip == setting.skip)
            .unwrap_or(index);
        let mut row = vec![
            setting.scenario.decode().to_string(),
            format!("{} %", setting.skip.percent()),
            setting.strategy.label(),
        ];
        row.extend(results.cells(&run.report, &finished[first].report));
        table.row(row);
    }
    table
}

/// The table of [`study::churn_settings`]: of each kind of skip sets, the others are compared with
/// the first strategy.
fn churn_table(settings: &[study::ChurnSetting], finished: &[Finished]) -> Table {
    let mut columns = vec![Column::text("skip sets"), Column::text("strategy")];
    let results = tables::Results::of(finished.iter().map(|run| &run.report.summary));
    columns.extend(results.columns());
    let mut table = Table::new(columns);
    for (index, (setting, run)) in settings.iter().zip(finished).enumerate() {
        let first = settings[..=index].iter().position(|other| other.recorded == setting.recorded).unwrap_or(index);
        let mut row = vec![setting.trace().to_owned(), setting.strategy.label()];
        row.extend(results.cells(&run.report, &finished[first].report));
        table.row(row);
    }
    table
}

use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::{print, tables};
use crate::report::{self, Artifact, Column, Table};
use crate::simulation::RunError;
use crate::study::{self, Cancel, Job, StudyError};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

const OUT: &str = "out/study";
const MODEL: &str = "study";

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
    report::check_folder(&args.out)?;
    let jobs: Vec<Job<'_>> = settings
        .iter()
        .map(|setting| Job { scenario: &setting.scenario, folder: args.out.join(setting.folder()) })
        .collect();
    for job in &jobs {
        report::check_folder(&job.folder)?;
    }
    let bar = Bar::new(settings.iter().map(|setting| setting.scenario.decode() as u64).sum());
    let threads = args.jobs.map_or(0, usize::from);
    let finished = study::simulate(&jobs, threads, cancel, &bar);
    bar.finish();
    let finished = finished?;

    let mut columns = vec![Column::number("decode"), Column::number("skip"), Column::text("strategy")];
    columns.extend(tables::result_columns());
    let mut table = Table::new(columns);
    for (index, (setting, run)) in settings.iter().zip(&finished).enumerate() {
        // Of each setting the first strategy is the baseline.
        let first = settings[..=index]
            .iter()
            .position(|other| other.context == setting.context && other.skip == setting.skip)
            .unwrap_or(index);
        let mut row = vec![
            setting.scenario.decode().to_string(),
            format!("{} %", setting.skip.percent()),
            setting.strategy.name(),
        ];
        row.extend(tables::result_cells(&run.report, &finished[first].report));
        table.row(row);
    }
    let conclusions = study::conclusions(&settings, &finished).join("\n");
    let mut files = study::pictures(&settings, &finished)?;
    files.push(Artifact::new("table.md", format!("{}\n\n{conclusions}\n", table.render(false))));
    if cancel.load(Ordering::Relaxed) {
        return Err(StudyError::from(RunError::Interrupted).into());
    }
    report::write(&args.out, &files)?;

    print(&table.render(std::io::stdout().is_terminal()))?;
    print(&format!("\n{conclusions}"))?;
    tell!(
        "{} runs in {:.1} s; figures and pictures are in {}",
        finished.len(),
        started.elapsed().as_secs_f64(),
        args.out.display()
    );
    for (setting, run) in settings.iter().zip(&finished) {
        if let Some(error) = &run.outcome.error {
            tell!("incomplete: {}: {error}", setting.folder());
        }
    }
    let incomplete = finished.iter().any(|run| run.outcome.error.is_some());
    Ok(if incomplete { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
}

//! `tiersim sweep cell`: one cell of a sweep as a run with all its files.
//!
//! A sweep keeps a row of figures for each cell. This command runs a cell again and writes what
//! `tiersim run` writes to `runs/N` in the sweep's folder, where the sweep's page has a link to it.

use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::{paths, print, tables};
use crate::report::Table;
use crate::runs::{self, Cancel, Job, Resources};
use crate::simulation::Scenario;
use crate::sweep::{Folder, RUNS};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// `tiersim sweep cell`.
#[derive(Args)]
pub(super) struct CellArgs {
    /// The folder of a sweep, finished or not
    folder: PathBuf,
    /// The number of the cell, as the sweep's page and its dataset have it
    #[arg(value_name = "N")]
    cell: u64,
    /// The folder for the run's files [default: runs/N, in the sweep's folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn cell(args: &CellArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let (_, plan) = Folder::open(&args.folder)?;
    let number = args.cell;
    if number >= plan.cells() {
        return Err(CliError::Usage(format!(
            "cell {number}: the sweep in {} has the cells 0 to {}",
            args.folder.display(),
            plan.cells().saturating_sub(1)
        )));
    }
    let Some(levels) = plan.levels(number) else {
        return Err(CliError::Usage(format!(
            "cell {number}: the sweep in {} leaves it out (`exclude` in its sweep.json)",
            args.folder.display()
        )));
    };
    let described = plan.described(&levels);
    let config = plan
        .scenario(&levels)
        .map_err(|error| CliError::Usage(format!("cell {number} ({described}) is not a valid scenario: {error}")))?;
    let scenario = Scenario::new(config).map_err(CliError::of_scenario(&format!("cell {number}")))?;
    let folder = args.out.clone().unwrap_or_else(|| args.folder.join(RUNS).join(number.to_string()));
    let jobs = [Job { scenario: &scenario, folder, timeline: None }];
    let [Job { folder, .. }] = &jobs;
    let _claims = paths::prepare(&jobs)?;
    let bar = Bar::new(scenario.progress_units());
    let finished = runs::simulate(&jobs, Resources::new(None, None), cancel, &bar);
    bar.finish();
    let finished = finished?;
    paths::refresh_index(folder);
    print(&format!("cell {number}: {described}"))?;
    let results = tables::Results::of(finished.iter().map(|run| &run.report.summary));
    let mut table = Table::new(results.columns());
    for run in &finished {
        table.row(results.cells(&run.report, &run.report));
    }
    print(&format!("\n{}", table.render(std::io::stdout().is_terminal())))?;
    note!("results are in {}", folder.display());
    for run in &finished {
        if let Some(error) = &run.error {
            tell!("incomplete: cell {number}: {error}");
            return Ok(ExitCode::from(INCOMPLETE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

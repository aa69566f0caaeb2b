//! `tiersim compare`: finished runs, or scenarios that are run first, set side by side.

mod comparison;
mod sources;

use super::error::{CliError, INCOMPLETE};
use super::progress::Bar;
use super::{paths, print};
use crate::report::{self, Artifact};
use crate::results::{Condition, FinishedRun, Holds};
use crate::runs::{self, Cancel, Job, Resources};
use crate::simulation::file_name;
use crate::units::Bytes;
use clap::Args;
use comparison::Comparison;
use sources::{Source, default_folder, sources};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
/// `tiersim compare`.
#[derive(Args)]
pub(super) struct CompareArgs {
    /// Folders of finished runs, or scenarios to run first: the arguments of `tiersim run`, in
    /// quotes, such as "study --skip 40% --strategy baseline". LABEL=ENTRY gives it a name. The
    /// others are compared with the first
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<String>,
    /// Set a field of every scenario that is run first, as `tiersim run --set` does
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// End with exit code 1 where this holds of a run after the first: FIGURE OPERATOR LIMIT, a
    /// path in summary.json against a number, 1.05x or +5% (of the first run's):
    /// 'token_latency_ns.p99 > 1.05x'
    #[arg(long, value_name = "CONDITION", allow_hyphen_values = true)]
    fail_if: Vec<String>,
    /// Leave out the cause of the difference, and the runs that find it as `tiersim explain` does
    #[arg(long)]
    no_why: bool,
    /// The folder for the comparison, its pictures, and the runs that are run first [default:
    /// out/compare/A-B]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the comparison as JSON on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// The memory that all runs may take together [default: three quarters of the free memory]
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<Bytes>,
}

pub(super) fn run(args: &CompareArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let conditions: Vec<Condition> = args.fail_if.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let (labels, sources) = sources(args)?;
    let out = args.out.clone().unwrap_or_else(|| default_folder(&labels, &sources));
    let _claim = report::claim(&out, &["comparison.json", "comparison.md", "report.html"])?;
    let folders = run_first(args, &labels, &sources, &out, cancel)?;
    let runs: Vec<FinishedRun> = folders.iter().map(|folder| FinishedRun::read(folder)).collect::<Result<_, _>>()?;
    let mut comparison = Comparison::new(labels, folders, runs, &conditions)?;
    if !args.no_why {
        comparison.attribute(Resources::new(args.jobs, args.memory_limit), cancel)?;
    }
    let text = comparison.text(false);
    let mut files = vec![
        Artifact::new("comparison.json", format!("{:#}\n", comparison.json())),
        Artifact::new("comparison.md", text.clone() + "\n"),
    ];
    files.extend(comparison.pictures()?);
    report::write(&out, &files)?;
    paths::refresh_index(&out);
    if args.json {
        print(&format!("{:#}", comparison.json()))?;
    } else {
        let styled = std::io::stdout().is_terminal();
        print(&if styled { comparison.text(true) } else { text })?;
    }
    note!("the comparison, its page and its pictures are in {}", out.display());
    let mut code = ExitCode::SUCCESS;
    for (label, run) in comparison.labels.iter().zip(&comparison.runs) {
        let summary = &run.report.summary;
        if !summary.complete {
            tell!("incomplete: {label}: {}", summary.error.as_deref().unwrap_or("its summary has no error"));
            code = ExitCode::from(INCOMPLETE);
        }
    }
    for Holds { condition, run, detail } in &comparison.holds {
        tell!("--fail-if '{condition}' holds for {run}: {detail}");
        code = ExitCode::from(INCOMPLETE);
    }
    Ok(code)
}

/// Runs the entries that are not finished runs. Returns the folder of each run.
fn run_first(
    args: &CompareArgs,
    labels: &[String],
    sources: &[Source],
    out: &Path,
    cancel: &Cancel,
) -> Result<Vec<PathBuf>, CliError> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for (label, source) in labels.iter().zip(sources) {
        match source {
            Source::Folder(folder) => folders.push(folder.clone()),
            Source::Scenario(scenario) => {
                let mut folder = out.join("runs").join(file_name(label));
                // Two labels may differ only in characters that a path cannot have.
                while folders.contains(&folder) {
                    folder.as_mut_os_string().push("-");
                }
                folders.push(folder.clone());
                jobs.push(Job { scenario, folder, timeline: None });
            }
        }
    }
    let _claims = paths::prepare(&jobs)?;
    if !jobs.is_empty() {
        let bar = Bar::new(jobs.iter().map(|job| job.scenario.progress_units()).sum());
        let finished = runs::simulate(&jobs, Resources::new(args.jobs, args.memory_limit), cancel, &bar);
        bar.finish();
        finished?;
    }
    Ok(folders)
}

use super::error::CliError;
use super::{arguments, print};
use crate::catalog;
use crate::config;
use crate::memory::{Arbitration, MemorySystem};
use crate::replay::{Traffic, replay};
use crate::report::{self, Artifact};
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim replay`.
#[derive(Args)]
pub(super) struct ReplayArgs {
    /// The transfers: CSV with the columns issue_ns,class,source,destination,bytes; `-` reads stdin
    #[arg(value_name = "TRANSFERS.csv")]
    transfers: String,
    /// The memory system, by name or path
    #[arg(long, value_name = "MEMORY", value_parser = arguments::memory(), hide_possible_values = true)]
    memory: String,
    /// How transfers share lanes, in place of the memory system's
    #[arg(long, value_parser = arguments::choice(&Arbitration::ALL), ignore_case = true)]
    arbitration: Option<Arbitration>,
    /// A folder for summary.json and the histograms
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode, CliError> {
    let mut config = catalog::memory(&args.memory)?;
    config.arbitration = args.arbitration.unwrap_or(config.arbitration);
    let system = MemorySystem::new(&config).map_err(|error| CliError::Usage(format!("{}: {error}", args.memory)))?;
    let claim = args.out.as_ref().map(|out| report::claim(out, &report::run_file_names()));
    let _claim = claim.transpose()?;
    let unreadable = |error: std::io::Error| CliError::Usage(format!("cannot read '{}': {error}", args.transfers));
    let mut text = Vec::new();
    if args.transfers == "-" {
        std::io::stdin().read_to_end(&mut text).map_err(unreadable)?;
    } else {
        let (mut file, _) = config::open_regular(Path::new(&args.transfers)).map_err(unreadable)?;
        file.read_to_end(&mut text).map_err(unreadable)?;
    }
    let traffic = Traffic::read(text, &args.transfers, &system)?;
    let replayed =
        replay(&system, &traffic).map_err(|source| CliError::Replay { file: args.transfers.clone(), source })?;
    if let Some(out) = &args.out {
        let mut files = vec![Artifact::new("summary.json", report::summary_json(&replayed.summary)? + "\n")];
        files.extend(report::histogram_files(&replayed.histograms, replayed.end)?);
        report::write_run(out, &files)?;
        note!("results are in {}", out.display());
    }
    let mut rows = Vec::new();
    traffic.write(&replayed.times, &mut rows)?;
    print(String::from_utf8_lossy(&rows).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

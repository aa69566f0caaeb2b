//! `tiersim calibrate`: a runtime's costs from measured runs.

use super::error::CliError;
use super::print;
use super::progress::Bar;
use crate::report::{self, Artifact, Column, Table};
use crate::runs::{Cancel, Resources};
use crate::units::{Bytes, SimTime};
use crate::validation::{self, Calibration, FittedRow, Settings};
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim calibrate`.
#[derive(Args)]
pub(super) struct CalibrateArgs {
    /// Measured runs of one machine and one runtime: CSV with the columns of tiersim validate
    /// [default: the shipped cases, of which --group chooses some]
    #[arg(value_name = "CASES.csv")]
    files: Vec<PathBuf>,
    /// Write the runtime to this file [default: only print what was found]
    #[arg(short, long, value_name = "RUNTIME.ron")]
    out: Option<PathBuf>,
    /// Take the rows of this group alone; several times for several groups
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Fit on the rows that are not marked check, or on all
    #[arg(long = "use", value_enum, value_name = "ROWS", default_value_t = Rows::Fit)]
    usage: Rows,
    /// Hold the time per stage at this value, where the rows cannot separate it
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    per_stage: Option<SimTime>,
    /// The runtime's name [default: that of the file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    jobs: Option<u16>,
    /// The memory that all runs may take together [default: three quarters of the free memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_limit: Option<Bytes>,
}

/// The rows that are fitted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// Those that are not marked check; these are held out
    Fit,
    /// All
    All,
}

pub(super) fn run(args: &CalibrateArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let cases = super::validate::cases(&args.files)?;
    let settings = Settings {
        groups: args.group.clone(),
        all: args.usage == Rows::All,
        per_stage: args.per_stage,
        name: args.name.clone().unwrap_or_else(|| name_of(args.out.as_deref())),
    };
    // Each row runs once for each cost.
    let bar = Bar::new(cases.iter().map(|case| u64::from(case.decode_tokens)).sum::<u64>().saturating_mul(5));
    let resources = Resources::new(args.jobs, args.memory_limit);
    let calibrated = validation::calibrate(cases, &settings, resources, cancel, &bar);
    bar.finish();
    let calibration = calibrated?;
    print(&text(&calibration, std::io::stdout().is_terminal()))?;
    if let Some(path) = &args.out {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name =
            path.file_name().ok_or_else(|| CliError::Usage(format!("-o {}: it has no file name", path.display())))?;
        report::write(folder, &[Artifact::new(name, calibration.ron.clone())])?;
        note!("the runtime is in {}: use it with --runtime {}", path.display(), path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn name_of(out: Option<&Path>) -> String {
    let stem = out.and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_else(|| "fitted".to_owned())
}

/// What was found: the costs, and the rows with their errors.
fn text(calibration: &Calibration, terminal: bool) -> String {
    let mut costs = Table::new(vec![Column::text("cost"), Column::text("value")]);
    for cost in &calibration.costs {
        costs.row([cost.name.clone(), cost.value.clone()]);
    }
    let mut rows = Table::new(vec![
        Column::text("case"),
        Column::text("rows"),
        Column::number("measured"),
        Column::number("simulated"),
        Column::number("error"),
        Column::number("error, left out"),
    ]);
    let parts = [("fitted", &calibration.fitted), ("held out", &calibration.held_out)];
    for (what, row) in parts.into_iter().flat_map(|(what, rows)| rows.iter().map(move |row| (what, row))) {
        rows.row([
            row.case.clone(),
            what.to_owned(),
            format!("{:.4} ms", 1e3 * row.measured),
            format!("{:.4} ms", 1e3 * row.simulated),
            percent(row.error()),
            row.left_out.map_or_else(|| "-".to_owned(), percent),
        ]);
    }
    let mut text = format!(
        "{}\n\n{}\n\nCondition number {:.1}. Mean absolute error: {} on the rows of the fit",
        costs.render(terminal),
        rows.render(terminal),
        calibration.condition,
        mean(calibration.fitted.iter().map(FittedRow::error)),
    );
    let left_out: Vec<f64> = calibration.fitted.iter().filter_map(|row| row.left_out).collect();
    if !left_out.is_empty() {
        text += &format!(", {} on each of them when it is left out", mean(left_out.into_iter()));
    }
    if !calibration.held_out.is_empty() {
        text += &format!(", {} on the rows held out", mean(calibration.held_out.iter().map(FittedRow::error)));
    }
    text.push('.');
    text
}

fn percent(share: f64) -> String {
    // Adding 0 turns -0 into 0.
    format!("{:+.1} %", (1e3 * share).round() / 10.0 + 0.0)
}

fn mean(errors: impl ExactSizeIterator<Item = f64>) -> String {
    let count = errors.len().max(1) as f64;
    format!("{:.1} %", 100.0 * errors.map(f64::abs).sum::<f64>() / count)
}

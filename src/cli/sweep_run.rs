//! Running the cells of a sweep: for `tiersim sweep` and for `tiersim run --vary`.

use super::error::CliError;
use super::{sweep_report, terminal};
use crate::runs::{Cancel, Resources};
use crate::sweep::{self, Existing, Folder, Plan, Shard, Tally, Watcher};
use crate::units::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::process::ExitCode;

/// How cells are run.
#[derive(Args)]
pub(super) struct HowArgs {
    /// Resume an interrupted sweep: finished cells are not run again
    #[arg(long)]
    pub resume: bool,
    /// How many cells at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    pub jobs: Option<u16>,
    /// The memory that cells running at a time may take together [default: three quarters of the
    /// free memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_limit: Option<Bytes>,
    /// Run any number of cells without asking
    #[arg(long)]
    pub yes: bool,
}

/// More cells than this are run only with `--yes`.
const MANY: u64 = 100_000;

/// Runs a sweep and prints its report.
pub(super) fn carry_out(
    plan: &Plan,
    out: &Path,
    shard: Shard,
    how: &HowArgs,
    cancel: &Cancel,
) -> Result<ExitCode, CliError> {
    if plan.cells() / shard.of() > MANY && !how.yes {
        return Err(CliError::Usage(format!(
            "the axes have {} combinations{}: take fewer values or a sample of them, run a --shard, or add --yes to run them all",
            plan.cells(),
            if shard == Shard::ALL { String::new() } else { format!(", {} a shard", plan.cells() / shard.of()) }
        )));
    }
    let existing = if how.resume { Existing::Resume } else { Existing::Keep };
    let folder = Folder::take(out, plan, shard, existing)?;
    let resources = Resources::new(how.jobs, how.memory_limit);
    let bar = CellBar::new();
    let result = sweep::execute(plan, &folder, resources, cancel, &bar);
    bar.0.finish_and_clear();
    let tally = result?;
    if tally.before == tally.cells && tally.cells > 0 {
        note!("all {} cells were there already", tally.cells);
    } else if tally.before > 0 {
        note!("{} of {} cells were there already", tally.before, tally.cells);
    }
    drop(folder);
    if shard == Shard::ALL {
        return sweep_report::after(out);
    }
    note!("shard {shard}: {} cells are in {}", tally.done, out.display());
    // A shard with a failed cell is done: the report of the whole sweep lists the cell.
    Ok(ExitCode::SUCCESS)
}

/// A bar on stderr, in cells.
struct CellBar(ProgressBar);

impl CellBar {
    fn new() -> Self {
        let bar = if terminal::is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style = ProgressStyle::with_template(
            "{wide_bar:.cyan/blue} {human_pos}/{human_len} cells, {per_sec}, {eta} left{msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }
}

impl Watcher for CellBar {
    fn tally(&self, tally: Tally) {
        self.0.set_length(tally.cells);
        self.0.set_position(tally.done);
        if tally.failed > 0 {
            self.0.set_message(format!(", {} failed", tally.failed));
        }
    }
}

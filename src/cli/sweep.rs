//! `tiersim sweep`: a grid or a sample of scenarios, from a file and from `--vary`.
//!
//! A sweep's file lists its axes; flags add axes or replace those of the file, and `--set` sets a
//! field in all cells. The subcommands report on results, merge shards, and print
//! a script for a cluster. The cells themselves are run by `sweep_run`, which `tiersim run --vary`
//! uses as well.

use super::axis::axis_of;
use super::error::CliError;
use super::scenario_args::assignment;
use super::sweep_run::{HowArgs, carry_out};
use super::{arguments, print, sweep_cell, sweep_report};
use crate::runs::Cancel;
use crate::simulation::Assignment;
use crate::sweep::{self, AxisConfig, Plan, Shard, SweepConfig};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim sweep`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct SweepArgs {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    /// The sweep, by name or path
    #[arg(required = true, value_parser = arguments::sweep(), hide_possible_values = true)]
    sweep: Option<String>,
    /// One axis more: FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS (x POINTS for equal ratios:
    /// FROM..TOxPOINTS)
    #[arg(long, value_name = "AXIS")]
    vary: Vec<String>,
    /// A field that is the same in all cells, by its path; several times for several
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The folder for the results [default: out/sweeps/NAME, for a shard
    /// out/sweeps/NAME/shard-I-of-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
    /// Run one of N independent parts: I/N
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Print the number of cells and their axes, and run none
    #[arg(long)]
    dry_run: bool,
}

impl SweepArgs {
    /// Whether it runs cells, rather than reading or merging results.
    pub fn runs_cells(&self) -> bool {
        matches!(self.command, None | Some(SweepCommand::Cell(_)))
    }
}

#[derive(Subcommand)]
enum SweepCommand {
    /// Report on a sweep: a table, the axis that matters most, heat maps, lines and the Pareto
    /// front
    Report(sweep_report::ReportArgs),
    /// Find the best cell among those that meet conditions: --where 'token_latency_ns.p99 < 9ms'
    /// --min memory.hbm.capacity
    Best(sweep_report::BestArgs),
    /// Run one cell again, with all files of a run
    Cell(sweep_cell::CellArgs),
    /// Merge the shards of a sweep
    Merge(MergeArgs),
    /// Print a script that runs a sweep on a cluster, a shard a task
    Script(ScriptArgs),
}

#[derive(Args)]
struct MergeArgs {
    /// The folders of all shards
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// The folder for the whole
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args)]
struct ScriptArgs {
    /// For which scheduler
    #[arg(value_enum)]
    scheduler: Scheduler,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Scheduler {
    /// A Slurm job array
    Slurm,
}

/// The job array that is shipped.
const SLURM: &str = include_str!("../../models/sweeps/array.slurm");

pub(super) fn run(args: &SweepArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(SweepCommand::Report(args)) => return sweep_report::report(args),
        Some(SweepCommand::Best(args)) => return sweep_report::best(args),
        Some(SweepCommand::Cell(args)) => return sweep_cell::cell(args, cancel),
        Some(SweepCommand::Merge(args)) => return merge(args),
        Some(SweepCommand::Script(ScriptArgs { scheduler: Scheduler::Slurm })) => {
            print(SLURM.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let name = args.sweep.as_deref().unwrap_or_default();
    let mut config = SweepConfig::load(name)?;
    for axis in &args.vary {
        let axis = axis_of(axis)?;
        // An axis of the command line replaces one of the file with the same field.
        let field = |axis: &AxisConfig| match axis {
            AxisConfig::Values { field, .. }
            | AxisConfig::Linear { field, .. }
            | AxisConfig::Geometric { field, .. } => field.clone(),
            AxisConfig::Choices { name, .. } => name.clone(),
        };
        config.axes.retain(|known| field(known) != field(&axis));
        config.axes.push(axis);
    }
    for text in &args.set {
        let Assignment { path, value, .. } = assignment(text)?;
        config.set.insert(path, value);
    }
    let plan = Plan::new(config).map_err(CliError::of_sweep(name))?;
    let shard = args.shard.unwrap_or(Shard::ALL);
    if args.dry_run {
        print(&described(&plan))?;
        return Ok(ExitCode::SUCCESS);
    }
    let out = args.out.clone().unwrap_or_else(|| {
        let folder = Path::new("out/sweeps").join(crate::simulation::file_name(&plan.config().name));
        if shard == Shard::ALL {
            folder
        } else {
            folder.join(format!("shard-{}", shard.to_string().replace('/', "-of-")))
        }
    });
    carry_out(&plan, &out, shard, &args.how, cancel)
}

fn merge(args: &MergeArgs) -> Result<ExitCode, CliError> {
    let (_, cells) = sweep::merge(&args.shards, &args.out)?;
    note!("{cells} cells are in {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// The cells that a sweep would run, in words.
fn described(plan: &Plan) -> String {
    let mut lines = vec![format!("{}: {} combinations", plan.config().name, plan.cells())];
    for axis in plan.axes() {
        let labels: Vec<&str> = axis.levels.iter().map(|level| level.label.as_str()).collect();
        let shown = match labels.as_slice() {
            [first @ .., last] if first.len() > 8 => format!("{}, ..., {last}", first[..6].join(", ")),
            labels => labels.join(", "),
        };
        lines.push(format!("  {} ({}): {shown}", axis.name, labels.len()));
    }
    if !plan.config().exclude.is_empty() && plan.cells() <= Plan::COUNTED {
        let cells = (0..plan.cells()).filter(|cell| plan.levels(*cell).is_some()).count();
        lines.push(format!("  {cells} of them are to be run; {} are excluded", plan.cells() - cells as u64));
    }
    lines.join("\n")
}

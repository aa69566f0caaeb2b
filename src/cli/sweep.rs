use super::error::CliError;
use super::overrides::value;
use super::{arguments, print, sweep_report, terminal};
use crate::simulation::usable_memory;
use crate::study::Cancel;
use crate::sweep::{self, AxisConfig, Existing, Folder, Plan, Settings, Shard, SweepConfig, Tally, Watcher};
use crate::units::Bytes;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
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
    /// One axis more: FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS (x POINTS for equal ratios: FROM..TOxPOINTS)
    #[arg(long, value_name = "AXIS")]
    vary: Vec<String>,
    /// A field that is the same in all cells, by its path; several times for several
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The folder for the results [default: out/sweeps/NAME, for a shard out/sweeps/NAME/shard-I-of-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
    /// Run one of N parts, which need nothing of each other: I/N
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Tell how many cells there are and what they vary, and run none
    #[arg(long)]
    dry_run: bool,
}

/// How cells are run.
#[derive(Args)]
pub(super) struct HowArgs {
    /// Go on with a sweep that was interrupted: what is finished is not run again
    #[arg(long)]
    pub resume: bool,
    /// How many cells at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    pub jobs: Option<u16>,
    /// What the cells that run at a time may take together [default: three quarters of the memory that is free]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_limit: Option<Bytes>,
    /// Run however many cells there are
    #[arg(long)]
    pub yes: bool,
}

impl SweepArgs {
    /// Whether it runs cells, rather than reading or writing what is there.
    pub fn runs_cells(&self) -> bool {
        self.command.is_none()
    }
}

#[derive(Subcommand)]
enum SweepCommand {
    /// What a sweep says: a table, which axis matters most, heat maps, lines and the Pareto front
    Report(sweep_report::ReportArgs),
    /// The best cell of those that meet conditions: --where 'token_latency_ns.p99 < 9ms' --min memory.hbm.capacity
    Best(sweep_report::BestArgs),
    /// Put the shards of a sweep together
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

/// More cells than this are run only when asked for.
const MANY: u64 = 100_000;

pub(super) fn run(args: &SweepArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(SweepCommand::Report(args)) => return sweep_report::report(args),
        Some(SweepCommand::Best(args)) => return sweep_report::best(args),
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
        // An axis of the command line takes the place of one of the file with that field.
        let field = |axis: &AxisConfig| match axis {
            AxisConfig::Values { field, .. }
            | AxisConfig::Linear { field, .. }
            | AxisConfig::Geometric { field, .. } => field.clone(),
            AxisConfig::Choices { name, .. } => name.clone(),
        };
        config.axes.retain(|known| field(known) != field(&axis));
        config.axes.push(axis);
    }
    for assignment in &args.set {
        let (path, text) = assignment
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("--set {assignment}: write it as path=value")))?;
        config.set.insert(path.to_owned(), value(text));
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

/// Runs a sweep and says what it says.
pub(super) fn carry_out(
    plan: &Plan,
    out: &Path,
    shard: Shard,
    how: &HowArgs,
    cancel: &Cancel,
) -> Result<ExitCode, CliError> {
    if plan.cells() / shard.of() > MANY && !how.yes {
        return Err(CliError::Usage(format!(
            "the axes have {} combinations{}: take fewer values or a sample of them, run a --shard, or say --yes to run them all",
            plan.cells(),
            if shard == Shard::ALL { String::new() } else { format!(", {} a shard", plan.cells() / shard.of()) }
        )));
    }
    let existing = if how.resume { Existing::Resume } else { Existing::Keep };
    let folder = Folder::take(out, plan, shard, existing)?;
    let settings = Settings {
        jobs: how.jobs.map_or(0, usize::from),
        memory_limit: how.memory_limit.unwrap_or_else(usable_memory),
        cancel,
    };
    let bar = CellBar::new();
    let result = sweep::execute(plan, &folder, settings, &bar);
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
    // A shard with a failed cell is done: whoever reads the whole is told of it.
    Ok(ExitCode::SUCCESS)
}

fn merge(args: &MergeArgs) -> Result<ExitCode, CliError> {
    let (_, cells) = sweep::merge(&args.shards, &args.out)?;
    note!("{cells} cells are in {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// An axis as it is typed: `FIELD=A,B,C`, `FIELD=A..B/N` or `FIELD=A..BxN`.
pub(super) fn axis_of(text: &str) -> Result<AxisConfig, CliError> {
    let wrong = |message: &str| CliError::Usage(format!("--vary {text}: {message}"));
    let form = "write it as FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS, such as memory.hbm.capacity=2GiB,4GiB,8GiB";
    let (field, values) = text.split_once('=').ok_or_else(|| wrong(form))?;
    let field = field.trim().to_owned();
    if field.is_empty() || values.trim().is_empty() {
        return Err(wrong(form));
    }
    if let Some((from, rest)) = values.split_once("..") {
        let (to, points, geometric) = match (rest.rsplit_once('/'), rest.rsplit_once('x')) {
            (_, Some((to, points))) if points.parse::<u32>().is_ok() => (to, points, true),
            (Some((to, points)), _) if points.parse::<u32>().is_ok() => (to, points, false),
            _ => {
                return Err(wrong(
                    "say how many values the range has: 1GiB..64GiB/5 at equal distances, 1GiB..64GiBx7 at equal ratios",
                ));
            }
        };
        let (from, to, points) = (value(from.trim()), value(to.trim()), points.parse().ok());
        return Ok(if geometric {
            AxisConfig::Geometric { field, from, to, points }
        } else {
            AxisConfig::Linear { field, from, to, points }
        });
    }
    Ok(AxisConfig::Values { field, values: list(values) })
}

/// Values between commas; those within braces, brackets and quotes are part of a value.
fn list(text: &str) -> Vec<Value> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0i32, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).map(value).collect()
}

/// What a sweep would run.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn axes_are_typed_as_lists_or_ranges() {
        let read = |text: &str| axis_of(text).unwrap();
        let values = |field: &str, values: Value| AxisConfig::Values {
            field: field.to_owned(),
            values: values.as_array().unwrap().clone(),
        };
        assert_eq!(read("memory.hbm.capacity=2GiB, 4GiB"), values("memory.hbm.capacity", json!(["2GiB", "4GiB"])));
        assert_eq!(
            read("trace={\"Generated\":{\"skip\":0.1,\"churn\":0.2}},like-recorded-40"),
            values("trace", json!([{"Generated": {"skip": 0.1, "churn": 0.2}}, "like-recorded-40"]))
        );
        assert_eq!(
            read("trace.skip=0..0.9/4"),
            AxisConfig::Linear { field: "trace.skip".into(), from: json!(0), to: json!(0.9), points: Some(4) }
        );
        assert_eq!(
            read("memory.hbm.capacity=1GiB..64GiBx7"),
            AxisConfig::Geometric {
                field: "memory.hbm.capacity".into(),
                from: json!("1GiB"),
                to: json!("64GiB"),
                points: Some(7)
            }
        );
        assert_eq!(
            read("memory.external.link.read+write=450GB/s..900GB/s/3"),
            AxisConfig::Linear {
                field: "memory.external.link.read+write".into(),
                from: json!("450GB/s"),
                to: json!("900GB/s"),
                points: Some(3)
            }
        );
        for text in ["memory.hbm.capacity", "=1", "a=", "a=1GiB..2GiB", "a=1GB/s..2GB/s"] {
            assert!(axis_of(text).is_err(), "{text}");
        }
    }
}

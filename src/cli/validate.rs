//! `tiersim validate`: measured runs of real machines against simulated ones.

use super::error::{CliError, INCOMPLETE};
use super::{print, progress::Bar};
use crate::catalog;
use crate::config::did_you_mean;
use crate::report::{self, Artifact, BatchCurves, BatchLine, BatchPoint, Column, MeasuredGroup, RunningCurves, Table};
use crate::runs::{Cancel, Resources};
use crate::units::Bytes;
use crate::validation::{self, Accuracy, Case, CaseError, CaseFile, Checked, Excluded, GroupErrors, Simulated};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim validate`.
#[derive(Args)]
pub(super) struct ValidateArgs {
    /// Files of cases: CSV with the columns
    /// case,group,memory,runtime,model,set,prefill_tokens,decode_tokens,batch,metric,measured,unit,source,use
    /// [default: the shipped cases]
    #[arg(value_name = "CASES.csv")]
    files: Vec<PathBuf>,
    /// Take the cases of this group alone; several times for several groups
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Run every case with ideal costs, whatever runtime it names: what bandwidths alone explain
    #[arg(long)]
    ideal: bool,
    /// Print validation.json on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// The folder for validation.json and the picture
    #[arg(long, value_name = "DIR", default_value = "out/validation")]
    out: PathBuf,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    jobs: Option<u16>,
    /// The memory that all runs may take together [default: three quarters of the free memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_limit: Option<Bytes>,
}

/// The record of a validation.
const RECORD: &str = "validation.json";
/// How many sizes of a batch make a line.
const LEAST_BATCHES: usize = 3;
/// The picture's name, without an ending.
const PICTURE: &str = "measured_simulated";

pub(super) fn run(args: &ValidateArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let mut cases = of_groups(cases(&args.files)?, &args.group)?;
    if args.ideal {
        cases.iter_mut().for_each(|case| case.runtime = None);
    }
    let checked = Checked::new(cases)?;
    let _claim = report::claim(&args.out, &[RECORD])?;
    let bar = Bar::new(checked.steps());
    let simulated = validation::validate(checked, Resources::new(args.jobs, args.memory_limit), cancel, &bar);
    bar.finish();
    let simulated = simulated?;
    let accuracy = Accuracy::new(&simulated);
    let json = serde_json::to_string_pretty(&accuracy)
        .map_err(|error| CliError::Usage(format!("{RECORD} cannot be made: {error}")))?;
    let mut files = vec![Artifact::new(RECORD, json.clone() + "\n")];
    files.extend(report::accuracy_picture(PICTURE, &title(args, &accuracy), &points(&accuracy.cases))?);
    for curves in curves(&accuracy.cases) {
        files.extend(report::batch_picture(&curves)?);
    }
    for curves in running(&simulated) {
        files.extend(report::running_picture(&curves)?);
    }
    report::write(&args.out, &files)?;
    if args.json {
        print(&json)?;
    } else {
        print(&text(&accuracy, std::io::stdout().is_terminal()))?;
    }
    note!(
        "{} are in {}",
        if files.len() > 1 { "the record and the pictures" } else { "the reasons" },
        args.out.display()
    );
    Ok(if accuracy.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// Those of `cases` that are of one of `groups`; all where none is asked for.
fn of_groups(mut cases: Vec<Case>, groups: &[String]) -> Result<Vec<Case>, CliError> {
    for group in groups {
        if !cases.iter().any(|case| case.group == *group) {
            let known: BTreeSet<&str> = cases.iter().map(|case| case.group.as_str()).collect();
            let meant = did_you_mean(group, known.iter().copied());
            let known: Vec<&str> = known.into_iter().collect();
            return Err(CliError::Usage(format!("--group '{group}': there are {}.{meant}", known.join(", "))));
        }
    }
    cases.retain(|case| groups.is_empty() || groups.contains(&case.group));
    Ok(cases)
}

/// The cases of these files, or the shipped ones.
pub(super) fn cases(files: &[PathBuf]) -> Result<Vec<Case>, CliError> {
    let files: Result<Vec<CaseFile>, _> = match files {
        [] => Ok(catalog::CASES.iter().map(CaseFile::shipped).collect()),
        files => files.iter().map(|path| CaseFile::open(path)).collect(),
    };
    Ok(validation::read(&files?)?)
}

fn title(args: &ValidateArgs, accuracy: &Accuracy) -> String {
    let costs = if args.ideal { "ideal costs" } else { "their runtimes' costs" };
    format!("{} measured cases, simulated with {costs}", accuracy.cases.len())
}

/// The points of each group, in the order of the groups in tables.
fn points(cases: &[CaseError]) -> Vec<MeasuredGroup> {
    let mut groups: Vec<MeasuredGroup> = Vec::new();
    for case in cases {
        let point = (1e3 * case.seconds.0, 1e3 * case.seconds.1);
        match groups.iter_mut().find(|group| group.label == case.group) {
            Some(group) => group.points.push(point),
            None => groups.push(MeasuredGroup { label: case.group.clone(), points: vec![point] }),
        }
    }
    groups
}

/// For each model on each machine, its rates by batch, where these were measured at
/// [`LEAST_BATCHES`] sizes of the same context. Without a context it is kernels that were measured.
fn curves(cases: &[CaseError]) -> Vec<BatchCurves> {
    type Lines = BTreeMap<u32, BTreeMap<u32, BatchPoint>>;
    let mut systems: BTreeMap<&(String, Option<String>, String), Lines> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.is_of_decoding && case.prefill_tokens > 0) {
        let rate = |seconds: f64| f64::from(case.batch) / seconds;
        let (measured, simulated) = (rate(case.seconds.0), rate(case.seconds.1));
        let point = BatchPoint { batch: case.batch, measured, simulated };
        let lines = systems.entry(&case.system).or_default();
        lines.entry(case.prefill_tokens).or_default().insert(case.batch, point);
    }
    let curves = systems.into_iter().filter_map(|((model, runtime, memory), lines)| {
        let enough = lines.into_iter().filter(|(_, points)| points.len() >= LEAST_BATCHES);
        let lines: Vec<BatchLine> = enough
            .map(|(context, points)| BatchLine {
                label: format!("{context} tokens"),
                points: points.into_values().collect(),
            })
            .collect();
        let (model, memory) = (stem(model), stem(memory));
        let runtime = runtime.as_deref().map_or_else(|| "ideal".to_owned(), stem);
        (!lines.is_empty()).then(|| BatchCurves {
            name: format!("batches_{memory}_{runtime}_{model}"),
            title: format!("{model} on {memory} with {runtime}, by batch"),
            lines,
        })
    });
    curves.collect()
}

/// For each log on each system, the number of running requests over time, where it was measured.
fn running(simulated: &[Simulated]) -> Vec<RunningCurves> {
    let mut curves: BTreeMap<String, RunningCurves> = BTreeMap::new();
    for Simulated { case, running, .. } in simulated {
        let Some(running) = running else { continue };
        let (model, memory) = (stem(&case.model), stem(&case.memory));
        let runtime = case.runtime.as_deref().map_or_else(|| "ideal".to_owned(), stem);
        let name = format!("running_{memory}_{runtime}_{model}_{}", running.log);
        curves.entry(name.clone()).or_insert_with(|| RunningCurves {
            name,
            title: format!("{model} on {memory} with {runtime}: requests of {}", running.log),
            measured: running.measured.clone(),
            simulated: running.simulated.clone(),
        });
    }
    curves.into_values().collect()
}

/// The name of a file's contents: a path stands for its file.
fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    if name.ends_with(".ron") { stem.unwrap_or_default() } else { name.replace('/', "-") }
}

/// The tables: a row for each case and for each group, and what was left out.
fn text(accuracy: &Accuracy, terminal: bool) -> String {
    let mut cases = Table::new(vec![
        Column::text("case"),
        Column::text("group"),
        Column::text("use"),
        Column::text("metric"),
        Column::number("measured"),
        Column::number("simulated"),
        Column::number("error"),
    ]);
    for case in &accuracy.cases {
        cases.row([
            case.case.clone(),
            case.group.clone(),
            case.usage.to_owned(),
            case.metric.clone(),
            format!("{} {}", significant(case.measured), case.unit),
            format!("{} {}", significant(case.simulated), case.unit),
            format!("{:+.1} %", 100.0 * case.error),
        ]);
    }
    let mut groups = Table::new(vec![
        Column::text("group"),
        Column::number("cases"),
        Column::number("mean"),
        Column::number("median"),
        Column::number("p90"),
        Column::number("worst"),
        Column::text("worst case"),
    ]);
    // The overall rows last.
    let named = accuracy.groups.iter().map(|(name, errors)| (name.clone(), errors));
    let overall = accuracy.overall.iter().map(|(name, errors)| (format!("({name})"), errors));
    for (name, errors) in named.chain(overall) {
        groups.row(summary_row(name, errors));
    }
    let mut text = format!("{}\n\nAbsolute errors by group:\n{}", cases.render(terminal), groups.render(terminal));
    if !accuracy.failed.is_empty() {
        text += &format!("\n\n{} failed, and in no group's errors:", count(accuracy.failed.len()));
    }
    for Excluded { case, group, reason } in &accuracy.failed {
        text += &format!("\n- {case} ({group}): {reason}");
    }
    text
}

fn summary_row(name: String, errors: &GroupErrors) -> [String; 7] {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    [
        name,
        errors.count.to_string(),
        percent(errors.mean_abs_error),
        percent(errors.median_abs_error),
        percent(errors.p90_abs_error),
        percent(errors.worst),
        errors.worst_case.clone(),
    ]
}

fn count(cases: usize) -> String {
    if cases == 1 { "1 case".to_owned() } else { format!("{cases} cases") }
}

/// Four significant digits.
fn significant(value: f64) -> String {
    let decimals = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.decimals$}")
}

//! `tiersim hist`: histograms of tiersim and of other tools: printed, drawn, merged, subtracted.
//!
//! It reads interval logs (`.hlog`) and percentile files (`.hgrm`, or the text and CSV that other
//! tools write), whose values need a unit where the file does not say one.

use super::error::CliError;
use super::print;
use crate::config::printable;
use crate::metrics::Timings;
use crate::report::{self, Artifact, Column, Table};
use crate::results::{Distributions, LogUnit};
use crate::units::SimTime;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// `tiersim hist`.
#[derive(Args)]
pub(super) struct HistArgs {
    /// Interval logs (.hlog), percentile files (.hgrm) or folders of runs
    #[arg(required_unless_present = "subtract", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Merge the histograms of all files: `tags` keeps those of each tag apart, `all` makes them
    /// one
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "tags")]
    merge: Option<Merge>,
    /// Subtract the histograms of the second file from those of the first, which must include them
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["files", "merge"])]
    subtract: Vec<PathBuf>,
    /// Only these tags, such as token_latency
    #[arg(long, value_name = "TAG,...", value_delimiter = ',')]
    tag: Vec<String>,
    /// The unit of recorded values [default: that of tiersim, ps in a .hlog and ns in a .hgrm]
    #[arg(long, value_name = "UNIT")]
    unit: Option<Unit>,
    /// The folder for the pictures and, of one result, its histograms.hlog and .hgrm files
    /// [default: out/hist/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the figures as JSON on stdout, in ns, and nothing else there
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Merge {
    Tags,
    All,
}

#[derive(Clone, Copy, ValueEnum)]
enum Unit {
    Ps,
    Ns,
    Us,
    Ms,
    S,
}

impl From<Unit> for LogUnit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Ps => Self::Ps,
            Unit::Ns => Self::Ns,
            Unit::Us => Self::Us,
            Unit::Ms => Self::Ms,
            Unit::S => Self::S,
        }
    }
}

/// The percentiles of the table.
const SHOWN: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99.9", "p999", 0.999),
    ("p99.99", "p9999", 0.9999),
];

pub(super) fn run(args: &HistArgs) -> Result<ExitCode, CliError> {
    let paths = if args.subtract.is_empty() { &args.files } else { &args.subtract };
    let unit = args.unit.map(LogUnit::from);
    let mut read: Vec<Distributions> = Vec::new();
    for path in paths {
        let mut distributions = Distributions::read(path, unit)?;
        distributions.only(&args.tag).map_err(|missing| {
            let known: Vec<&str> = distributions.named.iter().map(|(tag, _)| tag.as_str()).collect();
            CliError::Usage(format!("--tag {missing}: '{}' has {}", path.display(), known.join(", ")))
        })?;
        read.push(distributions);
    }
    if read.iter().any(|distributions| distributions.approximate) {
        tell!("a .hgrm file keeps some percentiles only: values between two of them count as the greater");
    }
    let names = labels(paths);
    let results = combine(args, read, &names)?;
    let out = args.out.clone().unwrap_or_else(|| {
        let name = if results.len() == 1 { &results[0].0 } else { &names[0] };
        PathBuf::from("out/hist").join(crate::simulation::file_name(name))
    });
    let _claim = report::claim(&out, &["histograms.hlog"])?;
    report::write(&out, &files(&results)?)?;
    if args.json {
        let all: serde_json::Map<String, Value> =
            results.iter().map(|(name, result)| (name.clone(), figures(result))).collect();
        print(&format!("{:#}", Value::Object(all)))?;
    } else {
        print(&table(&results).render(std::io::stdout().is_terminal()))?;
    }
    note!("pictures{} are in {}", if results.len() == 1 { " and histograms" } else { "" }, out.display());
    Ok(ExitCode::SUCCESS)
}

/// The distributions to show, each with its name.
fn combine(
    args: &HistArgs,
    read: Vec<Distributions>,
    names: &[String],
) -> Result<Vec<(String, Distributions)>, CliError> {
    if let ([from, other], false) = (read.as_slice(), args.subtract.is_empty()) {
        let name = format!("{} - {}", names[0], names[1]);
        let rest = from.without(other, &args.subtract[1].display().to_string())?;
        if rest.named.is_empty() {
            return Err(CliError::Usage(format!("--subtract: nothing is left: {} is all of {}", names[1], names[0])));
        }
        return Ok(vec![(name, rest)]);
    }
    let Some(merge) = args.merge else { return Ok(names.iter().cloned().zip(read).collect()) };
    let merged = Distributions::merged(&read)?;
    let merged = if merge == Merge::All { merged.as_one("merged")? } else { merged };
    Ok(vec![("merged".to_owned(), merged)])
}

/// Pictures by tag, with a line a result; of a single result also the histograms themselves.
fn files(results: &[(String, Distributions)]) -> Result<Vec<Artifact>, CliError> {
    let mut files = Vec::new();
    if let [(_, result)] = results {
        // An empty interval has no percentiles.
        let filled: Vec<&(String, Timings)> = result.named.iter().filter(|(_, timings)| timings.count() > 0).collect();
        let names = distinct(filled.iter().map(|(tag, _)| crate::simulation::file_name(tag)).collect());
        let named: Vec<(String, &Timings)> = names.into_iter().zip(filled.iter().map(|(_, timings)| timings)).collect();
        files.extend(report::distribution_files(&named, result.span)?);
    }
    let mut tags: Vec<&str> = Vec::new();
    for (tag, _) in results.iter().flat_map(|(_, result)| &result.named) {
        if !tags.contains(&tag.as_str()) {
            tags.push(tag);
        }
    }
    let names = distinct(tags.iter().map(|tag| crate::simulation::file_name(tag)).collect());
    for (tag, file_name) in tags.into_iter().zip(names) {
        let of_tag = |(name, result): &'_ (String, Distributions)| {
            let found = result.named.iter().find(|(known, _)| known == tag);
            found.map(|(_, timings)| (printable(name).into_owned(), timings.clone()))
        };
        let lines: Vec<(String, Timings)> = results.iter().filter_map(of_tag).collect();
        let lines: Vec<(&str, &Timings)> = lines.iter().map(|(name, timings)| (name.as_str(), timings)).collect();
        let name = format!("percentiles_{file_name}");
        files.extend(report::percentile_picture(&name, &format!("Percentiles: {}", printable(tag)), &lines)?);
    }
    Ok(files)
}

fn table(results: &[(String, Distributions)]) -> Table {
    let mut columns = vec![Column::text("histograms"), Column::text("tag"), Column::number("count")];
    columns.extend(["mean", "min"].map(Column::number));
    columns.extend(SHOWN.map(|(name, _, _)| Column::number(name)));
    columns.push(Column::number("max"));
    let mut table = Table::new(columns);
    for (name, tag, timings) in rows(results) {
        let Some(figures) = timings.distribution() else { continue };
        let time = |ns: f64| SimTime::from_ns(ns).rounded();
        let mut row =
            vec![name.to_owned(), tag.to_owned(), timings.count().to_string(), time(figures.mean), time(figures.min)];
        row.extend(SHOWN.map(|(_, _, quantile)| timings.at(quantile).rounded()));
        row.push(time(figures.max));
        table.row(row);
    }
    table
}

fn rows(results: &[(String, Distributions)]) -> impl Iterator<Item = (&str, &str, &Timings)> {
    results.iter().flat_map(|(name, result)| {
        result.named.iter().map(move |(tag, timings)| (name.as_str(), tag.as_str(), timings))
    })
}

fn figures(result: &Distributions) -> Value {
    let of = |(tag, timings): &(String, Timings)| {
        let figures = timings.distribution()?;
        let mut all = json!({"count": timings.count(), "mean": figures.mean, "min": figures.min, "max": figures.max});
        for (_, key, quantile) in SHOWN {
            all[key] = timings.at(quantile).as_ns().into();
        }
        Some((tag.clone(), all))
    };
    Value::Object(result.named.iter().filter_map(of).collect())
}

/// A label for each of `paths`: its last meaningful part, with as many parts before it as
/// distinguish it from the others.
pub(super) fn labels(paths: &[PathBuf]) -> Vec<String> {
    let parts = |path: &Path| -> Vec<String> {
        let folder = path.components().filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
        let mut parts: Vec<String> = folder.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        // Every run's files have these names.
        if parts.len() > 1 && ["histograms.hlog", "summary.json"].contains(&parts[parts.len() - 1].as_str()) {
            parts.pop();
        }
        if parts.is_empty() { vec![path.display().to_string()] } else { parts }
    };
    let all: Vec<Vec<String>> = paths.iter().map(|path| parts(path)).collect();
    let last = |parts: &[String], count: usize| parts[parts.len().saturating_sub(count)..].join("/");
    let longest = all.iter().map(Vec::len).max().unwrap_or(0);
    let labels = all
        .iter()
        .enumerate()
        .map(|(index, own)| {
            let single = |count: usize| {
                let others = all.iter().enumerate().filter(|(other, _)| *other != index);
                others.into_iter().all(|(_, other)| last(other, count) != last(own, count))
            };
            match (1..=longest).find(|count| single(*count)) {
                Some(count) => last(own, count),
                // The same path twice.
                None => format!("{} ({})", last(own, 1), index + 1),
            }
        })
        .collect::<Vec<_>>();
    distinct(labels)
}

/// `names`, with a number after each that is the same as one before it.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let free = |name: &String| !taken.contains(name) && !names[index + 1..].contains(name);
        let numbered = || (2..).map(|number| format!("{name}-{number}")).find(free).unwrap_or_default();
        let unique = if taken.contains(name) { numbered() } else { name.clone() };
        taken.push(unique);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_apart() {
        let of = |paths: &[&str]| labels(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["/tmp/a/histograms.hlog", "/tmp/b"]), ["a", "b"]);
        assert_eq!(of(&["x/run", "y/run", "z"]), ["x/run", "y/run", "z"]);
        assert_eq!(of(&["run", "y/run"]), ["run", "y/run"]);
        assert_eq!(of(&["a", "a"]), ["a (1)", "a (2)"]);
        assert_eq!(of(&["a", "a", "a (1)"]), ["a (1)", "a (2)", "a (1)-2"]);
        let names = |names: &[&str]| distinct(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(names(&["x", "x", "x-2", "x"]), ["x", "x-3", "x-2", "x-4"]);
        assert_eq!(of(&[".."]), [".."]);
    }
}

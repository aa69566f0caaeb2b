use super::error::{CliError, INCOMPLETE};
use super::hist;
use super::progress::Bar;
use super::scenario_args::{RunArgs, configure, scenarios};
use super::{paths, print};
use crate::explain::{Explanation, Ladder, Part, because, difference};
use crate::metrics::figure_unit;
use crate::report::Labelled;
use crate::report::html;
use crate::report::pictures::{MemoryPanel, alpha, latency_cdf, latency_percentiles, memory_in_use, token_latency};
use crate::report::{self, Artifact, Column, Table};
use crate::results::{
    Condition, Difference, FigureOfRuns, FinishedRun, Holds, differences, figures, named_parts, sentences,
};
use crate::runs::{self, Cancel, Job, Resources, RunsError};
use crate::simulation::{Scenario, ScenarioConfig, file_name, labels};
use crate::units::Bytes;
use clap::{Args, Parser};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim compare`.
#[derive(Args)]
pub(super) struct CompareArgs {
    /// Folders of finished runs, or scenarios to run first: what you would write after `tiersim run`, in quotes, such as
    /// "study --skip 40% --strategy baseline". LABEL=ENTRY gives it a name. The others are held against the first
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<String>,
    /// Set a field of every scenario that is run first, as `tiersim run --set` does
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// End with exit code 1 where this holds of a run after the first: FIGURE OPERATOR LIMIT, a path in summary.json against a
    /// number, 1.05x or +5% (of the first run's): 'token_latency_ns.p99 > 1.05x'
    #[arg(long, value_name = "CONDITION", allow_hyphen_values = true)]
    fail_if: Vec<String>,
    /// Do not say why: leave out the runs that attribute the difference, as `tiersim explain` does
    #[arg(long)]
    no_why: bool,
    /// The folder for the comparison, its pictures, and the runs that are run first [default: out/compare/A-B]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the comparison as JSON on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// How many runs at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// What the runs may take together [default: three quarters of the memory that is free]
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<Bytes>,
}

/// An entry that is to be run first, as `tiersim run` would take it.
#[derive(Parser)]
#[command(name = "tiersim run", disable_help_flag = true)]
struct Entry {
    #[command(flatten)]
    run: RunArgs,
}

/// More lines than that cannot be told apart in one picture.
const MOST_RUNS: usize = 8;

/// What was typed is a label where it has at most so many characters.
const LEGEND_ROOM: usize = 24;
/// The characters of a label that pictures and pages have room for, in several lines.
const LABEL_ROOM: usize = 80;

/// A run to compare, by where it comes from.
enum Source {
    Folder(PathBuf),
    Scenario(Box<Scenario>),
}

/// All that is said about runs side by side.
struct Comparison {
    labels: Vec<String>,
    folders: Vec<PathBuf>,
    runs: Vec<FinishedRun>,
    differences: Vec<Difference>,
    figures: Vec<FigureOfRuns>,
    sentences: Vec<String>,
    /// For each run after the first, what the difference between its time and the first's is made
    /// of; empty where that was not found.
    why: Vec<Vec<Part>>,
    holds: Vec<Holds>,
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
            tell!("incomplete: {label}: {}", summary.error.as_deref().unwrap_or("it does not say why"));
            code = ExitCode::from(INCOMPLETE);
        }
    }
    for Holds { condition, run, detail } in &comparison.holds {
        tell!("--fail-if '{condition}' holds for {run}: {detail}");
        code = ExitCode::from(INCOMPLETE);
    }
    Ok(code)
}

/// Times that differ by less are as long.
const NOTICEABLE: f64 = 5e-4;

/// So many characters of a folder's name say what is compared.
const LONGEST: usize = 120;

/// `out/compare/A-vs-B`, by what is run or by the folders that are read; a strategy that all have
/// comes last. Where that is long, with a checksum of all.
fn default_folder(labels: &[String], sources: &[Source]) -> PathBuf {
    let strategy = |source: &Source| match source {
        Source::Folder(_) => None,
        Source::Scenario(scenario) => Some(file_name(&scenario.strategy().name())),
    };
    let strategies: Vec<Option<String>> = sources.iter().map(strategy).collect();
    let common = strategies[0].clone().filter(|_| strategies.iter().all(|strategy| *strategy == strategies[0]));
    let one = |((label, source), strategy): ((&String, &Source), &Option<String>)| match (source, strategy) {
        (Source::Scenario(scenario), _) if common.is_some() => paths::identity(scenario).folder(),
        (Source::Scenario(scenario), Some(strategy)) => format!("{},{strategy}", paths::identity(scenario).folder()),
        _ => file_name(label),
    };
    let mut name = labels.iter().zip(sources).zip(&strategies).map(one).collect::<Vec<_>>().join("-vs-");
    name += &common.as_ref().map_or_else(String::new, |strategy| format!(",{strategy}"));
    let name = match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}-{:08x}", &name[..end], crc32fast::hash(name.as_bytes())),
        None => name,
    };
    Path::new("out/compare").join(name)
}

/// What to compare, with a label each.
fn sources(args: &CompareArgs) -> Result<(Vec<String>, Vec<Source>), CliError> {
    let (mut given, mut sources, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &args.entries {
        let (label, entry) = split_label(entry);
        for (path, source) in resolve(entry, args)? {
            given.push(label.map(str::to_owned));
            paths.push(path);
            sources.push(source);
        }
    }
    if !(2..=MOST_RUNS).contains(&sources.len()) {
        return Err(CliError::Usage(format!(
            "{} to compare: name from 2 to {MOST_RUNS} folders or scenarios",
            match sources.len() {
                1 => "there is only one run".to_owned(),
                count => format!("there are {count} runs"),
            }
        )));
    }
    // Scenarios are called by what differs between them; folders, and what does not differ, by
    // their paths.
    let mut own = hist::labels(&paths);
    let scenarios: Vec<(usize, &ScenarioConfig)> = sources
        .iter()
        .enumerate()
        .filter_map(|(index, source)| match source {
            Source::Folder(_) => None,
            Source::Scenario(scenario) => Some((index, scenario.resolved())),
        })
        .collect();
    let told_apart = labels(&scenarios.iter().map(|(_, config)| *config).collect::<Vec<_>>());
    for ((index, _), label) in scenarios.iter().zip(told_apart) {
        if !label.is_empty() {
            own[*index] = label;
        }
    }
    // A label that was given for an entry of several strategies is each one's beginning.
    for (index, label) in given.iter().enumerate() {
        if let Some(label) = label {
            let alone = given.iter().filter(|other| other.as_ref() == Some(label)).count() == 1;
            own[index] = if alone { label.clone() } else { format!("{label}: {}", own[index]) };
        }
    }
    if let Some(twice) = own.iter().enumerate().find(|(index, label)| own[..*index].contains(label)) {
        return Err(CliError::Usage(format!("two runs are called '{}': write LABEL=ENTRY to name them", twice.1)));
    }
    Ok((own, sources))
}

/// `before=out/a` is `out/a`, to be called `before`.
fn split_label(entry: &str) -> (Option<&str>, &str) {
    match entry.split_once('=') {
        Some((label, rest)) if !label.is_empty() && !Path::new(entry).exists() => {
            let usable = |c: char| c.is_alphanumeric() || "._-".contains(c);
            if label.chars().all(usable) && !label.starts_with('-') { (Some(label), rest) } else { (None, entry) }
        }
        _ => (None, entry),
    }
}

/// The runs of an entry, each with the path that it is called by.
fn resolve(entry: &str, args: &CompareArgs) -> Result<Vec<(PathBuf, Source)>, CliError> {
    let path = Path::new(entry);
    let folder = if path.ends_with("summary.json") { path.parent().unwrap_or(path) } else { path };
    let shipped = crate::catalog::SCENARIOS.iter().any(|file| file.name == entry);
    if folder.is_dir() && (!shipped || folder.join("summary.json").is_file()) {
        return Ok(vec![(folder.to_owned(), Source::Folder(folder.to_owned()))]);
    }
    if entry.contains(std::path::MAIN_SEPARATOR) && !entry.contains(char::is_whitespace) && !path.exists() {
        return Err(CliError::Usage(format!("'{entry}': there is no such folder, and no scenario of that path")));
    }
    let usage = |message: &str| CliError::Usage(format!("'{entry}': {message}"));
    let words = words(entry).ok_or_else(|| usage("a quote is not closed"))?;
    let parsed = Entry::try_parse_from(std::iter::once("tiersim run".to_owned()).chain(words)).map_err(|error| {
        let text = error.to_string();
        usage(text.lines().next().unwrap_or("").trim_start_matches("error: "))
    })?;
    let mut run = parsed.run;
    if run.out.is_some() || run.json || run.jobs.is_some() || run.memory_limit.is_some() {
        return Err(usage(
            "--out, --json, --jobs and --memory-limit are for the comparison as a whole: write them outside the quotes",
        ));
    }
    run.set.extend(args.set.iter().cloned());
    let scenarios = scenarios(&run, &configure(&run)?)?;
    // What was typed says best what a run is, but where it is long or stands for several.
    let typed = scenarios.len() == 1 && entry.chars().count() <= LEGEND_ROOM;
    let named = |scenario: Scenario| {
        let name = if typed { entry.to_owned() } else { scenario.strategy().name() };
        // A name is no path, even if it has slashes in it.
        (PathBuf::from(name.replace('/', "-")), Source::Scenario(Box::new(scenario)))
    };
    Ok(scenarios.into_iter().map(named).collect())
}

/// As a shell would split it: at blanks that are not in quotes. `None` where a quote has no end.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Runs what is not yet run. Returns the folder of each run.
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
                // Two labels may differ in what no path can hold.
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
        let bar = Bar::new(jobs.iter().map(|job| job.scenario.decode() as u64).sum());
        let finished = runs::simulate(&jobs, Resources::new(args.jobs, args.memory_limit), cancel, &bar);
        bar.finish();
        finished?;
    }
    Ok(folders)
}

impl Comparison {
    fn new(
        labels: Vec<String>,
        folders: Vec<PathBuf>,
        runs: Vec<FinishedRun>,
        conditions: &[Condition],
    ) -> Result<Self, CliError> {
        let all: Vec<&FinishedRun> = runs.iter().collect();
        let scenarios: Vec<&Value> = runs.iter().map(|run| &run.summary["scenario"]).collect();
        let differences = differences(&scenarios);
        let named = || labels.iter().map(String::as_str).zip(&runs);
        let sentences =
            sentences(&named().map(|(label, run)| (label, &run.report.summary)).collect::<Vec<_>>(), &differences);
        let summaries: Vec<(&str, &Value)> = named().map(|(label, run)| (label, &run.summary)).collect();
        let mut holds = Vec::new();
        for condition in conditions {
            holds.extend(condition.check(&summaries)?);
        }
        let figures = figures(&all);
        let why = vec![Vec::new(); runs.len().saturating_sub(1)];
        Ok(Self { differences, figures, sentences, why, holds, labels, folders, runs })
    }

    /// Finds why the runs after the first take more or less time than the first, by the ladder of
    /// each, and adds it to the sentences.
    fn attribute(&mut self, resources: Resources, cancel: &Cancel) -> Result<(), CliError> {
        let per_token = |run: &FinishedRun| run.report.summary.simulated_ns / run.report.summary.steps.max(1) as f64;
        let ended = |run: &FinishedRun| run.report.summary.complete && run.report.summary.steps > 0;
        let (first, others) = (&self.runs[0], &self.runs[1..]);
        let differs = |run: &&FinishedRun| ended(run) && (per_token(run) / per_token(first) - 1.0).abs() >= NOTICEABLE;
        if !ended(first) || !others.iter().any(|run| differs(&run)) {
            return Ok(());
        }
        let scenario = |run: &FinishedRun| {
            Scenario::new(run.report.summary.scenario.clone()).map_err(|error| {
                note!("not said why, as {} cannot be run again: {error}", run.report.summary.label());
            })
        };
        let wanted: Vec<Option<Scenario>> = std::iter::once(scenario(first).ok())
            .chain(others.iter().map(|run| differs(&run).then(|| scenario(run).ok()).flatten()))
            .collect();
        if wanted[0].is_none() {
            return Ok(());
        }
        let steps = |scenario: &Scenario| (Ladder::ideals(scenario).len() as u64 + 1) * scenario.decode() as u64;
        let bar = Bar::new(wanted.iter().flatten().map(steps).sum());
        let mut explained: Vec<Option<Explanation>> = Vec::new();
        for scenario in wanted.iter().map(Option::as_ref) {
            let explain = |scenario: &Scenario| {
                let ladder = runs::climb(scenario, resources, cancel, &bar)?;
                Ok(ladder.explanation(scenario)?)
            };
            match scenario.map(explain).transpose() {
                Ok(explanation) => explained.push(explanation),
                Err(RunsError::NoRoom(error)) => {
                    note!("not said why: {error}");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        bar.finish();
        let Some(first) = &explained[0] else { return Ok(()) };
        for (index, other) in explained.iter().enumerate().skip(1) {
            let Some(other) = other else { continue };
            self.why[index - 1] = difference(first, other);
            if let Some(because) = because((&self.labels[0], first), (&self.labels[index], other)) {
                let sentence = &mut self.sentences[index - 1];
                *sentence = format!("{sentence} {because}");
            }
        }
        Ok(())
    }

    /// Differences, figures and sentences, for people.
    fn text(&self, styled: bool) -> String {
        let mut columns = vec![Column::text("configuration")];
        columns.extend(self.labels.iter().map(|label| Column::number(label)));
        let mut configuration = Table::new(columns);
        let scenarios: Vec<&ScenarioConfig> = self.runs.iter().map(|run| &run.report.summary.scenario).collect();
        for field in named_parts(&scenarios, &self.differences) {
            let values = (0..self.labels.len()).map(|index| shortened(&field.shown(index)));
            configuration.row(std::iter::once(field.path.clone()).chain(values));
        }
        let mut columns = vec![Column::text("figure")];
        for (index, label) in self.labels.iter().enumerate() {
            columns.push(Column::number(label));
            if index > 0 {
                columns.push(Column::number("ratio"));
            }
        }
        let mut table = Table::new(columns);
        let first = self.runs.first().map(|run| run.report.summary.size_style());
        let style = first.unwrap_or(crate::units::SizeStyle::Binary);
        for figure in &self.figures {
            let mut row = vec![figure.path.clone()];
            for (index, value) in figure.values.iter().enumerate() {
                row.push(value.map_or_else(dash, |value| figure_unit(&figure.path).shown_in(value, style)));
                if index > 0 {
                    row.push(figure.ratio(index).map_or_else(dash, |ratio| format!("{ratio:.3}")));
                }
            }
            table.row(row);
        }
        let differences = if self.differences.is_empty() {
            "The configurations are the same.".to_owned()
        } else {
            configuration.render(styled)
        };
        format!("{differences}\n\n{}\n\n{}", table.render(styled), self.sentences.join("\n"))
    }

    fn json(&self) -> Value {
        let runs = self.labels.iter().zip(&self.folders).zip(&self.runs).map(|((label, folder), run)| {
            let summary = &run.report.summary;
            json!({
                "label": label,
                "folder": folder.display().to_string(),
                "strategy": summary.strategy,
                "knows": summary.scenario.strategy.knowledge().to_string(),
                "complete": summary.complete,
            })
        });
        let differences = self.differences.iter().map(|field| json!({"path": field.path, "values": field.values}));
        let figures = self.figures.iter().map(|figure| {
            let ratios: Vec<Option<f64>> = (0..figure.values.len()).map(|index| figure.ratio(index)).collect();
            json!({"path": figure.path, "values": figure.values, "ratios": ratios})
        });
        let holds = self.holds.iter().map(|it| json!({"condition": it.condition, "run": it.run, "detail": it.detail}));
        json!({
            "runs": runs.collect::<Vec<_>>(),
            "differences": differences.collect::<Vec<_>>(),
            "figures": figures.collect::<Vec<_>>(),
            "sentences": self.sentences,
            "why": self.labels.iter().skip(1).zip(&self.why).map(|(label, parts)| json!({"run": label, "parts": parts})).collect::<Vec<_>>(),
            "fail_if": holds.collect::<Vec<_>>(),
        })
    }

    /// The page and the pictures of a run, with all runs on the same axes. A run without a step is left out.
    fn pictures(&self) -> Result<Vec<Artifact>, CliError> {
        let short = report::shortened_labels(&self.labels, LABEL_ROOM);
        let all = short.iter().zip(&self.runs).map(|(label, run)| Labelled { label, run: &run.report });
        let runs: Vec<Labelled<'_>> = all.filter(|run| !run.run.series.is_empty()).collect();
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        files.extend(alpha("alpha", "Alpha", &runs)?);
        files.extend(token_latency("token_latency", "Token latency", &runs)?);
        files.extend(latency_cdf("latency_cdf", "Token latency CDF", &runs)?);
        let panels: Vec<MemoryPanel<'_>> =
            runs.iter().map(|run| MemoryPanel { title: run.label, runs: vec![*run] }).collect();
        files.extend(memory_in_use("mem_usage", "Memory in use", &panels)?);
        files.extend(latency_percentiles("percentiles", "Token latency percentiles", &runs)?);
        let title = short.join(" and ");
        let (first, others) = (&self.labels[0], self.labels[1..].join(" or "));
        let question = format!("What changes from {first} to {others}, and why?");
        files.push(html::comparison(&title, &question, &self.sentences.join(" "), &runs)?);
        Ok(files)
    }
}

/// A value as a table has room for it.
fn shortened(value: &str) -> String {
    const ROOM: usize = 64;
    if value.chars().count() <= ROOM {
        value.to_owned()
    } else {
        value.chars().take(ROOM - 3).collect::<String>() + "..."
    }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_split_as_by_a_shell() {
        let split = |text: &str| words(text).unwrap();
        assert_eq!(split("study  --set a='b c' \"\""), ["study", "--set", "a=b c", ""]);
        assert_eq!(words("study 'open"), None);
    }

    #[test]
    fn labels_are_told_from_assignments() {
        assert_eq!(split_label("before=out/a"), (Some("before"), "out/a"));
        assert_eq!(split_label("study --set a=b"), (None, "study --set a=b"));
        assert_eq!(split_label("b=study --set a=b"), (Some("b"), "study --set a=b"));
        assert_eq!(split_label("out/a"), (None, "out/a"));
    }
}

//! The comparison of `tiersim compare`: the differences between the configurations and figures of
//! runs, the causes of longer times, and the conditions of `--fail-if` that hold.

use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::explain::{Explanation, Ladder, Part, because, difference};
use crate::metrics::figure_unit;
use crate::report::Labelled;
use crate::report::html;
use crate::report::pictures::{
    MemoryPanel, alpha, latency_cdf, latency_percentiles, memory_in_use, of_batch, throughput, token_latency, unit,
};
use crate::report::{self, Artifact, Column, Table};
use crate::results::{
    Condition, Difference, FigureOfRuns, FinishedRun, Holds, differences, figures, named_parts, sentences,
};
use crate::runs::{self, Cancel, Resources, RunsError};
use crate::simulation::{Scenario, ScenarioConfig};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The characters of a label that pictures and pages have room for, in several lines.
const LABEL_ROOM: usize = 80;
/// Times that differ by less count as equal.
const NOTICEABLE: f64 = 5e-4;

/// A comparison of runs.
pub(super) struct Comparison {
    pub labels: Vec<String>,
    folders: Vec<PathBuf>,
    pub runs: Vec<FinishedRun>,
    differences: Vec<Difference>,
    figures: Vec<FigureOfRuns>,
    sentences: Vec<String>,
    /// For each run after the first, the parts of the difference between its time and the first's;
    /// empty where they were not found.
    why: Vec<Vec<Part>>,
    pub holds: Vec<Holds>,
}

impl Comparison {
    pub fn new(
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
    pub fn attribute(&mut self, resources: Resources, cancel: &Cancel) -> Result<(), CliError> {
        let per_token = |run: &FinishedRun| run.report.summary.simulated_ns / run.report.summary.steps.max(1) as f64;
        let ended = |run: &FinishedRun| run.report.summary.complete && run.report.summary.steps > 0;
        let (first, others) = (&self.runs[0], &self.runs[1..]);
        // The ladder of requests is of their times, not of that of the run.
        if self.runs.iter().any(|run| run.report.summary.requests.is_some()) {
            return Ok(());
        }
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
        let steps = |scenario: &Scenario| (Ladder::ideals(scenario).len() as u64 + 1) * scenario.steps() as u64;
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
    pub fn text(&self, styled: bool) -> String {
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

    pub fn json(&self) -> Value {
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

    /// The page and the pictures of a run, with all runs on the same axes. A run without a step is
    /// left out.
    pub fn pictures(&self) -> Result<Vec<Artifact>, CliError> {
        let short = report::shortened_labels(&self.labels, LABEL_ROOM);
        let all = short.iter().zip(&self.runs).map(|(label, run)| Labelled { label, run: &run.report });
        let serve = self.runs.iter().all(|run| run.report.summary.requests.is_some());
        let runs: Vec<Labelled<'_>> = all.filter(|run| serve || !run.run.series.is_empty()).collect();
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let title = short.join(" and ");
        let (first, others) = (&self.labels[0], self.labels[1..].join(" or "));
        let question = format!("What changes from {first} to {others}, and why?");
        let page = html::comparison(&title, &question, &self.sentences.join(" "), &runs)?;
        let mut files = Vec::new();
        if serve {
            files.extend(report::request_pictures(&runs)?);
            files.push(page);
            return Ok(files);
        }
        files.extend(alpha("alpha", "Alpha", &runs)?);
        let unit = unit(&runs);
        files.extend(token_latency("token_latency", &format!("{unit} latency"), &runs)?);
        files.extend(latency_cdf("latency_cdf", &format!("{unit} latency CDF"), &runs)?);
        let panels: Vec<MemoryPanel<'_>> =
            runs.iter().map(|run| MemoryPanel { title: run.label, runs: vec![*run] }).collect();
        files.extend(memory_in_use("mem_usage", "Memory in use", &panels)?);
        let latency = if unit == "Token" { "Token latency percentiles" } else { "TPOT percentiles" };
        files.extend(latency_percentiles("percentiles", latency, &runs)?);
        files.extend(of_batch("", &runs)?);
        files.extend(throughput("throughput", &runs)?);
        files.push(page);
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

//! Pictures of the statistics of skip sets over the steps: of a trace, or of several side by side.

use super::artifact::{Artifact, ReportError};
use super::chart::{Chart, Line, Panel, Stroke, colour};
use crate::workload::{LAGS, PAGE_TOKENS, StepStatistics, TraceStatistics};

/// A trace with its label in legends.
#[derive(Clone, Copy)]
pub struct Compared<'a> {
    /// The legend's text.
    pub label: &'a str,
    /// Its statistics.
    pub statistics: &'a TraceStatistics,
}

/// The most points of a line: each is the mean over a stretch of steps, as single steps would
/// overlap.
const POINTS: usize = 64;

type Pick = fn(&StepStatistics) -> Option<f64>;

/// A picture of each statistic over the steps, and one of the share skipped by age.
///
/// # Errors
/// [`ReportError`] if a picture cannot be drawn.
pub fn draw(traces: &[Compared<'_>]) -> Result<Vec<Artifact>, ReportError> {
    let mut files = Vec::new();
    let single: [(&str, &str, &str, Pick); 4] = [
        ("skip", "Skipped tokens", "share of the context", |step| Some(step.skip)),
        ("churn", "Churn", "share of the skipped read next", |step| step.churn),
        ("changed", "Changed tokens", "share that changes state", |step| step.changed),
        // In percent, as small shares would get ticks like 5e-3.
        ("pages", "Skipped pages", "wholly skipped (%)", |step| step.skipped_pages.map(|share| 100.0 * share)),
    ];
    for (name, title, y_label, pick) in single {
        let title = if name == "pages" { format!("{title} of {PAGE_TOKENS} tokens") } else { title.to_owned() };
        let y_to = (name == "skip").then_some(1.0);
        files.extend(chart(name, String::new(), vec![over_steps(traces, title, y_label, y_to, pick)])?);
    }
    let mut panels = vec![
        over_steps(traces, format!("{} step before", LAGS[0]), "Jaccard index", Some(1.0), |step| step.jaccard[0]),
        over_steps(traces, format!("{} steps before", LAGS[1]), "", Some(1.0), |step| step.jaccard[1]),
        over_steps(traces, format!("{} steps before", LAGS[2]), "", Some(1.0), |step| step.jaccard[2]),
    ];
    panels.retain(|panel| panel.lines.iter().any(|line| !line.points.is_empty()));
    if !panels.is_empty() {
        files.extend(chart("jaccard_steps", "Sets of the same layer".to_owned(), panels)?);
    }
    let layers =
        over_steps(traces, "Sets of adjacent layers".to_owned(), "Jaccard index", Some(1.0), |step| step.layer_jaccard);
    files.extend(chart("jaccard_layers", String::new(), vec![layers])?);
    let mut runs = vec![
        over_steps(traces, "Read".to_owned(), "mean run (tokens)", None, |step| step.read_run),
        over_steps(traces, "Skipped".to_owned(), "", None, |step| step.skipped_run),
    ];
    // Panels side by side show one scale, so they must have the same.
    let points = runs.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let longest = points.fold(1.0, |longest: f64, (_, y)| longest.max(*y));
    runs.iter_mut().for_each(|panel| panel.y_to = Some(1.05 * longest));
    files.extend(chart("runs", "Contiguous tokens".to_owned(), runs)?);
    files.extend(chart("ages", String::new(), vec![by_age(traces)])?);
    Ok(files)
}

fn chart(name: &str, title: String, panels: Vec<Panel>) -> Result<[Artifact; 2], ReportError> {
    Chart { name: name.to_owned(), title, panels }.artifacts()
}

fn over_steps(traces: &[Compared<'_>], title: String, y_label: &str, y_to: Option<f64>, pick: Pick) -> Panel {
    let lines = lines(traces, |statistics| {
        let stretch = statistics.steps.len().div_ceil(POINTS).max(1);
        let stretches = statistics.steps.chunks(stretch).enumerate();
        stretches
            .filter_map(|(index, steps)| {
                let values: Vec<f64> = steps.iter().filter_map(pick).collect();
                let middle = index * stretch + steps.len() / 2;
                (!values.is_empty()).then(|| (middle as f64, values.iter().sum::<f64>() / values.len() as f64))
            })
            .collect()
    });
    Panel { title, x_label: "decoded tokens".to_owned(), y_label: y_label.to_owned(), lines, y_to, ..Panel::default() }
}

fn by_age(traces: &[Compared<'_>]) -> Panel {
    let lines = lines(traces, |statistics| {
        statistics.skipped_by_age.iter().enumerate().map(|(class, share)| (class as f64, *share)).collect()
    });
    Panel {
        title: "Skipped by age".to_owned(),
        x_label: "log2 of the age, in tokens".to_owned(),
        y_label: "share skipped".to_owned(),
        lines,
        y_to: Some(1.0),
        ..Panel::default()
    }
}

fn lines(traces: &[Compared<'_>], points: impl Fn(&TraceStatistics) -> Vec<(f64, f64)>) -> Vec<Line> {
    traces
        .iter()
        .enumerate()
        .map(|(index, trace)| Line {
            label: trace.label.to_owned(),
            colour: colour::ALL[index % colour::ALL.len()],
            stroke: [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][index % 3],
            points: points(trace.statistics),
        })
        .collect()
}

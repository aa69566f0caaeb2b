//! The files of an explanation: `explain.json`, a row a step in `explain.csv`, two pictures and a
//! page.
//!
//! The first picture is the ladder from the bound to the run, a bar for each cost; the second one
//! shows which bottleneck the run waited for, over the tokens.

mod page;
mod serving;
mod tables;

pub use serving::{serving_explanation_files, serving_explanation_json, serving_explanation_text};

use crate::explain::{Explanation, Ladder, label, percent, time, without_channel};
use crate::report::artifact::{Artifact, ReportError};
use crate::report::bars::{Bars, Part, Row};
use crate::report::chart::{Shares, colour};
use crate::report::output::put_in_place;
use crate::report::table::{Column, Table};
use crate::units::SimTime;
use page::explanation_page;
use std::path::Path;
use tables::{LADDER, WAITS, ladder_rows, signed, wait_rows};

/// The files of an explanation, by their names.
pub const FILES: [&str; 8] = [
    "explain.json",
    "explain.csv",
    "explain.html",
    "explain.md",
    "explain_ladder.svg",
    "explain_ladder.png",
    "explain_waits.svg",
    "explain_waits.png",
];

/// The files of an explanation: `explain.json`, `explain.csv`, `explain.html`, and its two pictures
/// as SVG and PNG. Where they go `beside_run`, the page leads to the `report.html` there.
///
/// # Errors
/// [`ReportError`] if one cannot be made.
pub fn explanation_files(
    explanation: &Explanation,
    ladder: &Ladder,
    beside_run: bool,
) -> Result<Vec<Artifact>, ReportError> {
    let over_tokens = OverTokens::new(ladder, explanation.steps as usize);
    let mut files = vec![
        Artifact::new("explain.json", explanation_json(explanation)? + "\n"),
        Artifact::new("explain.csv", over_tokens.rows(ladder)?),
    ];
    let ladder = ladder_picture(explanation).artifacts()?;
    let waits = over_tokens.picture(explanation).artifacts()?;
    files.push(explanation_page(explanation, [&ladder[0], &waits[0]], beside_run)?);
    files.extend(ladder.into_iter().chain(waits));
    Ok(files)
}

/// Writes the files of an explanation to `folder`, and removes those of an earlier one that this
/// one does not have.
///
/// # Errors
/// As [`write()`](crate::report::write).
pub fn write_explanation(folder: &Path, files: &[Artifact]) -> Result<(), ReportError> {
    put_in_place(folder, files, FILES.iter().map(|name| folder.join(name)).collect())
}

/// The text of `explain.json`, without the last line's end.
///
/// # Errors
/// [`ReportError::Format`] if JSON cannot represent a value, which does not happen for
/// explanations.
pub fn explanation_json(explanation: &Explanation) -> Result<String, ReportError> {
    serde_json::to_string_pretty(explanation).map_err(|error| ReportError::format("explain.json", error))
}

/// The JSON Schema of `explain.json`, as published in `src/report/explain.schema.json`.
///
/// # Errors
/// As [`explanation_json`].
pub fn explain_schema() -> Result<String, ReportError> {
    let schema = schemars::schema_for!(Explanation);
    let text = serde_json::to_string_pretty(&schema).map_err(|error| ReportError::format("a schema", error))?;
    Ok(text + "\n")
}

/// The tables and the sentences as text.
#[must_use]
pub fn explanation_text(explanation: &Explanation, terminal: bool) -> String {
    let table = |names: &[&str], numbers: &[usize], rows: Vec<Vec<String>>| {
        let column = |(index, name): (usize, &&str)| {
            if numbers.contains(&index) { Column::number(name) } else { Column::text(name) }
        };
        let mut table = Table::new(names.iter().enumerate().map(column).collect());
        rows.into_iter().for_each(|row| table.row(row));
        table.render(terminal)
    };
    let mut text =
        vec![table(&LADDER, &[1, 2, 3], ladder_rows(explanation)), table(&WAITS, &[1, 2], wait_rows(explanation))];
    if !explanation.without_effect.is_empty() {
        let without: Vec<&str> = explanation.without_effect.iter().map(|name| label(name)).collect();
        text.push(format!("Of no effect here: {}.", without.join(", ")));
    }
    text.push(explanation.sentences.join("\n"));
    text.join("\n\n")
}

/// The ladder as a picture: a row for each idealization, with its cost.
fn ladder_picture(explanation: &Explanation) -> Bars {
    // The unit of the whole time.
    const UNITS: [(&str, f64); 5] = [("s", 1e12), ("ms", 1e9), ("us", 1e6), ("ns", 1e3), ("ps", 1.0)];
    let achieved = explanation.achieved_ps as f64;
    let (unit, ps) = UNITS.into_iter().find(|(_, ps)| achieved >= 10.0 * ps).unwrap_or(UNITS[4]);
    let bound = explanation.bound.time_ps as f64 / ps;
    let (mut reached, mut least, mut most) = (bound, bound, bound);
    let mut steps = Vec::new();
    for cost in explanation.costs.iter().rev() {
        let from = reached;
        reached += cost.loss_ps as f64 / ps;
        least = least.min(reached);
        most = most.max(reached);
        let share = cost.share.map_or_else(String::new, |share| format!(" ({})", percent(share)));
        steps.push(Row {
            label: label(&cost.name).to_owned(),
            figure: signed(cost.loss_ps) + &share,
            parts: vec![part(from, reached, if cost.loss_ps < 0 { colour::GREEN } else { colour::VERMILLION })],
            leads_on: Some(reached),
        });
    }
    // Where the loss is small, the axis begins near the bound, so that the costs are visible.
    let spread = most - least;
    let from = if spread > 0.0 && spread < 0.25 * least { (least - spread).max(0.0) } else { 0.0 };
    let cut = if from > 0.0 { "; the axis does not begin at 0" } else { "" };
    let total = |name: &str, ps_reached: u64, reached: f64, leads_on| Row {
        label: name.to_owned(),
        figure: time(ps_reached as i64),
        parts: vec![part(from, reached, colour::BLUE)],
        leads_on,
    };
    let mut rows = vec![total("bound", explanation.bound.time_ps, bound, Some(bound))];
    let saves = explanation.costs.iter().any(|cost| cost.loss_ps < 0);
    rows.extend(steps);
    rows.push(total("achieved", explanation.achieved_ps, reached, None));
    let mut legend = vec![("time".to_owned(), colour::BLUE), ("costs".to_owned(), colour::VERMILLION)];
    legend.extend(saves.then(|| ("saves".to_owned(), colour::GREEN)));
    Bars {
        name: "explain_ladder".to_owned(),
        title: format!("From the bound to the run: {}", explanation.label()),
        x_label: format!("simulated time ({unit}{cut})"),
        x: (from, if most > from { most } else { from + 1.0 }),
        rows,
        legend,
    }
}

fn part(from: f64, to: f64, colour: &'static str) -> Part {
    Part { from, to, colour, text: String::new() }
}

/// The waits of the run as it is, step by step, the channels of a tier together.
struct OverTokens<'a> {
    /// The causes, the longest waits first.
    causes: Vec<&'a str>,
    /// Their colours: the same for the same lane of the same system, whatever the order of waits.
    colours: Vec<&'static str>,
    /// For each step a time a cause.
    times: Vec<Vec<SimTime>>,
}

/// The most stretches of steps that a reader can distinguish in a picture.
const STRETCHES: usize = 240;

impl<'a> OverTokens<'a> {
    fn new(ladder: &'a Ladder, steps: usize) -> Self {
        let run = &ladder.runs[0].waits;
        let mut causes: Vec<(&str, SimTime)> = Vec::new();
        for (cause, time) in run.total(steps) {
            let name = without_channel(cause);
            match causes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += time,
                None => causes.push((name, time)),
            }
        }
        causes.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        let causes: Vec<&str> = causes.into_iter().map(|(cause, _)| cause).collect();
        let place: Vec<usize> = run
            .causes()
            .iter()
            .map(|cause| causes.iter().position(|known| *known == without_channel(cause)).unwrap_or(0))
            .collect();
        let of_step = |step| {
            let mut times = vec![SimTime::ZERO; causes.len()];
            for wait in run.of_step(step) {
                times[place[wait.cause]] += wait.time;
            }
            times
        };
        let mut known: Vec<&str> = run.causes().iter().map(|cause| without_channel(cause)).collect();
        known.dedup();
        let colour = |cause: &&str| {
            let place = known.iter().position(|known| known == cause).unwrap_or(0);
            colour::EIGHT[place % colour::EIGHT.len()]
        };
        Self { times: (0..steps).map(of_step).collect(), colours: causes.iter().map(colour).collect(), causes }
    }

    /// `explain.csv`: the latency and the bound of each step, and for how long it waited for each
    /// cause.
    fn rows(&self, ladder: &Ladder) -> Result<Vec<u8>, ReportError> {
        let failed = |error: csv::Error| ReportError::format("explain.csv", error);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let columns = ["step", "latency_ns", "bound_ns"].into_iter().map(str::to_owned);
        let of_causes = self.causes.iter().map(|cause| format!("{}_ns", cause.replace(' ', "_")));
        writer.write_record(columns.chain(of_causes)).map_err(failed)?;
        for (step, times) in self.times.iter().enumerate() {
            let (latency, bound) = ladder.runs[0].waits.times(step);
            let times = [latency, bound].into_iter().chain(times.iter().copied()).map(SimTime::exact_ns);
            writer.write_record(std::iter::once(step.to_string()).chain(times)).map_err(failed)?;
        }
        writer.into_inner().map_err(|error| ReportError::format("explain.csv", error))
    }

    fn picture(&self, explanation: &Explanation) -> Shares {
        let stretch = self.times.len().div_ceil(STRETCHES).max(1);
        let mut x = Vec::new();
        let mut parts: Vec<Vec<f64>> = vec![Vec::new(); self.causes.len()];
        for (index, steps) in self.times.chunks(stretch).enumerate() {
            let sum = |cause: usize| steps.iter().map(|times| times[cause]).sum::<SimTime>().as_ps() as f64;
            let all: f64 = (0..parts.len()).map(sum).sum();
            x.push((index * stretch) as f64);
            for (cause, part) in parts.iter_mut().enumerate() {
                part.push(if all > 0.0 { 100.0 * sum(cause) / all } else { 0.0 });
            }
        }
        if let [only] = x[..] {
            // An area needs two ends.
            x.push(only + 1.0);
            parts.iter_mut().for_each(|part| part.push(part[0]));
        }
        let coloured = self.causes.iter().zip(&self.colours).zip(parts);
        Shares {
            name: "explain_waits".to_owned(),
            title: format!("What each {} waits for: {}", explanation.unit(), explanation.label()),
            x_label: if explanation.unit() == "token" { "decoded tokens" } else { "step" }.to_owned(),
            y_label: format!("share of the {}'s time (%)", explanation.unit()),
            x,
            parts: coloured.map(|((cause, colour), part)| ((*cause).to_owned(), *colour, part)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::report::*;

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        assert!(
            explain_schema().unwrap() == include_str!("../explain.schema.json"),
            "write it anew: cargo run -- schema explain > src/report/explain.schema.json"
        );
    }
}

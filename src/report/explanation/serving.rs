//! The files of an explanation of a scenario that serves requests: `explain.json`, `explain.md` and
//! a picture of the costs.

use super::part;
use super::tables::signed;
use crate::explain::{ServingExplanation, percent, serving_label, time};
use crate::report::artifact::{Artifact, ReportError};
use crate::report::bars::{Bars, Row};
use crate::report::chart::colour;
use crate::report::table::{Column, Table};
use crate::units::SimTime;

/// The files of an explanation, by their paths within its folder.
///
/// # Errors
/// [`ReportError`] if one cannot be made.
pub fn serving_explanation_files(explanation: &ServingExplanation) -> Result<Vec<Artifact>, ReportError> {
    let text = serving_explanation_text(explanation, false);
    let mut files = vec![
        Artifact::new("explain.json", serving_explanation_json(explanation)? + "\n"),
        Artifact::new("explain.md", text + "\n"),
    ];
    files.extend(picture(explanation).artifacts()?);
    Ok(files)
}

/// The text of `explain.json`, without the last line's end.
///
/// # Errors
/// [`ReportError::Format`] if JSON cannot represent a value, which does not happen for
/// explanations.
pub fn serving_explanation_json(explanation: &ServingExplanation) -> Result<String, ReportError> {
    serde_json::to_string_pretty(explanation).map_err(|error| ReportError::format("explain.json", error))
}

/// The table and the sentences as text.
#[must_use]
pub fn serving_explanation_text(explanation: &ServingExplanation, terminal: bool) -> String {
    let numbers = ["cost a request", "share", "e2e reached", "queueing", "TTFT", "first to last token"];
    let columns = std::iter::once(Column::text("from the work to the run"));
    let mut table = Table::new(columns.chain(numbers.map(Column::number)).collect());
    let shown = |ns: f64| SimTime::from_ns(ns).rounded();
    for cost in explanation.costs.iter().rev() {
        table.row([
            serving_label(&cost.name).to_owned(),
            signed(mean(explanation, cost.cost_ps)),
            percent(cost.share),
            shown(cost.with.e2e_ns),
            shown(cost.with.queueing_ns),
            shown(cost.with.ttft_ns),
            shown(cost.with.decode_ns),
        ]);
    }
    let mut text = vec![table.render(terminal)];
    if !explanation.without_effect.is_empty() {
        let without: Vec<&str> = explanation.without_effect.iter().map(|name| serving_label(name)).collect();
        text.push(format!("Of no effect here: {}.", without.join(", ")));
    }
    text.push(explanation.sentences.join("\n"));
    text.join("\n\n")
}

/// Of each request.
fn mean(explanation: &ServingExplanation, ps: i64) -> i64 {
    ps / explanation.requests.max(1) as i64
}

/// A row for each cause of delay, from the work itself to the run as it is.
fn picture(explanation: &ServingExplanation) -> Bars {
    const UNITS: [(&str, f64); 4] = [("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)];
    let whole = explanation.costs[0].with.e2e_ns;
    let (unit, ns) = UNITS.into_iter().find(|(_, ns)| whole >= 10.0 * ns).unwrap_or(UNITS[3]);
    let (mut reached, mut most) = (0.0, 0.0f64);
    let mut rows = Vec::new();
    for cost in explanation.costs.iter().rev() {
        let from = reached;
        reached = cost.with.e2e_ns / ns;
        most = most.max(reached);
        let colour = match (rows.is_empty(), cost.cost_ps < 0) {
            (true, _) => colour::BLUE,
            (false, true) => colour::GREEN,
            (false, false) => colour::VERMILLION,
        };
        rows.push(Row {
            label: serving_label(&cost.name).to_owned(),
            figure: format!("{} ({})", signed(mean(explanation, cost.cost_ps)), percent(cost.share)),
            parts: vec![part(from, reached, colour)],
            leads_on: Some(reached),
        });
    }
    let total = part(0.0, reached, colour::BLUE);
    let figure = time((whole * 1000.0) as i64);
    rows.push(Row { label: "achieved".to_owned(), figure, parts: vec![total], leads_on: None });
    let mut legend = vec![("time".to_owned(), colour::BLUE), ("costs".to_owned(), colour::VERMILLION)];
    let saves = explanation.costs.iter().any(|cost| cost.cost_ps < 0);
    legend.extend(saves.then(|| ("saves".to_owned(), colour::GREEN)));
    Bars {
        name: "explain_ladder".to_owned(),
        title: format!("From arrival to the last token: {}", explanation.strategy),
        x_label: format!("mean over requests ({unit})"),
        x: (0.0, if most > 0.0 { most } else { 1.0 }),
        rows,
        legend,
    }
}

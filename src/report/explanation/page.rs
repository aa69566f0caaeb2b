use super::tables::{LADDER, WAITS, ladder_rows, wait_rows};
use crate::explain::{Explanation, label};
use crate::report::html::{STYLE, failed};
use crate::report::{Artifact, ReportError};
use crate::simulation::Identity;
use askama::Template;
use base64::Engine;

/// Heading, note, columns, rows, picture in base64, and its description.
type Section = (&'static str, &'static str, &'static [&'static str], Vec<Vec<String>>, String, String);

#[derive(Template)]
#[template(path = "explain.html", config = "src/report/html/askama.toml")]
struct ExplanationView<'a> {
    title: String,
    question: String,
    beside_run: bool,
    /// What a step is.
    unit: &'static str,
    style: &'static str,
    sentences: &'a [String],
    sections: Vec<Section>,
    without_effect: String,
}

/// `explain.html`, with the pictures of the ladder and of the waits as SVG. It links to the run's
/// page where that is beside it.
///
/// # Errors
/// [`ReportError::Format`] if the template fails, which valid input never causes.
pub(super) fn explanation_page(
    explanation: &Explanation,
    pictures: [&Artifact; 2],
    beside_run: bool,
) -> Result<Artifact, ReportError> {
    let [ladder, waits] = pictures.map(|picture| base64::engine::general_purpose::STANDARD.encode(&picture.bytes));
    let unit = explanation.unit();
    let described = format!("The share of each {unit}'s time that was spent waiting for each cause, over the {unit}s");
    let sections = vec![
        (
            "From the bound to the run",
            "Each row is a run with one more thing idealized than the row below it. The cost of a thing is the time with it minus the \
             time without it (relative to their bounds, where these differ); the costs add up exactly. A negative cost: without it, the run is slower.",
            &LADDER[..],
            ladder_rows(explanation),
            ladder,
            "From the bound to the run, a bar a cost, as in the table".to_owned(),
        ),
        (
            "Bottlenecks",
            "A stage waits for the last of its reads, or for its compute. Each instant is attributed to the bottleneck of that read, mostly the \
            lane that limits its rate. The last column is the traffic of that lane meanwhile, by class.",
            &WAITS[..],
            wait_rows(explanation),
            waits,
            described,
        ),
    ];
    let names: Vec<&str> = explanation.without_effect.iter().map(|name| label(name)).collect();
    let view = ExplanationView {
        title: format!("{}: {}", Identity::of(&explanation.scenario, None).title(), explanation.label()),
        question: format!("Why does {} take as long as it does?", explanation.label()),
        beside_run,
        unit,
        style: STYLE,
        sentences: &explanation.sentences,
        sections,
        without_effect: if names.is_empty() {
            String::new()
        } else {
            format!("Of no effect here: {}.", names.join(", "))
        },
    };
    Ok(Artifact::new("explain.html", view.render().map_err(failed)?))
}

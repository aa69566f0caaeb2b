use super::tables::{LADDER, WAITS, ladder_rows, wait_rows};
use crate::explain::{Explanation, label};
use crate::report::html::{STYLE, failed};
use crate::report::{Artifact, ReportError};
use crate::simulation::Identity;
use askama::Template;
use base64::Engine;

/// Heading, note, columns, rows, picture in base64, and what it shows.
type Section = (&'static str, &'static str, &'static [&'static str], Vec<Vec<String>>, String, &'static str);

#[derive(Template)]
#[template(path = "explain.html", config = "src/report/html/askama.toml")]
struct ExplanationView<'a> {
    title: String,
    question: String,
    beside_run: bool,
    style: &'static str,
    sentences: &'a [String],
    sections: Vec<Section>,
    without_effect: String,
}

/// `explain.html`, with the pictures of the ladder and of what was waited for as SVG. It leads to
/// the run's page where that is beside it.
///
/// # Errors
/// [`ReportError::Format`] where the page cannot be made; none of ours is such.
pub(super) fn explanation_page(
    explanation: &Explanation,
    pictures: [&Artifact; 2],
    beside_run: bool,
) -> Result<Artifact, ReportError> {
    let [ladder, waits] = pictures.map(|picture| base64::engine::general_purpose::STANDARD.encode(&picture.bytes));
    let sections = vec![
        (
            "From the bound to the run",
            "Each row is a run that has one thing more idealized than the row below it. What a thing costs is the time with it less the \
             time without it (next to their bounds, where these differ); the costs add up exactly. Negative: without it, the run is slower.",
            &LADDER[..],
            ladder_rows(explanation),
            ladder,
            "From the bound to the run, a bar a cost, as in the table",
        ),
        (
            "What it waits for",
            "A sublayer waits for the last of its reads, or for its compute; each instant counts for what held that one up, mostly the lane \
             that limits its rate. The last column says what that lane carried meanwhile.",
            &WAITS[..],
            wait_rows(explanation),
            waits,
            "The share of each token's time that was spent waiting for each cause, over the tokens",
        ),
    ];
    let names: Vec<&str> = explanation.without_effect.iter().map(|name| label(name)).collect();
    let view = ExplanationView {
        title: format!("{}: {}", Identity::of(&explanation.scenario, None).title(), explanation.label()),
        question: format!("Why does {} take as long as it does?", explanation.label()),
        beside_run,
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

use super::churn::labels;
use super::pictures::{describe, groups};
use super::{ChurnSetting, Finished, STRATEGIES, Setting};
use crate::report::Labelled;
use crate::report::html::{self, Group, Page};
use crate::report::{Artifact, ReportError};
use crate::strategy::Strategy;

const QUESTION: &str = "A model's weights and KV cache outgrow HBM. Does spreading them over HBM and external memory at the ratio of their \
bandwidths, and moving KV between steps to stay there, decode faster than filling HBM first; at which lengths, with how much skipped by \
attention, and is it so with the skip sets of real attention?";

/// The study's `report.html`: one group of runs for each setting, then one for each kind of skip
/// sets of [`super::churn_settings`]. `answer` has one paragraph a line.
///
/// # Errors
/// [`ReportError`] if it cannot be made.
pub fn page(
    settings: &[Setting],
    finished: &[Finished],
    at_churn: &[ChurnSetting],
    finished_at_churn: &[Finished],
    answer: &str,
) -> Result<Artifact, ReportError> {
    let runs: Vec<(&Setting, &Finished)> = settings.iter().zip(finished).collect();
    // Titles and labels, and the runs that they are of.
    let mut parts: Vec<(String, Vec<String>, Vec<&Finished>)> = Vec::new();
    for group in groups(&runs, |a, b| a.context == b.context && a.skip == b.skip) {
        let names = group.iter().map(|(setting, _)| setting.strategy.label()).collect();
        parts.push((describe(group[0].0), names, group.into_iter().map(|(_, run)| run).collect()));
    }
    for (settings, runs) in super::churn::kinds(at_churn, finished_at_churn) {
        let title = format!("{} tokens, {} skip sets", settings[0].tokens(), settings[0].trace());
        parts.push((title, labels(settings), runs.iter().collect()));
    }
    let labelled: Vec<Vec<Labelled<'_>>> = parts
        .iter()
        .map(|(_, labels, runs)| {
            labels.iter().zip(runs).map(|(label, run)| Labelled { label, run: &run.report }).collect()
        })
        .collect();
    let groups: Vec<Group<'_>> = parts.iter().zip(&labelled).map(|((title, ..), runs)| Group { title, runs }).collect();
    let names =
        STRATEGIES.map(|name| name.parse::<Strategy>().map_or_else(|_| name.to_owned(), |strategy| strategy.label()));
    let title = format!("The study: {}", names.join(" and "));
    html::page(&Page { title: &title, question: QUESTION, answer, groups: &groups })
}

//! The question and the title of a page: taken from the scenario as it was run, and from the text
//! in the scenario's file only where nothing was changed.

use super::served;
use super::words::named;
use crate::metrics::{RunReport, Summary};
use crate::report::labelled::Labelled;
use crate::workload::TraceConfig;

/// The heading of a page of `runs` of one scenario: what was run, and with which strategy.
#[must_use]
pub fn title(runs: &[Labelled<'_>]) -> String {
    let what = runs.first().map_or_else(String::new, |run| run.run.identity().title());
    match runs {
        [only] => format!("{what}: {}", only.label),
        runs => format!("{what}: {} strategies", runs.len()),
    }
}

/// The most labels that a question lists.
const NAMED: usize = 4;

/// The question that `runs` of one scenario answer. Where nothing of the scenario was changed, what
/// its file asks comes first.
#[must_use]
pub fn question(runs: &[Labelled<'_>]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let labels: Vec<&str> = runs.iter().map(|run| run.label).collect();
    if served::all_serve(runs) {
        let scenario = &first.run.summary.scenario;
        let names = (named(&scenario.model, |it| &it.name), named(&scenario.memory, |it| &it.name));
        let asked = served::question(runs, names.0, names.1);
        return with_about(first.run.identity().about.trim(), asked);
    }
    let setting = setting(first.run);
    let asked = match labels.as_slice() {
        [only] => format!("How fast is {only}, {setting}?"),
        [front @ .., last] if labels.len() <= NAMED => {
            format!("Which is the fastest of {} and {last}, {setting}?", front.join(", "))
        }
        all => format!("Which is the fastest of {} strategies, {setting}?", all.len()),
    };
    with_about(first.run.identity().about.trim(), asked)
}

/// A question after what the scenario's file asks.
fn with_about(about: &str, asked: String) -> String {
    match about {
        "" => asked,
        about if about.ends_with(['.', '?', '!']) => format!("{about} {asked}"),
        about => format!("{about}. {asked}"),
    }
}

/// The simulated scenario, as a part of a sentence.
fn setting(run: &RunReport) -> String {
    let scenario = &run.summary.scenario;
    let (model, memory) = (named(&scenario.model, |it| &it.name), named(&scenario.memory, |it| &it.name));
    let skipped = match &scenario.trace {
        TraceConfig::Generated(generator) => share(generator.skip),
        TraceConfig::Lifelike(generator) => match generator.read {
            Some(read) => format!("with {read} tokens read in each step and layer"),
            None => share(generator.skip),
        },
        TraceConfig::Recorded(recorded) => format!("with the skip sets of {}", recorded.file.display()),
    };
    let pages = match scenario.page_tokens {
        1 => String::new(),
        tokens => format!(", in pages of {tokens} tokens"),
    };
    format!("decoding {} on the memory system {memory}, {skipped}{pages}", decoded(&run.summary, model))
}

/// What is decoded, and after what.
fn decoded(summary: &Summary, model: &str) -> String {
    let computing = if summary.scenario.prefill.is_given() { "" } else { "computing " };
    match summary.sequences.as_slice() {
        [] => {
            let scenario = &summary.scenario;
            format!("{} tokens of {model} after a context of {}", scenario.decode_tokens, scenario.prefill_tokens)
        }
        [group] => {
            let (tokens, prompt) = (group.decode_tokens, group.prefill_tokens);
            match group.count {
                1 => format!("{tokens} tokens of {model} after {computing}a prompt of {prompt} tokens"),
                count => {
                    format!(
                        "{count} sequences of {tokens} tokens of {model}, each after {computing}a prompt of {prompt} tokens"
                    )
                }
            }
        }
        groups => format!(
            "{} tokens of {} sequences in {} groups with {model}, {},",
            summary.decoded_tokens(),
            summary.count_sequences(),
            groups.len(),
            if computing.is_empty() { "prompts given" } else { "prompts included" }
        ),
    }
}

fn share(skip: crate::units::Ratio) -> String {
    match skip.percent().as_str() {
        "0" => "nothing skipped".to_owned(),
        percent => format!("{percent} % of the tokens skipped"),
    }
}

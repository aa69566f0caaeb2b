//! Which axes are choices and which are circumstances, and what their values are called.

use super::{DecisionAxis, DecisionError};
use crate::sweep::{Axis, Unit};
use std::path::Path;

/// How the paths begin that are choices where nobody says otherwise.
const CHOICES: [&str; 4] = ["memory", "strategy", "layout", "runtime"];
/// What is always chosen.
const ALWAYS: [(&str, &str); 2] = [("strategy", "strategy"), ("layout", "layout")];

/// Whether an axis that sets these paths is a choice where nobody says otherwise: the machine or a
/// part of it, the strategy, the layout, the runtime.
pub(super) fn is_choice(axis: &Axis) -> bool {
    axis.paths.iter().any(|path| CHOICES.iter().any(|whole| begins(path, whole)))
}

fn begins(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Refuses circumstances that are chosen. Each axis comes with its name.
pub(super) fn check(choose: &[(&str, &Axis)], given: &[(&str, &Axis)]) -> Result<(), DecisionError> {
    for (name, axis) in given {
        let always = |path: &String| ALWAYS.into_iter().find(|(whole, _)| begins(path, whole));
        if let Some((_, flag)) = axis.paths.iter().find_map(always) {
            return Err(DecisionError::IsChoice { name: (*name).to_owned(), flag });
        }
        for (whole, chosen) in choose {
            if axis.paths.iter().any(|path| chosen.paths.contains(path)) {
                return Err(DecisionError::Both { name: (*name).to_owned() });
            }
            let is_part = |path: &String| chosen.paths.iter().any(|whole| begins(path, whole));
            if axis.paths.iter().any(is_part) && !axis.is_numeric() {
                return Err(DecisionError::PartOfChoice { name: (*name).to_owned(), whole: (*whole).to_owned() });
            }
        }
    }
    Ok(())
}

/// An axis as a decision has it.
pub(super) fn decision_axis(name: &str, axis: &Axis) -> DecisionAxis {
    let labels: Vec<&str> = axis.levels.iter().map(|level| level.label.as_str()).collect();
    let short: Vec<String> = labels.iter().map(|label| stem(label)).collect();
    let named = |place: usize| {
        let level = &axis.levels[place];
        match level.number {
            Some(number) => shown(name, axis.unit, number),
            // Two files of one name are called by their paths.
            None if short.iter().filter(|other| **other == short[place]).count() > 1 => labels[place].to_owned(),
            None => short[place].clone(),
        }
    };
    let levels = axis.levels.iter().enumerate().map(|(place, level)| (named(place), level.number));
    DecisionAxis { name: name.to_owned(), unit: axis.unit, levels: levels.collect() }
}

/// A value of an axis as a person reads it: tokens in thousands of 1024, shares in percent.
pub(super) fn shown(name: &str, unit: Unit, number: f64) -> String {
    let counts_tokens = name.contains("prefill") || name.contains("context") || name.contains("tokens");
    let is_share = name.ends_with("skip") || name.ends_with("churn");
    match unit {
        Unit::Whole if counts_tokens && number >= 1024.0 => {
            let thousands = number / 1024.0;
            let digits = usize::from(thousands < 10.0 && thousands.fract() != 0.0);
            format!("{thousands:.digits$}k")
        }
        Unit::Real if is_share => format!("{} %", (number * 1000.0).round() / 10.0),
        unit => unit.shown(number),
    }
}

/// The name of a file without its folder and extension; anything else as it is.
fn stem(label: &str) -> String {
    const FILES: [&str; 7] = ["ron", "json", "parquet", "kvs", "jsonl", "gguf", "csv"];
    let path = Path::new(label);
    let is_file = path.extension().is_some_and(|it| FILES.iter().any(|known| it == *known));
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some(stem) if is_file && !label.starts_with(['{', '[']) => stem.to_owned(),
        _ => named_inside(label).unwrap_or_else(|| label.to_owned()),
    }
}

/// The name of what is spelled out in place.
fn named_inside(label: &str) -> Option<String> {
    let tree: serde_json::Value = label.starts_with('{').then(|| serde_json::from_str(label).ok())??;
    tree.get("name")?.as_str().map(str::to_owned)
}

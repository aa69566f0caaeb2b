//! The fitted runtime as a file: its costs, and in `source` the rows and their errors.

use super::FittedRow;
use super::design::{Cost, Design, flop_rate};
use super::fit::Fit;
use crate::units::SimTime;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The costs of a runtime, rounded as they are written.
pub(super) struct Rules {
    /// Fields with their values, as "12.34 us" of `per_stage`; zeros are left out but of that.
    costs: Vec<(&'static str, String)>,
    /// Class, format and reach, in the order in which they match.
    reaches: Vec<(&'static str, Option<String>, f64)>,
}

/// The costs of `fit`: formats with a reach of their own first, then the rest.
pub(super) fn rules(design: &Design, fit: &Fit, held: Option<SimTime>) -> Rules {
    let per_stage = match held {
        Some(time) => time.as_ps() as f64 * 1e-6,
        None => 1e6 * fit.value(Cost::PerStage).unwrap_or(0.0),
    };
    let microseconds = |cost: Cost| Some(format!("{:.3} us", 1e6 * fit.value(cost)?));
    let mut costs = vec![("per_stage", format!("{per_stage:.3} us"))];
    costs.extend(microseconds(Cost::PerSequence).map(|time| ("per_sequence", time)));
    costs.extend(microseconds(Cost::PerStep).map(|time| ("per_step", time)));
    costs.extend(compute(design, fit).map(|rate| ("compute", flop_rate(rate))));
    // Rounded to four digits; nothing may exceed 1.
    let reach = |value: f64| ((1e4 / value).round() / 1e4).min(1.0);
    let mut reaches = Vec::new();
    let own = |cost: &Cost| fit.columns.iter().any(|column| column == &[*cost]);
    for cost in &design.costs {
        if let (Cost::Weights(Some(format)), Some(value), true) = (cost, fit.value(*cost), own(cost)) {
            reaches.push(("Weights", Some(format.to_string()), reach(value)));
        }
    }
    let rest = design.costs.iter().find(|cost| matches!(cost, Cost::Weights(_)) && !own(cost));
    let rest = rest.or_else(|| design.costs.iter().find(|cost| matches!(cost, Cost::Weights(None))));
    if let Some(value) = rest.and_then(|cost| fit.value(*cost)) {
        reaches.push(("Weights", None, reach(value)));
    } else if let Some((_, _, only)) = reaches.pop() {
        // The only format stands for all.
        reaches.push(("Weights", None, only));
    }
    if let Some(value) = fit.value(Cost::Kv) {
        reaches.push(("Kv", None, reach(value)));
    }
    Rules { costs, reaches }
}

/// The fitted compute rate, in FLOP/s.
pub(super) fn compute(design: &Design, fit: &Fit) -> Option<f64> {
    Some(design.compute? / fit.value(Cost::Compute)?)
}

/// As a scenario takes them.
pub(super) fn json(rules: &Rules) -> Value {
    let reaches: Vec<Value> = rules
        .reaches
        .iter()
        .map(|(class, format, reach)| match format {
            Some(format) => json!({ "class": class, "format": format, "reach": reach }),
            None => json!({ "class": class, "reach": reach }),
        })
        .collect();
    let mut runtime = json!({ "name": "fitted", "reaches": reaches });
    for (field, value) in &rules.costs {
        runtime[*field] = value.as_str().into();
    }
    runtime
}

/// Where the costs are from: the rows, their errors, and what the rows quote.
pub(super) fn source(
    fitted: &[FittedRow],
    held_out: &[FittedRow],
    sources: &BTreeSet<&str>,
    condition: f64,
    held: Option<SimTime>,
) -> String {
    let errors = |rows: &[FittedRow]| {
        rows.iter()
            .map(|row| format!("{} {:+.1} %", row.case, (1e3 * row.error()).round() / 10.0 + 0.0))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = format!("tiersim calibrate on {} (condition number {condition:.1}", errors(fitted));
    if let Some(time) = held {
        let _ = write!(text, ", time per stage held at {}", time.rounded());
    }
    text.push(')');
    let left_out: Vec<f64> = fitted.iter().filter_map(|row| row.left_out).map(f64::abs).collect();
    if !left_out.is_empty() {
        let mean = left_out.iter().sum::<f64>() / left_out.len() as f64;
        let _ = write!(text, "; leave-one-out error {:.1} %", 100.0 * mean);
    }
    if !held_out.is_empty() {
        let _ = write!(text, "; held out: {}", errors(held_out));
    }
    for source in sources {
        let _ = write!(text, "; {source}");
    }
    text
}

/// The file.
pub(super) fn ron(name: &str, machine: &str, rules: &Rules, source: &str) -> String {
    let mut text = format!("Runtime(\n    name: {name:?},\n    machine: {machine:?},\n");
    let _ = write!(text, "    about: {:?},\n    source: {source:?},\n", format!("{name} on {machine}, fitted."));
    for (field, value) in &rules.costs {
        let _ = writeln!(text, "    {field}: {value:?},");
    }
    text += "    reaches: [\n";
    for (class, format, reach) in &rules.reaches {
        let format = format.as_ref().map_or_else(String::new, |format| format!(", format: {format:?}"));
        let _ = writeln!(text, "        (class: {class}{format}, reach: {reach}),");
    }
    text + "    ],\n)\n"
}

//! Why one run takes longer than another: the differences between their explanations.
//!
//! Each explanation splits its run's time into parts that add up to it, so subtracting part by part
//! splits the difference between two runs into parts that add up as well.

use super::words::{label, percent, time};
use super::{BoundParts, Explanation};
use serde::Serialize;

/// A part of the difference between the times of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// What it is: a cost of the ladder, or a part of the bound.
    pub name: String,
    /// How much more time the second run takes because of it; of a token, where the runs have other
    /// numbers of tokens.
    pub difference_ps: f64,
    /// Its share of the whole difference.
    pub share: f64,
}

/// The parts of the difference between the times of two runs, the largest first: the parts of their
/// bounds, and the parts of their losses by the [ladder](super::Ladder). The parts add up to the
/// difference.
#[must_use]
pub fn difference(first: &Explanation, run: &Explanation) -> Vec<Part> {
    let same_length = first.steps == run.steps;
    let each = |explanation: &Explanation, ps: f64| if same_length { ps } else { ps / explanation.steps as f64 };
    let whole = each(run, run.achieved_ps as f64) - each(first, first.achieved_ps as f64);
    let of_bound = |name: &str, part: fn(&BoundParts) -> f64| {
        (name.to_owned(), each(run, part(&run.bound)) - each(first, part(&first.bound)))
    };
    let mut differences: Vec<(String, f64)> = vec![
        of_bound("tier bandwidths", |bound| bound.ideal_ps as f64),
        of_bound("whole pages, for any placement", |bound| bound.pages_ps as f64),
        of_bound("scarce HBM, for any placement", |bound| bound.capacity_ps as f64),
        of_bound("kernels below the full bandwidth, for any placement", |bound| bound.reach_ps as f64),
        of_bound("tiers that compute, for any placement", |bound| bound.computes_ps as f64),
        of_bound("tiers read one after another, for any placement", |bound| bound.serial_ps as f64),
        of_bound("fixed times of the runtime, for any placement", |bound| bound.fixed_ps as f64),
    ];
    let cost = |explanation: &Explanation, name: &str| {
        let cost = explanation.costs.iter().find(|cost| cost.name == name);
        each(explanation, cost.map_or(0.0, |cost| cost.loss_ps as f64))
    };
    let mut names: Vec<&str> = Vec::new();
    for name in first.costs.iter().chain(&run.costs).map(|cost| cost.name.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    differences.extend(names.iter().map(|name| (label(name).to_owned(), cost(run, name) - cost(first, name))));
    let share = |ps: f64| if whole == 0.0 { 0.0 } else { ps / whole };
    let parts = differences.into_iter().filter(|(_, ps)| *ps != 0.0);
    let mut parts: Vec<Part> = parts.map(|(name, ps)| Part { name, difference_ps: ps, share: share(ps) }).collect();
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    parts
}

/// The most parts that a sentence names.
const MOST_NAMED: usize = 4;
/// The smallest share of the difference that a named part has.
const WORTH_SAYING: f64 = 0.03;

/// The difference in a sentence: why `run` takes more or less time than `first`. `None` where it
/// takes as long.
#[must_use]
pub fn because((first_name, first): (&str, &Explanation), (name, run): (&str, &Explanation)) -> Option<String> {
    let parts = difference(first, run);
    let whole: f64 = parts.iter().map(|part| part.difference_ps).sum();
    let same_length = first.steps == run.steps;
    let each = if [first, run].iter().all(|it| it.unit() == "token") { " a token" } else { " a step" };
    let took = if same_length { first.achieved_ps as f64 } else { first.achieved_ps as f64 / first.steps as f64 };
    if whole.abs() < 5e-4 * took {
        return None;
    }
    let mut named: Vec<&Part> = parts.iter().filter(|part| part.share.abs() >= WORTH_SAYING).collect();
    named.sort_by(|a, b| b.share.abs().total_cmp(&a.share.abs()));
    named.truncate(MOST_NAMED);
    let (word, a_token) = (if whole > 0.0 { "more" } else { "less" }, if same_length { "" } else { each });
    let said: Vec<String> = named
        .iter()
        .map(|part| {
            let ps = part.difference_ps.abs() as i64;
            let against = match (part.share < 0.0, whole > 0.0) {
                (false, _) => "",
                (true, true) => " less",
                (true, false) => " more",
            };
            format!("{} {}{against} ({})", part.name, time(ps), percent(part.share))
        })
        .collect();
    Some(format!(
        "Why {name} takes {}{a_token} {word} than {first_name}: {}.",
        time(whole.abs() as i64),
        said.join(", ")
    ))
}

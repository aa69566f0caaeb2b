//! Comparisons in sentences: what changed between runs, and by how much.
//!
//! Each run after the first gets one sentence against the first: its time, then tail latency, late
//! tokens and the lane whose utilization changed most. A simulation is deterministic, so where two
//! configurations differ in one thing, that thing is the cause and the sentence names it.

use crate::metrics::{Summary, rate};
use crate::simulation::{Difference, one_thing, same};
use crate::units::SimTime;

/// A sentence for each run after the first: what changed against the first, and by how much. The
/// cause is named where the configurations differ in one thing: as the same input gives the same
/// results, there is no other cause.
#[must_use]
pub fn sentences(runs: &[(&str, &Summary)], differences: &[Difference]) -> Vec<String> {
    let Some((first, others)) = runs.split_first() else { return Vec::new() };
    let about = |(index, run): (usize, &(&str, &Summary))| {
        let cause = cause(differences, index + 1, changes(first.1, run.1).is_empty());
        format!("{}{cause}", what_changed(first, run))
    };
    others.iter().enumerate().map(about).collect()
}

fn what_changed((first_name, first): &(&str, &Summary), (name, run): &(&str, &Summary)) -> String {
    for (name, run) in [(first_name, first), (name, run)] {
        if !run.complete {
            return format!("{name} ended incomplete after {} steps, so the times are not compared.", run.steps);
        }
    }
    let changes = changes(first, run);
    if let Some(times) = of_requests((first_name, first), (name, run)) {
        return if changes.is_empty() { format!("{times}.") } else { format!("{times}; {}.", joined(&changes)) };
    }
    let work = |summary: &Summary| (summary.steps, summary.decoded_tokens());
    let time = if work(first) == work(run) {
        let (was, is) = (first.simulated_ns, run.simulated_ns);
        // Above twice the time, a factor is easier to read than a percentage.
        let by = more_or_less(was, is).map(|by| match is / was {
            ratio if ratio >= 2.0 => format!("{ratio:.2} times as long as"),
            _ => format!("{by} time than"),
        });
        match by {
            None => format!("{name} takes as long as {first_name}: {} for {}", time(is), tokens(run)),
            Some(by) => format!(
                "{name} takes {by} {first_name}: {} instead of {} for {}{}",
                time(is),
                time(was),
                tokens(run),
                rates(first, run)
            ),
        }
    } else {
        let each = |run: &Summary| run.simulated_ns / run.decoded_tokens().max(1) as f64;
        let (was, is) = (each(first), each(run));
        let by = more_or_less(was, is).map_or_else(|| "as much time".to_owned(), |by| format!("{by} time"));
        let than = if by.starts_with("as") { "as" } else { "than" };
        let (count, other) = (run.decoded_tokens(), first.decoded_tokens());
        let other = if count == other {
            format!("in {} steps instead of {}", run.steps, first.steps)
        } else {
            format!("instead of {other}")
        };
        format!(
            "{name} takes {by} a token {than} {first_name}, {} instead of {}, but decodes {count} tokens {other}",
            time(is),
            time(was)
        )
    };
    if changes.is_empty() { format!("{time}.") } else { format!("{time}; {}.", joined(&changes)) }
}

/// What requests take from arrival to the last token, where both runs serve some.
fn of_requests((first_name, first): (&str, &Summary), (name, run): (&str, &Summary)) -> Option<String> {
    let (before, after) = (first.requests.as_ref()?, run.requests.as_ref()?);
    let (was, is) = (before.e2e_ns?.mean, after.e2e_ns?.mean);
    let time = match more_or_less(was, is) {
        None => format!("{name} takes as long for a request as {first_name}: {} on average", time(is)),
        Some(by) => format!(
            "{name} takes {by} time for a request than {first_name}, {} instead of {} on average from arrival to the last token",
            time(is),
            time(was)
        ),
    };
    let served = |of: &crate::metrics::RequestsSummary| (of.finished, of.arrived);
    Some(match served(before) == served(after) {
        true => time,
        false => format!(
            "{time}, and finishes {} of {} requests instead of {} of {}",
            after.finished, after.arrived, before.finished, before.arrived
        ),
    })
}

/// Further changes that a reader asks for: the slowest tokens, late tokens, and the lane whose
/// utilization changed most.
fn changes(first: &Summary, run: &Summary) -> Vec<String> {
    let mut changes = Vec::new();
    let of_tokens = if first.is_single() && run.is_single() { "token latency" } else { "TPOT" };
    for (name, was, is) in [(of_tokens, first.tpot(), run.tpot()), ("TTFT", first.ttft_ns, run.ttft_ns)] {
        if let (Some(was), Some(is)) = (was, is)
            && let Some(by) = change(was.p99, is.p99)
        {
            changes.push(format!("the p99 of {name} {by}, to {}", time(is.p99)));
        }
    }
    let (was, is) = (first.migration.late_tokens, run.migration.late_tokens);
    if was != is {
        changes.push(format!("{is} late tokens instead of {was}"));
    } else if is > 0 {
        changes.push(format!("{is} late tokens in both"));
    }
    let lane = |(name, lane): &(String, crate::metrics::LaneSummary)| {
        let was = first.lanes.get(name)?.utilization;
        Some((name.clone(), was, lane.utilization))
    };
    let most = run.lanes.0.iter().filter_map(lane).max_by(|a, b| (a.2 - a.1).abs().total_cmp(&(b.2 - b.1).abs()));
    if let Some((name, was, is)) = most.filter(|(_, was, is)| (is - was).abs() >= 0.005) {
        changes.push(format!("{name} is used at {:.0} % instead of {:.0} %", 100.0 * is, 100.0 * was));
    }
    changes
}

fn cause(differences: &[Difference], index: usize, unchanged: bool) -> String {
    if same(differences, 0, index) {
        return if unchanged {
            " The configurations are the same.".to_owned()
        } else {
            " The configurations are the same: the runs are of different versions of tiersim, or of another trace under the same \
             name."
                .to_owned()
        };
    }
    one_thing(differences, 0, index).map_or_else(String::new, |thing| format!(" The only difference is {thing}."))
}

/// ` (72.5 tokens/s instead of 58.1)`.
fn rates(first: &Summary, run: &Summary) -> String {
    match (first.tokens_per_s, run.tokens_per_s) {
        (Some(was), Some(is)) => format!(" ({} tokens/s instead of {})", rate(is), rate(was)),
        _ => String::new(),
    }
}

/// `320 tokens of 8 sequences`.
fn tokens(run: &Summary) -> String {
    match (run.decoded_tokens(), run.count_sequences()) {
        (tokens, 1) => format!("{tokens} tokens"),
        (tokens, count) => format!("{tokens} tokens of {count} sequences"),
    }
}

fn more_or_less(was: f64, is: f64) -> Option<String> {
    let share = is / was - 1.0;
    let word = if share < 0.0 { "less" } else { "more" };
    (share.is_finite() && share.abs() >= 0.0005).then(|| format!("{:.1} % {word}", 100.0 * share.abs()))
}

fn change(was: f64, is: f64) -> Option<String> {
    let share = is / was - 1.0;
    let word = if share < 0.0 { "falls" } else { "rises" };
    (share.is_finite() && share.abs() >= 0.0005).then(|| format!("{word} by {:.1} %", 100.0 * share.abs()))
}

fn time(nanoseconds: f64) -> String {
    SimTime::from_ns(nanoseconds).rounded()
}

/// `a, b and c`.
fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}

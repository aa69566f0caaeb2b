//! The sentences of an explanation, computed from its figures only.
//!
//! The first sentence gives the distance between the run and its bound. Then follow the largest
//! costs, each with the bottleneck that reads wait for because of it; things without which the run
//! would be slower; the bottlenecks of the run as it is; and the part of the bound itself that
//! comes from scarce HBM or from pages.

use super::{Cost, Explanation, PLACEMENT};
use crate::memory::TransferClass;
use crate::metrics::{Named, OTHERS};
use crate::simulation::Ideal;
use crate::units::SimTime;

/// The name of a cost in tables and sentences.
#[must_use]
pub fn label(name: &str) -> &'static str {
    match Ideal::ALL.into_iter().find(|ideal| ideal.name() == name) {
        Some(Ideal::FreeMigration) => "migration",
        Some(Ideal::FreeWrites) => "KV writes",
        Some(Ideal::NoLosses) => "granules and turnaround",
        Some(Ideal::NoLimits) => "caps and limits",
        Some(Ideal::EvenChannels) => "uneven channels",
        Some(Ideal::NoLatencies) => "latencies",
        Some(Ideal::NoFixedTimes) => "fixed times",
        Some(Ideal::FullReach) => "kernels' reach",
        Some(Ideal::TiersAtOnce) => "tiers that compute",
        Some(Ideal::DirectReads) => "tiers read in turn",
        Some(Ideal::BoundLayout) => "initial layout",
        Some(Ideal::AmpleHbm) => "scarce HBM",
        Some(Ideal::SingleTokens) => "whole pages",
        None => "placement",
    }
}

/// The same as the subject of a sentence, with its verb.
fn causes(name: &str) -> &'static str {
    match Ideal::ALL.into_iter().find(|ideal| ideal.name() == name) {
        Some(Ideal::FreeMigration) => "Migration causes",
        Some(Ideal::FreeWrites) => "KV writes cause",
        Some(Ideal::NoLosses) => "Granules and turnaround cause",
        Some(Ideal::NoLimits) => "Caps and limits cause",
        Some(Ideal::EvenChannels) => "Unevenly loaded channels cause",
        Some(Ideal::NoLatencies) => "Latencies cause",
        Some(Ideal::NoFixedTimes) => "Fixed times of the runtime cause",
        Some(Ideal::FullReach) => "Kernels that do not reach the full bandwidth cause",
        Some(Ideal::TiersAtOnce) => "Tiers that compute slower than their bandwidth allows cause",
        Some(Ideal::DirectReads) => "Tiers that are read one after another cause",
        Some(Ideal::BoundLayout) => "The initial layout causes",
        Some(Ideal::AmpleHbm) => "Scarce HBM, whatever the initial layout, causes",
        Some(Ideal::SingleTokens) => "Whole pages cause",
        None => "Placement causes",
    }
}

/// The condition of a run without that cost, at the beginning of a sentence.
fn without(name: &str) -> &'static str {
    match Ideal::ALL.into_iter().find(|ideal| ideal.name() == name) {
        Some(Ideal::FreeMigration) => "Without migration traffic",
        Some(Ideal::FreeWrites) => "Without KV writes",
        Some(Ideal::NoLosses) => "Without losses by granules and turnaround",
        Some(Ideal::NoLimits) => "Without caps and limits",
        Some(Ideal::EvenChannels) => "With evenly loaded channels",
        Some(Ideal::NoLatencies) => "Without latencies",
        Some(Ideal::NoFixedTimes) => "Without fixed times of the runtime",
        Some(Ideal::FullReach) => "With kernels that reach the full bandwidth",
        Some(Ideal::TiersAtOnce) => "With tiers that compute at once",
        Some(Ideal::DirectReads) => "With all tiers read at once",
        Some(Ideal::BoundLayout) => "From the layout that the bound uses",
        Some(Ideal::AmpleHbm) => "With room for everything in HBM",
        Some(Ideal::SingleTokens) => "With pages of one token",
        None => "With the best placement",
    }
}

/// A thing that costs less than that share of the loss is left out of the sentences.
const WORTH_SAYING: f64 = 0.01;
/// The most costs, and the most waits, that the sentences name.
const MOST: usize = 3;

/// The explanation, a sentence each.
#[must_use]
pub fn sentences(explanation: &Explanation) -> Vec<String> {
    let mut said = vec![whole(explanation)];
    if !is_at_the_bound(explanation) {
        let worth_saying = |cost: &&Cost| cost.share.is_some_and(|share| share.abs() >= WORTH_SAYING);
        let mut costs: Vec<&Cost> = explanation.costs.iter().filter(worth_saying).collect();
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.loss_ps));
        let gains = costs.iter().filter(|cost| cost.loss_ps < 0).count();
        let (costly, gainful) = costs.split_at(costs.len() - gains);
        said.extend(costly.iter().take(MOST).map(|cost| costs_time(cost)));
        said.extend(gainful.iter().map(|cost| saves_time(cost)));
    }
    said.extend(waited(explanation));
    said.extend(of_the_runtime(explanation));
    said.extend(of_the_bound(explanation));
    said
}

/// Whether so little is lost that no cost is worth a sentence.
fn is_at_the_bound(explanation: &Explanation) -> bool {
    explanation.loss_ps as f64 <= 1e-4 * explanation.bound.time_ps as f64
}

/// The part of the bound that another machine or shorter pages could avoid, but no placement.
fn of_the_bound(explanation: &Explanation) -> Option<String> {
    let bound = &explanation.bound;
    let parts: Vec<String> = [("scarce HBM", bound.capacity_ps), ("reading whole pages", bound.pages_ps)]
        .into_iter()
        .filter(|(_, part)| *part as f64 >= WORTH_SAYING * bound.time_ps as f64)
        .map(|(name, part)| {
            format!("{} ({}) comes from {name}", percent(part as f64 / bound.time_ps as f64), time(part))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("Of the bound itself, {}: no placement can avoid that.", parts.join(", ")))
}

/// What software and kernels cost in a step, whatever the placement.
fn of_the_runtime(explanation: &Explanation) -> Option<String> {
    let bound = &explanation.bound;
    let a_step = |ps: i64| time(ps / explanation.steps.max(1) as i64);
    let of = a_step(explanation.achieved_ps as i64);
    let parts: Vec<String> = [
        ("fixed times of the runtime", bound.fixed_ps),
        ("kernels that do not reach the full bandwidth", bound.reach_ps),
        ("tiers that compute slower than their bandwidth allows", bound.computes_ps),
        ("tiers read one after another", bound.serial_ps),
    ]
    .into_iter()
    .filter(|(_, ps)| *ps > 0)
    .map(|(name, ps)| format!("{name}: {}", a_step(ps)))
    .collect();
    let text = parts.join(", ");
    let first = text.chars().next()?;
    Some(format!("{}{} of {of} per step, for any placement.", first.to_uppercase(), &text[first.len_utf8()..]))
}

fn whole(explanation: &Explanation) -> String {
    let achieved = SimTime::from_ps(explanation.achieved_ps).rounded();
    let steps = explanation.steps;
    let ran = match (explanation.unit(), explanation.sequences()) {
        ("token", _) => format!("decodes {steps} tokens"),
        (_, 1) => format!("runs {steps} steps, those of its prompt included,"),
        (_, count) if explanation.scenario.prefill.is_given() => format!("runs {steps} steps of {count} sequences"),
        (_, count) => format!("runs {steps} steps of {count} sequences, those of their prompts included,"),
    };
    let of_run = format!("{} {ran} in {achieved}", explanation.label());
    match explanation.achieved_over_bound {
        Some(ratio) if !is_at_the_bound(explanation) => {
            format!("{of_run}, {ratio:.4} times the bound: the loss is {}.", time(explanation.loss_ps))
        }
        _ => {
            format!("{of_run}, within 0.01 % of the bound ({} above it).", time(explanation.loss_ps))
        }
    }
}

/// The cost of one thing, and the reads that wait longer because of it.
fn costs_time(cost: &Cost) -> String {
    let share = percent(cost.share.unwrap_or(0.0));
    let head = format!("{} {share} of the loss ({}).", causes(&cost.name), time(cost.loss_ps));
    let Some((cause, longer)) = cost.waits_ps.0.first().filter(|(_, longer)| *longer > 0) else { return head };
    if cost.name == PLACEMENT {
        let all: i64 = cost.waits_ps.0.iter().map(|(_, time)| time).sum();
        let part = percent(*longer as f64 / all as f64);
        return format!("{head} With everything else idealized, the run waits for {cause} in {part} of the time.");
    }
    // The run waits less for reads that no longer arrive last.
    let less = cost.waits_ps.0.last().filter(|(_, shorter)| *shorter < 0 && -shorter >= longer / 100);
    let less = less.map_or_else(String::new, |(cause, shorter)| format!(", and {} less for {cause}", time(-shorter)));
    let ideal = Ideal::ALL.into_iter().find(|ideal| ideal.name() == cost.name);
    let longer = format!("waits {} longer for {cause}{less}", time(*longer));
    let (because, classes): (&str, &[TransferClass]) = match ideal {
        Some(Ideal::FreeMigration) => ("migration", &[TransferClass::MigrateIn, TransferClass::MigrateOut]),
        Some(Ideal::FreeWrites) => ("KV writes", &[TransferClass::KvWrite]),
        Some(Ideal::BoundLayout) => {
            return format!("{head} Compared with a start from the layout that the bound uses, the run {longer}.");
        }
        Some(Ideal::AmpleHbm) => return format!("{head} Compared with room for everything in HBM, the run {longer}."),
        _ => ("", &[]),
    };
    let carried: f64 = classes.iter().filter_map(|class| cost.carried.get(class.name())).sum();
    if carried >= WORTH_SAYING {
        let part = percent(carried);
        return format!(
            "{head} While the run waits for {cause}, {part} of that lane's traffic is {because}; because of it, the run {longer}."
        );
    }
    let latency = cost.waits_ps.get(OTHERS[0]).filter(|_| ideal == Some(Ideal::NoLatencies) && cause != OTHERS[0]);
    let latency = latency.map_or_else(String::new, |longer| format!("; {} of it is latency itself", time(*longer)));
    format!("{head} Because of this, the run {longer}{latency}.")
}

/// A thing without which the run would be slower, compared with its bound.
fn saves_time(cost: &Cost) -> String {
    format!(
        "{}, the run would lose {} more ({} of the loss).",
        without(&cost.name),
        time(-cost.loss_ps),
        percent(-cost.share.unwrap_or(0.0))
    )
}

/// The bottlenecks that the run waited for.
fn waited(explanation: &Explanation) -> Option<String> {
    let shares: Vec<String> = explanation
        .waits
        .0
        .iter()
        .filter(|(_, wait)| wait.share >= WORTH_SAYING)
        .take(MOST)
        .map(|(cause, wait)| format!("{cause} in {} of the time{}", percent(wait.share), background(&wait.carried)))
        .collect();
    (!shares.is_empty()).then(|| format!("The run as it is waits for {}.", shares.join(", ")))
}

/// The share of a lane's traffic that was not reads.
fn background(carried: &Named<f64>) -> String {
    let parts: Vec<String> = [TransferClass::KvWrite, TransferClass::MigrateIn, TransferClass::MigrateOut]
        .iter()
        .filter_map(|class| Some((class, *carried.get(class.name())?)))
        .filter(|(_, share)| *share >= WORTH_SAYING)
        .map(|(class, share)| format!("{} {class}", percent(share)))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" (its traffic meanwhile: {})", parts.join(", ")) }
}

/// A time with its sign.
pub(crate) fn time(ps: i64) -> String {
    if ps == 0 {
        return "0".to_owned();
    }
    let sign = if ps < 0 { "-" } else { "" };
    format!("{sign}{}", SimTime::from_ps(ps.unsigned_abs()).rounded())
}

pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.1} %", 100.0 * share);
    if text == "-0.0 %" { "0.0 %".to_owned() } else { text }
}

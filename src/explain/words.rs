//! What an explanation says in words, from its figures alone.

use super::{Cost, Explanation, PLACEMENT};
use crate::memory::TransferClass;
use crate::metrics::Named;
use crate::simulation::Ideal;
use crate::units::SimTime;

/// What a person calls a cost by that name.
#[must_use]
pub fn label(name: &str) -> &'static str {
    match Ideal::ALL.into_iter().find(|ideal| ideal.name() == name) {
        Some(Ideal::FreeMigration) => "migration",
        Some(Ideal::FreeWrites) => "KV writes",
        Some(Ideal::NoLosses) => "granules and turnaround",
        Some(Ideal::NoLimits) => "caps and limits",
        Some(Ideal::EvenChannels) => "uneven channels",
        Some(Ideal::NoLatencies) => "latencies",
        Some(Ideal::AmpleHbm) => "scarce HBM",
        Some(Ideal::SingleTokens) => "whole pages",
        None => "placement",
    }
}

/// A thing that costs less than that share of the loss is not worth a sentence.
const WORTH_SAYING: f64 = 0.01;
/// So many things are told of.
const MOST: usize = 3;

/// The explanation, a sentence each.
#[must_use]
pub fn sentences(explanation: &Explanation) -> Vec<String> {
    let mut said = vec![whole(explanation)];
    let mut costs: Vec<&Cost> =
        explanation.costs.iter().filter(|cost| cost.share.is_some_and(|share| share.abs() >= WORTH_SAYING)).collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.loss_ps));
    let gains = costs.iter().filter(|cost| cost.loss_ps < 0).count();
    let (costly, gainful) = costs.split_at(costs.len() - gains);
    said.extend(costly.iter().take(MOST).map(|cost| costs_time(cost)));
    said.extend(gainful.iter().map(|cost| {
        format!(
            "{} is worth {} ({} of the loss): the run that is spared it is the slower one, next to its bound.",
            capitalized(label(&cost.name)),
            time(-cost.loss_ps),
            percent(cost.share.unwrap_or(0.0))
        )
    }));
    said.extend(waited(explanation));
    let capacity = explanation.bound.capacity_ps;
    if capacity as f64 >= WORTH_SAYING * explanation.bound.time_ps as f64 {
        let part = capacity as f64 / explanation.bound.time_ps as f64;
        said.push(format!(
            "{} of the bound itself ({}) is scarce HBM, which no placement can avoid.",
            percent(part),
            time(capacity)
        ));
    }
    said
}

fn whole(explanation: &Explanation) -> String {
    let achieved = SimTime::from_ps(explanation.achieved_ps).rounded();
    let of_run = format!("{} decodes {} tokens in {achieved}", explanation.strategy, explanation.steps);
    match explanation.achieved_over_bound {
        Some(ratio) if explanation.loss_ps > 0 => {
            format!("{of_run}, {ratio:.4} times the bound: {} are lost.", time(explanation.loss_ps))
        }
        _ => format!("{of_run}, as little as any placement could."),
    }
}

/// What a cost is, and what reads wait for because of it.
fn costs_time(cost: &Cost) -> String {
    let share = percent(cost.share.unwrap_or(0.0));
    let head = format!("{share} of the loss ({}) is {}", time(cost.loss_ps), label(&cost.name));
    let Some((cause, longer)) = cost.waits_ps.0.first() else { return head + "." };
    if cost.name == PLACEMENT {
        let all: i64 = cost.waits_ps.0.iter().map(|(_, time)| time).sum();
        let part = percent(*longer as f64 / all as f64);
        return format!("{head}: with all else idealized, {part} of the time is spent waiting for {cause}.");
    }
    let classes: &[TransferClass] = match Ideal::ALL.into_iter().find(|ideal| ideal.name() == cost.name) {
        Some(Ideal::FreeMigration) => &[TransferClass::MigrateIn, TransferClass::MigrateOut],
        Some(Ideal::FreeWrites) => &[TransferClass::KvWrite],
        _ => &[],
    };
    let carried: f64 = classes.iter().filter_map(|class| cost.carried.get(class.name())).sum();
    let contending = if carried > 0.0 {
        format!(", and it has {} of what that carries meanwhile", percent(carried))
    } else {
        String::new()
    };
    format!("{head}: with it, {} more are spent waiting for {cause}{contending}.", time(*longer))
}

/// What the run waited for.
fn waited(explanation: &Explanation) -> Option<String> {
    let shares: Vec<String> = explanation
        .waits
        .0
        .iter()
        .filter(|(_, wait)| wait.share >= WORTH_SAYING)
        .take(MOST)
        .map(|(cause, wait)| format!("{cause} {} of the time{}", percent(wait.share), background(&wait.carried)))
        .collect();
    (!shares.is_empty()).then(|| format!("The run as it is waits for {}.", shares.join(", ")))
}

/// What others than reads had of a lane.
fn background(carried: &Named<f64>) -> String {
    let parts: Vec<String> = [TransferClass::KvWrite, TransferClass::MigrateIn, TransferClass::MigrateOut]
        .iter()
        .filter_map(|class| Some((class, *carried.get(class.name())?)))
        .filter(|(_, share)| *share >= WORTH_SAYING)
        .map(|(class, share)| format!("{} {class}", percent(share)))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" (carrying {} meanwhile)", parts.join(" and ")) }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

/// A time with its sign.
pub(crate) fn time(ps: i64) -> String {
    let sign = if ps < 0 { "-" } else { "" };
    format!("{sign}{}", SimTime::from_ps(ps.unsigned_abs()).rounded())
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

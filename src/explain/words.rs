//! What an explanation says in words, from its figures alone.

use super::{Cost, Explanation, PLACEMENT};
use crate::memory::TransferClass;
use crate::metrics::{Named, OTHERS};
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
    if is_at_the_bound(explanation) {
        said.extend(waited(explanation));
        said.extend(of_the_bound(explanation));
        return said;
    }
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
    said.extend(of_the_bound(explanation));
    said
}

/// Whether so little is lost that there is nothing to tell of it.
fn is_at_the_bound(explanation: &Explanation) -> bool {
    explanation.loss_ps as f64 <= 1e-4 * explanation.bound.time_ps as f64
}

/// What of the bound no placement can avoid, but another machine or shorter pages could.
fn of_the_bound(explanation: &Explanation) -> Option<String> {
    let bound = &explanation.bound;
    let parts: Vec<String> = [("scarce HBM", bound.capacity_ps), ("reading whole pages", bound.pages_ps)]
        .into_iter()
        .filter(|(_, part)| *part as f64 >= WORTH_SAYING * bound.time_ps as f64)
        .map(|(name, part)| format!("{} ({}) is {name}", percent(part as f64 / bound.time_ps as f64), time(part)))
        .collect();
    (!parts.is_empty()).then(|| format!("Of the bound itself, {}, whatever the placement.", parts.join(", ")))
}

fn whole(explanation: &Explanation) -> String {
    let achieved = SimTime::from_ps(explanation.achieved_ps).rounded();
    let of_run = format!("{} decodes {} tokens in {achieved}", explanation.strategy, explanation.steps);
    match explanation.achieved_over_bound {
        Some(ratio) if !is_at_the_bound(explanation) => {
            format!("{of_run}, {ratio:.4} times the bound: {} are lost.", time(explanation.loss_ps))
        }
        _ => {
            format!("{of_run}, to 0.01 % the least that any placement could take ({} more).", time(explanation.loss_ps))
        }
    }
}

/// What a cost is, and what reads wait for because of it.
fn costs_time(cost: &Cost) -> String {
    let share = percent(cost.share.unwrap_or(0.0));
    let head = format!("{share} of the loss ({}) is {}", time(cost.loss_ps), label(&cost.name));
    let Some((cause, longer)) = cost.waits_ps.0.first().filter(|(_, longer)| *longer > 0) else { return head + "." };
    if cost.name == PLACEMENT {
        let all: i64 = cost.waits_ps.0.iter().map(|(_, time)| time).sum();
        let part = percent(*longer as f64 / all as f64);
        return format!("{head}: with all else idealized, {part} of the time is spent waiting for {cause}.");
    }
    // What is waited for less: reads that are no longer the last.
    let less = cost.waits_ps.0.last().filter(|(_, shorter)| *shorter < 0 && -shorter >= longer / 100);
    let less = less.map_or_else(String::new, |(cause, shorter)| format!(" ({} less for {cause})", time(-shorter)));
    let ideal = Ideal::ALL.into_iter().find(|ideal| ideal.name() == cost.name);
    let classes: &[TransferClass] = match ideal {
        Some(Ideal::FreeMigration) => &[TransferClass::MigrateIn, TransferClass::MigrateOut],
        Some(Ideal::FreeWrites) => &[TransferClass::KvWrite],
        _ => &[],
    };
    let carried: f64 = classes.iter().filter_map(|class| cost.carried.get(class.name())).sum();
    let longer = format!("{} longer than without{less}", time(*longer));
    if carried >= WORTH_SAYING {
        let part = percent(carried);
        return format!(
            "{head} contending on {cause}: it has {part} of what that carries while it is waited for, which is {longer}."
        );
    }
    let latency = cost.waits_ps.get(OTHERS[0]).filter(|_| ideal == Some(Ideal::NoLatencies) && cause != OTHERS[0]);
    let latency = latency.map_or_else(String::new, |longer| format!("; {} are latency itself", time(*longer)));
    format!("{head}: {cause} is waited for {longer}{latency}.")
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

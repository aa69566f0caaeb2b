//! The sentences of a page: the answer, and the description of the scenario.
//!
//! All sentences are computed from the figures of the runs. The first one answers how fast a run is
//! or which run is the fastest; the others give its tail latency, alpha, migration and bottleneck.

use super::served;
use crate::config::Reference;
use crate::metrics::{Distribution, RunReport, SequencesSummary, Summary};
use crate::report::labelled::Labelled;
use crate::report::numbers::{bytes_in, dash, percent, time};
use crate::workload::{PrefillConfig, PrefillOrder};

/// The answer of a page, from the figures of its runs: the speed of one run, or which of several
/// is the fastest and how it differs from the first.
#[must_use]
pub fn answer(runs: &[Labelled<'_>]) -> String {
    match runs {
        [] => "There are no runs.".to_owned(),
        [only] if served::all_serve(runs) => served::of_one(only),
        [first, ..] if served::all_serve(runs) => served::of_several(first, runs),
        [only] => of_one(only),
        [first, ..] => of_several(first, runs),
    }
}

/// The first sentence of [`answer`]: which run is the fastest, by how much, at how many tokens a
/// second, and what it waits for; of a single run whose HBM is a cache, its hits as well.
#[must_use]
pub fn sentence(runs: &[Labelled<'_>]) -> String {
    match runs {
        [] => "There are no runs.".to_owned(),
        [only] if served::all_serve(runs) => served::headline(only),
        [first, ..] if served::all_serve(runs) => served::of_several(first, runs),
        [only] => headline(only) + &of_cache(&only.run.summary) + &of_experts(only.run),
        [first, ..] => winner(first, runs).0,
    }
}

fn of_one(run: &Labelled<'_>) -> String {
    let summary = &run.run.summary;
    let mut text = headline(run);
    if summary.steps == 0 {
        return text;
    }
    if let Some(ratio) = summary.bound.achieved_over_charged {
        text += &format!(" It takes {ratio:.3} times the bound that includes the migration which any placement needs.");
    }
    text += &of_tokens(summary);
    if let Some(alpha) = summary.alpha.mean {
        text += &format!(
            " Of the bytes read, {:.1} % come from {}; reading from all tiers at full speed takes {:.1} %.",
            100.0 * alpha,
            fastest_tier(run.run),
            100.0 * summary.best_ratio
        );
    }
    let moved = summary.migration.bytes();
    text += &match (moved, summary.migration.late_tokens) {
        (0, _) => " Nothing moved between steps.".to_owned(),
        (_, 0) => format!(" {} moved between steps, all of it in time.", bytes_in(summary.size_style(), moved)),
        (_, late) => {
            format!(
                " {} moved between steps; {late} times a token was read before its move had ended.",
                bytes_in(summary.size_style(), moved)
            )
        }
    };
    text + &of_cache(summary) + &of_experts(run.run)
}

/// How many of the experts read lay in the fastest tier, where experts are units.
fn of_experts(run: &RunReport) -> String {
    let summary = &run.summary;
    let Some((experts, rate)) = summary.experts.and_then(|experts| Some((experts, experts.hit_rate?))) else {
        return String::new();
    };
    let a_step = experts.missed_bytes / summary.measured_steps().max(1);
    format!(
        " {:.1} % of the experts that were read lay in {}; the others, {} a step, in slower tiers.",
        100.0 * rate,
        fastest_tier(run),
        bytes_in(summary.size_style(), a_step)
    )
}

/// What of the KV read lay in the fastest tier, where it is a cache, and what came of prefetching.
fn of_cache(summary: &Summary) -> String {
    let Some((cache, rate)) = summary.cache.and_then(|cache| Some((cache, cache.kv.hit_rate?))) else {
        return String::new();
    };
    let a_step = cache.kv.missed_bytes / summary.measured_steps().max(1);
    let fetched = bytes_in(summary.size_style(), a_step);
    if cache.kv.misses == 0 && cache.prefetch.is_none() {
        return String::new();
    }
    let mut text = format!(
        " {:.1} % of the pages of KV that were read were in the cache; the others, {fetched} a step, were read from slower \
         tiers.",
        100.0 * rate
    );
    if let Some(prefetch) = cache.prefetch.filter(|prefetch| prefetch.issued_bytes > 0) {
        let share = |bytes: u64| 100.0 * bytes as f64 / prefetch.issued_bytes as f64;
        text += &format!(
            " Of {} prefetched, {:.1} % arrived in time, {:.1} % were late and {:.1} % were not read.",
            bytes_in(summary.size_style(), prefetch.issued_bytes),
            share(prefetch.useful_bytes),
            share(prefetch.late_bytes),
            share(prefetch.wrong_bytes)
        );
    }
    text
}

/// How long a person waits for tokens: of one sequence a step each, of several TTFT and TPOT.
fn of_tokens(summary: &Summary) -> String {
    let mut text = String::new();
    if let Some(ttft) = &summary.ttft_ns {
        text += &match summary.count_sequences() {
            1 => format!(" Its first token comes after {} (TTFT).", time(ttft.p50)),
            _ => format!(
                " Half of the sequences have their first token after {} (TTFT), 99 % after {} at most.",
                time(ttft.p50),
                time(ttft.p99)
            ),
        };
    }
    if let Some(tpot) = &summary.tpot() {
        let (half, most) = (time(tpot.p50), time(tpot.p99));
        text += &if summary.is_single() {
            format!(" Half of the tokens take up to {half}, 99 % up to {most}.")
        } else {
            format!(" Half of the decoded tokens come within {half} of the one before (TPOT), 99 % within {most}.")
        };
    }
    text
}

/// How fast one run is, in a sentence.
fn headline(run: &Labelled<'_>) -> String {
    let summary = &run.run.summary;
    if summary.steps == 0 {
        let first = if summary.is_single() { "token" } else { "step" };
        return format!("{} did not get to the end of its first {first}{}.", run.label, why(summary));
    }
    let rate = at_rate(summary);
    let mut text = if summary.complete {
        format!("{} {} in {}{rate}", run.label, summary.work(), time(summary.simulated_ns))
    } else {
        format!(
            "{} is incomplete{}. Until then it took {} for {}{rate}",
            run.label,
            why(summary),
            time(summary.simulated_ns),
            steps(summary)
        )
    };
    if let Some(ratio) = summary.bound.achieved_over_bound {
        text += &format!(", {ratio:.3} times the least that any placement could take (the bound)");
    }
    format!("{text}{}{}.", waits(summary, ", and it"), page_overhead(summary))
}

/// How far an incomplete run got: `12 tokens`, which are steps where there are several sequences.
pub(super) fn steps(summary: &Summary) -> String {
    let of = if summary.is_single() { "tokens" } else { "steps" };
    format!("{} {of}", summary.steps)
}

/// ` (2710 tokens/s)`, with what a warm-up leaves out.
fn at_rate(summary: &Summary) -> String {
    let Some(rate) = summary.tokens_per_s else { return String::new() };
    let warmup = match summary.scenario.warmup_steps {
        0 => String::new(),
        steps => format!(" after a warm-up of {steps} steps"),
    };
    format!(" ({} tokens/s{warmup})", crate::metrics::rate(rate))
}

/// The tier, or compute, that the run waits for most of the time.
fn waits(summary: &Summary, subject: &str) -> String {
    let Some(waits) = &summary.waits else { return String::new() };
    let all: f64 = waits.tiers_ns.0.iter().map(|(_, time)| time).sum::<f64>() + waits.compute_ns;
    let fixed = waits.fixed_ns.unwrap_or(0.0);
    let all = all + fixed;
    let most = waits.tiers_ns.0.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((tier, longest)) = most.filter(|_| all > 0.0) else { return String::new() };
    if fixed > longest.max(waits.compute_ns) {
        return format!("{subject} waits for fixed times of the runtime in {} of the time", percent(fixed / all));
    }
    if waits.compute_ns > *longest {
        return format!("{subject} waits for compute in {} of the time", percent(waits.compute_ns / all));
    }
    let of_tier = |lane: &str| lane.strip_prefix(tier.as_str()).is_some_and(|rest| rest.starts_with('.'));
    let lanes = summary.lanes.0.iter().filter(|(lane, _)| of_tier(lane));
    let busiest = lanes.max_by(|a, b| a.1.utilization.total_cmp(&b.1.utilization));
    let lane =
        busiest.map_or_else(String::new, |(lane, load)| format!(" ({lane}: {} used)", percent(load.utilization)));
    format!("{subject} waits for reads from {tier} in {} of the time{lane}", percent(longest / all))
}

/// The KV that the run reads only because pages are read whole, where it is more than 2 % of the
/// KV that the trace asks for.
fn page_overhead(summary: &Summary) -> String {
    const WORTH_SAYING: f64 = 0.02;
    match summary.read_beyond_share() {
        Some(share) if share > WORTH_SAYING => format!(
            "; whole pages of {} tokens make it read {} more KV than the trace asks for",
            summary.scenario.page_tokens,
            percent(share)
        ),
        _ => String::new(),
    }
}

fn of_several(first: &Labelled<'_>, runs: &[Labelled<'_>]) -> String {
    let (sentence, apart) = winner(first, runs);
    let mut sentences = vec![sentence];
    sentences.extend(apart.map(|best| set_apart(best, first)));
    for run in runs.iter().filter(|run| !run.run.summary.complete) {
        sentences.push(format!("{} is incomplete{}.", run.label, why(&run.run.summary)));
    }
    sentences.join(" ")
}

/// Which of `runs` is the fastest, in a sentence; and the run itself, where it is another one than
/// `first`, which ended too.
fn winner<'a>(first: &Labelled<'_>, runs: &'a [Labelled<'a>]) -> (String, Option<&'a Labelled<'a>>) {
    let ended: Vec<&Labelled<'_>> =
        runs.iter().filter(|run| run.run.summary.complete && run.run.summary.steps > 0).collect();
    let work = |run: &Labelled<'_>| (run.run.summary.steps, run.run.summary.decoded_tokens());
    let same_length = ended.windows(2).all(|pair| work(pair[0]) == work(pair[1]));
    // Runs of different lengths are compared by the time of a token.
    let cost = |run: &Labelled<'_>| {
        let summary = &run.run.summary;
        if same_length { summary.simulated_ns } else { summary.simulated_ns / summary.decoded_tokens().max(1) as f64 }
    };
    let a_token = if same_length { "" } else { " a token" };
    let Some(best) = ended.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))) else {
        return ("No run completed.".to_owned(), None);
    };
    let summary = &best.run.summary;
    let mut text = format!(
        "Of {} runs, {} is the fastest: {}{a_token}{}",
        runs.len(),
        best.label,
        time(cost(best)),
        at_rate(summary)
    );
    if let Some(ratio) = summary.bound.achieved_over_bound {
        text += &format!(", {ratio:.3} times the bound");
    }
    let is_first = std::ptr::eq(best.run, first.run);
    let first_ended = first.run.summary.complete && first.run.summary.steps > 0;
    if is_first {
        let others = ended.iter().filter(|run| !std::ptr::eq(run.run, first.run));
        if let Some(next) = others.min_by(|a, b| cost(a).total_cmp(&cost(b))) {
            text += &match percent(cost(next) / cost(best) - 1.0) {
                share if share == "0.0 %" => format!("; {} takes as long, to 0.1 %", next.label),
                share => format!("; {}, the next, takes {share} longer", next.label),
            };
        }
    } else if first_ended {
        text += &format!(", {} less than {}", percent(1.0 - cost(best) / cost(first)), first.label);
    }
    let text = format!("{text}{}{}.", waits(summary, &format!("; {}", best.label)), page_overhead(summary));
    (text, (!is_first && first_ended).then_some(*best))
}

/// In which figures `run` differs from `first`.
fn set_apart(run: &Labelled<'_>, first: &Labelled<'_>) -> String {
    let (ours, theirs) = (&run.run.summary, &first.run.summary);
    let p99 = |summary: &Summary| summary.tpot().map_or_else(dash, |latency| time(latency.p99));
    let of_tokens = if ours.is_single() && theirs.is_single() { "token latency" } else { "TPOT" };
    let to_first = match (ours.ttft_ns, theirs.ttft_ns) {
        (Some(own), Some(other)) => format!(", its p99 TTFT {} ({})", time(own.p99), time(other.p99)),
        _ => String::new(),
    };
    let alpha = |summary: &Summary| summary.alpha.mean.map_or_else(dash, |alpha| format!("{alpha:.3}"));
    let mut text = format!(
        "Its alpha is {} ({}: {}), its p99 {of_tokens} {} ({}){to_first}; {} moved between steps ({})",
        alpha(ours),
        first.label,
        alpha(theirs),
        p99(ours),
        p99(theirs),
        bytes_in(ours.size_style(), ours.migration.bytes()),
        bytes_in(theirs.size_style(), theirs.migration.bytes()),
    );
    let (late, late_there) = (ours.migration.late_tokens, theirs.migration.late_tokens);
    if late + late_there > 0 {
        text += &format!(", and {late} times a token was read before its move had ended ({late_there})");
    }
    text + "."
}

fn why(summary: &Summary) -> String {
    summary.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.trim_end_matches('.')))
}

/// A description of the simulated scenario, as flags may have changed the one that the question
/// names: once for all runs, or for each by its label.
pub(super) fn settings(runs: &[Labelled<'_>]) -> Vec<String> {
    let mut settings: Vec<String> = runs.iter().map(|run| setting(run.run) + ".").collect();
    if settings.windows(2).all(|pair| pair[0] == pair[1]) {
        settings.truncate(1);
        return settings.into_iter().map(|setting| format!("Simulated: {setting}")).collect();
    }
    runs.iter().zip(settings).map(|(run, setting)| format!("{}: {setting}", run.label)).collect()
}

fn setting(run: &RunReport) -> String {
    let scenario = &run.summary.scenario;
    let model = named(&scenario.model, |model| &model.name);
    let memory = named(&scenario.memory, |memory| &memory.name);
    let tiers: Vec<String> = run
        .summary
        .capacity_bytes
        .0
        .iter()
        .map(|(tier, capacity)| format!("{tier} {}", bytes_in(run.summary.size_style(), *capacity)))
        .collect();
    format!(
        "scenario {}, model {model} on memory {memory} ({}), {}{}",
        scenario.name,
        tiers.join(", "),
        lengths(&run.summary),
        match scenario.warmup_steps {
            0 => String::new(),
            steps => format!("; the first {steps} steps are left out of histograms, means and tokens/s"),
        }
    )
}

/// The sequences and their prompts.
fn lengths(summary: &Summary) -> String {
    if summary.requests.is_some() {
        return served::setting(summary);
    }
    let scenario = &summary.scenario;
    let prompts = match scenario.prefill {
        PrefillConfig::Given => String::new(),
        PrefillConfig::Timed { chunk_tokens, order } => format!(
            "; prompts are computed in chunks of up to {chunk_tokens} tokens a step, {}",
            match order {
                PrefillOrder::Mixed => "beside the sequences that decode",
                PrefillOrder::First => "while the sequences that decode wait",
            }
        ),
    };
    let group = |group: &SequencesSummary| {
        let start = match group.start_step {
            0 => String::new(),
            step => format!(" from step {step} on"),
        };
        let each = if group.count == 1 { "sequence with" } else { "sequences, each with" };
        let (count, prompt, decode) = (group.count, group.prefill_tokens, group.decode_tokens);
        format!("{count} {each} a prompt of {prompt} tokens and {decode} to decode{start}")
    };
    match summary.sequences.as_slice() {
        [] => format!("{} tokens before the first step, {} to decode", scenario.prefill_tokens, scenario.decode_tokens),
        groups if groups.len() <= GROUPS_NAMED => groups.iter().map(group).collect::<Vec<_>>().join("; ") + &prompts,
        groups => {
            let (count, tokens) = (summary.count_sequences(), summary.decoded_tokens());
            format!("{count} sequences in {} groups with {tokens} tokens to decode{prompts}", groups.len())
        }
    }
}

/// The most groups of sequences that a sentence lists.
const GROUPS_NAMED: usize = 4;

pub(super) fn named<'a, T>(reference: &'a Reference<T>, name: impl Fn(&'a T) -> &'a str) -> &'a str {
    match reference {
        Reference::Name(name) => name,
        Reference::Inline(value) => name(value),
    }
}

pub(super) fn fastest_tier(run: &RunReport) -> &str {
    run.tiers.first().map_or("tier 0", String::as_str)
}

pub(super) fn quantile(summary: &Summary, pick: fn(&Distribution) -> f64) -> String {
    summary.tpot().as_ref().map_or_else(dash, |latency| time(pick(latency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_runs_have_an_answer_and_no_setting() {
        assert_eq!(answer(&[]), "There are no runs.");
        assert!(settings(&[]).is_empty());
    }
}

//! The sentences and tables of runs that serve requests: do requests meet their goals, and what
//! limits them?

use crate::metrics::{Distribution, RequestsSummary, RunReport, Summary, rate};
use crate::report::labelled::Labelled;
use crate::report::numbers::{bytes_in, dash, percent, time};
use crate::workload::{Preemption, QueueOrder};

/// Whether all of `runs` serve requests, and there are any.
pub(super) fn all_serve(runs: &[Labelled<'_>]) -> bool {
    !runs.is_empty() && runs.iter().all(|run| run.run.summary.requests.is_some())
}

/// The columns of the first table, after the run's label.
pub(super) const COLUMNS: [&str; 17] = [
    "simulated time",
    "requests/s",
    "output tokens/s",
    "meet goals",
    "goodput",
    "TTFT p50",
    "TTFT p99",
    "TPOT p50",
    "TPOT p99",
    "end to end p50",
    "end to end p99",
    "queueing p50",
    "queueing p99",
    "hit rate",
    "preemptions",
    "rejected",
    "mean batch",
];

/// The cells of a run in the first table.
pub(super) fn cells(run: &RunReport) -> Vec<String> {
    let Some(of) = &run.summary.requests else { return vec![dash(); COLUMNS.len()] };
    let took = time(run.summary.simulated_ns);
    let at = |times: Option<Distribution>, pick: fn(&Distribution) -> f64| {
        times.as_ref().map_or_else(dash, |times| time(pick(times)))
    };
    let both = |times| [at(times, |it| it.p50), at(times, |it| it.p99)];
    let goodput = |shown: fn(&crate::metrics::GoodputSummary) -> String| of.goodput.as_ref().map_or_else(dash, shown);
    let mut cells = vec![
        if run.summary.complete { took } else { format!("{took}, incomplete") },
        of.requests_per_s.map_or_else(dash, rate),
        of.output_tokens_per_s.map_or_else(dash, rate),
        goodput(|it| percent(it.share)),
        goodput(|it| format!("{}/s", rate(it.requests_per_s))),
    ];
    cells.extend([of.ttft_ns, of.tpot_ns, of.e2e_ns, of.queueing_ns].into_iter().flat_map(both));
    cells.extend([
        of.prompt_tokens.hit_rate.map_or_else(dash, percent),
        of.preemptions.to_string(),
        of.rejected.to_string(),
        format!("{:.1}", of.batch_mean),
    ]);
    cells
}

/// A table with a row for each run and kind.
pub(super) struct Extra {
    pub title: &'static str,
    pub note: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<(String, Vec<String>)>,
}

/// The tables of runs that serve requests: where the KV of prompts came from, and the moves.
pub(super) fn extras(runs: &[Labelled<'_>]) -> Vec<Extra> {
    let several = runs.len() > 1;
    let name = |run: &Labelled<'_>, what: &str| {
        if several { format!("{what}, {}", run.label) } else { what.to_owned() }
    };
    let (mut prompts, mut moves) = (Vec::new(), Vec::new());
    for run in runs {
        let Some(of) = &run.run.summary.requests else { continue };
        let tokens = &of.prompt_tokens;
        let all = tokens.computed + tokens.hits.0.iter().map(|(_, tokens)| tokens).sum::<u64>();
        let share = |tokens: u64| if all > 0 { percent(tokens as f64 / all as f64) } else { dash() };
        for (tier, tokens) in &tokens.hits.0 {
            prompts.push((name(run, &format!("found in {tier}")), vec![tokens.to_string(), share(*tokens)]));
        }
        prompts.push((name(run, "computed"), vec![tokens.computed.to_string(), share(tokens.computed)]));
        if of.recomputed_tokens > 0 {
            let cells = vec![of.recomputed_tokens.to_string(), dash()];
            prompts.push((name(run, "computed again after preemptions"), cells));
        }
        for (kind, of) in &of.moves.0 {
            let at = |pick: fn(&Distribution) -> f64| of.latency_ns.as_ref().map_or_else(dash, |it| time(pick(it)));
            let bytes = bytes_in(run.run.summary.size_style(), of.bytes);
            moves.push((name(run, kind), vec![of.count.to_string(), bytes, at(|it| it.p50), at(|it| it.p99)]));
        }
    }
    let prompts = Extra {
        title: "KV of prompts",
        note: "Prompt tokens of the requests that ran, by where their KV came from.",
        columns: &["tokens", "share"],
        rows: prompts,
    };
    let moves = Extra {
        title: "Moves of KV",
        note: "Latency is the time from the request of a move to its last byte.",
        columns: &["moves", "bytes", "latency p50", "latency p99"],
        rows: moves,
    };
    [prompts, moves].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// How well one run serves its requests, in a sentence.
pub(super) fn headline(run: &Labelled<'_>) -> String {
    let summary = &run.run.summary;
    let Some(of) = &summary.requests else { return String::new() };
    if of.arrived > 0 && of.rejected == of.arrived {
        return format!("All {} requests were rejected, as they can never fit: their KV, or their tokens.", of.arrived);
    }
    if summary.steps == 0 {
        return format!("{} did not get to the end of its first step{}.", run.label, why(summary));
    }
    let [requests, tokens] = [of.requests_per_s, of.output_tokens_per_s].map(|it| it.map_or_else(dash, rate));
    let incomplete = if summary.complete {
        String::new()
    } else {
        format!("{} is incomplete{}. Until then, ", run.label, why(summary))
    };
    match &of.goodput {
        Some(goodput) => format!(
            "{incomplete}{} of {} requests meet {}: a goodput of {} requests/s (of {requests}), at {tokens} output tokens/s.",
            percent(goodput.share),
            of.arrived,
            goodput.goals,
            rate(goodput.requests_per_s)
        ),
        None => format!(
            "{incomplete}{} of {} requests were served, at {requests} requests/s and {tokens} output tokens/s.",
            of.finished, of.arrived
        ),
    }
}

/// The answer of a page of one run.
pub(super) fn of_one(run: &Labelled<'_>) -> String {
    let summary = &run.run.summary;
    let Some(of) = summary.requests.as_ref().filter(|_| summary.steps > 0) else { return headline(run) };
    let paragraphs = [
        vec![headline(run), missed(run.run), times(of)],
        vec![queueing(run.run, of), limit(summary, of), uncomputed(summary), unused(summary)],
        vec![caches(of), moves(summary, of), preempted(of)],
    ];
    let joined = |sentences: Vec<String>| {
        sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect::<Vec<_>>().join(" ")
    };
    paragraphs.into_iter().map(joined).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Which goals the others miss.
fn missed(run: &RunReport) -> String {
    let Some(requests) = &run.requests else { return String::new() };
    let goals = &requests.requests.goals;
    let limits = [("TTFT", goals.ttft), ("TPOT", goals.tpot), ("end-to-end time", goals.e2e)];
    let mut counts = [0u64; 3];
    for row in requests.rows() {
        let times = [row.ttft, row.tpot, row.e2e];
        for ((count, (_, limit)), time) in counts.iter_mut().zip(limits).zip(times) {
            *count += u64::from(time.zip(limit).is_some_and(|(time, limit)| time >= limit));
        }
    }
    let of = limits.iter().zip(counts).filter(|((_, limit), count)| limit.is_some() && *count > 0);
    let of: Vec<String> = of.map(|((name, _), count)| format!("{count} that of {name}")).collect();
    if of.is_empty() { String::new() } else { format!("Goals that were missed: {}.", of.join(", ")) }
}

fn times(of: &RequestsSummary) -> String {
    let at = |name: &str, times: Option<Distribution>| {
        times.map(|it| {
            format!("{name} is {} for half of the requests and at most {} for 99 %", time(it.p50), time(it.p99))
        })
    };
    let all: Vec<String> = [at("TTFT", of.ttft_ns), at("TPOT", of.tpot_ns)].into_iter().flatten().collect();
    if all.is_empty() { String::new() } else { format!("{}.", all.join("; ")) }
}

/// Whether prompts take no time but for their reads: then TTFT is too short on any real machine.
fn uncomputed(summary: &Summary) -> String {
    let of_runtime = summary.scenario.runtime.inline().and_then(|runtime| runtime.compute);
    if summary.scenario.compute.is_some() || of_runtime.is_some() {
        return String::new();
    }
    "Prompts take no longer than their reads: neither the scenario nor the runtime says how fast the chip \
     computes (--compute '690 TFLOP/s')."
        .to_owned()
}

/// Which settings of external memory have no effect, as no KV is kept there.
fn unused(summary: &Summary) -> String {
    let Some(requests) = &summary.scenario.requests else { return String::new() };
    let set: Vec<&str> = requests.kv.of_external().collect();
    if set.is_empty() || requests.kv.uses_external(requests.preemption) {
        return String::new();
    }
    format!(
        "Without effect, as no KV is kept in external memory: requests.kv.{} (--cache external keeps it there).",
        set.join(", requests.kv.")
    )
}

/// How much of TTFT is queueing, and what requests wait for.
fn queueing(run: &RunReport, of: &RequestsSummary) -> String {
    const WORTH_SAYING: f64 = 0.2;
    let (Some(queueing), Some(ttft)) = (of.queueing_ns, of.ttft_ns) else { return String::new() };
    let share = queueing.mean / ttft.mean;
    if share.is_nan() || share < WORTH_SAYING {
        return String::new();
    }
    let cause = run.requests.as_ref().map_or_else(String::new, |requests| {
        let limits = &requests.requests.limits;
        let tier = run.tiers.first().map_or("the first tier", String::as_str);
        let while_waiting = WhileWaiting::of(run);
        match while_waiting.kv {
            Some(kv) if kv > 0.9 => {
                format!(": KV of running requests then takes {} of its room in {tier}", percent(kv))
            }
            _ if while_waiting.running > 0.95 * f64::from(limits.sequences) => {
                format!(": as many requests run then as `limits.sequences` allows, {}", limits.sequences)
            }
            _ => format!(": for the step before, and for a share of the {} tokens of a step", limits.tokens),
        }
    });
    format!("{} of TTFT is waiting for the first step{cause}.", percent(share))
}

/// What is full while requests wait: means over the time that they wait.
#[derive(Default)]
struct WhileWaiting {
    /// How many requests run.
    running: f64,
    /// The share of its room in the first tier that the KV of running requests takes.
    kv: Option<f64>,
}

impl WhileWaiting {
    fn of(run: &RunReport) -> Self {
        let Some(requests) = &run.requests else { return Self::default() };
        let room = requests.kv_room.values().next().map_or(0.0, |room| room.as_f64());
        let weights = run.summary.layout.as_ref().and_then(|layout| layout.start.weights_bytes.0.first());
        let weights = weights.map_or(0.0, |(_, bytes)| *bytes as f64);
        let (mut waited, mut running, mut kv) = (0.0, 0.0, 0.0);
        for (_, bin, tiers) in requests.series.bins().filter(|(_, bin, _)| bin.pages_hbm > 0.0) {
            let in_use = (bin.mean(tiers[0].used) - weights).max(0.0) * (1.0 - bin.pages_cached / bin.pages_hbm);
            waited += bin.waiting;
            running += bin.waiting * bin.mean(bin.running);
            kv += bin.waiting * in_use;
        }
        if waited == 0.0 {
            return Self::default();
        }
        Self { running: running / waited, kv: (room > 0.0).then(|| kv / waited / room) }
    }
}

/// What the time is spent on.
fn limit(summary: &Summary, of: &RequestsSummary) -> String {
    let Some(waits) = &summary.waits else { return String::new() };
    let mut parts: Vec<(String, f64)> =
        waits.tiers_ns.0.iter().map(|(tier, time)| (format!("reads from {tier}"), *time)).collect();
    parts.push(("compute".to_owned(), waits.compute_ns));
    parts.push(("fixed times of the runtime".to_owned(), waits.fixed_ns.unwrap_or(0.0)));
    parts.push(("moves of KV".to_owned(), of.moves_ns));
    let all: f64 = parts.iter().map(|(_, time)| time).sum::<f64>() + of.idle_ns;
    if all <= 0.0 {
        return String::new();
    }
    parts.retain(|(_, time)| *time >= 0.005 * all);
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    let parts: Vec<String> =
        parts.iter().map(|(what, time)| format!("for {what} in {} of the time", percent(time / all))).collect();
    let idle = match of.idle_ns / all {
        share if share >= 0.005 => format!(" It is idle in {}.", percent(share)),
        _ => String::new(),
    };
    if parts.is_empty() {
        return idle.trim_start().replace("It is idle", "The engine is idle");
    }
    format!("The engine waits {}.{idle}", parts.join(", "))
}

fn caches(of: &RequestsSummary) -> String {
    let tokens = &of.prompt_tokens;
    let Some(found) = tokens.hit_rate.filter(|rate| *rate > 0.0) else { return String::new() };
    let all = tokens.computed + tokens.hits.0.iter().map(|(_, tokens)| tokens).sum::<u64>();
    let by_tier = tokens.hits.0.iter().filter(|(_, tokens)| *tokens > 0);
    let by_tier: Vec<String> =
        by_tier.map(|(tier, tokens)| format!("{} in {tier}", percent(*tokens as f64 / all as f64))).collect();
    format!("Of the prompt tokens, {} were found in caches ({}).", percent(found), by_tier.join(", "))
}

fn moves(summary: &Summary, of: &RequestsSummary) -> String {
    let all: Vec<String> = (of.moves.0.iter())
        .map(|(kind, of)| {
            let what = match kind.as_str() {
                "Load" => "loads",
                "Store" => "stores",
                "SwapOut" => "swaps out",
                _ => "swaps in",
            };
            format!("{} by {what}", bytes_in(summary.size_style(), of.bytes))
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("KV moved between tiers: {}.", all.join(", ")) }
}

fn preempted(of: &RequestsSummary) -> String {
    let mut text = String::new();
    if of.preemptions > 0 {
        text +=
            &if of.preemptions == 1 { "1 preemption".to_owned() } else { format!("{} preemptions", of.preemptions) };
        text += &match of.recomputed_tokens {
            0 => ".".to_owned(),
            tokens => format!(" made the engine compute {tokens} tokens again."),
        };
    }
    if of.rejected > 0 {
        let gap = if text.is_empty() { "" } else { " " };
        let were = if of.rejected == 1 { "request was" } else { "requests were" };
        text += &format!("{gap}{} {were} rejected, as they can never fit.", of.rejected);
    }
    text
}

/// Which of several runs serves best: by goodput where all have goals, else by the mean end-to-end
/// time.
pub(super) fn of_several(first: &Labelled<'_>, runs: &[Labelled<'_>]) -> String {
    let requests = |run: &Labelled<'_>| run.run.summary.requests.clone().unwrap_or_default();
    let ended: Vec<&Labelled<'_>> = runs.iter().filter(|run| run.run.summary.complete).collect();
    let goals = ended.iter().all(|run| requests(run).goodput.is_some());
    let figure = |run: &Labelled<'_>| {
        let of = requests(run);
        match of.goodput.filter(|_| goals) {
            Some(goodput) => Some(goodput.requests_per_s),
            None => of.e2e_ns.map(|it| -it.mean),
        }
    };
    let shown = |value: f64| if goals { format!("{} requests/s", rate(value)) } else { time(-value) };
    let known = ended.iter().filter_map(|run| Some((*run, figure(run)?)));
    // Of equal ones the first.
    let best = known.rev().max_by(|one, other| one.1.total_cmp(&other.1));
    let mut sentences = Vec::new();
    match best {
        None => sentences.push("No run served its requests to the end.".to_owned()),
        Some((best, value)) => {
            let what = if goals { "has the highest goodput" } else { "has the shortest mean end-to-end time" };
            let against = match figure(first).filter(|_| !std::ptr::eq(best.run, first.run)) {
                Some(other) => format!(", against {} of {}", shown(other), first.label),
                None => String::new(),
            };
            sentences.push(format!("Of {} runs, {} {what}: {}{against}.", runs.len(), best.label, shown(value)));
            sentences.push(times(&requests(best)));
            sentences.push(limit(&best.run.summary, &requests(best)));
        }
    }
    for run in runs.iter().filter(|run| !run.run.summary.complete) {
        sentences.push(format!("{} is incomplete{}.", run.label, why(&run.run.summary)));
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

fn why(summary: &Summary) -> String {
    summary.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.trim_end_matches('.')))
}

/// The requests and how they are served, as a part of a sentence.
pub(super) fn setting(summary: &Summary) -> String {
    let Some(of) = &summary.requests else { return String::new() };
    let Some(config) = &summary.scenario.requests else { return format!("{} requests", of.arrived) };
    let order = match config.order {
        QueueOrder::Fcfs => "first come, first served",
        QueueOrder::ShortestFirst => "the shortest first",
    };
    let preemption = match config.preemption {
        Preemption::Recompute => "recomputed",
        Preemption::Swap => "swapped",
    };
    format!(
        "{} requests, {order}, at most {} at once and {} tokens a step; KV of preempted requests is {preemption}",
        of.arrived, config.limits.sequences, config.limits.tokens
    )
}

/// The question of a page of runs that serve requests.
pub(super) fn question(runs: &[Labelled<'_>], model: &str, memory: &str) -> String {
    let requests = runs.first().and_then(|run| run.run.summary.requests.as_ref());
    let (arrived, goals) =
        requests.map_or((0, None), |of| (of.arrived, of.goodput.as_ref().map(|goodput| goodput.goals.clone())));
    let on = format!("{model} on the memory system {memory}");
    match (runs.len(), goals) {
        (0 | 1, Some(goals)) => format!("Do {arrived} requests to {on} meet {goals}, and what limits them?"),
        (0 | 1, None) => format!("How long do {arrived} requests to {on} take, and what limits them?"),
        (count, Some(goals)) => format!("Which of {count} runs serves {arrived} requests to {on} best, for {goals}?"),
        (count, None) => format!("Which of {count} runs serves {arrived} requests to {on} fastest?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::synthetic::{requests, serve};
    use crate::units::SimTime;
    use crate::workload::GoalsConfig;

    #[test]
    fn the_answer_says_who_meets_the_goals_and_what_limits() {
        let goals = GoalsConfig { ttft: Some(SimTime::from_ns(2e9)), ..GoalsConfig::default() };
        let served = serve(requests(300, SimTime::from_ns(1e8), goals));
        let run = Labelled { label: "engine", run: &served.report };
        let text = of_one(&run);
        let share = served.report.summary.requests.as_ref().unwrap().goodput.as_ref().unwrap().share;
        assert!(text.starts_with(&format!("{} of 300 requests meet ttft<2s: a goodput of", percent(share))), "{text}");
        for part in
            ["that of TTFT", "TTFT is ", "TPOT is ", "The engine waits for reads from hbm in", "found in caches"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(cells(&served.report).len(), COLUMNS.len());
        let calm = serve(requests(300, SimTime::from_ns(4e8), goals));
        let both = [run, Labelled { label: "calm", run: &calm.report }];
        assert!(of_several(&both[0], &both).starts_with("Of 2 runs, "), "{}", of_several(&both[0], &both));
        assert_eq!(extras(&both).len(), 2);
    }
}

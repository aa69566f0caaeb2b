//! The figures of a run: one table, which the rows of sweeps, the columns of their datasets, short
//! names, units and comparisons are made from.
//!
//! A [`Figure`] is a number in `summary.json`, or one for each tier, lane, class of transfers or
//! group of sequences: its path then has a placeholder, as in `lanes.{lane}.utilization`. The table
//! has every number of a [`Summary`] but those of its scenario and of the lengths of groups, which
//! the tests hold against the published schema and against a written `summary.json`. To add a
//! figure, add its line to [`table`] (and its field to [`Summary`]).

use super::summary::{Distribution, Named, RequestsSummary, SequencesSummary, StoredSummary, Summary};
use crate::units::{SimTime, SizeStyle};
use FigureUnit::{Bytes, Number, Rate, Requests, Share, Time};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureUnit {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// A share of one.
    Share,
    /// Tokens a second.
    Rate,
    /// Requests a second.
    Requests,
    /// Anything else.
    Number,
}

/// The value of a figure in one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FigureValue {
    /// Counts and bytes.
    Whole(u64),
    /// Shares, ratios, and times in nanoseconds.
    Real(f64),
}

/// Takes the values of a figure: the names that stand for the placeholders of its path, and the
/// value.
type Take<'a> = dyn FnMut(&[&str], FigureValue) + 'a;

/// Hands every value of a figure in a summary to the closure.
type Get = dyn Fn(&Summary, &mut Take<'_>) + Send + Sync;

/// A line of the table: a number of every run, or one for each of its tiers, lanes or classes.
pub struct Figure {
    /// Its path in `summary.json`, with placeholders (`{tier}`, `{lane}`, `{class}`, `{group}`,
    /// `{kind}`) for
    /// names.
    pub path: String,
    /// Its unit.
    pub unit: FigureUnit,
    /// Short names by which it can be asked for.
    pub aliases: &'static [&'static str],
    /// Whether comparisons of runs show it, in the order of the table.
    pub compared: bool,
    /// Whether the rows of a sweep have it.
    pub swept: bool,
    /// Its rank among the figures that stand first in a sweep's dataset; the others follow by name.
    pub rank: Option<u8>,
    get: Box<Get>,
}

/// All figures, in the order in which comparisons show them.
#[must_use]
pub fn figures() -> &'static [Figure] {
    static FIGURES: OnceLock<Vec<Figure>> = OnceLock::new();
    FIGURES.get_or_init(table)
}

/// The table. Lines of every class that follow each other are shown together: all of the first
/// class, then all of the second.
fn table() -> Vec<Figure> {
    let parts =
        [of_the_run(), latencies(), groups(), alphas(), transfers(), layout(), memory_and_lanes(), cache(), requests()];
    parts.into_iter().flatten().collect()
}

#[rustfmt::skip]
fn of_the_run() -> Vec<Figure> {
    vec![
        real("simulated_ns", Time, |it| Some(it.simulated_ns)).aka(&["time"]).swept_first(0).compared(),
        real("tokens_per_s", Rate, |it| it.tokens_per_s).aka(&["rate", "tokens/s"]).swept().compared(),
        whole("steps", Number, |it| it.steps).swept_first(7).compared(),
        whole("events", Number, |it| it.events).swept(),
        real("drained_ns", Time, |it| Some(it.drained_ns)),
        real("bound.simulated_ns", Time, |it| Some(it.bound.simulated_ns)).swept().compared(),
        real("bound.achieved_over_bound", Number, |it| it.bound.achieved_over_bound)
            .aka(&["over_bound", "achieved_over_bound"]).swept_first(3).compared(),
        real("bound.charged_ns", Time, |it| it.bound.charged_ns).swept(),
        real("bound.achieved_over_charged", Number, |it| it.bound.achieved_over_charged).swept(),
    ]
}

#[rustfmt::skip]
fn latencies() -> Vec<Figure> {
    let mut all = Vec::new();
    for (part, of) in PARTS {
        let figure = real(&format!("token_latency_ns.{part}"), Time, move |it| it.token_latency_ns.map(of));
        all.push(match part {
            "mean" => figure.aka(&["mean"]).swept().compared(),
            "p50" => figure.aka(&["p50"]).swept_first(1).compared(),
            "p90" => figure.aka(&["p90"]).swept().compared(),
            "p99" => figure.aka(&["p99"]).swept_first(2).compared(),
            "p999" => figure.aka(&["p999"]).swept().compared(),
            "max" => figure.aka(&["max"]).swept().compared(),
            _ => figure.swept(),
        });
    }
    for (name, aliases, of_run) in TOKENS {
        for (part, of) in PARTS {
            let figure = real(&format!("{name}.{part}"), Time, move |it| of_run(it).map(of)).swept();
            all.push(known_as(figure, part, aliases));
        }
    }
    for (part, of) in PARTS {
        let figure = real(&format!("layer_latency_ns.{part}"), Time, move |it| it.layer_latency_ns.map(of)).swept();
        all.push(if ["p50", "p99"].contains(&part) { figure.compared() } else { figure });
    }
    all
}

/// The figures of each group of sequences. Comparisons show those of runs of several groups; the
/// rows of sweeps have none, as there may be any number.
fn groups() -> Vec<Figure> {
    let path = |name: &str| format!("sequences.{{group}}.{name}");
    let mut all = vec![each(&path("tokens_per_s"), Rate, |it, take| {
        each_group(it, |group| group.tokens_per_s, take);
    })];
    for (name, of_group) in GROUP_TOKENS {
        for (part, of) in PARTS {
            all.push(each(&path(&format!("{name}.{part}")), Time, move |it, take| {
                each_group(it, |group| of_group(group).map(of), take);
            }));
        }
    }
    let shown = |figure: &Figure| ["tokens_per_s", "p50", "p99"].iter().any(|part| figure.path.ends_with(part));
    all.into_iter().map(|figure| if shown(&figure) { figure.compared() } else { figure }).collect()
}

/// The most groups whose figures a comparison has room for.
const GROUPS_SHOWN: usize = 16;

/// Takes a value of each group of sequences, where there are several.
fn each_group(of: &Summary, value: impl Fn(&SequencesSummary) -> Option<f64>, take: &mut Take<'_>) {
    let several = if of.sequences.len() > 1 { &of.sequences[..of.sequences.len().min(GROUPS_SHOWN)] } else { &[] };
    for (number, group) in several.iter().enumerate() {
        value(group).into_iter().for_each(|value| take(&[&number.to_string()], FigureValue::Real(value)));
    }
}

#[rustfmt::skip]
fn alphas() -> Vec<Figure> {
    vec![
        real("best_ratio", Share, |it| Some(it.best_ratio)).swept(),
        real("alpha.mean", Share, |it| it.alpha.mean).aka(&["alpha"]).swept_first(4).compared(),
        real("alpha.min", Share, |it| it.alpha.min).swept().compared(),
        real("alpha.max", Share, |it| it.alpha.max).swept().compared(),
        real("alpha.first", Share, |it| it.alpha.first).swept(),
        real("alpha.last", Share, |it| it.alpha.last).swept(),
        real("alpha.attention.mean", Share, |it| it.alpha.attention.mean).swept(),
        real("alpha.attention.last", Share, |it| it.alpha.attention.last).swept(),
        real("alpha.mlp.mean", Share, |it| it.alpha.mlp.mean).swept(),
        real("alpha.mlp.last", Share, |it| it.alpha.mlp.last).swept(),
        real("alpha.embedding.mean", Share, |it| it.alpha.embedding.as_ref()?.mean).swept(),
        real("alpha.embedding.last", Share, |it| it.alpha.embedding.as_ref()?.last).swept(),
        real("alpha.head.mean", Share, |it| it.alpha.head.as_ref()?.mean).swept(),
        real("alpha.head.last", Share, |it| it.alpha.head.as_ref()?.last).swept(),
        shares("read_share.{tier}", |it| Some(&it.read_share)).swept(),
    ]
}

#[rustfmt::skip]
fn transfers() -> Vec<Figure> {
    let mut all = vec![
        each("transfers.{class}.count", Number, |it, take| {
            it.transfers.0.iter().for_each(|(class, of)| take(&[class], FigureValue::Whole(of.count)));
        }).swept(),
        each("transfers.{class}.bytes.{tier}", Bytes, |it, take| {
            for (class, of) in &it.transfers.0 {
                of.bytes.0.iter().for_each(|(tier, bytes)| take(&[class, tier], FigureValue::Whole(*bytes)));
            }
        }).swept(),
    ];
    for (name, of_class) in TIMES {
        for (part, of) in PARTS {
            let figure = each(&format!("transfers.{{class}}.{name}.{part}"), Time, move |it, take| {
                for (class, transfers) in &it.transfers.0 {
                    of_class(transfers).into_iter().for_each(|times| take(&[class], FigureValue::Real(of(times))));
                }
            });
            // The outer percentiles would double the columns of a dataset.
            let figure = if ["mean", "p50", "p99", "max"].contains(&part) { figure.swept() } else { figure };
            let compared = [("latency_ns", "p50"), ("latency_ns", "p99"), ("queueing_ns", "p99")];
            all.push(if compared.contains(&(name, part)) { figure.compared() } else { figure });
        }
    }
    all
}

#[rustfmt::skip]
fn layout() -> Vec<Figure> {
    let mut all = Vec::new();
    for (when, stored) in MOMENTS {
        let (weights, kv) = (format!("layout.{when}.weights"), format!("layout.{when}.kv"));
        let of_weights = shares(&format!("{weights}_share.{{tier}}"), move |it| Some(&stored(it)?.weights_share)).swept();
        all.push(if when == "start" { of_weights.compared() } else { of_weights });
        all.push(shares(&format!("{kv}_share.{{tier}}"), move |it| Some(&stored(it)?.kv_share)).swept().compared());
        all.push(bytes(&format!("{weights}_bytes.{{tier}}"), move |it| Some(&stored(it)?.weights_bytes)));
        all.push(bytes(&format!("{kv}_bytes.{{tier}}"), move |it| Some(&stored(it)?.kv_bytes)));
    }
    all
}

#[rustfmt::skip]
fn memory_and_lanes() -> Vec<Figure> {
    vec![
        each("waits.tiers_ns.{tier}", Time, |it, take| {
            let waits = it.waits.iter().flat_map(|waits| &waits.tiers_ns.0);
            waits.for_each(|(tier, time)| take(&[tier], FigureValue::Real(*time)));
        }).compared(),
        real("waits.compute_ns", Time, |it| it.waits.as_ref().map(|waits| waits.compute_ns)).compared(),
        real("waits.fixed_ns", Time, |it| it.waits.as_ref().and_then(|waits| waits.fixed_ns)).compared(),
        bytes("peak_bytes.{tier}", |it| Some(&it.peak_bytes)).swept().compared(),
        bytes("capacity_bytes.{tier}", |it| Some(&it.capacity_bytes)).swept(),
        each("lanes.{lane}.utilization", Share, |it, take| {
            it.lanes.0.iter().for_each(|(lane, of)| take(&[lane], FigureValue::Real(of.utilization)));
        }).swept().compared(),
        each("lanes.{lane}.busy_ns", Time, |it, take| {
            it.lanes.0.iter().for_each(|(lane, of)| take(&[lane], FigureValue::Real(of.busy_ns)));
        }),
        each("lanes.{lane}.bytes", Bytes, |it, take| {
            it.lanes.0.iter().for_each(|(lane, of)| take(&[lane], FigureValue::Whole(of.bytes)));
        }),
        each("lanes.{lane}.bytes_by_class.{class}", Bytes, |it, take| {
            for (lane, of) in &it.lanes.0 {
                of.bytes_by_class.0.iter().for_each(|(class, bytes)| take(&[lane, class], FigureValue::Whole(*bytes)));
            }
        }),
        whole("read_beyond_bytes", Bytes, |it| it.read_beyond_bytes).swept().compared(),
        real("read_beyond_share", Share, |it| Some(it.read_beyond_share)),
        whole("migration.in_bytes", Bytes, |it| it.migration.in_bytes).swept_first(5).compared(),
        whole("migration.out_bytes", Bytes, |it| it.migration.out_bytes).swept_first(6).compared(),
        whole("migration.late_tokens", Number, |it| it.migration.late_tokens).swept().compared(),
        whole("migration.dropped_bytes", Bytes, |it| it.migration.dropped_bytes),
    ]
}

#[rustfmt::skip]
fn cache() -> Vec<Figure> {
    vec![
        real("cache.kv.hit_rate", Share, |it| it.cache?.kv.hit_rate).aka(&["hit_rate"]).swept().compared(),
        maybe("cache.kv.hits", Number, |it| Some(it.cache?.kv.hits)),
        maybe("cache.kv.misses", Number, |it| Some(it.cache?.kv.misses)),
        maybe("cache.kv.hit_bytes", Bytes, |it| Some(it.cache?.kv.hit_bytes)),
        maybe("cache.kv.missed_bytes", Bytes, |it| Some(it.cache?.kv.missed_bytes)).swept().compared(),
        maybe("cache.prefetch.issued_bytes", Bytes, |it| Some(it.cache?.prefetch?.issued_bytes)).swept().compared(),
        maybe("cache.prefetch.useful_bytes", Bytes, |it| Some(it.cache?.prefetch?.useful_bytes)).swept().compared(),
        maybe("cache.prefetch.late_bytes", Bytes, |it| Some(it.cache?.prefetch?.late_bytes)).swept().compared(),
        maybe("cache.prefetch.wrong_bytes", Bytes, |it| Some(it.cache?.prefetch?.wrong_bytes)).swept().compared(),
        real("experts.hit_rate", Share, |it| it.experts?.hit_rate).aka(&["expert_hit_rate"]).swept().compared(),
        maybe("experts.hits", Number, |it| Some(it.experts?.hits)),
        maybe("experts.misses", Number, |it| Some(it.experts?.misses)),
        maybe("experts.hit_bytes", Bytes, |it| Some(it.experts?.hit_bytes)),
        maybe("experts.missed_bytes", Bytes, |it| Some(it.experts?.missed_bytes)).swept().compared(),
    ]
}

/// The figures of a run that serves requests.
#[rustfmt::skip]
fn requests() -> Vec<Figure> {
    let mut all = vec![
        of_requests("requests_per_s", Requests, |it| it.requests_per_s).aka(&["requests_per_s"]).swept().compared(),
        of_requests("output_tokens_per_s", Rate, |it| it.output_tokens_per_s).swept(),
        of_requests("prompt_tokens_per_s", Rate, |it| it.prompt_tokens_per_s).swept().compared(),
        of_requests("goodput.requests_per_s", Requests, |it| Some(it.goodput.as_ref()?.requests_per_s))
            .aka(&["goodput"]).swept().compared(),
        of_requests("goodput.share", Share, |it| Some(it.goodput.as_ref()?.share))
            .aka(&["goodput_share"]).swept().compared(),
        count("goodput.requests", |it| Some(it.goodput.as_ref()?.requests)),
    ];
    for (name, aliases, of_run) in OF_REQUESTS {
        for (part, of) in PARTS {
            let path = format!("requests.{name}.{part}");
            let figure = real(&path, Time, move |it| it.requests.as_ref().and_then(of_run).map(of)).swept();
            all.push(known_as(figure, part, aliases));
        }
    }
    all.extend([
        count("arrived", |it| Some(it.arrived)).swept().compared(),
        count("finished", |it| Some(it.finished)).swept().compared(),
        count("rejected", |it| Some(it.rejected)).aka(&["rejected"]).swept().compared(),
        count("preemptions", |it| Some(it.preemptions)).aka(&["preemptions"]).swept().compared(),
        count("recomputed_tokens", |it| Some(it.recomputed_tokens)).swept().compared(),
        count("output_tokens", |it| Some(it.output_tokens)).swept(),
        of_requests("prompt_tokens.hit_rate", Share, |it| it.prompt_tokens.hit_rate)
            .aka(&["prefix_hit_rate"]).swept().compared(),
        count("prompt_tokens.computed", |it| Some(it.prompt_tokens.computed)).swept(),
        each("requests.prompt_tokens.hits.{tier}", Number, |it, take| {
            let hits = it.requests.iter().flat_map(|of| &of.prompt_tokens.hits.0);
            hits.for_each(|(tier, tokens)| take(&[tier], FigureValue::Whole(*tokens)));
        }).swept().compared(),
        of_requests("batch_mean", Number, |it| Some(it.batch_mean)).aka(&["batch_mean"]).swept().compared(),
        count("batch_max", |it| Some(it.batch_max)).swept().compared(),
        of_requests("idle_ns", Time, |it| Some(it.idle_ns)).swept().compared(),
        of_requests("moves_ns", Time, |it| Some(it.moves_ns)).swept().compared(),
        each("requests.moves.{kind}.count", Number, |it, take| {
            let moves = it.requests.iter().flat_map(|of| &of.moves.0);
            moves.for_each(|(kind, of)| take(&[kind], FigureValue::Whole(of.count)));
        }).swept().compared(),
        each("requests.moves.{kind}.bytes", Bytes, |it, take| {
            let moves = it.requests.iter().flat_map(|of| &of.moves.0);
            moves.for_each(|(kind, of)| take(&[kind], FigureValue::Whole(of.bytes)));
        }).swept().compared(),
    ]);
    for (part, of) in PARTS {
        let figure = each(&format!("requests.moves.{{kind}}.latency_ns.{part}"), Time, move |it, take| {
            for (kind, moves) in it.requests.iter().flat_map(|of| &of.moves.0) {
                moves.latency_ns.into_iter().for_each(|times| take(&[kind], FigureValue::Real(of(times))));
            }
        });
        let figure = if ["mean", "p50", "p99", "max"].contains(&part) { figure.swept() } else { figure };
        all.push(if ["p50", "p99"].contains(&part) { figure.compared() } else { figure });
    }
    all
}

fn of_requests(path: &str, unit: FigureUnit, get: fn(&RequestsSummary) -> Option<f64>) -> Figure {
    real(&format!("requests.{path}"), unit, move |it| it.requests.as_ref().and_then(get))
}

/// A whole number of requests or tokens.
fn count(path: &str, get: fn(&RequestsSummary) -> Option<u64>) -> Figure {
    each(&format!("requests.{path}"), Number, move |summary, take| {
        let value = summary.requests.as_ref().and_then(get);
        value.into_iter().for_each(|value| take(&[], FigureValue::Whole(value)));
    })
}

type OfRequests = fn(&RequestsSummary) -> Option<Distribution>;

/// The distributions of requests, with the short names of their mean, p50 and p99. TTFT has the
/// short names of `ttft_ns`, which is the same.
const OF_REQUESTS: [(&str, [&[&str]; 3], OfRequests); 4] = [
    ("ttft_ns", [&[], &[], &[]], |it| it.ttft_ns),
    ("tpot_ns", [&["request_tpot"], &["request_tpot_p50"], &["request_tpot_p99"]], |it| it.tpot_ns),
    ("e2e_ns", [&["e2e"], &["e2e_p50"], &["e2e_p99"]], |it| it.e2e_ns),
    ("queueing_ns", [&["queueing"], &["queueing_p50"], &["queueing_p99"]], |it| it.queueing_ns),
];

/// The figure of a `part` of a distribution of times that people wait for, with the short names of
/// the mean, the median and the 99th percentile; comparisons show these and the greatest.
fn known_as(figure: Figure, part: &str, aliases: [&'static [&'static str]; 3]) -> Figure {
    let figure = match part {
        "mean" => figure.aka(aliases[0]),
        "p50" => figure.aka(aliases[1]),
        "p99" => figure.aka(aliases[2]),
        _ => figure,
    };
    if ["mean", "p50", "p99", "max"].contains(&part) { figure.compared() } else { figure }
}

type Part = fn(Distribution) -> f64;

/// The figures of a distribution.
const PARTS: [(&str, Part); 7] = [
    ("mean", |it| it.mean),
    ("p50", |it| it.p50),
    ("p90", |it| it.p90),
    ("p99", |it| it.p99),
    ("p999", |it| it.p999),
    ("max", |it| it.max),
    ("min", |it| it.min),
];

type OfTokens = fn(&Summary) -> Option<Distribution>;

/// The distributions of the tokens of several sequences, with the short names of their mean, p50
/// and p99.
const TOKENS: [(&str, [&[&str]; 3], OfTokens); 2] = [
    ("tpot_ns", [&["tpot"], &["tpot_p50"], &["tpot_p99"]], |it| it.tpot_ns),
    ("ttft_ns", [&["ttft"], &["ttft_p50"], &["ttft_p99"]], |it| it.ttft_ns),
];

type OfGroup = fn(&SequencesSummary) -> Option<Distribution>;

/// The distributions of the tokens of a group.
const GROUP_TOKENS: [(&str, OfGroup); 2] = [("tpot_ns", |it| it.tpot_ns), ("ttft_ns", |it| it.ttft_ns)];

type Times = fn(&super::TransferSummary) -> Option<Distribution>;

/// The distributions of a class of transfers.
const TIMES: [(&str, Times); 3] =
    [("latency_ns", |it| it.latency_ns), ("queueing_ns", |it| it.queueing_ns), ("lateness_ns", |it| it.lateness_ns)];

type Stored = for<'a> fn(&'a Summary) -> Option<&'a StoredSummary>;

/// The moments at which a summary has a layout.
const MOMENTS: [(&str, Stored); 2] =
    [("start", |it| Some(&it.layout.as_ref()?.start)), ("end", |it| Some(&it.layout.as_ref()?.end))];

fn each(path: &str, unit: FigureUnit, get: impl Fn(&Summary, &mut Take<'_>) + Send + Sync + 'static) -> Figure {
    let (path, get) = (path.to_owned(), Box::new(get));
    Figure { path, unit, aliases: &[], compared: false, swept: false, rank: None, get }
}

fn real(path: &str, unit: FigureUnit, get: impl Fn(&Summary) -> Option<f64> + Send + Sync + 'static) -> Figure {
    each(path, unit, move |summary, take| {
        get(summary).into_iter().for_each(|value| take(&[], FigureValue::Real(value)));
    })
}

fn whole(path: &str, unit: FigureUnit, get: fn(&Summary) -> u64) -> Figure {
    each(path, unit, move |summary, take| take(&[], FigureValue::Whole(get(summary))))
}

/// A whole number that only some runs have.
fn maybe(path: &str, unit: FigureUnit, get: fn(&Summary) -> Option<u64>) -> Figure {
    each(path, unit, move |summary, take| {
        get(summary).into_iter().for_each(|value| take(&[], FigureValue::Whole(value)));
    })
}

/// A share of every tier.
fn shares(path: &str, get: impl Fn(&Summary) -> Option<&Named<Option<f64>>> + Send + Sync + 'static) -> Figure {
    each(path, Share, move |summary, take| {
        for (tier, share) in get(summary).into_iter().flat_map(|named| &named.0) {
            share.iter().for_each(|share| take(&[tier], FigureValue::Real(*share)));
        }
    })
}

/// Bytes on every tier.
fn bytes(path: &str, get: impl Fn(&Summary) -> Option<&Named<u64>> + Send + Sync + 'static) -> Figure {
    each(path, Bytes, move |summary, take| {
        let named = get(summary).into_iter().flat_map(|named| &named.0);
        named.for_each(|(tier, bytes)| take(&[tier], FigureValue::Whole(*bytes)));
    })
}

impl Figure {
    fn aka(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    fn compared(mut self) -> Self {
        self.compared = true;
        self
    }

    fn swept(mut self) -> Self {
        self.swept = true;
        self
    }

    fn swept_first(mut self, rank: u8) -> Self {
        self.rank = Some(rank);
        self.swept()
    }

    /// Its path as far as it is the same for all runs: to its first placeholder.
    fn stem(&self) -> &str {
        let end = self.path.find(".{").unwrap_or(self.path.len());
        &self.path[..end]
    }

    /// Its values in a run, each with its whole path. NaN is left out: neither JSON nor a dataset
    /// can hold it.
    pub fn values(&self, summary: &Summary) -> Vec<(String, FigureValue)> {
        let mut values = Vec::new();
        (self.get)(summary, &mut |names, value| {
            if value.as_f64().is_finite() {
                values.push((self.filled(names), value));
            }
        });
        values
    }

    /// Its path with `names` for its placeholders.
    fn filled(&self, names: &[&str]) -> String {
        let mut path = self.path.clone();
        for name in names {
            if let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
                path.replace_range(from..=to, name);
            }
        }
        path
    }
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figure").field("path", &self.path).field("unit", &self.unit).finish_non_exhaustive()
    }
}

/// The figures of a run that the rows of a sweep have, by their paths.
#[must_use]
pub fn swept_figures(summary: &Summary) -> Named<FigureValue> {
    Named(figures().iter().filter(|figure| figure.swept).flat_map(|figure| figure.values(summary)).collect())
}

/// The paths of the figures that a comparison of runs shows, in its order: those that at least one
/// of `summaries` has.
#[must_use]
pub fn compared_paths(summaries: &[&Summary]) -> Vec<String> {
    let compared: Vec<&Figure> = figures().iter().filter(|figure| figure.compared).collect();
    let mut paths: Vec<String> = Vec::new();
    for group in compared.chunk_by(|one, next| one.stem() != one.path && one.stem() == next.stem()) {
        // For each name that takes the first placeholder's place, its paths.
        let mut by_name: Vec<(String, Vec<String>)> = Vec::new();
        for figure in group {
            for summary in summaries {
                (figure.get)(summary, &mut |names, _| {
                    let (name, path) = (names.first().copied().unwrap_or_default(), figure.filled(names));
                    match by_name.iter_mut().find(|(known, _)| known == name) {
                        Some((_, paths)) if paths.contains(&path) => {}
                        Some((_, paths)) => paths.push(path),
                        None => by_name.push((name.to_owned(), vec![path])),
                    }
                });
            }
        }
        paths.extend(by_name.into_iter().flat_map(|(_, paths)| paths));
    }
    paths
}

/// The short names of figures.
pub fn short_names() -> impl Iterator<Item = &'static str> {
    figures().iter().flat_map(|figure| figure.aliases.iter().copied())
}

/// The path of the figure that is called `name`, which may be its path or a short name.
#[must_use]
pub fn full_name(name: &str) -> &str {
    figures().iter().find(|figure| figure.aliases.contains(&name)).map_or(name, |figure| &figure.path)
}

/// The figure that has the value of the one at `path` in a run that does not have it: TPOT of one
/// sequence whose prompt is given is the latency of a step, and where requests are served, the hit
/// rate is that of prefix caches.
#[must_use]
pub fn stand_in(path: &str) -> Option<String> {
    if path == "cache.kv.hit_rate" {
        return Some("requests.prompt_tokens.hit_rate".to_owned());
    }
    path.strip_prefix("tpot_ns.").map(|part| format!("token_latency_ns.{part}"))
}

/// The paths of figures as far as these are the same for all runs: those by tier, lane or class end
/// before the name.
#[must_use]
pub fn known_figures() -> &'static [&'static str] {
    static KNOWN: OnceLock<Vec<&'static str>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut known: Vec<&str> = Vec::new();
        for figure in figures() {
            if !known.contains(&figure.stem()) {
                known.push(figure.stem());
            }
        }
        known
    })
}

/// The unit of the figure at `path`. Where there is no such figure, the unit that all figures below
/// the path or beside it have in common, such as for another percentile; else a plain number.
#[must_use]
pub fn figure_unit(path: &str) -> FigureUnit {
    if let Some(figure) = figures().iter().find(|figure| matches(&figure.path, path, false)) {
        return figure.unit;
    }
    let common = |path: &str| {
        let mut units = figures().iter().filter(|figure| matches(&figure.path, path, true)).map(|figure| figure.unit);
        let first = units.next()?;
        units.all(|unit| unit == first).then_some(first)
    };
    let beside = || path.rsplit_once('.').and_then(|(parent, _)| common(parent));
    common(path).or_else(beside).unwrap_or(Number)
}

/// Whether `path` is `pattern` with names for its placeholders or, with `below`, what such a path
/// starts with. Names of tiers and lanes may have dots in them.
fn matches(pattern: &str, path: &str, below: bool) -> bool {
    let starts = |pattern: &str| pattern.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let Some((literal, rest)) = pattern.split_once('{') else {
        return if below { starts(pattern) } else { pattern == path };
    };
    let (placeholder, after) = rest.split_once('}').unwrap_or((rest, ""));
    let Some(named) = path.strip_prefix(literal) else { return below && starts(literal) };
    let ends = named.match_indices('.').map(|(end, _)| end).chain([named.len()]);
    let longest = if ["class", "kind"].contains(&placeholder) { 1 } else { usize::MAX };
    ends.take(longest).filter(|end| *end > 0).any(|end| matches(after, &named[end..], below))
}

impl FigureValue {
    /// As a float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

impl FigureUnit {
    /// A value as a person reads it, sizes in the units of `style`.
    #[must_use]
    pub fn shown_in(self, value: f64, style: SizeStyle) -> String {
        match (self, style) {
            (Bytes, _) if value < (1u64 << 20) as f64 => format!("{value} B"),
            (Bytes, SizeStyle::Binary) => format!("{:.3} GiB", value / (1u64 << 30) as f64),
            (Bytes, SizeStyle::Decimal) => format!("{:.3} GB", value / 1e9),
            // Above 213 days the clock has no name for it; before the start it has none either.
            (Time, _) if value >= 0.0 => SimTime::from_ns(value).rounded(),
            (Share, _) => format!("{value:.4}"),
            (Rate | Requests, _) => rate(value),
            (Number, _) if value.fract() != 0.0 => format!("{value:.4}"),
            _ => value.to_string(),
        }
    }

    /// Whether it is a rate, of which more is better.
    #[must_use]
    pub fn is_rate(self) -> bool {
        matches!(self, Rate | Requests)
    }

    /// A value as a person reads it.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        self.shown_in(value, SizeStyle::Binary)
    }
}

/// Tokens or requests a second as a person reads them: four digits, or all before the point.
#[must_use]
pub fn rate(per_second: f64) -> String {
    let digits = match per_second {
        rate if rate >= 1_000.0 => 0,
        rate if rate >= 100.0 => 1,
        rate if rate >= 10.0 => 2,
        rate if rate >= 1.0 => 3,
        _ => 4,
    };
    format!("{per_second:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Recorder;
    use crate::simulation::{Scenario, ScenarioConfig, run};
    use serde_json::Value;
    use std::collections::BTreeMap;

    fn summary() -> Summary {
        let mut config = ScenarioConfig::load("study").unwrap();
        config.decode_tokens = 40;
        config.strategy = "best-ratio".parse().unwrap();
        let scenario = Scenario::new(config).unwrap();
        let mut recorder = Recorder::new(&scenario);
        let outcome = run(&scenario, &mut recorder).unwrap();
        recorder.finish(&scenario, &outcome).summary
    }

    fn numbers(value: &Value, path: String, found: &mut BTreeMap<String, f64>) {
        match value {
            Value::Number(number) => drop(found.insert(path, number.as_f64().unwrap())),
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    numbers(inner, path, found);
                }
            }
            _ => {}
        }
    }

    /// Every number of a summary that is not of its scenario is a figure, and has its value.
    #[test]
    fn the_table_has_every_number_of_a_summary() {
        let summary = summary();
        let mut written = serde_json::to_value(&summary).unwrap();
        for other in ["scenario", "schema"] {
            written.as_object_mut().unwrap().remove(other);
        }
        let mut expected = BTreeMap::new();
        numbers(&written, String::new(), &mut expected);
        // A summary without dropped bytes does not write them.
        expected.insert("migration.dropped_bytes".to_owned(), 0.0);
        let values = figures().iter().flat_map(|figure| figure.values(&summary));
        let found: BTreeMap<String, f64> = values.map(|(path, value)| (path, value.as_f64())).collect();
        assert_eq!(found, expected);
    }

    /// The paths below `place`, which is called `path`, at which the schema has numbers.
    fn of_schema(schema: &Value, place: &Value, path: String, paths: &mut Vec<String>) {
        if let Some(name) = place.get("$ref").and_then(Value::as_str) {
            let inner = schema.pointer(name.trim_start_matches('#')).unwrap();
            return of_schema(schema, inner, path, paths);
        }
        if let Some(Value::Array(choices)) = place.get("anyOf") {
            return choices.iter().for_each(|choice| of_schema(schema, choice, path.clone(), paths));
        }
        if let Some(Value::Object(properties)) = place.get("properties") {
            for (name, inner) in
                properties.iter().filter(|(name, _)| !["schema", "scenario", "files"].contains(&&***name))
            {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                of_schema(schema, inner, path, paths);
            }
            return;
        }
        let is = |name: &str| match &place["type"] {
            Value::Array(types) => types.iter().any(|it| it == name),
            it => it == name,
        };
        let listed = is("array") && place["items"].get("$ref").is_some();
        if is("number") || is("integer") || listed || place.get("additionalProperties").is_some() {
            paths.push(path);
        }
    }

    #[test]
    fn the_table_has_every_number_of_the_schema() {
        let schema = schemars::schema_for!(Summary).to_value();
        let mut paths = Vec::new();
        of_schema(&schema, &schema, String::new(), &mut paths);
        paths.sort_unstable();
        let mut known = known_figures().to_vec();
        known.sort_unstable();
        assert_eq!(known, paths);
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(figure_unit("transfers.KvRead.latency_ns.p99").shown(1_500.0), "1.500 us");
        assert_eq!(figure_unit("peak_bytes.hbm").shown(1_073_741_824.0), "1.000 GiB");
        assert_eq!(figure_unit("lanes.hbm.bus.utilization").shown(0.5), "0.5000");
        assert_eq!(figure_unit("steps").shown(256.0), "256");
        // Of what is no figure, as far as those around it tell.
        assert_eq!(figure_unit("token_latency_ns"), Time);
        assert_eq!(figure_unit("transfers.KvRead.queueing_ns.p98"), Time);
        assert_eq!(figure_unit("lanes.hbm.bus"), Number);
        assert_eq!(figure_unit("nothing"), Number);
    }

    #[test]
    fn short_names_and_ranks_are_one_figures_each() {
        let mut names: Vec<&str> = short_names().chain(known_figures().iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let mut ranks: Vec<u8> = figures().iter().filter_map(|figure| figure.rank).collect();
        ranks.sort_unstable();
        assert!(ranks.into_iter().eq(0..8));
        assert_eq!((full_name("p99"), full_name("steps")), ("token_latency_ns.p99", "steps"));
    }
}

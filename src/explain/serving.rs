//! Why do requests take as long as they do? Costs that add up exactly to their times from arrival
//! to the last token.
//!
//! The scenario runs as it is, then free of one more cause of delay in each further run, in the
//! order of [`ServingIdeal::ALL`]. What is compared is the sum of the times from arrival to the
//! last token, of the requests that every run finished. The cost of a cause is the sum of the run
//! with it minus that of the next run, without it; what is left in the last run is the [`WORK`] of
//! the requests themselves: reads of weights and KV at the full bandwidth, each request unloaded.
//! So the costs add up to the whole in whole picoseconds. A cost may be negative: then requests are
//! faster with it. An interaction cost is attributed to the first of the two.

use super::words::{percent, time};
use super::{ExplainError, SCHEMA};
use crate::simulation::{Scenario, ScenarioConfig, ServingIdeal};
use crate::units::{RequestId, SimTime, Table};
use crate::workload::RequestRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What remains when everything is idealized: the requests themselves.
pub const WORK: &str = "Work";

/// Explained runs that serve requests: the content of their `explain.json`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServingExplanation {
    /// The version of this layout.
    pub schema: u32,
    /// How requests are served.
    pub strategy: String,
    /// Whether every run served all of its requests.
    pub complete: bool,
    /// Why not, for each run that did not: what was idealized last (nothing: `as it is`), and the
    /// error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<(String, String)>,
    /// How many requests are explained: those that all runs finished.
    pub requests: u64,
    /// Their times from arrival to the last token, together: the sum of `costs`.
    pub e2e_ps: u64,
    /// The cost of each cause, in the order in which they were idealized; last, the work itself.
    pub costs: Vec<ServingCost>,
    /// Causes that make no difference to this scenario.
    pub without_effect: Vec<String>,
    /// The explanation in sentences.
    pub sentences: Vec<String>,
    /// The whole resolved input.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub scenario: ScenarioConfig,
}

/// The cost of one cause of delay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServingCost {
    /// What is idealized in the next run, or `Work`.
    pub name: String,
    /// By how much longer all requests take together with it.
    pub cost_ps: i64,
    /// Its share of `e2e_ps`.
    pub share: f64,
    /// The means of the run with it, and what was named before it idealized.
    pub with: ServingMeans,
}

/// Means over the requests that are explained, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServingMeans {
    /// From arrival to the last token.
    pub e2e_ns: f64,
    /// From arrival to the start of the first step.
    pub queueing_ns: f64,
    /// From arrival to the first token.
    pub ttft_ns: f64,
    /// From the first token to the last.
    pub decode_ns: f64,
}

/// One run of the ladder of a scenario that serves requests.
#[derive(Clone, Debug)]
pub struct ServingRun {
    /// What this run idealizes in addition to the one before; nothing in the first.
    pub idealized: Option<ServingIdeal>,
    /// The records of its requests.
    pub records: Table<RequestId, RequestRecord>,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

/// The scenarios to run, each with what it idealizes in addition to the one before. Causes that
/// make no difference have none.
///
/// # Errors
/// [`ExplainError::Serving`]: what is wrong with an idealized scenario.
pub fn serving_ladder(scenario: &Scenario) -> Result<Vec<(Option<ServingIdeal>, Scenario)>, ExplainError> {
    let mut scenarios = vec![(None, scenario.clone())];
    let mut ideals = Vec::new();
    for ideal in ServingIdeal::ALL.into_iter().filter(|ideal| scenario.is_served_slower_by(*ideal)) {
        ideals.push(ideal);
        let idealized = scenario.served_without(&ideals);
        let idealized = idealized.map_err(|source| ExplainError::Serving { ideal, source: Box::new(source) })?;
        scenarios.extend(idealized.map(|idealized| (Some(ideal), idealized)));
    }
    Ok(scenarios)
}

impl ServingExplanation {
    /// The explanation of `scenario` that its runs give, which are those of [`serving_ladder`] in
    /// their order.
    ///
    /// # Errors
    /// [`ExplainError::NoRequests`] where no request was finished by all of them.
    pub fn new(scenario: &Scenario, runs: &[ServingRun]) -> Result<Self, ExplainError> {
        let none = || ExplainError::NoRequests("none is finished in all runs of the ladder".to_owned());
        let first = runs.first().ok_or_else(none)?;
        let in_all = |id: &RequestId| runs.iter().all(|run| run.records[*id].finished.is_some());
        let explained: Vec<RequestId> = first.records.ids().filter(in_all).collect();
        let sums: Vec<Sums> = runs.iter().map(|run| Sums::of(run, &explained)).collect();
        let whole = sums[0].e2e;
        if explained.is_empty() || whole == 0 {
            let error = runs.iter().find_map(|run| run.error.clone());
            return Err(error.map_or_else(none, ExplainError::NoRequests));
        }
        let cost = |index: usize| {
            let name = runs.get(index + 1).map_or(WORK.to_owned(), |run| name(run.idealized));
            let without = sums.get(index + 1).map_or(0, |sums| sums.e2e);
            let cost_ps = (sums[index].e2e as i128 - without as i128) as i64;
            let share = cost_ps as f64 / whole as f64;
            ServingCost { name, cost_ps, share, with: sums[index].means(explained.len() as f64) }
        };
        let errors = runs.iter().filter_map(|run| Some((name(run.idealized), run.error.clone()?)));
        let has_run = |ideal: &ServingIdeal| runs.iter().any(|run| run.idealized == Some(*ideal));
        let without_effect = ServingIdeal::ALL.into_iter().filter(|ideal| !has_run(ideal));
        let mut explanation = Self {
            schema: SCHEMA,
            strategy: scenario.strategy_name(),
            complete: runs.iter().all(|run| run.error.is_none()),
            errors: errors.collect(),
            requests: explained.len() as u64,
            e2e_ps: u64::try_from(whole).unwrap_or(u64::MAX),
            costs: (0..runs.len()).map(cost).collect(),
            without_effect: without_effect.map(|ideal| name(Some(ideal))).collect(),
            sentences: Vec::new(),
            scenario: scenario.resolved().clone(),
        };
        explanation.sentences = sentences(&explanation);
        Ok(explanation)
    }
}

/// The name of what a run idealizes last.
fn name(ideal: Option<ServingIdeal>) -> String {
    ideal.map_or_else(|| "as it is".to_owned(), |ideal| format!("{ideal:?}"))
}

/// Times of all explained requests together, in picoseconds.
struct Sums {
    e2e: u128,
    queueing: u128,
    ttft: u128,
}

impl Sums {
    fn of(run: &ServingRun, explained: &[RequestId]) -> Self {
        let sum = |end: fn(&RequestRecord) -> Option<SimTime>| {
            let since = |record: &RequestRecord| Some(end(record)?.saturating_sub(record.arrival).as_ps());
            explained.iter().filter_map(|id| since(&run.records[*id])).map(u128::from).sum()
        };
        Self { e2e: sum(|of| of.finished), queueing: sum(|of| of.scheduled), ttft: sum(|of| of.first_token) }
    }

    fn means(&self, count: f64) -> ServingMeans {
        let mean = |ps: u128| ps as f64 / count / 1000.0;
        ServingMeans {
            e2e_ns: mean(self.e2e),
            queueing_ns: mean(self.queueing),
            ttft_ns: mean(self.ttft),
            decode_ns: mean(self.e2e.saturating_sub(self.ttft)),
        }
    }
}

/// The name of a cost in tables and sentences.
#[must_use]
pub fn serving_label(name: &str) -> &'static str {
    match ServingIdeal::ALL.into_iter().find(|ideal| format!("{ideal:?}") == name) {
        Some(ServingIdeal::FastExternal) => "external memory",
        Some(ServingIdeal::AmpleHbm) => "room for KV in HBM",
        Some(ServingIdeal::NoSequenceLimit) => "the limit on requests at once",
        Some(ServingIdeal::NoFixedTimes) => "fixed times of the runtime",
        Some(ServingIdeal::FullBandwidth) => "losses of bandwidth",
        Some(ServingIdeal::FreeCompute) => "compute",
        Some(ServingIdeal::Unloaded) => "other requests",
        None => "reads of weights and KV",
    }
}

/// What a cost is a cost of, at the end of a sentence.
fn because(name: &str) -> &'static str {
    match ServingIdeal::ALL.into_iter().find(|ideal| format!("{ideal:?}") == name) {
        Some(ServingIdeal::FastExternal) => "external memory that is slower than HBM: moves of KV, and reads there",
        Some(ServingIdeal::AmpleHbm) => "the room for KV in HBM: requests wait for it, are preempted, or compute again",
        Some(ServingIdeal::NoSequenceLimit) => "the limit on requests at once (requests.limits.sequences)",
        Some(ServingIdeal::NoFixedTimes) => "fixed times of the runtime",
        Some(ServingIdeal::FullBandwidth) => "kernels and lanes that do not reach the full bandwidth",
        Some(ServingIdeal::FreeCompute) => "compute, most of it of prompts",
        Some(ServingIdeal::Unloaded) => "other requests: they share steps, and prompts of others delay tokens",
        None => "reads of weights and KV at the full bandwidth, each request unloaded",
    }
}

/// A cause that costs less than that share of the whole is left out of the sentences.
const WORTH_SAYING: f64 = 0.01;

fn sentences(explanation: &ServingExplanation) -> Vec<String> {
    let count = explanation.requests;
    let mean = |ps: i64| time(ps / count.max(1) as i64);
    let first = explanation.costs[0].with;
    let shown = |ns: f64| SimTime::from_ns(ns).rounded();
    let mut said = vec![format!(
        "{} serves {count} requests in {} each on average, from arrival to the last token: {} until the first token, of which {} \
         in the queue, and {} from the first to the last.",
        explanation.strategy,
        shown(first.e2e_ns),
        shown(first.ttft_ns),
        shown(first.queueing_ns),
        shown(first.decode_ns)
    )];
    let mut costs: Vec<&ServingCost> = explanation.costs.iter().collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.cost_ps));
    let worth = costs.into_iter().filter(|cost| cost.share.abs() >= WORTH_SAYING);
    said.extend(worth.map(|cost| match cost.cost_ps >= 0 {
        true => format!("{} of that ({}) is due to {}.", percent(cost.share), mean(cost.cost_ps), because(&cost.name)),
        false => format!(
            "Without {}, requests would take {} longer ({}).",
            serving_label(&cost.name),
            mean(-cost.cost_ps),
            percent(-cost.share)
        ),
    }));
    said
}

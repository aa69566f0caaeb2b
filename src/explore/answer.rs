//! What a run says, as JSON for the page.

use super::simulate::Ran;
use crate::memory::MemoryConfig;
use crate::metrics::{Named, RunReport, Summary, WaitsSummary};
use crate::strategy::Strategy;
use serde::Serialize;

/// The most points of a latency curve.
const MAX_POINTS: usize = 200;

/// A stage of refinement: the figures of all strategies over so many steps.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Answer {
    pub steps: u32,
    /// Whether no more steps follow.
    pub refined: bool,
    /// How long it took to simulate.
    pub ms: f64,
    pub machine: Machine,
    /// The `tiersim run` that gives the same.
    pub command: String,
    pub runs: Vec<RunAnswer>,
}

/// The machine's own figures, whatever sliders say.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Machine {
    pub hbm_capacity: Option<u64>,
    pub hbm_bandwidth: Option<u64>,
    /// Absent where no tier has a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_bandwidth: Option<u64>,
    pub tiers: Vec<String>,
}

impl Machine {
    /// Of a memory system.
    pub fn of(memory: &MemoryConfig) -> Self {
        let first = memory.tiers.first();
        let link = memory.tiers.iter().find_map(|tier| tier.link.as_ref()?.inline());
        Self {
            hbm_capacity: first.map(|tier| tier.capacity.get()),
            hbm_bandwidth: first.map(|tier| tier.bandwidth.get()),
            link_bandwidth: link.map(|link| link.read.get()),
            tiers: memory.tiers.iter().map(|tier| tier.name.clone()).collect(),
        }
    }
}

/// One strategy's figures; `error` alone where it cannot run.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct RunAnswer {
    pub strategy: String,
    pub knows: String,
    pub error: Option<String>,
    #[serde(flatten)]
    pub figures: Option<Figures>,
}

/// Times are in nanoseconds, shares from 0 to 1.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Figures {
    pub tokens_per_s: Option<f64>,
    /// Of one sequence the time of a step.
    pub tpot_ns: Option<f64>,
    /// Where prompts take time.
    pub ttft_ns: Option<f64>,
    /// The bound on a step, on average: comparable with TPOT.
    pub bound_ns: Option<f64>,
    pub over_bound: Option<f64>,
    pub alpha: Option<f64>,
    /// At the end of the run.
    pub layout: Vec<Stack>,
    pub waits: Vec<Wait>,
    /// The step and its time, thinned to the slowest of each stretch.
    pub latency: Vec<(usize, f64)>,
}

/// Where the bytes of one kind are.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Stack {
    pub what: &'static str,
    pub parts: Vec<Part>,
}

/// What of them is on one tier.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Part {
    pub tier: String,
    pub bytes: u64,
    pub share: f64,
}

/// What a run waits for, as a share of its time.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Wait {
    pub what: String,
    pub share: f64,
}

impl RunAnswer {
    /// Of a run of `strategy`.
    pub fn of(strategy: Strategy, ran: &Ran) -> Self {
        let (figures, error) = match ran {
            Ok(report) => (Some(Figures::of(report)), None),
            Err(error) => (None, Some(error.clone())),
        };
        let knows =
            ran.as_ref().map_or_else(|_| strategy.knowledge().to_string(), |report| report.summary.knows.clone());
        Self { strategy: strategy.name(), knows, error, figures }
    }
}

impl Figures {
    fn of(report: &RunReport) -> Self {
        let summary = &report.summary;
        Self {
            tokens_per_s: summary.tokens_per_s,
            tpot_ns: tpot(summary),
            ttft_ns: summary.ttft_ns.map(|ttft| ttft.mean),
            bound_ns: (summary.steps > 0).then(|| summary.bound.simulated_ns / summary.steps as f64),
            over_bound: summary.bound.achieved_over_bound,
            alpha: summary.alpha.mean,
            layout: layout(summary),
            waits: summary.waits.as_ref().map(waits).unwrap_or_default(),
            latency: latency(report),
        }
    }
}

/// The mean TPOT; of one sequence the mean time of a step.
pub fn tpot(summary: &Summary) -> Option<f64> {
    summary.tpot().map(|tpot| tpot.mean)
}

fn layout(summary: &Summary) -> Vec<Stack> {
    let Some(layout) = &summary.layout else { return Vec::new() };
    let stack = |what, bytes: &Named<u64>| {
        let all: u64 = bytes.0.iter().map(|(_, bytes)| bytes).sum();
        let share = |bytes: u64| if all > 0 { bytes as f64 / all as f64 } else { 0.0 };
        let parts =
            bytes.0.iter().map(|(tier, bytes)| Part { tier: tier.clone(), bytes: *bytes, share: share(*bytes) });
        Stack { what, parts: parts.collect() }
    };
    vec![stack("weights", &layout.end.weights_bytes), stack("KV", &layout.end.kv_bytes)]
}

/// Causes that take no time are left out.
fn waits(waits: &WaitsSummary) -> Vec<Wait> {
    let tiers = waits.tiers_ns.0.iter().map(|(tier, ns)| (format!("reads from {tier}"), *ns));
    let others = [("compute".to_owned(), waits.compute_ns), ("runtime".to_owned(), waits.fixed_ns.unwrap_or(0.0))];
    let causes: Vec<(String, f64)> = tiers.chain(others).filter(|(_, ns)| *ns > 0.0).collect();
    let all: f64 = causes.iter().map(|(_, ns)| ns).sum();
    causes.into_iter().map(|(what, ns)| Wait { what, share: ns / all }).collect()
}

fn latency(report: &RunReport) -> Vec<(usize, f64)> {
    let all: Vec<(usize, f64)> = report.series.steps().map(|step| (step.step, step.latency.as_ns())).collect();
    let stretch = all.len().div_ceil(MAX_POINTS).max(1);
    let slowest = |part: &[(usize, f64)]| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    all.chunks(stretch).filter_map(slowest).collect()
}

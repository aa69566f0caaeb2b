//! Why is a run as slow as it is? Costs that add up exactly from its bound to its time, and the
//! bottlenecks that the run waited for.
//!
//! # The ladder
//! The scenario runs as it is, then with one more thing idealized in each further run, in the order
//! of [`Ideal::ALL`]: first the traffic that the strategy adds, on the machine as it is; then the
//! losses of the machine and of the runtime on it, with nothing but demand reads on it; then the
//! initial layout, the room in the first tier, and pages. An interaction cost is attributed to the
//! first of the two: a bus that turns around because of migration is migration's. A thing that
//! makes no difference to a scenario (no tier is hashed, say) has no run.
//!
//! The *loss* of a run is its time less its bound: the sum of its steps' latencies less the sum of
//! their bounds. The cost of a thing is the loss of the run with it less that of the next run,
//! without it. Most idealizations leave the bound as it is, so that is the difference of the two
//! times; only [`Ideal::NoFixedTimes`], [`Ideal::FullReach`], [`Ideal::TiersAtOnce`],
//! [`Ideal::DirectReads`], [`Ideal::AmpleHbm`] and [`Ideal::SingleTokens`] lower the bound as well,
//! and cost what they cost the strategy beyond what they cost the best placement.
//!
//! [`Ideal::BoundLayout`] starts the run from the layout that the bound of its first step uses. It
//! comes before [`Ideal::AmpleHbm`], so that a layout which puts the wrong bytes in a small HBM is
//! not mistaken for a want of HBM: the cost of scarce HBM is what no initial layout can mend.
//!
//! The loss of the last run is [`PLACEMENT`]'s: where new KV and moved KV go even with room for
//! all, and the parts of stages and compute that do not overlap. The costs of all things and of
//! placement add up to the loss of the run as it is, in whole picoseconds: each loss but the first
//! and the last is added once and subtracted once. No run is faster than its bound, so the last
//! loss is not negative. The cost of a thing may be: then the run without it is the slower one.
//!
//! The bound is split as well: the time of the best placement with room for everything and reads of
//! single tokens, the time that reading whole pages adds, the time that scarce room in the first
//! tier adds, and what the runtime adds: kernels below the full bandwidth, and fixed times.
//!
//! # Waits
//! See [`WaitRecorder`](crate::metrics::WaitRecorder). The times of all causes of a run add up to
//! its time, so the difference between two successive runs is split by cause, to the picosecond.
//!
//! Runs that serve requests have a ladder of their own, of the times of requests:
//! [`ServingExplanation`].
//!
//! Where a run ends early (out of memory), the explanation covers the steps that every run
//! completed.

mod difference;
mod ladder;
mod serving;
mod words;

pub use difference::{Part, because, difference};
pub use ladder::{Ladder, Run};
pub use serving::{ServingCost, ServingExplanation, ServingMeans, ServingRun, WORK, serving_label, serving_ladder};
pub use words::{label, sentences};
pub(crate) use words::{percent, time};

use crate::memory::PerClass;
use crate::metrics::Named;
use crate::simulation::{Ideal, Scenario, ScenarioConfig, ScenarioError, ServingIdeal};
use crate::workload::RuntimeConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The cost that remains when everything is idealized: the placement of bytes.
pub const PLACEMENT: &str = "Placement";

/// The version of `explain.json`.
pub const SCHEMA: u32 = 1;

/// Why there is no explanation.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ExplainError {
    #[error("with {ideal}: {source}")]
    Scenario { ideal: Ideal, source: Box<ScenarioError> },
    #[error("with {ideal:?}: {source}")]
    Serving { ideal: ServingIdeal, source: Box<ScenarioError> },
    #[error("there is no request to explain: {0}")]
    NoRequests(String),
    #[error("there is no step to explain: {0}")]
    NoSteps(String),
}

/// The content of `explain.json`. Times are in whole picoseconds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The version of this layout.
    pub schema: u32,
    /// The strategy's name.
    pub strategy: String,
    /// The knowledge of skip sets that the strategy needs: `realizable` (only past steps), or
    /// `oracle: sees N steps`.
    #[serde(default)]
    pub knows: String,
    /// Whether every run completed its last step.
    pub complete: bool,
    /// Why not, for each run that did not: what was idealized last (nothing: `as it is`), and the
    /// error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<(String, String)>,
    /// How many steps are explained: those that all runs completed.
    pub steps: u64,
    /// The time that the scenario took.
    pub achieved_ps: u64,
    /// The lower bound on the time over all placements.
    pub bound: BoundParts,
    /// The time over the bound; `None` where that is 0.
    pub achieved_over_bound: Option<f64>,
    /// The loss, `achieved_ps` minus the bound: the sum of `costs`.
    pub loss_ps: i64,
    /// The cost of each thing, in the order in which they were idealized; last, placement.
    pub costs: Vec<Cost>,
    /// Things that make no difference to this scenario.
    pub without_effect: Vec<String>,
    /// The waits of the scenario as it is, by cause, the longest first: lanes by their names (the
    /// channels of a tier together), and `latency`, `pending write`, `transfer cap`, `compute`,
    /// `fixed times` and `tier's compute`.
    /// The times add up to `achieved_ps`.
    pub waits: Named<WaitShare>,
    /// Where channels are lanes of their own, each of them by itself, in their order.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub channels: Named<WaitShare>,
    /// The explanation in sentences.
    pub sentences: Vec<String>,
    /// The whole resolved input.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub scenario: ScenarioConfig,
}

/// The bound and its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundParts {
    /// The bound: the parts below together.
    pub time_ps: u64,
    /// With room for all on the first tier, and only the tokens that are needed read.
    pub ideal_ps: u64,
    /// The time that reading whole pages adds.
    pub pages_ps: i64,
    /// The time that scarce room on the first tier adds, however bytes are placed.
    pub capacity_ps: i64,
    /// The time that kernels add which do not reach the full bandwidth of their tier.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reach_ps: i64,
    /// The time that tiers add which compute slower than their bandwidth allows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub computes_ps: i64,
    /// The time that reading tiers one after another adds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub serial_ps: i64,
    /// The fixed times of the runtime.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fixed_ps: i64,
}

fn is_zero(ps: &i64) -> bool {
    *ps == 0
}

/// The cost of one thing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// What is idealized in the next run, or `Placement`.
    pub name: String,
    /// The loss of the run with it minus that of the run without it. Negative where the latter is
    /// slower.
    pub loss_ps: i64,
    /// Its share of the loss of the scenario; `None` where that is 0.
    pub share: Option<f64>,
    /// The time with it, and what was named before it idealized.
    pub time_ps: u64,
    /// The bound of that run.
    pub bound_ps: u64,
    /// How much longer the run with it waits for each cause than the run without it, the most
    /// first. These add up to the difference of their times. For placement, the waits of the last
    /// run.
    pub waits_ps: Named<i64>,
    /// Each class's share of the bytes that the first lane of `waits_ps` carried while the run with
    /// this cost waited for it; empty where the first cause is not a lane.
    pub carried: Named<f64>,
}

/// How long one cause was waited for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct WaitShare {
    /// For how long.
    pub time_ps: u64,
    /// Its share of all time.
    pub share: f64,
    /// Each class's share of the bytes that the lane carried meanwhile; empty for causes that are
    /// not lanes.
    pub carried: Named<f64>,
}

impl Explanation {
    /// The strategy's name as tables, legends and sentences show it; an oracle's name includes how
    /// many future steps it sees.
    #[must_use]
    pub fn label(&self) -> String {
        self.scenario.strategy.knowledge().label(&self.strategy)
    }

    /// What a step is: `token`; `step` where it decodes one of each of several sequences, or
    /// computes prompts.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        if self.sequences() == 1 && self.scenario.prefill.is_given() { "token" } else { "step" }
    }

    /// How many sequences are decoded.
    #[must_use]
    pub fn sequences(&self) -> u64 {
        match self.scenario.sequences.as_slice() {
            [] => u64::from(self.scenario.batch),
            groups => groups.iter().map(|group| u64::from(group.count)).sum(),
        }
    }
}

impl Ladder {
    /// The explanation of `scenario` by these runs.
    ///
    /// # Errors
    /// [`ExplainError::NoSteps`] where a run did not complete its first step.
    pub fn explanation(&self, scenario: &Scenario) -> Result<Explanation, ExplainError> {
        let errors: Vec<(String, String)> =
            self.runs.iter().filter_map(|run| Some((run.name(), run.error.clone()?))).collect();
        let steps = self.runs.iter().map(|run| run.waits.steps()).min().unwrap_or(0);
        if steps == 0 {
            let why = errors.first().map_or_else(String::new, |(run, error)| format!("{run}: {error}"));
            return Err(ExplainError::NoSteps(why));
        }
        let figures: Vec<Figures> = self.runs.iter().map(|run| Figures::new(run, steps)).collect();
        let (first, last) = (&figures[0], &figures[figures.len() - 1]);
        let loss = first.loss();
        let bound_with = |ideal: Ideal| {
            // The bound of the run in which it is idealized, or of the one before where it makes no
            // difference.
            let at = self.runs.iter().rposition(|run| run.idealized.is_none_or(|idealized| idealized <= ideal));
            figures[at.unwrap_or(0)].bound as i64
        };
        let (ample, single) = (bound_with(Ideal::AmpleHbm), bound_with(Ideal::SingleTokens));
        let unfixed = bound_with(Ideal::NoFixedTimes);
        let (full_reach, direct) = (bound_with(Ideal::FullReach), bound_with(Ideal::DirectReads));
        let (fixed, reach) = (bound_with(Ideal::NoLatencies) - unfixed, unfixed - full_reach);
        let at_once = bound_with(Ideal::TiersAtOnce);
        let (computes, serial) = (full_reach - at_once, at_once - direct);
        let mut explanation = Explanation {
            schema: SCHEMA,
            strategy: scenario.strategy_name(),
            knows: scenario.knowledge().to_string(),
            complete: errors.is_empty(),
            errors,
            steps: steps as u64,
            achieved_ps: first.time,
            bound: BoundParts {
                time_ps: first.bound,
                ideal_ps: last.bound,
                pages_ps: ample - single,
                capacity_ps: first.bound as i64 - ample - fixed - reach - computes - serial,
                reach_ps: reach,
                computes_ps: computes,
                serial_ps: serial,
                fixed_ps: fixed,
            },
            achieved_over_bound: (first.bound > 0).then(|| first.time as f64 / first.bound as f64),
            loss_ps: loss,
            costs: self.costs(&figures),
            without_effect: self.names_without_effect(scenario),
            waits: shares(first.longest(), first.time),
            channels: shares(first.channels(), first.time),
            sentences: Vec::new(),
            scenario: scenario.resolved().clone(),
        };
        explanation.sentences = sentences(&explanation);
        Ok(explanation)
    }

    /// What makes no difference to `scenario`; of the runtime only where it is not `ideal`, in
    /// which there is nothing to idealize, and of tiers that compute nothing.
    fn names_without_effect(&self, scenario: &Scenario) -> Vec<String> {
        let is_ideal = scenario.resolved().runtime.inline().is_none_or(RuntimeConfig::is_ideal);
        let of_runtime = |ideal: &Ideal| matches!(ideal, Ideal::NoFixedTimes | Ideal::FullReach | Ideal::DirectReads);
        let named = self.without_effect.iter().filter(|ideal| **ideal != Ideal::TiersAtOnce);
        let named = named.filter(|ideal| !is_ideal || !of_runtime(ideal));
        named.map(|ideal| ideal.name().to_owned()).collect()
    }

    /// The cost of each thing, from the figures of all runs; last, placement.
    fn costs(&self, figures: &[Figures<'_>]) -> Vec<Cost> {
        let all = figures[0].loss();
        let mut costs = Vec::new();
        for (index, with) in figures.iter().enumerate() {
            let without = figures.get(index + 1);
            let loss = with.loss() - without.map_or(0, Figures::loss);
            let waits = with.longer_than(without);
            let first_lane = waits.first().map(|(cause, _)| *cause);
            costs.push(Cost {
                name: self.runs.get(index + 1).map_or_else(|| PLACEMENT.to_owned(), Run::name),
                loss_ps: loss,
                share: (all != 0).then(|| loss as f64 / all as f64),
                time_ps: with.time,
                bound_ps: with.bound,
                carried: first_lane.map_or_else(Named::default, |cause| with.carried_while(cause)),
                waits_ps: waits.into_iter().map(|(cause, time)| (cause.to_owned(), time)).collect(),
            });
        }
        costs
    }
}

/// A cause: its name, how long the run waited for it, and the bytes of each class that it carried
/// meanwhile.
type Waited<'a> = (&'a str, u64, PerClass<f64>);

/// The totals of a run over the steps that are compared.
struct Figures<'a> {
    time: u64,
    bound: u64,
    causes: Vec<Waited<'a>>,
    /// The same, with the channels of a tier together.
    waits: Vec<Waited<'a>>,
}

/// A channel's tier and direction: `hbm.bus` of `hbm.bus.7`. Other causes are their own.
pub(crate) fn without_channel(cause: &str) -> &str {
    match cause.rsplit_once('.') {
        Some((lane, channel)) if channel.bytes().all(|digit| digit.is_ascii_digit()) => lane,
        _ => cause,
    }
}

impl<'a> Figures<'a> {
    fn new(run: &'a Run, steps: usize) -> Self {
        let mut causes: Vec<Waited<'a>> =
            run.waits.causes().iter().map(|cause| (cause.as_str(), 0, PerClass::filled(0.0))).collect();
        let (mut time, mut bound) = (0, 0);
        for step in 0..steps {
            let (latency, of_step) = run.waits.times(step);
            time += latency.as_ps();
            bound += of_step.as_ps();
            for wait in run.waits.of_step(step) {
                add(&mut causes[wait.cause], wait.time.as_ps(), wait.carried);
            }
        }
        let mut waits: Vec<Waited<'a>> = Vec::new();
        for &(cause, time, carried) in &causes {
            let name = without_channel(cause);
            match waits.iter_mut().find(|(known, ..)| *known == name) {
                Some(sum) => add(sum, time, carried),
                None => waits.push((name, time, carried)),
            }
        }
        Self { time, bound, causes, waits }
    }

    fn loss(&self) -> i64 {
        self.time as i64 - self.bound as i64
    }

    fn waited_for(&self, cause: &str) -> u64 {
        self.waits.iter().find(|(name, ..)| *name == cause).map_or(0, |(_, time, _)| *time)
    }

    /// By how much longer this run waits for each cause, the most first, and for as long for the
    /// others.
    fn longer_than(&self, other: Option<&Self>) -> Vec<(&'a str, i64)> {
        let there = |cause: &str| other.map_or(0, |other| other.waited_for(cause)) as i64;
        let own = self.waits.iter().map(|(cause, time, _)| (*cause, *time as i64 - there(cause)));
        let mut longer: Vec<(&'a str, i64)> = own.filter(|(_, time)| *time != 0).collect();
        longer.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        longer
    }

    fn carried_while(&self, cause: &str) -> Named<f64> {
        let carried = self.waits.iter().find(|(name, ..)| *name == cause).map_or(PerClass::filled(0.0), |wait| wait.2);
        class_shares(carried)
    }

    /// The waits, the longest first.
    fn longest(&self) -> Vec<Waited<'a>> {
        let mut waits: Vec<Waited<'a>> = self.waits.iter().copied().filter(|(_, time, _)| *time > 0).collect();
        waits.sort_by_key(|(_, time, _)| std::cmp::Reverse(*time));
        waits
    }

    /// The channels that are lanes of their own.
    fn channels(&self) -> Vec<Waited<'a>> {
        self.causes.iter().copied().filter(|(cause, ..)| without_channel(cause) != *cause).collect()
    }
}

fn add(sum: &mut Waited<'_>, time: u64, carried: PerClass<f64>) {
    sum.1 += time;
    for (sum, bytes) in sum.2.values_mut().zip(carried.values()) {
        *sum += bytes;
    }
}

fn shares(waits: Vec<Waited<'_>>, all: u64) -> Named<WaitShare> {
    let of = |(cause, time, carried): Waited<'_>| {
        let share = time as f64 / all as f64;
        (cause.to_owned(), WaitShare { time_ps: time, share, carried: class_shares(carried) })
    };
    waits.into_iter().map(of).collect()
}

fn class_shares(carried: PerClass<f64>) -> Named<f64> {
    let all: f64 = carried.values().sum();
    let shares = carried.iter().filter(|(_, bytes)| **bytes > 0.0);
    shares.map(|(class, bytes)| (class.name().to_owned(), bytes / all)).collect()
}

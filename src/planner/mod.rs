//! The planner: which pieces lie where, how they are read, and with which strategy, the fastest
//! first.
//!
//! A plan is a scenario with a layout, a way of reading external memory and a strategy. The
//! [candidates](candidates) are a small systematic set: the strategies that a real system could
//! run, as they lay out themselves; layouts by [rules](crate::strategy::LayoutRules) that fill the
//! first tier in an order of pieces, layer by layer or expert layer by expert layer, each with as
//! much as fits; shares at the best ratio; and for each of them how external memory is read: as the
//! runtime says, in place, one tier after another, or staged.
//!
//! The simulator judges a few steps of each. Candidates are taken in the order of a lower bound of
//! their time, some at a time, and a candidate whose bound exceeds the time of the last plan that
//! is wanted is not simulated: it cannot be among the fastest. So the plans are those of simulating
//! all candidates, whatever the number of threads; a test compares both.
//!
#![doc = include_str!("README.md")]

mod candidates;
mod flags;
mod judge;
mod shape;

pub use candidates::{Candidate, candidates};
pub use flags::Flags;
pub use shape::Shape;

use crate::config::did_you_mean;
use crate::runs::{Cancel, NoThreads, Pool, Progress, Resources};
use crate::simulation::{NoRoom, RunError, Scenario, ScenarioConfig, ScenarioError};
use crate::strategy::{Knowledge, LayoutRules, Strategy};
use crate::units::{Bytes, SimTime};
use judge::{Judged, judge, least};
use serde::Serialize;
use thiserror::Error;

/// What is planned.
#[derive(Clone, Debug)]
pub struct Question {
    /// The scenario: model, memory system, runtime, context and batch. Its `decode_tokens` are the
    /// steps that judge a plan. A layout that it has is that of all plans.
    pub scenario: ScenarioConfig,
    /// The strategies that lay out themselves.
    pub strategies: Vec<Strategy>,
    /// Which ways of reading external memory are tried: [`WAYS`], by name.
    pub ways: Vec<String>,
    /// How many plans are wanted.
    pub top: usize,
}

impl Question {
    /// How many steps judge a plan unless someone says otherwise.
    pub const STEPS: u32 = 4;

    /// The strategies that a real system could run, among those that have names.
    #[must_use]
    pub fn realizable() -> Vec<Strategy> {
        let named = crate::strategy::NAMED.iter().map(|(_, _, strategy)| *strategy);
        named.filter(|strategy| strategy.knowledge() == Knowledge::of(0)).collect()
    }
}

/// Ways of reading external memory, by name, each with what it does.
///
/// Where the question names none, all are tried that the machine allows; with llama.cpp, which
/// reads no weights over the link, `computed` alone. It is for DRAM that a CPU has: tiers whose
/// names begin with one of `cpu`, `ddr`, `dram`, `host` and `lpddr`. Unless the runtime says how
/// such a tier computes, its CPU reaches 60 % of its memory's bandwidth and takes 30 us in each
/// stage.
pub const WAYS: [(&str, &str); 6] = [
    ("runtime", "as the runtime says"),
    ("direct", "read in place, at the same time as the first tier"),
    ("serial", "read in place, when the faster tiers have been read"),
    ("staged", "copied into a buffer on the first tier, and read from there"),
    ("staged-ahead", "copied into a buffer on the first tier, the copies of a stage while the one before it runs"),
    ("computed", "computed where it lies, by a CPU that reads its own memory"),
];

/// A plan: what to do, and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Where pieces lie, in words.
    pub layout: String,
    /// The same as rules, where the layout is one by piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<LayoutRules>,
    /// How external memory is read.
    pub reads: String,
    /// The strategy: what moves.
    pub strategy: String,
    /// What it must know of the skip sets.
    pub knows: String,
    /// The time between two tokens of a sequence, on average.
    pub tpot_ns: f64,
    /// The least that any layout and strategy could take for its first step, read so.
    pub bound_ns: f64,
    /// Of all sequences.
    pub tokens_per_s: f64,
    /// The first tier's share of the bytes read.
    pub alpha: f64,
    /// The most bytes in use on each tier.
    pub used: Vec<Bytes>,
    /// The flags of other programs that do the same, where they have any.
    #[serde(skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
    /// The arguments of `tiersim run` that carry it out.
    pub arguments: Vec<String>,
}

/// The plans of a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plans {
    /// The model's name.
    pub model: String,
    /// The memory system's name.
    pub memory: String,
    /// The runtime's name.
    pub runtime: String,
    /// The names of the tiers, the fastest first.
    pub tiers: Vec<String>,
    /// Tokens before the first step.
    pub context: usize,
    /// Sequences.
    pub batch: usize,
    /// How many steps judged each plan.
    pub steps: usize,
    /// How many candidates fit.
    pub candidates: usize,
    /// How many of them were simulated, if only in part; no other could be among the plans.
    pub simulated: usize,
    /// The fastest first.
    pub plans: Vec<Plan>,
}

/// Why there is no plan.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum PlanError {
    /// It fits nowhere, or is wrong.
    #[error(transparent)]
    Scenario(Box<ScenarioError>),
    #[error("there is no way of reading named '{name}': use one of {known}.{}", did_you_mean(name, known.split(", ")))]
    Way { name: String, known: String },
    #[error("strategy: there is none that lays out itself: name at least one")]
    NoStrategy,
    #[error("top: 0 plans are wanted: ask for at least 1")]
    NoPlans,
    #[error("no candidate can be carried out: {0}")]
    None(String),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    NoThreads(#[from] NoThreads),
}

impl From<ScenarioError> for PlanError {
    fn from(error: ScenarioError) -> Self {
        Self::Scenario(Box::new(error))
    }
}

/// How many candidates are simulated at a time before others are dropped: the same for any number
/// of threads, so that what is simulated does not depend on it.
const WAVE: usize = 8;

/// The fastest plans of a question.
///
/// # Errors
/// [`PlanError`] if the model fits nowhere, or the scenario is wrong.
///
/// ```
/// use tiersim::planner::{Question, plan};
/// use tiersim::runs::{Cancel, Resources, Silent};
/// use tiersim::simulation::ScenarioConfig;
///
/// let scenario = ScenarioConfig { decode_tokens: 2, ..ScenarioConfig::load("study")? };
/// let question = Question { scenario, strategies: Question::realizable(), ways: vec![], top: 3 };
/// let plans = plan(&question, Resources::new(Some(1), None), &Cancel::new(false), &Silent)?;
/// assert_eq!(plans.plans.len(), 3);
/// assert!(plans.plans[0].tpot_ns >= plans.plans[0].bound_ns);
/// assert!(plans.plans[0].tpot_ns <= plans.plans[1].tpot_ns);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(
    question: &Question,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Plans, PlanError> {
    if question.top == 0 {
        return Err(PlanError::NoPlans);
    }
    let base = Scenario::new(question.scenario.clone())?;
    let candidates = candidates(question, &base)?;
    let (steps, batch) = (base.steps(), base.sequences().count());
    let pool = Pool::new(resources, candidates.len(), cancel, progress)?;
    // Bounds first, in the order of which all are simulated.
    let bounded = |(index, candidate): (usize, &Candidate)| -> Result<_, PlanError> {
        if pool.is_over() {
            return Err(RunError::Interrupted.into());
        }
        Ok(match Scenario::new(candidate.config.clone()) {
            Ok(scenario) => Ok((least(&scenario)?, index, scenario)),
            Err(error) => Err(error.to_string()),
        })
    };
    let mut first_error = None;
    let mut open: Vec<(SimTime, usize, Scenario)> = Vec::new();
    for bounded in pool.map(candidates.iter().enumerate().collect(), bounded)? {
        match bounded {
            Ok(bounded) => open.push(bounded),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    open.sort_by_key(|(least, index, _)| (*least, *index));
    let count = open.len();
    let mut simulated = 0;
    let mut best: Vec<(usize, Judged)> = Vec::new();
    let mut open = open.into_iter().peekable();
    while open.peek().is_some() {
        let limit = best.get(question.top - 1).map(|(_, judged)| judged.total);
        let wave: Vec<_> =
            open.by_ref().take_while(|(least, ..)| limit.is_none_or(|limit| *least <= limit)).take(WAVE).collect();
        if wave.is_empty() {
            break;
        }
        simulated += wave.len();
        let judged = pool.map(wave, |(_, index, scenario)| -> Result<_, PlanError> {
            let _held = pool.hold(pool.check(&scenario, Bytes::ZERO)?)?;
            if pool.is_over() {
                return Err(RunError::Interrupted.into());
            }
            let judged = judge(&scenario, limit);
            progress.ended();
            Ok((index, judged))
        })?;
        for (index, judged) in judged {
            match judged {
                Ok(Some(judged)) => best.push((index, judged)),
                // Slower than the last plan that is wanted.
                Ok(None) => {}
                // A run that ends early: its tier is full.
                Err(error) => drop(first_error.get_or_insert(error.to_string())),
            }
        }
        best.sort_by_key(|(index, judged)| (judged.total, *index));
        best.truncate(question.top);
    }
    if best.is_empty() {
        return Err(PlanError::None(first_error.unwrap_or_else(|| "there is none".to_owned())));
    }
    let tiers: Vec<String> = base.memory().tiers().iter().map(|tier| tier.name.clone()).collect();
    let of = |(index, judged): (usize, Judged)| -> Result<Plan, PlanError> {
        let candidate: &Candidate = &candidates[index];
        let bound = judge::bound(&Scenario::new(candidate.config.clone())?)?;
        Ok(candidate.plan(&judged, bound, &tiers))
    };
    let plans = best.into_iter().map(of).collect::<Result<_, _>>()?;
    Ok(Plans {
        model: base.model().name().to_owned(),
        memory: base.memory().name().to_owned(),
        runtime: base.resolved().runtime.inline().map(|runtime| runtime.name.clone()).unwrap_or_default(),
        context: base.prefill(),
        batch,
        steps,
        candidates: count,
        simulated,
        plans,
        tiers,
    })
}

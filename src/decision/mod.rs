//! Decisions: which choice wins in which circumstances, by how much, and where the winner changes.
//!
//! Users *choose* a machine, a capacity, a link, a layout, a strategy. *Circumstances* are what
//! nobody chooses: context, skip, churn, batch, load. A [`Decision`] ranks every choice in every
//! circumstance, and has the places along a circumstance where the winner changes.
//!
//! [`decide`] runs a [`Question`] in memory; [`from_results`] ranks the cells of a sweep that has
//! been run. [`sentences`] says the ranking in words, as a [tree](Tree) over the circumstances.
//!
#![doc = include_str!("README.md")]

mod answer;
mod cost;
mod crossover;
mod error;
mod gate;
mod json;
mod question;
mod rank;
pub mod report;
mod sides;
mod tree;
mod words;

pub use answer::sentences;
pub use crossover::{Looked, crossovers};
pub use error::DecisionError;
pub use gate::{Held, MARGIN, condition, holds};
pub use json::as_json;
pub use question::{Asked, Question, STEPS, WARMUP};
pub use rank::Asking;
pub use tree::Tree;

use crate::runs::{Cancel, Progress, Resources};
use crate::strategy::Knowledge;
use crate::sweep::{Results, SweepError, Unit, run_all};

/// Runs a question: all choices in all circumstances, then the places where the winner changes.
/// `progress` receives each run that has ended.
///
/// # Errors
/// [`DecisionError`] if the question makes no sense, no run has the figure, or `cancel` was set.
///
/// ```
/// use tiersim::decision::{Asked, Question, decide};
/// use tiersim::runs::{Cancel, Resources, Silent};
/// use tiersim::simulation::ScenarioConfig;
///
/// let mut question = Question::new(ScenarioConfig::load("study")?);
/// question.choose = vec![Asked::list("memory", ["study", "gh200"])];
/// question.given = vec![Asked::list("prefill_tokens", [1024, 4096])];
/// let decision = decide(&question, Resources::new(Some(1), None), &Cancel::new(false), &Silent)?;
/// assert_eq!(decision.circumstances.len(), 2);
/// println!("{}", decision.answer[0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decide(
    question: &Question,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Decision, DecisionError> {
    let (plan, asking) = question.plan()?;
    let rows = run_all(&plan, resources, cancel, &|| progress.ended()).map_err(|error| match error {
        // There is nothing to resume.
        SweepError::Interrupted { .. } => SweepError::Stopped,
        error => error,
    })?;
    let results = Results::of(plan, rows);
    let mut decision = rank::ranked(&results, &asking)?;
    let looked = Looked { tolerance: question.tolerance, resources, cancel, progress };
    decision.crossovers = crossovers(&decision, &results.plan, &asking, &looked)?;
    decision.answer = sentences(&decision);
    Ok(decision)
}

/// The decision that the results of a sweep hold. A crossover lies between two values of the sweep;
/// [`crossovers`] narrows it down with more runs.
///
/// # Errors
/// [`DecisionError`] if the sweep is a sample, or no cell has the figure.
pub fn from_results(results: &Results, asking: &Asking) -> Result<Decision, DecisionError> {
    let mut decision = rank::ranked(results, asking)?;
    decision.crossovers = crossover::changes(&decision);
    decision.answer = sentences(&decision);
    Ok(decision)
}

/// An axis of a decision: a choice or a circumstance, with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionAxis {
    /// As it was typed: `memory`, `prefill`.
    pub name: String,
    /// The unit of its values.
    pub unit: Unit,
    /// For each value its name (of a file, the name without folder and extension), and the number
    /// where it is one, in the base of the unit.
    pub levels: Vec<(String, Option<f64>)>,
}

/// The figure by which choices are ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct By {
    /// As it was typed: `tpot`, `p99`, `tokens_per_s`, `ttft`.
    pub name: String,
    /// Its path in `summary.json`.
    pub path: String,
    /// Whether more of it is better.
    pub more_is_better: bool,
}

/// A decision: all choices in all circumstances.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The figure by which they are ranked.
    pub by: By,
    /// The choices; a place in the list is how others name them.
    pub choices: Vec<DecisionAxis>,
    /// The circumstances.
    pub given: Vec<DecisionAxis>,
    /// The places, among the choices, of those that are decided first, within each combination of
    /// the others: the best strategy of each machine.
    pub best: Vec<usize>,
    /// The currency of costs, where machines have prices.
    pub currency: Option<String>,
    /// The share within which two choices count as equally good.
    pub within: f64,
    /// The answer, a sentence each; the first says all, others add details.
    pub answer: Vec<String>,
    /// Every combination of circumstances, the last varies fastest.
    pub circumstances: Vec<Circumstance>,
    /// Where the winner changes.
    pub crossovers: Vec<Crossover>,
}

/// One combination of circumstances, with the choices ranked.
#[derive(Clone, Debug)]
pub struct Circumstance {
    /// For each circumstance the place of its value.
    pub given: Vec<usize>,
    /// The choices that have the figure, the best first.
    pub ranking: Vec<Ranked>,
    /// The choices that do not fit, or failed, with why.
    pub without: Vec<(Vec<usize>, String)>,
}

/// A choice in a circumstance.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// For each choice axis the place of its value.
    pub choice: Vec<usize>,
    /// The figure.
    pub value: f64,
    /// What its strategy must know.
    pub knows: Knowledge,
    /// What a million tokens cost, where its machine has a price.
    pub cost: Option<f64>,
}

/// A place along a circumstance where the winner changes, by bisection.
#[derive(Clone, Debug)]
pub struct Crossover {
    /// The circumstance along which it lies.
    pub along: usize,
    /// The circumstances around it; the value along is that of the lower end.
    pub given: Vec<usize>,
    /// The two values, in the base of the unit, between which it lies.
    pub between: (f64, f64),
    /// The winning choice below and above.
    pub from: Vec<usize>,
    /// The winner above.
    pub to: Vec<usize>,
}

impl Decision {
    /// A choice with its inner choices left open, as level 0: those that are decided first.
    pub(crate) fn outer(&self, choice: &[usize]) -> Vec<usize> {
        let open = |(place, level): (usize, &usize)| if self.best.contains(&place) { 0 } else { *level };
        choice.iter().enumerate().map(open).collect()
    }

    /// The same decision between its outer choices alone, which are those that an answer is about.
    fn of_outer_choices(&self) -> Self {
        let mut outer = self.clone();
        outer.best.clear();
        for place in &self.best {
            outer.choices[*place].levels.truncate(1);
        }
        for it in &mut outer.circumstances {
            it.ranking.iter_mut().for_each(|ranked| ranked.choice = self.outer(&ranked.choice));
            it.without.iter_mut().for_each(|(choice, _)| *choice = self.outer(choice));
        }
        for it in &mut outer.crossovers {
            (it.from, it.to) = (self.outer(&it.from), self.outer(&it.to));
        }
        outer
    }
}

impl Circumstance {
    /// By how much the second choice is worse than the first: 0.08 is 8 %. `None` where there is no
    /// second.
    #[must_use]
    pub fn margin(&self, by: &By) -> Option<f64> {
        let [first, second, ..] = &self.ranking[..] else { return None };
        let (better, worse) = if by.more_is_better { (first.value, second.value) } else { (second.value, first.value) };
        Some(better / worse - 1.0)
    }
}

//! Decisions: which choice wins in which circumstances, by how much, and where the winner changes.
//!
//! Users *choose* a machine, a capacity, a link, a layout, a strategy. *Circumstances* are what
//! nobody chooses: context, skip, churn, batch, load. A [`Decision`] ranks every choice in every
//! circumstance, and has the places along a circumstance where the winner changes.

pub mod report;

use crate::strategy::Knowledge;
use crate::sweep::Unit;

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
    /// The answer, a sentence each; the first says all.
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

//! Crossovers: where along a circumstance the winner changes.
//!
//! Between two neighbouring values with different winners, these two are run at values in between
//! until the change lies within the tolerance. The next value is where the straight line through
//! the logarithms of both ratios crosses zero, moved a little towards the far end; where that does
//! not halve the stretch, its middle. Figures are close to linear, so that three to five rounds
//! suffice where halving takes six or more. The stretches of all crossovers advance in the same
//! rounds, so that all threads have work.

use super::cost::{RATE, price};
use super::{Asking, By, Circumstance, Crossover, Decision, DecisionError, Ranked};
use crate::runs::{Cancel, Progress, Resources};
use crate::simulation::{Fields, ScenarioConfig};
use crate::sweep::{Plan, Row, Unit, run_configs};
use crate::units::Price;
use std::collections::HashMap;
use std::fmt;

/// How crossovers are looked for.
#[derive(Clone, Copy)]
pub struct Looked<'a> {
    /// The greatest distance between the two values of a crossover, as a share of the upper one.
    pub tolerance: f64,
    /// The threads and the memory.
    pub resources: Resources,
    /// Set to end the search.
    pub cancel: &'a Cancel,
    /// Receives each run that has ended.
    pub progress: &'a dyn Progress,
}

impl fmt::Debug for Looked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looked").field("tolerance", &self.tolerance).finish_non_exhaustive()
    }
}

/// The crossovers of a decision between neighbouring values of its circumstances, without a run.
pub(super) fn changes(decision: &Decision) -> Vec<Crossover> {
    let by_given: HashMap<&[usize], &Circumstance> =
        decision.circumstances.iter().map(|it| (&it.given[..], it)).collect();
    let mut found = Vec::new();
    for (along, axis) in decision.given.iter().enumerate() {
        let mut order: Vec<usize> = (0..axis.levels.len()).filter(|level| axis.levels[*level].1.is_some()).collect();
        order.sort_by(|a, b| number(decision, along, *a).total_cmp(&number(decision, along, *b)));
        for low in &decision.circumstances {
            let Some(place) = order.iter().position(|level| *level == low.given[along]) else { continue };
            let Some(next) = order.get(place + 1) else { continue };
            let mut given = low.given.clone();
            given[along] = *next;
            let Some(high) = by_given.get(&given[..]) else { continue };
            let (Some(from), Some(to)) = (low.ranking.first(), high.ranking.first()) else { continue };
            let close = |it: &Circumstance| it.margin(&decision.by).is_some_and(|margin| margin <= decision.within);
            if decision.outer(&from.choice) == decision.outer(&to.choice) || (close(low) && close(high)) {
                continue;
            }
            let between = (number(decision, along, low.given[along]), number(decision, along, *next));
            let (given, from, to) = (low.given.clone(), from.choice.clone(), to.choice.clone());
            found.push(Crossover { along, given, between, from, to });
        }
    }
    found
}

fn number(decision: &Decision, along: usize, level: usize) -> f64 {
    decision.given[along].levels[level].1.unwrap_or(f64::NAN)
}

/// The crossovers of a decision whose cells are those of `plan`, each narrowed down to the
/// tolerance by runs of its two winners.
///
/// # Errors
/// [`DecisionError`] if a value is not valid between two that are, or it was interrupted.
pub fn crossovers(
    decision: &Decision,
    plan: &Plan,
    asking: &Asking,
    looked: &Looked<'_>,
) -> Result<Vec<Crossover>, DecisionError> {
    let mut found = changes(decision);
    let mut open: Vec<Stretch> = found.iter().map(|it| Stretch::new(decision, it, looked.tolerance)).collect();
    loop {
        let next: Vec<(usize, f64)> =
            open.iter().enumerate().filter_map(|(place, stretch)| Some((place, stretch.next()?))).collect();
        if next.is_empty() {
            break;
        }
        let (mut configs, mut prices) = (Vec::new(), Vec::new());
        for (place, value) in &next {
            let crossover = &found[*place];
            for choice in [&crossover.from, &crossover.to] {
                let config = config(plan, asking, crossover, choice, *value)?;
                prices.push(price(&config));
                configs.push(config);
            }
        }
        let rows = run_configs(configs, looked.resources, looked.cancel, looked.progress)?;
        let figure = |(row, price): (&Row, &Option<Price>)| match price {
            Some(price) if decision.by.path == By::COST => row.figure(RATE).map(|rate| price.of_million(rate)),
            _ => row.figure(&decision.by.path),
        };
        let figures: Vec<Option<f64>> = rows.iter().zip(&prices).map(figure).collect();
        for ((place, value), pair) in next.into_iter().zip(figures.chunks(2)) {
            open[place].insert(value, advantage(decision, pair[0], pair[1]));
        }
    }
    for (crossover, stretch) in found.iter_mut().zip(&open) {
        crossover.between = (stretch.low.0, stretch.high.0);
    }
    Ok(found)
}

/// The scenario of a choice at a value along a crossover's circumstance.
fn config(
    plan: &Plan,
    asking: &Asking,
    crossover: &Crossover,
    choice: &[usize],
    value: f64,
) -> Result<ScenarioConfig, DecisionError> {
    let mut levels = vec![0; plan.axes().len()];
    let sides = asking.choose.iter().zip(choice).chain(asking.given.iter().zip(&crossover.given));
    for ((_, place), level) in sides {
        levels[*place] = *level;
    }
    let mut fields = Fields::new(&plan.scenario(&levels)?)?;
    let axis = &plan.axes()[asking.given[crossover.along].1];
    let value = axis.unit.nearest(value).map(|it| it.value).unwrap_or_default();
    for path in &axis.paths {
        fields.set(path, value.clone())?;
    }
    Ok(fields.config()?)
}

/// How far the first is ahead of the second, as the logarithm of a ratio: positive where it wins.
/// A choice that does not fit, or that failed, loses.
fn advantage(decision: &Decision, first: Option<f64>, second: Option<f64>) -> f64 {
    let ratio = match (first, second) {
        (Some(first), Some(second)) => (second / first).ln(),
        (Some(_), None) => f64::INFINITY,
        (None, _) => f64::NEG_INFINITY,
    };
    if decision.by.more_is_better && ratio.is_finite() { -ratio } else { ratio }
}

/// The share of the upper end of a stretch from which on a tolerance is relative to the value.
const NEAR_ZERO: f64 = 0.25;

/// A stretch of values at whose ends different choices win.
struct Stretch {
    unit: Unit,
    /// The greatest distance of its ends, as a share of the upper one.
    tolerance: f64,
    /// The least value that this share is taken of: near zero, a share of the value would be
    /// narrower than anybody needs.
    least: f64,
    /// Whether its middle is that of ratios.
    geometric: bool,
    /// The value at each end, with the advantage of the choice that wins at the lower one.
    low: (f64, f64),
    high: (f64, f64),
    /// Whether the last value did not halve it, so that its middle is next.
    halve: bool,
}

impl Stretch {
    fn new(decision: &Decision, crossover: &Crossover, tolerance: f64) -> Self {
        let at = |level: usize| {
            let mut given = crossover.given.clone();
            given[crossover.along] = level;
            let found = decision.circumstances.iter().find(|it| it.given == given);
            let value = |choice: &[usize]| {
                let ranked = |it: &&Ranked| it.choice == choice;
                found.and_then(|it| it.ranking.iter().find(ranked)).map(|ranked| ranked.value)
            };
            advantage(decision, value(&crossover.from), value(&crossover.to))
        };
        let (from, to) = crossover.between;
        let axis = &decision.given[crossover.along];
        let upper = axis.levels.iter().position(|(_, number)| *number == Some(to)).unwrap_or_default();
        Self {
            unit: axis.unit,
            tolerance,
            least: to.abs() * NEAR_ZERO,
            geometric: from > 0.0 && to / from >= 8.0,
            low: (from, at(crossover.given[crossover.along])),
            high: (to, at(upper)),
            halve: false,
        }
    }

    /// The next value to run; `None` where the stretch is short enough.
    fn next(&self) -> Option<f64> {
        let (low, high) = (self.low.0, self.high.0);
        if high - low <= self.tolerance * high.abs().max(self.least) {
            return None;
        }
        let middle = if self.geometric { (low * high).sqrt() } else { low.midpoint(high) };
        let value = self.straight().filter(|_| !self.halve).unwrap_or(middle);
        let fits = |value: f64| {
            let number = self.unit.nearest(value)?.number?;
            (number > low && number < high).then_some(number)
        };
        fits(value).or_else(|| fits(middle))
    }

    /// Where a straight line through both ends crosses zero, moved by a part of the tolerance into
    /// the longer side, so that the other end comes close as well.
    fn straight(&self) -> Option<f64> {
        let ((low, ahead), (high, behind)) = (self.low, self.high);
        let share = ahead / (ahead - behind);
        if !share.is_finite() || !(0.0..=1.0).contains(&share) {
            return None;
        }
        let zero = low + (high - low) * share;
        let step = 0.4 * self.tolerance * high.abs().max(self.least);
        let moved = if zero - low > high - zero { zero - step } else { zero + step };
        Some(moved.clamp(low + (high - low) * 0.02, high - (high - low) * 0.02))
    }

    fn insert(&mut self, value: f64, ahead: f64) {
        let before = self.high.0 - self.low.0;
        if ahead > 0.0 {
            self.low = (value, ahead);
        } else {
            self.high = (value, ahead);
        }
        self.halve = self.high.0 - self.low.0 > before / 2.0;
    }
}
